"""Each name says what its row says, and nothing more."""

import pytest

from servemark.importers import aliases
from servemark.importers.aliases import Gpu, Weights


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("H100", Gpu("H100")),
        ("h100_sxm", Gpu("H100")),
        ("NVIDIA-H100-80GB-HBM3", Gpu("H100", 80)),
        ("NVIDIA H100 80GB HBM3", Gpu("H100", 80)),
        ("NVIDIA H100-SXM-80GB", Gpu("H100", 80)),
        ("nvidia-h100-80gb", Gpu("H100", 80)),
        ("NVIDIA H100 NVL", Gpu("H100-NVL")),
        ("H100-NVL-94GB", Gpu("H100-NVL", 94)),
        ("NVIDIA H100 PCIe", Gpu("H100-PCIE")),
        ("h200-dgxc", Gpu("H200")),
        ("b200-nb", Gpu("B200")),
        ("gb200-nv", Gpu("GB200")),
        ("NVIDIA GB200 NVL72", Gpu("GB200")),
        ("mi355x-amds_07", Gpu("MI355X")),
        ("AMD Instinct MI300X 192GB HBM3", Gpu("MI300X", 192)),
        ("AMD Instinct MI325", Gpu("MI325X")),
        ("NVIDIA A100-SXM4-40GB", Gpu("A100", 40)),
        ("Tesla T4", Gpu("T4")),
        ("NVIDIA L40S", Gpu("L40S")),
        ("NVIDIA L4", Gpu("L4")),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", Gpu("RTX-PRO-6000")),
        # Instances, other chips and parts of one are no GPU by themselves.
        ("rental/h100-80gb-8", None),
        ("GH200", None),
        ("H1000", None),
        ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", None),
        ("AMD EPYC 9575F", None),
        ("", None),
    ],
)
def test_a_gpus_name_says_its_family_and_its_memory(name: str, gpu: Gpu | None) -> None:
    assert aliases.gpu(name) == gpu


@pytest.mark.parametrize(
    ("name", "gpu_type", "is_of"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100-80GB", True),
        ("H100", "H100-80GB", True),
        ("H100", "H100-NVL-94GB", False),
        ("A100-40GB", "A100-80GB", False),
        ("h200-dgxc", "H200-141GB", True),
        ("L4", "L40S-48GB", False),
        ("H100", "custom", False),
    ],
)
def test_a_gpu_is_of_a_catalogs_type_if_family_and_memory_agree(
    name: str, gpu_type: str, is_of: bool
) -> None:
    gpu = aliases.gpu(name)
    assert gpu is not None
    assert gpu.is_of(gpu_type) is is_of


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("meta-llama/Llama-3.1-405B-FP8", Weights("meta-llama/Llama-3.1-405B", "fp8")),
        ("RedHatAI/phi-4-FP8-dynamic", Weights("RedHatAI/phi-4", "fp8")),
        ("RedHatAI/phi-4-quantized.w4a16", Weights("RedHatAI/phi-4", "int4")),
        ("redhatai/phi-4-quantized.w8a8", Weights("redhatai/phi-4", "int8")),
        ("nvidia/DeepSeek-R1-NVFP4", Weights("nvidia/DeepSeek-R1", "nvfp4")),
        ("amd/Kimi-K2.5-MXFP4", Weights("amd/Kimi-K2.5", "mxfp4")),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", Weights("Qwen/Qwen2.5-7B-Instruct", "int4")),
        (
            "meta-llama/Meta-Llama-3.1-8B-Instruct",
            Weights("meta-llama/Llama-3.1-8B-Instruct"),
        ),
        ("meta-llama/Meta-Llama-3-8B", Weights("meta-llama/Meta-Llama-3-8B")),
        # How many bits AWQ has here, the name does not say.
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", Weights("Qwen/Qwen2.5-7B-Instruct-AWQ")),
        ("FP8", Weights("FP8")),
        ("llama2-70b-99", Weights("llama2-70b-99")),
    ],
)
def test_a_models_name_says_its_quantization_only_where_it_ends_with_it(
    name: str, weights: Weights
) -> None:
    assert aliases.weights(name) == weights


def test_mlperfs_names_mean_its_models_only_in_its_own_results() -> None:
    assert aliases.weights("llama2-70b-99.9", "mlperf").model == "meta-llama/Llama-2-70b-chat-hf"
    assert aliases.weights("llama3.1-405b", "vllm").model == "llama3.1-405b"


@pytest.mark.parametrize(
    ("name", "framework", "version"),
    [
        ("vllm/vllm-openai:v0.11.0", "vllm", "0.11.0"),
        ("docker.io/vllm/vllm-openai:v0.11.0", "vllm", "0.11.0"),
        ("vllm/vllm-openai:latest", "vllm", None),
        ("vllm/vllm-openai@sha256:0123", "vllm", None),
        ("localhost:5000/vllm/vllm-openai:v0.9.1", "vllm", "0.9.1"),
        ("lmsysorg/sglang:v0.5.9-cu126", "sglang", "0.5.9"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.0.0rc3", "tensorrt-llm", "1.0.0rc3"),
        ("TRT", "tensorrt-llm", None),
        ("vLLM", "vllm", None),
        # An image of llm-d has vLLM inside, but its tag is llm-d's.
        ("ghcr.io/llm-d/llm-d:v0.2.0", "ghcr.io/llm-d/llm-d:v0.2.0", None),
    ],
)
def test_an_image_names_its_framework_and_its_tag_the_version(
    name: str, framework: str, version: str | None
) -> None:
    assert (aliases.framework(name), aliases.framework_version(name)) == (framework, version)
