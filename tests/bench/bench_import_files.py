"""How fast published results become records, from the file on, next to parsing its bytes alone.

`import.rows_per_s.<format>`: results a second from a file on disk to the record and its id;
baseline: json, csv, PyYAML's C parser or pyarrow over the same bytes. A ratio of 0.5 means that
reading costs as much again as parsing. One line of FORMATS is all there is to a format.
"""

import csv
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pyarrow import parquet

from servemark.importers.base import Document, Imported
from servemark.importers.context import Context
from servemark.importers.detect import read_document
from servemark.importers.documents import read_documents
from tests.bench.harness import Bench, Figure, alternate, measure
from tests.support.importing import CONTEXT
from tests.support.published_documents import (
    AICONFIGURATOR_AGG,
    INFERENCEX_AGENTIC,
    LLAMA_BENCH_TG,
    LLM_PERF,
    MLPERF_SERVER,
    MLPERF_SUMMARY,
)

ROWS = 500
RECORD: dict[str, Any] = {
    **CONTEXT,
    "tool": "guidellm",
    "provenance": "measured",
    "ttft_p90_ms": 12.5,
    "throughput_tokens_sec": 1000.0,
}
_STATISTICS = {"units": "ms", "mean": 2.0, "p50": 1.0, "p90": 2.0, "p95": 3.0, "p99": 4.0}
REPORT: dict[str, Any] = {
    "version": "0.2",
    "run": {"uid": "u", "time": {"end": "2025-11-05T18:17:03Z"}},
    "scenario": {"load": {"standardized": {"tool": "guidellm", "tool_version": "0.5"}}},
    "results": {
        "request_performance": {
            "aggregate": {
                "requests": {"total": 10, "failures": 0},
                "latency": dict.fromkeys(
                    ("time_to_first_token", "time_per_output_token", "request_latency"), _STATISTICS
                ),
            }
        }
    },
}
PLANNED: dict[str, Any] = {
    "model_hf_repo": "org/m",
    "hardware": "H100",
    "hardware_count": 1,
    "prompt_tokens": 512,
    "output_tokens": 256,
    **{f"{name}_p{percent}": 20.0 for name in ("ttft", "itl", "e2e") for percent in (90, 95, 99)},
    "requests_per_second": 1.0,
    "tokens_per_second": 250.0,
}


@dataclass(frozen=True)
class File:
    """A file's suffix and bytes, and its parser."""

    suffix: str
    content: bytes
    parse: Callable[[bytes], Any]


def json_array(row: dict[str, Any]) -> File:
    """The rows as a JSON array."""
    return File("json", json.dumps([row] * ROWS).encode(), json.loads)


def json_lines(row: dict[str, Any]) -> File:
    """The rows as JSON Lines."""
    lines = (json.dumps(row) + "\n").encode() * ROWS
    return File("jsonl", lines, lambda content: [json.loads(line) for line in content.splitlines()])


def table(row: dict[str, str]) -> File:
    """The rows as a CSV, which is parsed into one dict a row."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(row))
    writer.writeheader()
    writer.writerows([row] * ROWS)
    content = text.getvalue().encode()
    return File("csv", content, lambda each: list(csv.DictReader(io.StringIO(each.decode()))))


def parquet_file(row: dict[str, Any]) -> File:
    """The rows as Parquet, which is parsed into one dict a row."""
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([row] * ROWS), file)
    return File(
        "parquet",
        file.getvalue(),
        lambda content: parquet.read_table(io.BytesIO(content)).to_pylist(),
    )


def planner_file() -> File:
    """A planner's file of so many benchmarks."""
    document = {"_metadata": {"source": "a simulator"}, "benchmarks": [PLANNED] * ROWS}
    return File("json", json.dumps(document).encode(), json.loads)


def yaml_file() -> File:
    """One report: YAML takes milliseconds."""
    content = yaml.safe_dump(json.loads(json.dumps(REPORT))).encode()
    return File("yaml", content, lambda each: yaml.load(each, Loader=yaml.CSafeLoader))


FORMATS: dict[str, Callable[[], File]] = {
    "jsonl": lambda: json_lines(RECORD),
    "parquet": lambda: parquet_file(RECORD),
    "inferencex": lambda: json_array(INFERENCEX_AGENTIC),
    "llm_d_benchmark": yaml_file,
    "optimum_benchmark": lambda: table(LLM_PERF),
    "llama_bench": lambda: json_array(LLAMA_BENCH_TG),
    "mlperf_log": lambda: File("txt", MLPERF_SERVER.encode(), lambda each: each.splitlines()),
    "mlperf_summary": lambda: json_array(MLPERF_SUMMARY),
    "llm_d_planner": planner_file,
    "aiconfigurator": lambda: table(AICONFIGURATOR_AGG),
}
"""A file of each format by the format's name."""


def rows_per_s(bench: Bench, made: Callable[[], File]) -> Figure:
    """Results a second of the file."""
    file = made()
    context = Context.from_values(CONTEXT)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"results.{file.suffix}"
        path.write_bytes(file.content)

        def read() -> int:
            rows = 0
            for document in read_documents(path):
                assert isinstance(document, Document), document
                for outcome in read_document(document, context):
                    assert isinstance(outcome, Imported), outcome
                    outcome.record.id()
                    rows += 1
            return rows

        rows = read()
        subject, baseline = alternate(read, lambda: file.parse(path.read_bytes()), bench.rounds)
    note = f"{len(file.content) / 1000:,.1f} kB, {rows} results"
    return Figure(rows / subject, rows / baseline, larger_is_better=True, note=note)


for _name, _made in FORMATS.items():
    measure(f"import.rows_per_s.{_name}", unit="1/s")(partial(rows_per_s, made=_made))
