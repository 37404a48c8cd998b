"""References to what the catalog knows: what they resolve to, and why they do not."""

import uuid
from typing import Any

import grpc
import pytest

from servemark.catalog.v1.config_reference_pb2 import (
    ConfigReference,
    ConfigResolution,
    FrameworkReference,
    HardwareReference,
    ModelVersionReference,
    ResolveConfigsRequest,
)
from servemark.type.v1.error_reason_pb2 import ErrorReason
from tests.rpc.catalog.kinds import (
    FRAMEWORK,
    HARDWARE,
    MODEL,
    MODEL_VERSION,
    framework,
    hardware,
    model,
    model_version,
)
from tests.rpc.catalog.serving import Served
from tests.support.failures import failure

VERSIONS = (("bf16", 16, "safetensors"), ("fp8", 8, "safetensors"), ("q4_k_m", 4, "gguf"))


class Known:
    """A small catalog: one model in three versions, two GPUs, three framework versions."""

    def __init__(self, catalog: Served) -> None:
        self.catalog = catalog
        self.model = ""
        self.versions: dict[str, str] = {}
        self.hardware: dict[str, str] = {}
        self.frameworks: dict[str, str] = {}

    async def fill(self) -> None:
        """Creates them."""
        stub = self.catalog.stub
        sent = model(name="meta-llama/Llama-3.1-8B-Instruct")
        self.model = (await MODEL.call(stub, "Create", model=sent)).model.id
        for quantization, bits, file_format in VERSIONS:
            version = model_version(
                self.model,
                version="base",
                quantization=quantization,
                quantization_bits=bits,
                format=file_format,
            )
            answer = await MODEL_VERSION.call(stub, "Create", model_version=version)
            self.versions[quantization] = answer.model_version.id
        for name in ("aws/p5.48xlarge", "gcp/a3-highgpu-1g"):
            config = hardware(name=name)
            made = await HARDWARE.call(stub, "Create", hardware_config=config)
            self.hardware[name] = made.hardware_config.id
        for name, version_name in (("vllm", "0.10.0"), ("vllm", "0.11.0"), ("sglang", "v0.5.3")):
            one = framework(name=name, version=version_name)
            done = await FRAMEWORK.call(stub, "Create", inference_framework=one)
            self.frameworks[f"{name} {done.inference_framework.version}"] = (
                done.inference_framework.id
            )

    async def resolve(self, *references: ConfigReference) -> list[ConfigResolution]:
        """The resolutions of these references."""
        request = ResolveConfigsRequest(references=references)
        answer = await self.catalog.stub.ResolveConfigs(request, timeout=10)
        return list(answer.resolutions)

    async def one(self, **parts: Any) -> ConfigResolution:
        """The resolution of a good reference with some parts replaced."""
        return (await self.resolve(_reference(**parts)))[0]


@pytest.fixture
async def known(catalog: Served) -> Known:
    known = Known(catalog)
    await known.fill()
    return known


def _reference(**parts: Any) -> ConfigReference:
    good: dict[str, Any] = {
        "model_version": ModelVersionReference(
            model="meta-llama/Llama-3.1-8B-Instruct", quantization="fp8"
        ),
        "hardware": HardwareReference(name="aws/p5.48xlarge"),
        "framework": FrameworkReference(name="vllm", version="0.11.0"),
    }
    return ConfigReference(**(good | parts))


def _failures(resolution: ConfigResolution) -> list[tuple[str, str, str]]:
    return [
        (one.field, ErrorReason.Name(one.reason).removeprefix("ERROR_REASON_"), one.detail)
        for one in resolution.failures
    ]


async def test_names_resolve_to_ids(known: Known) -> None:
    assert await known.one() == ConfigResolution(
        model_id=known.model,
        model_version_id=known.versions["fp8"],
        hardware_config_id=known.hardware["aws/p5.48xlarge"],
        framework_id=known.frameworks["vllm 0.11.0"],
    )


async def test_ids_resolve_to_themselves_and_names_beside_them_are_ignored(known: Known) -> None:
    by_id = _reference(
        model_version=ModelVersionReference(id=known.versions["bf16"], model="wrong"),
        hardware=HardwareReference(id=known.hardware["gcp/a3-highgpu-1g"], name="wrong"),
        framework=FrameworkReference(id=known.frameworks["sglang 0.5.3"], name="wrong"),
    )
    assert await known.resolve(by_id) == [
        ConfigResolution(
            model_id=known.model,
            model_version_id=known.versions["bf16"],
            hardware_config_id=known.hardware["gcp/a3-highgpu-1g"],
            framework_id=known.frameworks["sglang 0.5.3"],
        )
    ]


async def test_letter_case_blanks_and_a_leading_v_do_not_matter(known: Known) -> None:
    same = _reference(
        model_version=ModelVersionReference(
            model=" META-LLAMA/llama-3.1-8b-instruct", version="BASE", quantization="FP8"
        ),
        hardware=HardwareReference(name="AWS/P5.48xLarge "),
        framework=FrameworkReference(name="vLLM", version="v0.11.0"),
    )
    assert await known.resolve(same) == await known.resolve(_reference())


async def test_a_framework_version_may_be_left_out_if_there_is_only_one(known: Known) -> None:
    resolution = await known.one(framework=FrameworkReference(name="sglang"))
    assert resolution.framework_id == known.frameworks["sglang 0.5.3"]
    resolution = await known.one(framework=FrameworkReference(name="vllm"))
    [(field, reason, detail)] = _failures(resolution)
    assert (field, reason) == ("framework", "REFERENCE_AMBIGUOUS")
    assert "0.10.0; 0.11.0" in detail
    assert "Add version." in detail
    # The rest is resolved all the same.
    assert resolution.model_version_id == known.versions["fp8"]


async def test_an_ambiguous_model_lists_the_choices_and_what_to_add(known: Known) -> None:
    resolution = await known.one(
        model_version=ModelVersionReference(model="meta-llama/Llama-3.1-8B-Instruct")
    )
    [(field, reason, detail)] = _failures(resolution)
    assert (field, reason) == ("model_version", "REFERENCE_AMBIGUOUS")
    for choice in ("base bf16 safetensors", "base fp8 safetensors", "base q4_k_m gguf"):
        assert choice in detail
    assert "Add quantization or format." in detail
    assert resolution.model_id == known.model
    assert not resolution.model_version_id


async def test_any_of_the_labels_may_tell_versions_apart(known: Known) -> None:
    resolution = await known.one(
        model_version=ModelVersionReference(model="meta-llama/Llama-3.1-8B-Instruct", format="gguf")
    )
    assert resolution.model_version_id == known.versions["q4_k_m"]


async def test_an_unknown_name_is_answered_with_the_nearest(known: Known) -> None:
    resolution = await known.one(
        model_version=ModelVersionReference(model="meta-llama/Llama-3-8B-Instruct"),
        hardware=HardwareReference(name="aws/p5.48large"),
        framework=FrameworkReference(name="vlm"),
    )
    assert [(field, reason) for field, reason, _ in _failures(resolution)] == [
        (field, "REFERENCE_NOT_FOUND") for field in ("model_version", "hardware", "framework")
    ]
    texts = [detail for _, _, detail in _failures(resolution)]
    assert "Nearest: meta-llama/Llama-3.1-8B-Instruct." in texts[0]
    assert "Nearest: aws/p5.48xlarge" in texts[1]
    assert "Nearest: vllm." in texts[2]


async def test_a_name_like_no_other_has_no_suggestion(known: Known) -> None:
    resolution = await known.one(hardware=HardwareReference(name="zzzz"))
    [(_, reason, detail)] = _failures(resolution)
    assert reason == "REFERENCE_NOT_FOUND"
    assert "Nearest" not in detail


async def test_a_version_the_model_does_not_have_is_answered_with_those_it_has(
    known: Known,
) -> None:
    resolution = await known.one(
        model_version=ModelVersionReference(
            model="meta-llama/Llama-3.1-8B-Instruct", quantization="nvfp4"
        )
    )
    [(_, reason, detail)] = _failures(resolution)
    assert reason == "REFERENCE_NOT_FOUND"
    assert "quantization 'nvfp4'" in detail
    assert "base q4_k_m gguf" in detail
    assert resolution.model_id == known.model


async def test_a_model_without_versions_does_not_resolve(known: Known) -> None:
    await MODEL.call(known.catalog.stub, "Create", model=model(name="org/bare"))
    resolution = await known.one(model_version=ModelVersionReference(model="org/bare"))
    [(_, reason, detail)] = _failures(resolution)
    assert reason == "REFERENCE_NOT_FOUND"
    assert "no active version" in detail


async def test_archived_entries_do_not_resolve_by_name_or_id(known: Known) -> None:
    stub = known.catalog.stub
    version, config = known.versions["fp8"], known.hardware["aws/p5.48xlarge"]
    chosen = known.frameworks["vllm 0.11.0"]
    await MODEL_VERSION.archive(stub, version)
    await HARDWARE.archive(stub, config)
    await FRAMEWORK.archive(stub, chosen)
    by_id = _reference(
        model_version=ModelVersionReference(id=version),
        hardware=HardwareReference(id=config),
        framework=FrameworkReference(id=chosen),
    )
    for resolution in await known.resolve(_reference(), by_id):
        assert [(field, reason) for field, reason, _ in _failures(resolution)] == [
            (field, "RESOURCE_ARCHIVED") for field in ("model_version", "hardware", "framework")
        ]
        assert not resolution.model_version_id
        assert not resolution.hardware_config_id
        assert not resolution.framework_id


async def test_an_archived_model_archives_its_versions_for_references(known: Known) -> None:
    await MODEL.archive(known.catalog.stub, known.model)
    by_id = _reference(model_version=ModelVersionReference(id=known.versions["bf16"]))
    for resolution in await known.resolve(_reference(), by_id):
        assert [reason for _, reason, _ in _failures(resolution)] == ["RESOURCE_ARCHIVED"]
        assert not resolution.model_version_id


async def test_an_archived_entry_does_not_make_an_active_one_ambiguous(known: Known) -> None:
    await FRAMEWORK.archive(known.catalog.stub, known.frameworks["vllm 0.10.0"])
    resolution = await known.one(framework=FrameworkReference(name="vllm"))
    assert resolution.framework_id == known.frameworks["vllm 0.11.0"]


async def test_a_reference_that_names_nothing_is_wrong_by_itself(known: Known) -> None:
    broken = ConfigReference(
        model_version=ModelVersionReference(id="not-an-id"),
        hardware=HardwareReference(name="\x00"),
    )
    first, second = await known.resolve(broken, _reference())
    assert [(field, reason) for field, reason, _ in _failures(first)] == [
        (field, "INVALID_FIELD") for field in ("model_version", "hardware", "framework")
    ]
    assert not second.failures


async def test_an_unknown_id_is_not_found(known: Known) -> None:
    unknown = str(uuid.uuid4())
    resolution = await known.one(hardware=HardwareReference(id=unknown))
    [(field, reason, detail)] = _failures(resolution)
    assert (field, reason) == ("hardware", "REFERENCE_NOT_FOUND")
    assert unknown in detail


@pytest.mark.parametrize("count", [0, 1001])
async def test_the_number_of_references_has_bounds(catalog: Served, count: int) -> None:
    request = ResolveConfigsRequest(references=[_reference()] * count)
    refused = await failure(catalog.stub.ResolveConfigs(request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == {"references": "must have from 1 to 1000 entries"}


async def test_a_thousand_references_are_answered_in_their_order(known: Known) -> None:
    references = [
        _reference(hardware=HardwareReference(name=f"none/{n}"))
        if n % 3
        else _reference(model_version=ModelVersionReference(id=known.versions["bf16"]))
        for n in range(1000)
    ]
    resolutions = await known.resolve(*references)
    for n, resolution in enumerate(resolutions):
        assert [field for field, _, _ in _failures(resolution)] == (["hardware"] if n % 3 else [])
        expected = "fp8" if n % 3 else "bf16"
        assert resolution.model_version_id == known.versions[expected]
        if n % 3:
            assert f"'none/{n}'" in resolution.failures[0].detail
