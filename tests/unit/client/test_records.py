import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from servemark.client import records as records_module
from servemark.client.record_fields import RecordError
from servemark.client.records import DRY_RUN_KEYS, ResultRecord, records_to_stream, row_to_proto
from servemark.client.sketch import sketch_of

GOOD: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-70B-Instruct",
    "model_version": "base",
    "quantization": "fp8",
    "format": "safetensors",
    "hardware": "aws/p5.48xlarge",
    "gpu_count": 8,
    "framework": "vllm",
    "framework_version": "0.11.0",
    "workload_type": "random",
    "input_tokens": 1024,
    "output_tokens": 256,
    "concurrency": 32,
    "parallelism": {"tp": 8},
    "benchmarked_at": "2025-09-14T04:09:03.25+02:00",
    "ttft_p50_ms": 100.0,
    "ttft_p99_ms": 250.5,
    "throughput_tokens_sec": 3000.0,
    "request_count": 500,
    "provenance": "measured",
    "tool": "vllm",
    "tool_version": "0.11.0",
    "source": "a page",
    "source_sha256": "ab" * 32,
    "detailed_metrics": {"reported": {"p99.9_ttft_ms": 300.0}},
}


def record(**changes: Any) -> ResultRecord:
    return ResultRecord.from_json({**GOOD, **changes})


def problems_of(**changes: Any) -> dict[str, str]:
    with pytest.raises(RecordError) as caught:
        record(**changes)
    return {problem.field: problem.reason for problem in caught.value.problems}


def test_a_record_survives_the_way_through_json() -> None:
    made = record()
    assert ResultRecord.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert made.benchmarked_at == datetime(2025, 9, 14, 2, 9, 3, 250000, tzinfo=UTC)
    assert made.to_json()["benchmarked_at"] == "2025-09-14T02:09:03.250000Z"
    assert made.percentile_source == "measured"


def test_every_wrong_field_is_named_at_once() -> None:
    assert problems_of(
        model=None,
        hardware="",
        gpu_count=True,
        concurrency=0,
        request_rate="inf",
        benchmarked_at="2025-09-14 02:09:03",
        ttft_p50_ms=float("nan"),
        accuracy_score=80,
        provenance="guessed",
        source_sha256="abc",
        ttft_p9_ms=3,
    ) == {
        "model": "missing",
        "hardware": "type",
        "gpu_count": "type",
        "concurrency": "range",
        "request_rate": "type",
        "benchmarked_at": "type",
        "ttft_p50_ms": "range",
        "accuracy_score": "range",
        "provenance": "range",
        "source_sha256": "type",
        "ttft_p9_ms": "unknown",
    }


def test_a_percentile_smaller_than_a_lower_one_is_refused_across_a_gap() -> None:
    assert problems_of(ttft_p50_ms=300.0) == {"ttft_p99_ms": "range"}


def test_a_record_without_any_figure_is_refused() -> None:
    found = problems_of(ttft_p50_ms=None, ttft_p99_ms=None, throughput_tokens_sec=None)
    assert found == {"metrics": "no_metrics"}


def test_percentiles_with_an_absent_source_contradict_each_other() -> None:
    assert problems_of(percentile_source="absent") == {"percentile_source": "range"}


def test_a_record_without_percentiles_says_their_source_is_absent() -> None:
    assert record(ttft_p50_ms=None, ttft_p99_ms=None).percentile_source == "absent"


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1.5, "3", True])
def test_only_whole_numbers_are_counts(value: object) -> None:
    assert problems_of(request_count=value) == {"request_count": "type"}


def test_numbers_no_float_holds_and_texts_no_utf_8_holds_are_refused() -> None:
    wrong = problems_of(ttft_p50_ms=10**400, ttft_p99_ms=None, model="org/\ud800")
    assert wrong == {"ttft_p50_ms": "range", "model": "type"}


def test_sketches_travel_with_the_row_and_leave_its_id_alone() -> None:
    plain = record()
    sketched = replace(plain, ttft_sketch=sketch_of([100, 104]), tpot_sketch=sketch_of([5]))
    assert (sketched.id(), sketched.to_json()) == (plain.id(), plain.to_json())
    row = row_to_proto(sketched)
    assert (row.ttft_sketch, row.tpot_sketch) == (sketched.ttft_sketch, sketched.tpot_sketch)
    assert not row_to_proto(plain).HasField("ttft_sketch")


def test_detailed_metrics_that_would_not_fit_the_wire_are_refused() -> None:
    assert problems_of(detailed_metrics={"text": "x" * 20_000}) == {"detailed_metrics": "range"}
    assert problems_of(detailed_metrics={"nan": float("nan")}) == {"detailed_metrics": "type"}


def test_the_dry_run_has_exactly_the_keys_of_the_contract() -> None:
    shown = record().dry_run_json("vllm")
    assert list(shown) == list(DRY_RUN_KEYS)
    assert shown["format"] == "vllm"
    assert shown["ttft_p90_ms"] is None
    assert ",".join(shown) == (
        "model,model_version,hardware,gpu_count,framework,framework_version,quantization,"
        "workload_type,input_tokens,output_tokens,concurrency,request_rate,benchmarked_at,"
        "ttft_p50_ms,ttft_p90_ms,ttft_p95_ms,ttft_p99_ms,"
        "tpot_p50_ms,tpot_p90_ms,tpot_p95_ms,tpot_p99_ms,throughput_tokens_sec,rps_sustained,"
        "accuracy_score,gpu_utilization_pct,memory_used_gb,percentile_source,provenance,format,"
        "source_sha256"
    )


def test_the_id_follows_the_content_and_not_the_order_of_keys() -> None:
    turned = ResultRecord.from_json(dict(reversed(GOOD.items())))
    assert turned.id() == record().id()
    assert record(hardware="gcp/a3-highgpu-8g").id() != record().id()
    assert record(ttft_p99_ms=250.6).id() != record().id()


def test_a_row_carries_every_figure_and_leaves_absent_ones_absent() -> None:
    (plan,) = records_to_stream([record()])
    (row,) = plan.rows
    assert row.metrics.ttft_p99_ms == 250.5
    assert not row.metrics.HasField("ttft_p90_ms")
    assert not row.metrics.HasField("accuracy_score")
    assert not row.HasField("batch_size")
    assert row.request_count == 500
    assert row.source_sha256 == bytes.fromhex("ab" * 32)
    assert json.loads(row.detailed_metrics_json) == {
        "reported": {"p99.9_ttft_ms": 300.0},
        "gpu_count": 8,
        "source": "a page",
    }
    (spec,) = plan.header.configs
    assert spec.workload.input_tokens == 1024
    assert not spec.workload.HasField("request_rate")
    assert (spec.parallelism.tensor, spec.parallelism.data) == (8, 0)
    assert spec.reference.hardware.name == "aws/p5.48xlarge"


def test_streams_are_split_by_tool_version_and_provenance_and_share_configurations() -> None:
    plans = list(
        records_to_stream(
            [
                record(),
                record(ttft_p50_ms=99.0),
                record(concurrency=64),
                record(tool="guidellm"),
                record(provenance="simulated"),
                record(),
            ]
        )
    )
    assert [(len(plan.header.configs), len(plan.rows)) for plan in plans] == [
        (2, 3),
        (1, 1),
        (1, 1),
    ]
    assert [row.config_index for row in plans[0].rows] == [0, 0, 1]


def test_a_header_is_full_at_its_limit_and_another_stream_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records_module, "MAX_CONFIGS", 2)
    plans = list(records_to_stream([record(concurrency=count) for count in (1, 2, 3)]))
    assert [len(plan.header.configs) for plan in plans] == [2, 1]
    assert [row.config_index for plan in plans for row in plan.rows] == [0, 1, 0]


def test_a_stream_id_changes_with_rows_configurations_and_batch_size() -> None:
    def stream_id(*members: ResultRecord, rows: int = 500) -> str:
        (plan,) = records_to_stream(members)
        return plan.stream_id(rows)

    first = stream_id(record())
    assert first == stream_id(record())
    assert first != stream_id(record(), record(ttft_p50_ms=99.0))
    assert first != stream_id(record(concurrency=64))
    assert first != stream_id(record(), rows=100)
