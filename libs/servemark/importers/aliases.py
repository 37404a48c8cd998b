"""The names that tools and people write, and what each says by itself.

Rules, not a catalog: nothing here knows which models or instances there are. A rule stands here
only if the name says it for certain; what remains open is asked of the catalog, or of the user.
"""

import re
from dataclasses import dataclass

from servemark.importers.names import image_version

_VENDORS = re.compile(r"^(?:NVIDIA|AMD|INSTINCT|TESLA|GEFORCE|INTEL|GPU)[-\s]+")
# The first that a name begins with counts, so the longer stand before the shorter.
_FAMILIES = (
    (r"RTX-?PRO-?6000", "RTX-PRO-6000"),
    (r"RTX-?6000-?ADA", "RTX-6000-ADA"),
    (r"GB300|GB200|B300|B200|H200|H100|H20|A100|A10G|A10|A30|L40S|L40|L4|T4|V100", ""),
    (r"MI355X?|MI325X?|MI300X?|MI250X|MI210", ""),
)
# Forms of one chip that differ in memory and speed; SXM is the plain one.
_FORMS = ("NVL", "PCIE")
_MEMORY = re.compile(r"(\d{1,4})GI?B")

_QUANTIZATIONS = (
    (r"[-_.]nvfp4", "nvfp4"),
    (r"[-_.]mxfp4", "mxfp4"),
    (r"[-_.]fp4", "fp4"),
    (r"[-_.]fp8(?:[-_](?:dynamic|block))?", "fp8"),
    (r"[-_.]quantized\.w4a16", "int4"),
    (r"[-_.]quantized\.w8a8", "int8"),
    (r"[-_.](?:(?:gptq|awq)[-_])?int4", "int4"),
    (r"[-_.](?:(?:gptq|awq)[-_])?int8", "int8"),
    (r"[-_.](?:bf16|bfloat16)", "bf16"),
)
_WEIGHTS = tuple((re.compile(rf"(.+?){suffix}", re.I), name) for suffix, name in _QUANTIZATIONS)
# Hugging Face renamed the repositories of 3.1 and answers to both; 3 kept its name.
_RENAMED = ((re.compile(r"\bMeta-(Llama-3\.[1-9])", re.I), r"\1"),)

# What MLPerf Inference v5 benchmarks under these names, by its reference implementations.
_MLPERF = {
    "llama2-70b-99": "meta-llama/Llama-2-70b-chat-hf",
    "llama2-70b-99.9": "meta-llama/Llama-2-70b-chat-hf",
    "llama2-70b-interactive-99": "meta-llama/Llama-2-70b-chat-hf",
    "llama2-70b-interactive-99.9": "meta-llama/Llama-2-70b-chat-hf",
    "llama3.1-405b": "meta-llama/Llama-3.1-405B-Instruct",
    "llama3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
    "mixtral-8x7b": "mistralai/Mixtral-8x7B-Instruct-v0.1",
    "deepseek-r1": "deepseek-ai/DeepSeek-R1",
}

_FRAMEWORKS = {
    "trt": "tensorrt-llm",
    "trtllm": "tensorrt-llm",
    "trt-llm": "tensorrt-llm",
    "tensorrt_llm": "tensorrt-llm",
    "tensorrtllm": "tensorrt-llm",
    "text-generation-inference": "tgi",
    "text_generation_inference": "tgi",
    "vllm-openai": "vllm",
    "vllm-chat": "vllm",
    "openai-chat-vllm": "vllm",
    "sglang-oai": "sglang",
}
# Images whose tag begins with the release of the framework itself.
_IMAGES = {
    "vllm/vllm-openai": "vllm",
    "lmsysorg/sglang": "sglang",
    "huggingface/text-generation-inference": "tgi",
    "nvidia/tensorrt-llm/release": "tensorrt-llm",
    "openmmlab/lmdeploy": "lmdeploy",
}


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU: its family (`H100`, `H100-NVL`), and its memory where the name says it."""

    family: str
    memory_gb: int | None = None

    def is_of(self, gpu_type: str) -> bool:
        """Whether a catalog's GPU type (`H100-80GB`) is this GPU."""
        known = gpu(gpu_type)
        if known is None or known.family != self.family:
            return False
        return None in (self.memory_gb, known.memory_gb) or self.memory_gb == known.memory_gb


@dataclass(frozen=True)
class Weights:
    """A model's name, and the quantization of the weights where the name ends with it."""

    model: str
    quantization: str | None = None


def gpu(name: str) -> Gpu | None:
    """The GPU that a driver, a cluster or a table calls so; None for an instance or no GPU.

    A cluster's name after the GPU's (`mi355x-amds_07`) is dropped. A part of a GPU (MIG) is none.
    """
    words = re.sub(r"[\s_]+", "-", name.strip().upper())
    while (rest := _VENDORS.sub("", words)) != words:
        words = rest
    for pattern, family in _FAMILIES:
        found = re.match(rf"(?:{pattern})(?![A-Z0-9])", words)
        if found is None:
            continue
        further = words[found.end() :].split("-")
        if "MIG" in further:
            return None
        chip = family or _amd(found[0])
        form = next((f"-{form}" for form in _FORMS if form in further), "")
        memory = next((int(m[1]) for word in further if (m := _MEMORY.fullmatch(word))), None)
        return Gpu(chip + form, memory)
    return None


def weights(name: str, tool: str = "") -> Weights:
    """The model of a name such as `Llama-3.1-405B-FP8`, and what it says of its weights.

    tool: the benchmark that calls it so; MLPerf's names mean one model each.
    """
    if tool == "mlperf" and name.lower() in _MLPERF:
        return Weights(_MLPERF[name.lower()])
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    for pattern, quantization in _WEIGHTS:
        if found := pattern.fullmatch(name):
            return Weights(found[1], quantization)
    return Weights(name)


def short(name: str) -> str:
    """The last part of a repository's name or a path: `Qwen3-8B` of `Qwen/Qwen3-8B`."""
    return name.rstrip("/").rsplit("/", 1)[-1]


def framework(name: str) -> str:
    """A framework's usual name, out of one of its other names or a container image's."""
    lower = name.strip().lower()
    repository = lower.split("@", 1)[0]
    if ":" in repository.rsplit("/", 1)[-1]:
        repository = repository.rsplit(":", 1)[0]
    for image, known in _IMAGES.items():
        if repository == image or repository.endswith(f"/{image}"):
            return known
    return _FRAMEWORKS.get(lower, lower)


def framework_version(name: str) -> str | None:
    """The release in the tag of a framework's image; None for every other name."""
    return image_version(name) if framework(name) in _IMAGES.values() else None


def _amd(chip: str) -> str:
    """AMD's chips with the X that some tables leave out."""
    return f"{chip}X" if re.fullmatch(r"MI3\d\d", chip) else chip
