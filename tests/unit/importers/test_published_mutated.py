"""Whatever is wrong with a published document or a mapping, it is said, and nothing is raised."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servemark.client.records import row_to_proto
from servemark.importers.base import Document, Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from servemark.importers.documents import read_documents
from servemark.importers.documents_table import Table
from servemark.importers.mapping import MappingImporter
from servemark.importers.mapping_file import MappingError, read_mapping
from servemark.runtime.validation import json_problem
from tests.support.importing import CONTEXT, Outcome, outcomes
from tests.support.mutations import ODD, mutated
from tests.support.published_documents import DOCUMENTS, LLAMA_BENCH_PP, LLM_PERF_FAILED
from tests.support.result_documents import copy_of
from tests.support.shared_data import shared_data

OBJECTS: dict[str, Any] = {
    **{name: document for name, document in DOCUMENTS.items() if not isinstance(document, str)},
    "llama_bench_pp": LLAMA_BENCH_PP,
    "llm_perf_failed": LLM_PERF_FAILED,
    "llama_bench_list": [DOCUMENTS["llama_bench_tg"], LLAMA_BENCH_PP],
}
REPORTS = ("br_v0_1_example.yaml", "br_v0_2_example.yaml")
some = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@pytest.mark.parametrize("name", OBJECTS)
@some
@given(data=st.data())
def test_a_document_gone_wrong_gives_records_or_reasons(name: str, data: Any) -> None:
    assert_whole(outcomes(data.draw(mutated(OBJECTS[name]))))


@pytest.mark.parametrize("name", OBJECTS)
def test_a_key_with_any_odd_value_gives_records_or_reasons(name: str) -> None:
    document = copy_of(OBJECTS[name])
    if isinstance(document, list):
        document = document[0]
    for key in document:
        for odd in ODD:
            assert_whole(outcomes({**document, key: odd}))


@pytest.mark.parametrize("name", REPORTS)
@some
@given(data=st.data())
def test_a_real_report_gone_wrong_gives_records_or_reasons(name: str, data: Any) -> None:
    path = shared_data("llm-d-benchmark", "llmdbenchmark", "analysis", "benchmark_report", name)
    document = yaml.load(path.read_text(), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    # The parts that are read, so that the changes fall on them.
    for section in ("time_series", "observability", "component_health", "session_performance"):
        document.get("results", {}).pop(section, None)
    assert_whole(outcomes(data.draw(mutated(document))))


@some
@given(data=st.data())
def test_a_planners_file_gone_wrong_gives_records_or_reasons(data: Any) -> None:
    path = shared_data("llm-d-planner", "tests", "fixtures", "test_benchmarks.json")
    assert_whole(outcomes(data.draw(mutated(json.loads(path.read_text())))))


@pytest.mark.parametrize("name", ["mlperf_server", "mlperf_offline"])
@some
@given(data=st.data())
def test_a_log_gone_wrong_gives_records_or_reasons(name: str, data: Any) -> None:
    lines = DOCUMENTS[name].splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        line = data.draw(st.sampled_from(range(3, len(lines))))
        key = lines[line].split(":")[0]
        odd = data.draw(st.sampled_from(["", "x", f"{key}: {'9' * 400}", f"{key}: -1", key * 100]))
        lines[line] = odd
    assert_whole(outcomes("\n".join(lines)))


@some
@given(data=st.data())
def test_a_table_gone_wrong_gives_records_or_reasons(data: Any) -> None:
    path = shared_data("openshift-psap-performance-dashboard", "mlperf-data", "mlperf-5.1.csv")
    (document,) = read_documents(path)
    assert isinstance(document, Document)
    rows = copy_of(document.data.rows[:21])
    changed = data.draw(mutated(rows))
    # What a reader gives: rows of texts.
    texts = [[str(cell) for cell in row] for row in changed if isinstance(row, list)]
    assert_whole(outcomes(Table(texts)), may_be_empty=True)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "yaml", "json", "jsonl", "txt", "parquet"])
@settings(some, max_examples=40)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_bytes_a_file_holds_it_is_read_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes(content)
    for document in read_documents(path):
        if isinstance(document, Document):
            assert_whole(list(read_document(document, Context.from_values(CONTEXT))))
        else:
            assert_said(document)


MAPPING: dict[str, Any] = {
    "records": ["runs"],
    "fields": {
        "ttft_p50_ms": {"from": ["latency", "p50"], "unit": "s"},
        "memory_used_gb": {"from": "memory", "unit": "MiB"},
        "benchmarked_at": {"from": "time", "format": "%Y-%m-%d", "zone": "Z"},
        "parallelism.tp": "tp",
        "hardware": "gpu",
    },
    "where": {"kind": ["load"]},
    "constants": {"tool": "ours", "provenance": "measured"},
}
MAPPED: dict[str, Any] = {
    "runs": [
        {
            "latency": {"p50": 1},
            "memory": 5,
            "time": "2025-01-02",
            "tp": 8,
            "gpu": "g",
            "kind": "load",
        }
    ]
}


@settings(some, max_examples=200)
@given(data=st.data())
def test_a_mapping_gone_wrong_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "mapping.yaml"
    document = data.draw(mutated(MAPPING))
    try:
        path.write_text(json.dumps(document))
        importer = MappingImporter(read_mapping(path))
    except (MappingError, UnicodeEncodeError):
        return
    assert_whole(mapped(MAPPED, importer), may_be_empty=True)


@settings(some, max_examples=200)
@given(data=st.data())
def test_a_mapped_document_gone_wrong_gives_records_or_reasons(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "good.yaml"
    path.write_text(json.dumps(MAPPING))
    importer = MappingImporter(read_mapping(path))
    assert_whole(mapped(data.draw(mutated(MAPPED)), importer), may_be_empty=True)


def mapped(data: Any, importer: MappingImporter) -> list[Outcome]:
    document = Document(data, Path("runs.json"), "ab" * 32)
    stated = {key: value for key, value in CONTEXT.items() if key != "benchmarked_at"}
    return list(read_document(document, Context.from_values(stated), mapping=importer))


def assert_whole(found: list[Outcome], *, may_be_empty: bool = False) -> None:
    """Holds what came of a document to what the server takes, and reasons to whole sentences."""
    assert found or may_be_empty
    for outcome in found:
        if isinstance(outcome, Rejection):
            assert_said(outcome)
            continue
        assert isinstance(outcome, Imported)
        row = row_to_proto(outcome.record)
        details = row.detailed_metrics_json
        assert json_problem(json.loads(details), len(details.encode())) is None
        for figure in (outcome.record.ttft_p50_ms, outcome.record.throughput_tokens_sec):
            assert figure is None or math.isfinite(figure)


def assert_said(rejection: Rejection) -> None:
    assert rejection.reason.isupper()
    assert rejection.detail.endswith(".")
    assert rejection.place
