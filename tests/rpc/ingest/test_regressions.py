"""New runs are compared with history: what got worse is found, and too few runs are not judged."""

import random
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest

from servemark.ingest.v1 import regression_pb2 as regression
from servemark.ingest.v1.result_query_pb2 import ResultFilter
from servemark.ingest.v1.result_stream_pb2 import ConfigSpec, StreamHeader
from servemark.runtime.ids import uuid7
from servemark.runtime.tenancy import PLATFORM, PUBLIC, Tenant
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.range_pb2 import TimeRange
from tests.rpc.ingest.builders import OTHER_MODEL, batch, config, header, now_ms, row
from tests.rpc.ingest.organizations import ACME, BORG
from tests.rpc.ingest.serving import Served, stream
from tests.rpc.ingest.test_lists import stamp
from tests.support.failures import failure
from tests.support.tenants import said

pytestmark = pytest.mark.every_profile

DAY = 86_400_000
FIGURES = {
    "ttft_p50_ms": 40.0,
    "ttft_p90_ms": 800.0,
    "tpot_p50_ms": 8.0,
    "tpot_p90_ms": 10.0,
    "throughput_tokens_sec": 900.0,
    "rps_sustained": 4.0,
}
REGRESSION = regression.CHANGE_VERDICT_REGRESSION
IMPROVEMENT = regression.CHANGE_VERDICT_IMPROVEMENT
UNCHANGED = regression.CHANGE_VERDICT_UNCHANGED
NOT_JUDGED = regression.CHANGE_VERDICT_NOT_JUDGED


def runs(
    count: int, start_ms: int, seed: int, *, noise: float = 0.02, index: int = 0, **factors: Any
) -> Iterable[Any]:
    """Runs a minute apart, each figure with noise of its own and the factor given for it."""
    chance = random.Random(seed)
    for number in range(count):
        figures = {
            name: value * factors.get(name, 1.0) * chance.lognormvariate(0, noise)
            for name, value in FIGURES.items()
        }
        yield row(start_ms + number * 60_000, figures=figures, config_index=index)


async def send(ingest: Served, message: StreamHeader, rows: Iterable[Any], **options: Any) -> Any:
    """Sends the rows as one stream; what the server says of it."""
    summary = await stream(ingest.stub, message, batch(0, rows), **options)
    assert not summary.rejected_count
    return summary


def since(start_ms: int, end_ms: int | None = None) -> regression.RunSelection:
    """The runs from a moment on."""
    end = None if end_ms is None else stamp(end_ms)
    return regression.RunSelection(
        benchmark_time=TimeRange(start_time=stamp(start_ms), end_time=end)
    )


def of_streams(*ids: str) -> regression.RunSelection:
    """The runs of streams."""
    return regression.RunSelection(stream_ids=ids)


async def check(
    ingest: Served, new: regression.RunSelection, *, tenant: Tenant = PLATFORM, **fields: Any
) -> list[regression.ConfigChange]:
    """What the service finds, in one page."""
    request = regression.DetectRegressionsRequest(new_runs=new, **fields)
    answer = await ingest.stub.DetectRegressions(request, metadata=said(tenant))
    assert not answer.next_page_token
    return list(answer.config_changes)


def verdicts(change: regression.ConfigChange) -> dict[str, int]:
    """The verdict of each metric, by name."""
    return {
        Metric.Name(one.metric).removeprefix("METRIC_").lower(): one.verdict
        for one in change.changes
    }


async def test_what_got_slower_is_a_regression_and_what_got_faster_an_improvement(
    ingest: Served,
) -> None:
    now = now_ms()
    await send(ingest, header(), runs(20, now - 2 * DAY, 1))
    worse: dict[str, Any] = {"ttft_p90_ms": 1.2, "throughput_tokens_sec": 0.8, "tpot_p50_ms": 0.8}
    opened = await send(ingest, header(), runs(5, now - DAY, 2, rps_sustained=1.2, **worse))
    [found] = await check(ingest, since(now - DAY))
    assert found.config.id == opened.configs[0].config_id
    assert found.verdict == REGRESSION
    assert verdicts(found) == {
        "ttft_p50_ms": UNCHANGED,
        "ttft_p90_ms": REGRESSION,
        "tpot_p50_ms": IMPROVEMENT,
        "tpot_p90_ms": UNCHANGED,
        "throughput_tokens_sec": REGRESSION,
        "rps_sustained": IMPROVEMENT,
    }
    slower = found.changes[1]
    assert (slower.history_run_count, slower.new_run_count, slower.outlier_count) == (20, 5, 0)
    assert slower.before == pytest.approx(800, rel=0.03)
    assert slower.after == pytest.approx(960, rel=0.03)
    assert 0.1 < slower.change_low < slower.change < slower.change_high < 0.3
    assert 0.01 < slower.noise < 0.04
    assert slower.z > 5
    assert found.changes[4].z < -5
    # All 100 pairs, which one choice of 5 among 25 has.
    assert slower.p_value == pytest.approx(1 / 53130)


async def test_noise_is_no_regression_and_neither_is_a_change_below_the_smallest_effect(
    ingest: Served,
) -> None:
    now = now_ms()
    await send(ingest, header(), runs(20, now - 2 * DAY, 3, noise=0.005))
    await send(ingest, header(), runs(5, now - DAY, 4, noise=0.005, ttft_p50_ms=1.03))
    [found] = await check(ingest, since(now - DAY))
    assert found.verdict == UNCHANGED
    assert set(verdicts(found).values()) == {UNCHANGED}
    assert found.changes[0].z > 4
    [found] = await check(ingest, since(now - DAY), min_effect=0.02)
    assert verdicts(found)["ttft_p50_ms"] == REGRESSION


async def test_too_few_runs_are_not_judged_with_the_reason(ingest: Served) -> None:
    now = now_ms()
    message = header(config(concurrency=1), config(concurrency=2), config(concurrency=3))
    old = [
        *runs(20, now - 2 * DAY, 1, index=0),
        *runs(7, now - 2 * DAY, 2, index=1),
        *runs(8, now - 2 * DAY, 3, index=2),
    ]
    slow = {"ttft_p50_ms": 9.0}
    new = [
        *runs(2, now - DAY, 4, index=0, **slow),
        *runs(5, now - DAY, 5, index=1, **slow),
        *runs(3, now - DAY, 6, index=2, **slow),
    ]
    await send(ingest, message, [*old, *new])
    found = await check(ingest, since(now - DAY))
    assert {one.verdict for one in found} == {NOT_JUDGED}
    reasons = {one.config.workload.concurrency: one.changes[0].not_judged_reason for one in found}
    assert reasons == {
        1: regression.NOT_JUDGED_REASON_FEW_NEW_RUNS,
        2: regression.NOT_JUDGED_REASON_FEW_HISTORY_RUNS,
        # One choice in 165 is not rare enough for one of six metrics, but it is for a single one.
        3: regression.NOT_JUDGED_REASON_FEW_RUNS_TOGETHER,
    }
    [slower] = [one.changes[0] for one in found if one.config.workload.concurrency == 1]
    assert (slower.history_run_count, slower.new_run_count) == (20, 2)
    assert slower.after > 5 * slower.before
    one = await check(ingest, since(now - DAY), metrics=[Metric.METRIC_TTFT_P50_MS])
    assert {item.config.workload.concurrency for item in one if item.verdict == REGRESSION} == {3}
    fewer = await check(ingest, since(now - DAY), min_new_runs=2, min_history_runs=7)
    assert [item.verdict for item in fewer].count(REGRESSION) == 1


async def test_a_configuration_that_was_not_measured_again_is_told(ingest: Served) -> None:
    now = now_ms()
    await send(ingest, header(), runs(9, now - 2 * DAY, 1))
    [found] = await check(ingest, since(now - DAY))
    assert found.verdict == NOT_JUDGED
    change = found.changes[0]
    assert change.not_judged_reason == regression.NOT_JUDGED_REASON_FEW_NEW_RUNS
    assert (change.history_run_count, change.new_run_count) == (9, 0)
    assert not change.HasField("after")


async def test_one_run_that_went_wrong_is_left_out_on_either_side(ingest: Served) -> None:
    now = now_ms()
    bad = row(now - DAY + 3_600_000, figures={name: 9 * v for name, v in FIGURES.items()})
    await send(ingest, header(), runs(20, now - 2 * DAY, 1))
    await send(ingest, header(), [*runs(5, now - DAY, 2), bad])
    [found] = await check(ingest, since(now - DAY))
    assert found.verdict == UNCHANGED
    assert {(one.new_run_count, one.outlier_count) for one in found.changes} == {(5, 1)}


async def test_streams_are_compared_with_what_was_before_them_or_with_other_streams(
    ingest: Served,
) -> None:
    now = now_ms()
    slow, fast, new = header(), header(), header()
    await send(ingest, slow, runs(10, now - 9 * DAY, 1, ttft_p50_ms=1.5))
    await send(ingest, fast, runs(10, now - 8 * DAY, 2))
    await send(ingest, new, runs(6, now - 7 * DAY, 3, ttft_p50_ms=1.5))
    # A later stream is no history of an earlier one.
    await send(ingest, header(), runs(20, now - 6 * DAY, 4, ttft_p50_ms=0.5))
    # Of other configurations, and so not asked about.
    await send(ingest, header(config(model=OTHER_MODEL)), runs(3, now - 7 * DAY, 5))
    [found] = await check(ingest, of_streams(new.stream_id), max_history_runs=10)
    assert verdicts(found)["ttft_p50_ms"] == REGRESSION
    assert (found.changes[0].history_run_count, found.changes[0].new_run_count) == (10, 6)
    [same] = await check(ingest, of_streams(new.stream_id), history=of_streams(slow.stream_id))
    assert verdicts(same)["ttft_p50_ms"] == UNCHANGED
    assert same.changes[0].history_run_count == 10
    [later] = await check(
        ingest, of_streams(new.stream_id), history=since(now - 8 * DAY - DAY // 2)
    )
    assert later.changes[0].history_run_count == 10


async def test_a_run_is_never_on_both_sides(ingest: Served) -> None:
    now = now_ms()
    both = header()
    await send(ingest, both, [*runs(10, now - 2 * DAY, 1), *runs(5, now - DAY, 2)])
    [found] = await check(ingest, since(now - DAY), history=of_streams(both.stream_id))
    assert (found.changes[0].history_run_count, found.changes[0].new_run_count) == (10, 5)


async def test_history_is_the_latest_runs_of_its_window(ingest: Served) -> None:
    now = now_ms()
    await send(ingest, header(), runs(20, now - 9 * DAY, 1, ttft_p50_ms=3.0))
    await send(ingest, header(), runs(10, now - 5 * DAY, 2))
    await send(ingest, header(), runs(5, now - DAY, 3))
    window = since(now - 10 * DAY, now - 2 * DAY)
    [found] = await check(ingest, since(now - DAY), history=window, max_history_runs=10)
    assert (found.verdict, found.changes[0].history_run_count) == (UNCHANGED, 10)
    [found] = await check(ingest, since(now - DAY), history=window, max_history_runs=50)
    assert (verdicts(found)["ttft_p50_ms"], found.changes[0].history_run_count) == (IMPROVEMENT, 30)
    older = since(now - 10 * DAY, now - 6 * DAY)
    [found] = await check(ingest, since(now - DAY), history=older)
    assert (verdicts(found)["ttft_p50_ms"], found.changes[0].history_run_count) == (IMPROVEMENT, 20)


async def test_pages_have_every_configuration_once(ingest: Served) -> None:
    now = now_ms()
    specs = [config(concurrency=number) for number in range(1, 8)]
    rows = [one for n in range(7) for one in runs(1, now - DAY, n, index=n)]
    await send(ingest, header(*specs), rows)
    request = regression.DetectRegressionsRequest(new_runs=since(now - DAY), page_size=3)
    seen: list[int] = []
    pages = 0
    while True:
        answer = await ingest.stub.DetectRegressions(request)
        seen += [one.config.workload.concurrency for one in answer.config_changes]
        pages += 1
        request.page_token = answer.next_page_token
        if not request.page_token:
            break
        other = regression.DetectRegressionsRequest(
            new_runs=request.new_runs, min_effect=0.5, page_token=request.page_token
        )
        refused = await failure(ingest.stub.DetectRegressions(other))
        assert refused.reason == "PAGE_TOKEN_INVALID"
    assert (sorted(seen), pages) == (list(range(1, 8)), 3)


async def test_the_filter_chooses_configurations(ingest: Served) -> None:
    now = now_ms()
    specs: list[ConfigSpec] = [config(), config(model=OTHER_MODEL), config(workload_type="random")]
    summary = await send(
        ingest, header(*specs), [one for n in range(3) for one in runs(1, now - DAY, n, index=n)]
    )
    ids = [one.config_id for one in summary.configs]
    for wanted, expected in (
        (ResultFilter(config_ids=ids[:1]), ids[:1]),
        (ResultFilter(workload_types=["random"]), ids[2:]),
        (ResultFilter(), ids),
    ):
        found = await check(ingest, since(now - DAY), filter=wanted)
        assert {one.config.id for one in found} == set(expected)


async def test_an_organization_is_told_of_its_own_and_of_public_runs_alone(
    ingest: Served,
) -> None:
    now = now_ms()
    own = Tenant(ACME, publishes=False)
    message = header()
    requests = [*runs(20, now - 2 * DAY, 1), *runs(5, now - DAY, 2, ttft_p50_ms=1.5)]
    await send(ingest, message, requests, metadata=said(own))
    public = header(config(concurrency=99))
    await send(ingest, public, runs(5, now - DAY, 3), metadata=said(Tenant(BORG)))
    for reader, expected in ((own, {16, 99}), (Tenant(BORG), {99}), (PUBLIC, {99})):
        found = await check(ingest, since(now - DAY), tenant=reader)
        assert {one.config.workload.concurrency for one in found} == expected
    [kept] = [
        one
        for one in await check(ingest, since(now - DAY), tenant=own)
        if one.config.workload.concurrency == 16
    ]
    assert kept.verdict == REGRESSION
    by_id = ResultFilter(config_ids=[kept.config.id])
    for fields in ({"filter": by_id}, {"history": of_streams(message.stream_id)}):
        request = regression.DetectRegressionsRequest(new_runs=since(now - DAY), **fields)
        await ingest.stub.DetectRegressions(request, metadata=said(own))
        refused = await failure(ingest.stub.DetectRegressions(request, metadata=said(Tenant(BORG))))
        assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert "there is no" in " ".join(refused.fields.values())


NOON = 1_790_000_000_000


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"new_runs": None}, "new_runs"),
        ({"new_runs": regression.RunSelection()}, "new_runs"),
        ({"new_runs": of_streams("seven")}, "new_runs.stream_ids[0]"),
        ({"new_runs": of_streams(str(uuid4()))}, "new_runs.stream_ids[0]"),
        ({"history": of_streams(str(uuid4()))}, "history.stream_ids[0]"),
        ({"new_runs": since(NOON, NOON)}, "new_runs.benchmark_time.end_time"),
        ({"history": since(NOON - DAY, NOON + 1)}, "history.benchmark_time.end_time"),
        ({"history": since(NOON)}, "history.benchmark_time.start_time"),
        ({"filter": ResultFilter(config_ids=[str(uuid7())])}, "filter.config_ids[0]"),
        ({"filter": ResultFilter(benchmark_time=TimeRange())}, "filter.benchmark_time"),
        (
            {
                "filter": ResultFilter(
                    limits=[MetricLimit(metric=Metric.METRIC_TTFT_P50_MS, limit=5)]
                )
            },
            "filter.limits",
        ),
        ({"metrics": [Metric.METRIC_UNSPECIFIED]}, "metrics[0]"),
        ({"metrics": [Metric.METRIC_USD_PER_HOUR]}, "metrics[0]"),
        ({"min_effect": -0.05}, "min_effect"),
        ({"min_effect": float("nan")}, "min_effect"),
        ({"max_history_runs": 51}, "max_history_runs"),
        ({"max_history_runs": 7}, "min_history_runs"),
        ({"min_new_runs": -1}, "min_new_runs"),
        ({"page_size": 201}, "page_size"),
    ],
)
async def test_a_wrong_request_is_refused_by_the_field(
    ingest: Served, fields: dict[str, Any], field: str
) -> None:
    request = regression.DetectRegressionsRequest(**({"new_runs": since(NOON)} | fields))
    refused = await failure(ingest.stub.DetectRegressions(request))
    assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert field in refused.fields
