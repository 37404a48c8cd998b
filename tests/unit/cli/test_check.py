"""`servemark check`: what it asks for, what it prints, and how it exits."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servemark.ingest.v1 import regression_pb2 as regression
from servemark.ingest.v1.benchmark_config_pb2 import BenchmarkConfig, Workload
from servemark.type.v1 import metric_pb2 as metrics
from servemark.type.v1.provenance_pb2 import PROVENANCE_MEASURED
from tests.support.answering_server import AnsweringServer, answering_server
from tests.support.command import Run
from tests.unit.cli.answers import config_id
from tests.unit.cli.test_queries import catalog

STREAM, OTHER_STREAM = config_id(71), config_id(72)
UNCHANGED = regression.MetricChange(
    metric=metrics.METRIC_TPOT_P50_MS,
    verdict=regression.CHANGE_VERDICT_UNCHANGED,
    history_run_count=20,
    new_run_count=5,
)
SLOWER = regression.MetricChange(
    metric=metrics.METRIC_TTFT_P90_MS,
    verdict=regression.CHANGE_VERDICT_REGRESSION,
    history_run_count=20,
    new_run_count=5,
    before=120.4,
    after=146.1,
    change=0.214,
    change_low=0.171,
    change_high=0.26,
    noise=0.02,
    z=9.83,
    p_value=1.9e-5,
)
FASTER = regression.MetricChange(
    metric=metrics.METRIC_THROUGHPUT_TOKENS_SEC,
    verdict=regression.CHANGE_VERDICT_IMPROVEMENT,
    history_run_count=20,
    new_run_count=5,
    before=900,
    after=1000,
    change=0.111,
    change_low=0.108,
    change_high=0.114,
)
FEW = regression.MetricChange(
    metric=metrics.METRIC_TTFT_P90_MS,
    verdict=regression.CHANGE_VERDICT_NOT_JUDGED,
    not_judged_reason=regression.NOT_JUDGED_REASON_FEW_NEW_RUNS,
    history_run_count=20,
    new_run_count=2,
)


def changed(
    number: int,
    verdict: "regression.ChangeVerdict.ValueType",
    *changes: regression.MetricChange,
    kind: str = "random",
) -> regression.ConfigChange:
    return regression.ConfigChange(
        config=BenchmarkConfig(
            id=config_id(number),
            model_version_id="v1",
            hardware_config_id="h1",
            framework_id="f1",
            workload=Workload(workload_type=kind, concurrency=32),
            provenance=PROVENANCE_MEASURED,
        ),
        verdict=verdict,
        changes=changes,
    )


WORSE = changed(1, regression.CHANGE_VERDICT_REGRESSION, SLOWER, UNCHANGED, FASTER)
SAME = changed(2, regression.CHANGE_VERDICT_UNCHANGED, UNCHANGED)
TOO_FEW = changed(3, regression.CHANGE_VERDICT_NOT_JUDGED, FEW)


def answer(*changes: regression.ConfigChange, token: str = "") -> Any:
    return regression.DetectRegressionsResponse(config_changes=changes, next_page_token=token)


def asked(server: AnsweringServer) -> regression.DetectRegressionsRequest:
    request: regression.DetectRegressionsRequest = server.request(
        "DetectRegressions", regression.DetectRegressionsRequest
    )
    return request


def ask(run: Run, *options: str) -> regression.DetectRegressionsRequest:
    """What is asked for with the options."""
    with answering_server(**catalog(DetectRegressions=answer(SAME))) as server:
        assert run("check", *options, "--target", server.target).code == 0
        return asked(server)


def test_options_become_the_request(run: Run) -> None:
    request = ask(
        run,
        *("--baseline", "30d", "--since", "2025-09-14", "--until", "2025-09-15T12:00"),
        *("--metric", "ttft_p90", "--metric", "throughput", "--min-effect", "2.5%"),
        *("--model", "Org/Big", "--gpu", "h100", "--framework", "vllm", "--workload", "Random"),
        *("--config", config_id(1), "--provenance", "measured"),
    )
    assert request.new_runs.benchmark_time.start_time.ToJsonString() == "2025-09-14T00:00:00Z"
    assert request.new_runs.benchmark_time.end_time.ToJsonString() == "2025-09-15T12:00:00Z"
    assert request.history.benchmark_time.start_time.ToJsonString() == "2025-08-15T00:00:00Z"
    assert not request.history.benchmark_time.HasField("end_time")
    assert list(request.metrics) == [
        metrics.METRIC_TTFT_P90_MS,
        metrics.METRIC_THROUGHPUT_TOKENS_SEC,
    ]
    assert request.min_effect == 0.025
    assert list(request.filter.model_ids) == ["m1"]
    assert list(request.filter.hardware_config_ids) == ["h1"]
    assert list(request.filter.framework_ids) == ["f1"]
    assert list(request.filter.workload_types) == ["random"]
    assert list(request.filter.config_ids) == [config_id(1)]
    assert list(request.filter.provenances) == [PROVENANCE_MEASURED]


def test_the_last_day_is_new_unless_something_else_is_named(run: Run) -> None:
    request = ask(run, "--baseline", "2025-08-01")
    start = request.new_runs.benchmark_time.start_time.ToDatetime(tzinfo=UTC)
    assert timedelta(hours=23) < datetime.now(UTC) - start < timedelta(hours=25)
    assert request.min_effect == 0.05
    assert request.history.benchmark_time.start_time.ToJsonString() == "2025-08-01T00:00:00Z"
    request = ask(run, "--baseline", "2d", "--since", "6h")
    start = request.new_runs.benchmark_time.start_time.ToDatetime(tzinfo=UTC)
    assert timedelta(hours=5) < datetime.now(UTC) - start < timedelta(hours=7)
    older = request.history.benchmark_time.start_time.ToDatetime(tzinfo=UTC)
    assert start - older == timedelta(days=2)


def test_streams_are_named_by_their_ids(run: Run) -> None:
    request = ask(run, "--baseline", STREAM, "--baseline", OTHER_STREAM, "--stream", config_id(9))
    assert list(request.history.stream_ids) == [STREAM, OTHER_STREAM]
    assert list(request.new_runs.stream_ids) == [config_id(9)]
    assert not request.new_runs.HasField("benchmark_time")


TEXT = """\
org/big fp8 · 8 x H100-80GB · vllm 0.11.0 · random, 32 in flight
0199a3c5-0000-7000-8000-000000000001
metric before → after change 95 % interval runs z
worse TTFT p90 ms 120 → 146 +21% +17% to +26% 20 / 5 +9.8
better tokens/s 900 → 1,000 +11.1% +10.8% to +11.4% 20 / 5 –
3 configurations checked: 1 worse, 0 better, 1 unchanged, 1 not judged.
- org/big fp8 · 8 x H100-80GB · vllm 0.11.0 · random, 32 in flight: too few new runs (2 new, 20
before).
Reported is a change above the noise of 5% or more; of configurations that did not change, at most
1% are called worse by chance.
"""


def test_what_got_worse_is_shown_from_figure_to_figure_and_the_exit_code_says_so(run: Run) -> None:
    pages = [answer(SAME, token="next"), answer(WORSE, TOO_FEW)]
    with answering_server(**catalog(DetectRegressions=pages)) as server:
        done = run("check", "--baseline", "30d", "--target", server.target)
        assert asked(server).page_token == "next"
    assert (done.code, done.err) == (5, "")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert [line for line in lines if line and not line.startswith("──")] == TEXT.splitlines()
    assert max(map(len, done.out.splitlines())) <= 100


def test_the_order_of_several_configurations_keeps_each_ones_metrics_together(run: Run) -> None:
    other = changed(4, regression.CHANGE_VERDICT_REGRESSION, SLOWER, FASTER)
    with answering_server(**catalog(DetectRegressions=answer(WORSE, other))) as server:
        done = run("check", "--baseline", "30d", "--target", server.target)
    found = re.findall(r"^ *(0199\S+|worse|better)", done.out, re.MULTILINE)
    assert found == [config_id(1), "worse", "better", config_id(4), "worse", "better"]


MARKDOWN = """\
### Benchmark check

| | Configuration | Metric | Before → after | Change | 95 % interval | Runs | z |
|---|---|---|---:|---:|---:|---:|---:|
| worse | `org/big fp8 · 8 x H100-80GB · vllm 0.11.0 · a\\|b '@all', 32 in flight` | TTFT p90 ms \
| 120 → 146 | +21% | +17% to +26% | 20 / 5 | +9.8 |

2 configurations checked: 1 worse, 0 better, 0 unchanged, 1 not judged.

- `org/big fp8 · 8 x H100-80GB · vllm 0.11.0 · random, 32 in flight: too few new runs (2 new, 20 \
before).`

Reported is a change above the noise of 5% or more; of configurations that did not change, at most \
1% are called worse by chance.
"""


def test_markdown_is_a_table_that_no_name_can_break(run: Run) -> None:
    odd = changed(1, regression.CHANGE_VERDICT_REGRESSION, SLOWER, kind="a|b `@all`")
    with answering_server(**catalog(DetectRegressions=answer(odd, TOO_FEW))) as server:
        options = ("--baseline", "30d", "--format", "markdown")
        done = run("check", *options, "--target", server.target)
    assert (done.code, done.out) == (5, MARKDOWN)


def test_json_has_the_verdicts_counted_and_every_figure(run: Run) -> None:
    with answering_server(**catalog(DetectRegressions=answer(WORSE, SAME, TOO_FEW))) as server:
        done = run("check", "--baseline", "30d", "--format", "json", "--target", server.target)
    assert done.code == 5
    document = json.loads(done.out)
    assert list(document) == ["counts", "min_effect", "config_changes"]
    assert document["counts"] == {"worse": 1, "better": 0, "unchanged": 1, "not_judged": 1}
    first = document["config_changes"][0]
    assert first["name"].startswith("org/big fp8 · 8 x H100-80GB")
    assert first["verdict"] == "CHANGE_VERDICT_REGRESSION"
    change = first["changes"][0]
    assert (change["metric"], change["before"], change["change"]) == (
        "METRIC_TTFT_P90_MS",
        120.4,
        0.214,
    )
    assert "z" not in first["changes"][2]


@pytest.mark.parametrize("changes", [(), (TOO_FEW,)])
def test_a_check_that_judged_nothing_is_no_success(
    run: Run, changes: tuple[regression.ConfigChange, ...]
) -> None:
    with answering_server(**catalog(DetectRegressions=answer(*changes))) as server:
        done = run("check", "--baseline", "30d", "--target", server.target)
    assert (done.code, "enough runs to be judged" in done.err) == (1, True)
    assert f"{len(changes)} configuration" in done.out


def test_what_is_better_alone_is_a_success(run: Run) -> None:
    better = changed(1, regression.CHANGE_VERDICT_IMPROVEMENT, FASTER)
    with answering_server(**catalog(DetectRegressions=answer(better))) as server:
        done = run("check", "--baseline", "30d", "--target", server.target)
    assert (done.code, "better" in done.out) == (0, True)


def test_of_many_that_were_not_judged_some_are_named(run: Run) -> None:
    many = [changed(n, regression.CHANGE_VERDICT_NOT_JUDGED, FEW) for n in range(25)]
    with answering_server(**catalog(DetectRegressions=answer(SAME, *many))) as server:
        done = run("check", "--baseline", "30d", "--target", server.target)
    assert done.code == 0
    assert done.out.count("too few new runs") == 10
    assert "15 other configurations." in done.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "--baseline"),
        (("--baseline", "soon"), "'soon'"),
        (("--baseline", "30d", "--baseline", STREAM), "'30d'"),
        (("--baseline", "30d", "--since", "0d"), "--since"),
        (("--baseline", "30d", "--until", "then"), "--until"),
        (("--baseline", "30d", "--stream", "main"), "--stream"),
        (("--baseline", "30d", "--metric", "speed"), "'speed'"),
        (("--baseline", "30d", "--min-effect", "5"), "5%"),
        (("--baseline", "30d", "--min-effect=-5%"), "5%"),
        (("--baseline", "30d", "--provenance", "dreamt"), "--provenance"),
        (("--baseline", "30d", "--format", "xml"), "xml"),
    ],
)
def test_wrong_options_are_wrong_usage_and_never_a_verdict(
    run: Run, options: tuple[str, ...], says: str
) -> None:
    done = run("check", *options)
    assert done.code == 2
    assert says in done.err + done.out or not options


def test_a_server_that_is_not_there_is_no_verdict(run: Run) -> None:
    done = run("check", "--baseline", "30d", "--target", "127.0.0.1:1")
    assert (done.code, done.err.startswith("servemark: ")) == (1, True)
