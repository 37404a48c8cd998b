import json
import re
from pathlib import Path
from typing import Any

import pytest

from servemark.client.records import ResultRecord
from servemark.importers.base import Document, Imported, Rejection
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from servemark.importers.documents import read_documents
from servemark.importers.mapping import MappingImporter
from servemark.importers.mapping_file import MappingError, read_mapping
from tests.support.importing import CONTEXT
from tests.support.shared_data import shared_data

README = Path(__file__).parents[3] / "libs" / "servemark" / "importers" / "README.md"
STATED = {**CONTEXT, "provenance": "measured"}


def mapping(folder: Path, text: str, suffix: str = "toml") -> MappingImporter:
    path = folder / f"mapping.{suffix}"
    path.write_text(text)
    return MappingImporter(read_mapping(path))


def read(path: Path, importer: MappingImporter, **stated: Any) -> list[Any]:
    context = Context.from_values({**STATED, **stated})
    found: list[Any] = []
    for document in read_documents(path):
        assert isinstance(document, Document), document
        found.extend(read_document(document, context, mapping=importer))
    return found


def records(found: list[Any]) -> list[ResultRecord]:
    assert all(isinstance(outcome, Imported) for outcome in found), found
    return [outcome.record for outcome in found]


def example(language: str) -> str:
    """The README's code block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_readmes_example_is_read_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(example("csv"))
    unstated = {"framework": None, "framework_version": None, "benchmarked_at": None}
    unstated |= {"provenance": None}
    first, third = records(
        read(tmp_path / "runs.csv", mapping(tmp_path, example("toml")), **unstated)
    )
    assert first.to_json()["benchmarked_at"] == "2025-09-14T02:09:03Z"
    assert (first.ttft_p50_ms, first.ttft_p90_ms) == (285.0, None)
    assert first.ttft_p99_ms == pytest.approx(910.7, rel=1e-15)
    assert first.throughput_tokens_sec == 27803.90 / 60
    assert (first.concurrency, first.tool, first.framework) == (8, "our-bench", "vllm")
    assert first.detailed_metrics["reported"]["engine"] == "vllm 0.11.0"
    assert (third.ttft_p50_ms, third.throughput_tokens_sec) == (312.5, 500.0)


NESTED = """
records = "results.runs"
fields:
  ttft_p99_ms: {from: [latency, p99.9], unit: ns}
  tpot_p50_ms: latency.0.tpot
  memory_used_gb: {from: memory, unit: MiB}
  gpu_utilization_pct: {from: busy, unit: fraction}
  benchmarked_at: {from: ended, unit: epoch_ms}
  parallelism.tp: tp
  model: model.name
where: {kind: [load, soak], ok: true}
constants: {tool: ours}
""".replace('records = "results.runs"', "records: results.runs")


def test_a_nested_document_is_read_by_paths_units_and_conditions(tmp_path: Path) -> None:
    run = {
        "kind": "load",
        "ok": True,
        "latency": {"p99.9": 187392125},
        "memory": 1000,
        "busy": 0.5,
        "ended": 1735787045000,
        "tp": "8",
        "model": {"name": "org/m"},
    }
    runs = [run, run | {"kind": "warm-up"}, run | {"ok": False}, run | {"kind": "soak"}]
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"results": {"runs": runs}}))
    found = records(read(path, mapping(tmp_path, NESTED, "yaml"), model=None))
    assert len(found) == 2
    assert found[0].ttft_p99_ms == 187.392125
    assert found[0].memory_used_gb == 1.048576
    assert found[0].gpu_utilization_pct == 50.0
    assert found[0].to_json()["benchmarked_at"] == "2025-01-02T03:04:05Z"
    assert found[0].parallelism == {"tp": 8}
    assert (found[0].model, found[0].tpot_p50_ms) == ("org/m", None)


def test_what_the_record_says_comes_before_the_context_and_that_before_a_constant(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"t": 1.5, "engine": "sglang"}\n')
    text = """
        fields = {ttft_p50_ms = "t", framework = "engine"}
        constants = {tool = "ours", hardware = "constant", workload_type = "constant"}
    """
    (found,) = records(read(path, mapping(tmp_path, text), workload_type=None))
    assert (found.framework, found.hardware, found.workload_type) == (
        "sglang",
        STATED["hardware"],
        "constant",
    )


def test_tomls_dotted_keys_are_paths_as_well(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"t": 1.5, "tp": 4, "a": {"b": 1}}\n{"t": 1.5, "tp": 4, "a": {"b": 2}}\n')
    text = """
        [fields]
        ttft_p50_ms = "t"
        parallelism.tp = "tp"
        [where]
        a.b = 2
        [constants]
        tool = "ours"
    """
    (found,) = records(read(path, mapping(tmp_path, text)))
    assert found.parallelism == {"tp": 4}


def test_a_record_that_does_not_fit_is_rejected_by_field_and_place(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("t,other\nfast,1\n3,1\n")
    text = 'fields = {ttft_p50_ms = "t"}\nconstants = {tool = "ours"}'
    wrong, right = read(path, mapping(tmp_path, text))
    assert isinstance(wrong, Rejection)
    assert wrong.detail == "ttft_p50_ms: t is 'fast', not a number."
    assert wrong.place.endswith(":2")
    assert isinstance(right, Imported)


def test_a_document_without_any_mapped_field_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"x": 1}')
    text = 'fields = {ttft_p50_ms = "t"}\nconstants = {tool = "ours"}'
    (found,) = read(path, mapping(tmp_path, text))
    assert isinstance(found, Rejection)
    assert found.reason == "FORMAT_UNKNOWN"
    assert "the mapping mapping.toml (t)" in found.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fields]\nttft_p50 = 't'", ":2: fields.ttft_p50 is not known; did you mean ttft_p50_ms?"),
        ("[feilds]\n", ":1: feilds is not known; did you mean fields?"),
        ("[fields]\nttft_p50_ms = 3", ":2: fields.ttft_p50_ms must say where it lies"),
        (
            "[fields]\nttft_p50_ms = {from = 't', unit = 'min'}",
            ":2: fields.ttft_p50_ms has the unit 'min'; it must be one of ms, s, us, ns",
        ),
        ("[fields]\ngpu_count = {from = 't', unit = 'GB'}", "left out: the field has none"),
        ("[fields]\nmodel = {from = 'm', zone = 'Z'}", ":2: fields.model is no time"),
        (
            "[fields]\nbenchmarked_at = {from = 'm', zone = 'CET'}",
            ":2: fields.benchmarked_at has the zone 'CET'",
        ),
        ("[fields]\nmodel = {column = 'm'}", ":2: fields.model.column is not known"),
        (
            "[fields]\nmodel = 'm'\n[constants]\ngpu_count = 0",
            ":4: constants.gpu_count is 0; it must be 1 to 4096",
        ),
        ("[fields]\nmodel = 'm'", "constants must name the tool"),
        ("[constants]\ntool = 'x'", "fields must name at least one field"),
        ("[fields]\nmodel = 'm'\n[constants]\nmodel = 'x'\ntool = 'y'", "is among the fields too"),
        ("records = 3\n[fields]\nmodel = 'm'", ":1: records must be a path"),
        ("[fields\n", "line 1"),
        ("where = 3", ":1: where must be a table"),
    ],
)
def test_a_wrong_mapping_is_refused_by_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        mapping(tmp_path, text)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "a: &x [*x]", "fields: {model: {from: {}}}"])
def test_a_wrong_yaml_mapping_is_refused_as_well(tmp_path: Path, text: str) -> None:
    with pytest.raises(MappingError):
        mapping(tmp_path, text, "yaml")


def test_a_real_table_nobody_knows_is_read_with_a_few_lines(tmp_path: Path) -> None:
    text = """
        [fields]
        ttft_p50_ms = "Median TTFT (ms)"
        ttft_p99_ms = "P99 TTFT (ms)"
        tpot_p50_ms = "Median TPOT (ms)"
        throughput_tokens_sec = "Output token throughput (tok/s)"
        rps_sustained = "Request throughput (req/s)"
        request_count = "Successful requests"
        [constants]
        tool = "dstack"
    """
    importer = mapping(tmp_path, text)
    folder = shared_data("dstack-benchmarks", "amd", "tgi_vs_vllm")
    found = [
        record for path in sorted(folder.rglob("*.csv")) for record in records(read(path, importer))
    ]
    assert len(found) == sum(
        len(path.read_text().splitlines()) - 1 for path in folder.rglob("*.csv")
    )
    busiest = [record for record in found if record.request_count == 1500]
    assert [record.ttft_p50_ms for record in busiest if record.throughput_tokens_sec == 156.44] == [
        558470.08
    ]


def test_measured_means_become_percentiles_only_because_the_user_says_so(tmp_path: Path) -> None:
    text = """
        [fields]
        model = "model_path"
        framework = "backend"
        ttft_p50_ms = "silicon_ttft_ms"
        [constants]
        tool = "aiconfigurator"
    """
    path = shared_data("aiconfigurator", "silicon_sample.dev.csv")
    found = records(read(path, mapping(tmp_path, text)))
    assert len(found) == 349
    assert found[0].ttft_p50_ms == 972.3109823355117
