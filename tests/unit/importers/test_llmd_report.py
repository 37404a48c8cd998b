from typing import Any

import pytest
import yaml

from tests.support.importing import record, rejection
from tests.support.result_documents import copy_of
from tests.support.shared_data import shared_data

FOLDER = ("llm-d-benchmark", "llmdbenchmark", "analysis", "benchmark_report")


def report(release: str) -> Any:
    text = shared_data(*FOLDER, f"br_v0_{release}_example.yaml").read_text()
    return yaml.load(text, Loader=yaml.BaseLoader)


def statistics(unit: str, **figures: float) -> dict[str, Any]:
    return {"units": unit, "mean": 1.0, **figures}


def made(**latency: Any) -> dict[str, Any]:
    """A report of version 0.2 with little in it."""
    engine = {
        "kind": "inference_engine",
        "tool": "vllm",
        "tool_version": "vllm/vllm-openai:v0.12.0",
        "replicas": 1,
        "model": {"name": "org/m"},
        "accelerator": {"model": "H100", "count": 4, "parallelism": {"tp": 4}},
    }
    load = {"tool": "guidellm", "tool_version": "0.5", "rate_qps": 2, "concurrency": float("inf")}
    performance = {
        "requests": {"total": 10, "failures": 2, "incomplete": 1},
        "latency": latency,
        "throughput": {"output_token_rate": statistics("tokens/s")},
    }
    return {
        "version": "0.2",
        "run": {"uid": "u", "time": {"end": "2025-11-05T18:17:03Z"}},
        "scenario": {
            "stack": [{"metadata": {"label": "e"}, "standardized": engine}],
            "load": {"standardized": load},
        },
        "results": {"request_performance": {"aggregate": performance}},
    }


@pytest.mark.parametrize(
    ("unit", "factor"), [("s", 1000), ("ms", 1), ("s/token", 1000), ("ms/token", 1)]
)
def test_each_statistic_is_in_its_own_unit(unit: str, factor: float) -> None:
    found = record(
        made(
            time_to_first_token=statistics("ms", p50=20.0),
            time_per_output_token=statistics(unit, p90=0.5, p99=0.75),
        )
    )
    assert found.ttft_p50_ms == 20.0
    assert (found.tpot_p90_ms, found.tpot_p99_ms) == (0.5 * factor, 0.75 * factor)


def test_a_latency_without_a_known_unit_is_left_out() -> None:
    found = record(made(time_to_first_token=statistics("count", p50=20.0)))
    assert found.ttft_p50_ms is None


def test_inter_token_latency_is_no_tpot() -> None:
    found = record(made(inter_token_latency=statistics("ms", p50=20.0)))
    assert found.tpot_p50_ms is None
    assert found.detailed_metrics["reported"]["inter_token_latency.p50"] == 20.0


def test_requests_that_failed_or_did_not_end_are_not_among_the_completed() -> None:
    found = record(made())
    assert (found.request_count, found.failed_request_count) == (7, 2)


def test_infinite_concurrency_is_no_limit() -> None:
    assert (record(made()).concurrency, record(made()).request_rate) == (None, 2)


@pytest.mark.parametrize(
    ("replicas", "count", "tp", "gpus"), [(1, 8, 4, 8), (2, 8, 8, 16), (4, 8, 2, 8)]
)
def test_gpus_are_counted_over_all_replicas(replicas: int, count: int, tp: int, gpus: int) -> None:
    data = made()
    engine = data["scenario"]["stack"][0]["standardized"]
    engine |= {"replicas": replicas}
    engine["accelerator"] = {"model": "H100", "count": count, "parallelism": {"tp": tp}}
    assert record(data, gpu_count=1).gpu_count == gpus


def test_where_the_report_leaves_open_what_it_counted_the_user_says_it() -> None:
    data = made()
    engine = data["scenario"]["stack"][0]["standardized"]
    engine |= {"replicas": 2, "accelerator": {"model": "H100", "count": 6, "parallelism": {}}}
    assert "gpu_count" in rejection(data, gpu_count=None).detail
    assert record(data, gpu_count=12).gpu_count == 12


def test_engines_that_differ_have_no_one_hardware() -> None:
    data = made()
    other = copy_of(data["scenario"]["stack"][0])
    other["standardized"]["accelerator"]["model"] = "L40S"
    data["scenario"]["stack"].append(other)
    assert "hardware" in rejection(data, hardware=None).detail
    assert record(data, gpu_count=None).parallelism == {}


def test_a_simulated_server_gives_a_simulated_result() -> None:
    data = made()
    data["scenario"]["stack"][0]["standardized"]["tool"] = "llm-d-inference-sim"
    assert record(data, framework=None).provenance == "simulated"
    assert record(made()).provenance == "measured"


def test_a_release_without_quotation_marks_is_recognised() -> None:
    assert record(made() | {"version": 0.2}).tool == "guidellm"


@pytest.mark.parametrize("release", ["1", "2"])
def test_a_real_report_without_its_metrics_gives_a_reason(release: str) -> None:
    data = report(release)
    data["metrics" if release == "1" else "results"] = {}
    assert rejection(data).reason == "NO_METRICS"
