"""The runner that the README shows works as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from servemark.ingest.v1.result_query_pb2 import ListBenchmarkResultsRequest
from servemark.stack.files import sample_dir
from servemark.stack.seed import load_catalog
from tests.support.stack import RunningStack

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_runner_of_the_readme_stores_what_it_measures(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    assert len(program.splitlines()) <= 12
    monkeypatch.setenv("SERVEMARK_TARGET", stack.target)
    monkeypatch.setenv("SERVEMARK_API_KEY", stack.key)
    measured = [(40.0, 900.0), (41.0, 910.0), (42.0, 920.0)]
    names: dict[str, Any] = {"measure": iter(measured).__next__}
    with stack.client() as client:
        load_catalog(client.catalog, sample_dir() / "catalog", lambda _: None)
        exec(compile(program, README.name, "exec"), names)
        stored = client.ingest.ListBenchmarkResults(ListBenchmarkResultsRequest()).benchmark_results
    assert (names["summary"].stored, names["summary"].rejected) == (3, 0)
    assert sorted(
        (one.metrics.ttft_p50_ms, one.metrics.throughput_tokens_sec) for one in stored
    ) == list(measured)
    assert {one.tool for one in stored} == {"my-runner"}
