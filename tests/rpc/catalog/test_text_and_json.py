"""Text comes to one form, free JSON keeps its form and its bounds."""

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct, Value

from servemark.catalog.v1.use_case_pb2 import UseCaseCharacteristics
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight
from servemark.type.v1.range_pb2 import TokenRange
from tests.rpc.catalog.kinds import (
    FRAMEWORK,
    MODEL,
    MODEL_VERSION,
    USE_CASE,
    framework,
    model,
    model_version,
    use_case,
)
from tests.rpc.catalog.serving import Served
from tests.support.failures import failure


async def _create(catalog: Served, **fields: Any) -> Any:
    return (await MODEL.call(catalog.stub, "Create", model=model(**fields))).model


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"leaf": 1}
    for _ in range(levels - 1):
        value = {"deeper": value}
    return value


async def test_two_spellings_of_one_name_are_one_name(catalog: Served) -> None:
    created = await _create(catalog, name="caf\u0065\u0301/Modèle")
    assert created.name == "café/Modèle"
    refused = await failure(_create(catalog, name="CAF\u00c9/MODÈLE"))
    assert refused.metadata["existing_id"] == created.id
    assert await MODEL.ids(catalog.stub, name_contains="CAFÉ") == [created.id]


async def test_blanks_around_text_are_dropped_and_words_are_lower_case(catalog: Served) -> None:
    created = await _create(
        catalog, name="  a b ", architecture=" LLaMA ", tags=[" Chat", "CHAT", "code"]
    )
    assert (created.name, created.architecture) == ("a b", "llama")
    assert list(created.tags) == ["chat", "code"]
    one = framework(name="vLLM", version="v0.11.0")
    made = await FRAMEWORK.call(catalog.stub, "Create", inference_framework=one)
    assert made.inference_framework.name == "vllm"
    assert made.inference_framework.version == "0.11.0"
    version = model_version(created.id, quantization="NVFP4", format="SafeTensors", version="V1")
    done = (await MODEL_VERSION.call(catalog.stub, "Create", model_version=version)).model_version
    assert (done.version, done.quantization, done.format) == ("V1", "nvfp4", "safetensors")


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "a\x1b[31m", "\u200b\x7f"])
async def test_control_characters_in_a_name_are_refused(catalog: Served, name: str) -> None:
    refused = await failure(_create(catalog, name=name))
    assert refused.fields == {"model.name": "has control characters"}


async def test_length_is_counted_in_characters(catalog: Served) -> None:
    assert (await _create(catalog, name="漢" * 256)).name == "漢" * 256


async def test_json_comes_back_as_it_was_sent(catalog: Served) -> None:
    sent = Struct()
    sent.update(
        {
            "text": '日本 \u2028 " \\ ',
            "whole": 3,
            "large": 2.0**60,
            "huge": 1e308,
            "tiny": 5e-324,
            "negative": -0.5,
            "yes": True,
            "no": False,
            "none": None,
            "list": [1, [2, [3]], {"a": {}}, []],
            "": "an empty key",
        }
    )
    created = await _create(catalog, metadata=sent)
    assert created.metadata == sent
    assert (await MODEL.get(catalog.stub, created.id)).metadata == sent


async def test_json_is_replaced_as_a_whole_and_cleared_by_an_empty_one(catalog: Served) -> None:
    created = await _create(catalog, metadata={"a": 1, "b": 2})
    changed = model(id=created.id, metadata={"c": 3})
    after = await MODEL.update(catalog.stub, changed, "metadata")
    assert dict(after.metadata) == {"c": 3}
    after = await MODEL.update(catalog.stub, model(id=created.id), "metadata")
    assert not after.HasField("metadata")


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({f"k{n}": n for n in range(201)}, "more than 200 keys"),
        ({"l": [{f"k{n}": n} for n in range(200)]}, "more than 200 keys"),
        (_nested(9), "deeper than 8 levels"),
        ({"text": "x" * 16384}, "at most 16384 are allowed"),
        ({"text": "é" * 8192}, "at most 16384 are allowed"),
        ({"n": [1, float("-inf")]}, "not finite"),
        ({"a": {"b\x00": 1}}, "NUL"),
        ({"a": ["\x00"]}, "NUL"),
    ],
)
async def test_json_beyond_its_bounds_is_refused(
    catalog: Served, metadata: dict[str, Any], complaint: str
) -> None:
    refused = await failure(_create(catalog, metadata=metadata))
    assert list(refused.fields) == ["model.metadata"]
    assert complaint in refused.fields["model.metadata"]


@pytest.mark.parametrize(
    "metadata",
    [
        {f"k{n}": n for n in range(200)},
        _nested(8),
        {"text": "x" * (16384 - len('{"text":""}'))},
        {"n": list(range(5000, 7000))},
    ],
)
async def test_json_at_its_bounds_is_kept(catalog: Served, metadata: dict[str, Any]) -> None:
    sent = model(metadata=metadata)
    created = (await MODEL.call(catalog.stub, "Create", model=sent)).model
    assert created.metadata == sent.metadata


async def test_a_value_without_a_kind_is_null(catalog: Served) -> None:
    sent = model()
    sent.metadata.fields["odd"].CopyFrom(Value())
    created = (await MODEL.call(catalog.stub, "Create", model=sent)).model
    assert created.metadata["odd"] is None


async def test_a_use_case_keeps_all_that_is_typical_of_it(catalog: Served) -> None:
    sent = use_case(
        characteristics=UseCaseCharacteristics(
            typical_input_tokens=512,
            typical_output_tokens=256,
            input_tokens=TokenRange(min=64, max=1100),
            output_tokens=TokenRange(min=32),
            default_limits=[
                MetricLimit(metric=Metric.METRIC_TTFT_P99_MS, limit=2000),
                MetricLimit(metric=Metric.METRIC_TPOT_P99_MS, limit=0.1),
            ],
            limits_source="MLPerf v5.1",
            shape_source="GuideLLM",
            weights_source="ours",
            source_date="2026-08-21",
        ),
        default_weights=[
            MetricWeight(metric=Metric.METRIC_USD_PER_MILLION_TOKENS, weight=0.25),
            MetricWeight(metric=Metric.METRIC_TTFT_P50_MS, weight=0),
            MetricWeight(metric=Metric.METRIC_ACCURACY_SCORE, weight=0.3),
        ],
    )
    created = (await USE_CASE.call(catalog.stub, "Create", use_case=sent)).use_case
    assert created.characteristics == sent.characteristics
    assert created.default_weights == sent.default_weights
