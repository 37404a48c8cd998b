"""A wrong request is answered with every wrong field at once, by its path in the request."""

import uuid
from typing import Any

import grpc
import pytest

from servemark.catalog.v1 import (
    hardware_config_pb2,
    inference_framework_pb2,
    model_pb2,
    model_use_case_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight
from servemark.type.v1.range_pb2 import TokenRange
from tests.rpc.catalog.kinds import (
    FRAMEWORK,
    HARDWARE,
    KINDS,
    MODEL,
    MODEL_USE_CASE,
    MODEL_VERSION,
    USE_CASE,
    Kind,
    hardware,
    model,
    model_version,
    struct,
    use_case,
)
from tests.rpc.catalog.serving import Served
from tests.support.failures import failure

NAN, INF = float("nan"), float("inf")
ID = str(uuid.uuid4())

# Every field wrong, and the paths that must be named, no other.
ALL_WRONG: list[tuple[Kind, Any, list[str]]] = [
    (
        MODEL,
        model_pb2.Model(
            name="x" * 257,
            architecture=" ",
            parameters=10**14 + 1,
            active_parameters=-1,
            base_model="b" * 257,
            metadata=struct({"n": NAN}),
            tags=["ok", "", "t" * 65, "bad\x00"],
        ),
        [
            "name",
            "architecture",
            "parameters",
            "active_parameters",
            "base_model",
            "metadata",
            "tags[1]",
            "tags[2]",
            "tags[3]",
        ],
    ),
    (
        MODEL_VERSION,
        model_version_pb2.ModelVersion(
            model_id="m",
            version="v" * 65,
            quantization="q" * 33,
            quantization_bits=65,
            format="",
            artifact_uri="file:///etc/passwd",
            model_config=struct({"n": INF}),
        ),
        [
            "model_id",
            "version",
            "quantization",
            "quantization_bits",
            "format",
            "artifact_uri",
            "model_config",
        ],
    ),
    (
        HARDWARE,
        hardware_config_pb2.HardwareConfig(
            name="",
            gpu_type="g" * 65,
            gpu_count=4097,
            vram_per_gpu_gb=0,
            cloud_provider="c" * 65,
            instance_type="i" * 129,
            specs=struct({"a\x00": 1}),
        ),
        [
            "name",
            "gpu_type",
            "gpu_count",
            "vram_per_gpu_gb",
            "cloud_provider",
            "instance_type",
            "specs",
        ],
    ),
    (
        FRAMEWORK,
        inference_framework_pb2.InferenceFramework(
            name="n" * 65,
            version="",
            capabilities=struct({"n": NAN}),
            config_template=struct({"s": "\x00"}),
        ),
        ["name", "version", "capabilities", "config_template"],
    ),
    (
        USE_CASE,
        use_case_pb2.UseCase(
            category="",
            subcategory="chat bot",
            pipeline_tag="conversational",
            characteristics=use_case_pb2.UseCaseCharacteristics(
                typical_input_tokens=-1,
                typical_output_tokens=-1,
                input_tokens=TokenRange(min=5, max=4),
                output_tokens=TokenRange(min=-1),
                default_limits=[
                    MetricLimit(metric=Metric.METRIC_TTFT_P90_MS, limit=0),
                    MetricLimit(metric=Metric.METRIC_TTFT_P90_MS, limit=1),
                    MetricLimit(limit=INF),
                ],
                source_date="last May",
            ),
            default_weights=[
                MetricWeight(metric=Metric.METRIC_TTFT_P90_MS, weight=-1),
                MetricWeight(metric=99, weight=0),  # type: ignore[arg-type]
                MetricWeight(metric=Metric.METRIC_TTFT_P90_MS, weight=NAN),
            ],
        ),
        [
            "category",
            "subcategory",
            "pipeline_tag",
            "characteristics.typical_input_tokens",
            "characteristics.typical_output_tokens",
            "characteristics.input_tokens.max",
            "characteristics.output_tokens.min",
            "characteristics.default_limits[0].limit",
            "characteristics.default_limits[1].metric",
            "characteristics.default_limits[2].metric",
            "characteristics.default_limits[2].limit",
            "characteristics.source_date",
            "default_weights[0].weight",
            "default_weights[1].metric",
            "default_weights[2].metric",
            "default_weights[2].weight",
            "default_weights",
        ],
    ),
    (
        MODEL_USE_CASE,
        model_use_case_pb2.ModelUseCase(
            use_case_id="u",
            suitability_score=1.5,
            priority=-1,
            performance_summary=struct({"n": NAN}),
        ),
        ["model_id", "use_case_id", "suitability_score", "priority", "performance_summary"],
    ),
]


@pytest.mark.parametrize(
    ("kind", "message", "paths"), ALL_WRONG, ids=lambda v: getattr(v, "field", "")
)
async def test_every_wrong_field_is_named_at_once(
    catalog: Served, kind: Kind, message: Any, paths: list[str]
) -> None:
    refused = await failure(kind.call(catalog.stub, "Create", **{kind.field: message}))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.reason == "INVALID_FIELD"
    assert list(refused.fields) == [f"{kind.field}.{path}" for path in paths]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)
async def test_an_empty_creation_names_every_required_field(catalog: Served, kind: Kind) -> None:
    required = {
        "model": ["name", "architecture", "parameters"],
        "model_version": ["model_id", "version", "quantization", "quantization_bits", "format"],
        "hardware_config": [
            "name",
            "gpu_type",
            "gpu_count",
            "vram_per_gpu_gb",
            "cloud_provider",
            "instance_type",
        ],
        "inference_framework": ["name", "version"],
        "use_case": ["category", "subcategory", "pipeline_tag", "default_weights"],
        "model_use_case": ["model_id", "use_case_id"],
    }[kind.field]
    refused = await failure(kind.call(catalog.stub, "Create"))
    assert list(refused.fields) == [f"{kind.field}.{field}" for field in required]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)
async def test_an_update_checks_only_the_masked_fields(catalog: Served, kind: Kind) -> None:
    created = await kind.create(catalog.stub)
    message = next(wrong for each, wrong, _ in ALL_WRONG if each is kind)
    wanted = type(message)()
    wanted.CopyFrom(message)
    wanted.id = created.id
    field, value = kind.change
    setattr(wanted, field, value)
    assert getattr(await kind.update(catalog.stub, wanted, field), field) == value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)
async def test_a_list_names_every_wrong_field(catalog: Served, kind: Kind) -> None:
    refused = await failure(kind.call(catalog.stub, "List", page_size=1001, order_by=77))
    assert list(refused.fields) == ["page_size", "order_by"]
    refused = await failure(kind.call(catalog.stub, "List", page_size=-1))
    assert list(refused.fields) == ["page_size"]


@pytest.mark.parametrize(
    ("kind", "filters", "paths"),
    [
        (MODEL, {"tags": ["a", ""], "name_contains": "x" * 257}, ["tags[1]", "name_contains"]),
        (MODEL, {"architectures": ["\x00"]}, ["architectures[0]"]),
        (
            MODEL_VERSION,
            {"model_ids": [ID, "m"], "min_vram_gb": NAN, "max_vram_gb": -1.0},
            ["min_vram_gb", "max_vram_gb", "model_ids[1]"],
        ),
        (MODEL_VERSION, {"min_vram_gb": 5, "max_vram_gb": 4}, ["max_vram_gb"]),
        (
            HARDWARE,
            {"min_total_vram_gb": -1, "max_cost_per_hour_usd": NAN, "gpu_types": [""]},
            ["min_total_vram_gb", "gpu_types[0]", "max_cost_per_hour_usd"],
        ),
        (FRAMEWORK, {"names": [""]}, ["names[0]"]),
        (
            USE_CASE,
            {"categories": [""], "pipeline_tags": [""]},
            ["categories[0]", "pipeline_tags[0]"],
        ),
        (
            MODEL_USE_CASE,
            {"model_ids": ["m"], "use_case_ids": ["u"]},
            ["model_ids[0]", "use_case_ids[0]"],
        ),
    ],
)
async def test_wrong_filters_are_named(
    catalog: Served, kind: Kind, filters: dict[str, Any], paths: list[str]
) -> None:
    refused = await failure(kind.call(catalog.stub, "List", **filters))
    assert refused.reason == "INVALID_FIELD"
    assert list(refused.fields) == paths


async def test_the_ends_of_every_range_are_allowed(catalog: Served) -> None:
    largest = model(
        name="n" * 256,
        parameters=10**14,
        active_parameters=10**14,
        tags=[f"{i}" for i in range(32)],
    )
    answer = await MODEL.call(catalog.stub, "Create", model=largest)
    assert list(answer.model.tags) == list(largest.tags)
    smallest = model(name="n", parameters=1, architecture="a" * 64)
    parent = (await MODEL.call(catalog.stub, "Create", model=smallest)).model
    for bits in (1, 64):
        version = model_version(parent.id, quantization_bits=bits, version="v" * bits)
        await MODEL_VERSION.call(catalog.stub, "Create", model_version=version)
    for count in (1, 4096):
        config = hardware(count, gpu_count=count, vram_per_gpu_gb=count)
        created = (
            await HARDWARE.call(catalog.stub, "Create", hardware_config=config)
        ).hardware_config
        assert created.total_vram_gb == count * count


async def test_one_tag_more_than_allowed_is_refused(catalog: Served) -> None:
    wrong = model(tags=[f"{i}" for i in range(33)])
    refused = await failure(MODEL.call(catalog.stub, "Create", model=wrong))
    assert refused.fields == {"model.tags": "has more than 32 entries"}


async def test_active_parameters_may_not_exceed_the_total(catalog: Served) -> None:
    wrong = model(parameters=10, active_parameters=11)
    refused = await failure(MODEL.call(catalog.stub, "Create", model=wrong))
    assert list(refused.fields) == ["model.active_parameters"]
    created = (
        await MODEL.call(catalog.stub, "Create", model=model(parameters=10, active_parameters=10))
    ).model
    # Only one of the two is masked: the other one is the stored one.
    smaller = model(id=created.id, parameters=9)
    refused = await failure(MODEL.update(catalog.stub, smaller, "parameters"))
    assert list(refused.fields) == ["model.active_parameters"]
    assert await MODEL.get(catalog.stub, created.id) == created


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/key",
        "gs://bucket/key",
        "hf://meta-llama/Llama-3.1-8B@main",
        "https://example.org/weights",
        "oci://registry.example.org/image:tag",
        "",
    ],
)
async def test_an_artifact_may_lie_at_these_places(catalog: Served, uri: str) -> None:
    parent = await MODEL.create(catalog.stub)
    sent = model_version(parent.id, artifact_uri=uri)
    answer = await MODEL_VERSION.call(catalog.stub, "Create", model_version=sent)
    assert answer.model_version.artifact_uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.org",
        "file:///weights",
        "https://user:secret@example.org/weights",
        "s3://key@bucket/weights",
        "https:///weights",
        "hf://org/model with blanks",
        "weights.gguf",
        "https://[broken",
        "javascript:alert(1)",
        "https://e.org/" + "a" * 2048,
    ],
)
async def test_an_artifact_may_not_lie_at_these_places(catalog: Served, uri: str) -> None:
    wrong = model_version(ID, artifact_uri=uri)
    refused = await failure(MODEL_VERSION.call(catalog.stub, "Create", model_version=wrong))
    assert list(refused.fields) == ["model_version.artifact_uri"]


@pytest.mark.parametrize(
    ("weights", "paths"),
    [
        ([], ["default_weights"]),
        ([(Metric.METRIC_TTFT_P90_MS, 0.0)], ["default_weights"]),
        ([(Metric.METRIC_UNSPECIFIED, 1.0)], ["default_weights[0].metric"]),
    ],
)
async def test_weights_need_one_above_zero_and_a_metric_each(
    catalog: Served, weights: list[tuple[int, float]], paths: list[str]
) -> None:
    wrong = use_case(default_weights=[{"metric": metric, "weight": w} for metric, w in weights])
    refused = await failure(USE_CASE.call(catalog.stub, "Create", use_case=wrong))
    assert list(refused.fields) == [f"use_case.{path}" for path in paths]
