"""The shipped data keeps what its README promises."""

import json
import re
from collections import Counter
from datetime import date
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from servemark.client.records import ResultRecord, records_to_stream
from servemark.type.v1 import metric_pb2

SAMPLE = Path(str(files("servemark.sample")))

# huggingface.js packages/tasks/src/pipelines.ts@fe42e68, the tags of its nlp and multimodal groups.
PIPELINE_TAGS = {
    *("text-classification", "token-classification", "table-question-answering"),
    *("question-answering", "zero-shot-classification", "translation", "summarization"),
    *("feature-extraction", "text-generation", "fill-mask", "sentence-similarity"),
    *("table-to-text", "multiple-choice", "text-ranking", "text-retrieval"),
    *("audio-text-to-text", "image-text-to-text", "image-text-to-image", "image-text-to-video"),
    *("visual-question-answering", "document-question-answering", "video-text-to-text"),
    *("visual-document-retrieval", "any-to-any"),
}


def catalog(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((SAMPLE / "catalog" / f"{name}.json").read_text())
    return rows


def results(folder: str) -> list[dict[str, Any]]:
    lines = [p.read_text().splitlines() for p in sorted((SAMPLE / folder).glob("*.jsonl"))]
    return [json.loads(line) for part in lines for line in part]


MEASURED = results("results")
SIMULATED = results("results-simulated")
ALL = MEASURED + SIMULATED


def test_there_is_as_much_as_a_first_start_needs() -> None:
    hardware = {row["name"]: row for row in catalog("hardware")}
    assert sum(bool(row["prices"]) for row in hardware.values()) >= 20
    assert len(catalog("models")) >= 15
    assert len({row["name"] for row in catalog("frameworks")}) >= 5
    assert len(catalog("use_cases")) >= 10
    assert len(MEASURED) >= 200
    assert len({row["tool"] for row in MEASURED}) >= 3
    assert len({hardware[row["hardware"]]["gpu_type"] for row in MEASURED}) >= 4


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("models", ("name",)),
        ("model_versions", ("model", "version", "quantization", "format")),
        ("hardware", ("name",)),
        ("frameworks", ("name", "version")),
        ("use_cases", ("subcategory",)),
    ],
)
def test_no_catalog_entry_occurs_twice(name: str, key: tuple[str, ...]) -> None:
    counts = Counter(tuple(row[part] for part in key) for row in catalog(name))
    assert max(counts.values()) == 1


def test_every_reference_is_in_the_catalog() -> None:
    models = {row["name"] for row in catalog("models")}
    versions = {
        (row["model"], row["version"], row["quantization"], row["format"])
        for row in catalog("model_versions")
    }
    hardware = {row["name"]: row["gpu_count"] for row in catalog("hardware")}
    frameworks = {(row["name"], row["version"]) for row in catalog("frameworks")}
    assert {model for model, *_ in versions} == models
    for row in ALL:
        version = (row["model"], row["model_version"], row["quantization"], row["format"])
        assert version in versions
        assert hardware[row["hardware"]] == row["gpu_count"]
        assert (row["framework"], row["framework_version"]) in frameworks


def test_every_row_names_its_source_and_date() -> None:
    for row in catalog("models"):
        assert row["metadata"]["source"]
        assert date.fromisoformat(row["metadata"]["source_date"])
        assert row["metadata"]["license"]
    assert all(row["model_config"]["source"] for row in catalog("model_versions"))
    for row in catalog("hardware"):
        assert row["specs"]["source"]
        assert date.fromisoformat(row["specs"]["source_date"])
        assert all(price["source"] for price in row["prices"])
    assert all(row["capabilities"]["source"] for row in catalog("frameworks"))
    for row in catalog("use_cases"):
        facts = row["characteristics"]
        assert facts["sla_source"]
        assert facts["shape_source"]
        assert facts["weights_source"]
        assert date.fromisoformat(facts["source_date"])
    assert all(row["source"] and row["detailed_metrics"]["time_basis"] for row in ALL)


def test_models_with_experts_carry_the_total_of_all_experts() -> None:
    experts = {row["name"]: row for row in catalog("models") if "moe" in row["tags"]}
    assert len(experts) >= 5
    for row in catalog("models"):
        assert (row["active_parameters"] is not None) == (row["name"] in experts)
    assert all(0 < row["active_parameters"] < row["parameters"] for row in experts.values())
    # 235B-A22B: the total decides what fits on a GPU, the active part what a token costs.
    assert experts["Qwen/Qwen3-235B-A22B"]["parameters"] == 235_093_634_560


def test_quantization_bits_fit_the_name() -> None:
    bits = {"bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "fp4": 4, "nvfp4": 4, "mxfp4": 4, "nf4": 4}
    for row in catalog("model_versions"):
        assert row["quantization_bits"] == bits[row["quantization"]]
        assert re.fullmatch(r"(hf://[\w.-]+/[\w.-]+)?", row["artifact_uri"])


def test_prices_are_dated_and_no_two_begin_on_one_day() -> None:
    for row in catalog("hardware"):
        keys = [(p["region"], p["purchase_option"], p["valid_from"]) for p in row["prices"]]
        assert len(set(keys)) == len(keys)
        for price in row["prices"]:
            assert date.fromisoformat(price["valid_from"])
            assert price["purchase_option"] in {"on_demand", "spot", "reserved"}
            assert price["usd_per_hour"] > 0


def test_weights_of_a_use_case_sum_to_one_and_limits_name_metrics() -> None:
    names = {
        name.removeprefix("METRIC_").lower() for name in metric_pb2.Metric.DESCRIPTOR.values_by_name
    }
    for row in catalog("use_cases"):
        facts = row["characteristics"]
        assert sum(row["default_weights"].values()) == pytest.approx(1)
        assert row["default_weights"].keys() <= names
        assert {limit["metric"] for limit in facts["sla"]} <= names
        assert row["pipeline_tag"] in PIPELINE_TAGS
        for lengths in (facts["input_tokens"], facts["output_tokens"]):
            assert 0 < lengths["min"] <= lengths["typical"] <= lengths["max"]


def test_every_result_is_a_record_the_client_sends() -> None:
    records = [ResultRecord.from_json(row) for row in ALL]
    assert len({record.id() for record in records}) == len(ALL)
    assert sum(len(plan.rows) for plan in records_to_stream(records)) == len(ALL)


def test_percentiles_never_fall_and_say_where_they_come_from() -> None:
    for row in ALL:
        for metric in ("ttft", "tpot"):
            given = [row[key] for q in (50, 90, 95, 99) if (key := f"{metric}_p{q}_ms") in row]
            assert all(low <= high for low, high in pairwise(given))
        has_percentiles = any(re.match(r"t(tf|po)t_p\d+_ms", key) for key in row)
        assert (row["percentile_source"] != "absent") == has_percentiles


def test_simulated_figures_are_marked_and_kept_apart() -> None:
    assert {row["provenance"] for row in MEASURED} == {"measured"}
    assert {row["provenance"] for row in SIMULATED} == {"simulated"}


def test_a_chatbot_has_candidates_within_its_limits_on_several_gpu_types() -> None:
    (use_case,) = (row for row in catalog("use_cases") if row["subcategory"] == "chatbot")
    facts = use_case["characteristics"]
    hardware = {row["name"]: row for row in catalog("hardware")}
    criteria = ("ttft_p50_ms", "tpot_p50_ms", "throughput_tokens_sec")
    fitting = {
        hardware[row["hardware"]]["gpu_type"]
        for row in MEASURED
        if all(key in row for key in criteria)
        and hardware[row["hardware"]]["prices"]
        and all(
            facts[key]["min"] <= row.get(key, -1) <= facts[key]["max"]
            for key in ("input_tokens", "output_tokens")
        )
        and all(row.get(limit["metric"], 1e9) <= limit["limit"] for limit in facts["sla"])
    }
    assert fitting >= {"H200-141GB", "MI300X-192GB", "MI355X-288GB"}


def test_the_readme_counts_what_is_there() -> None:
    table = re.findall(r"^\| `([\w/.-]+)` \| (\d+) \|", (SAMPLE / "README.md").read_text(), re.M)
    counts = {name: int(count) for name, count in table}
    shipped = [*SAMPLE.glob("catalog/*.json"), *SAMPLE.glob("results*/*.jsonl")]
    assert counts == {
        str(path.relative_to(SAMPLE)): len(json.loads(text))
        if path.suffix == ".json"
        else len(text.splitlines())
        for path in shipped
        if (text := path.read_text())
    }
