"""How a configuration's runs become one figure, and where the truth surely lies."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemark.ranking.v1.candidate_pb2 import CellMethod
from servemark.type.v1.metric_pb2 import Metric
from services.ingest.sketches import encode, merge, quantiles
from services.ranking.cells import Figure, Pool, Runs, figure_of, wilson
from services.ranking.metrics import MEASURED
from tests.unit.ranking_matrix.builders import ACCURACY, THROUGHPUT, TTFT_P90

MEMORY = Metric.METRIC_MEMORY_USED_GB
RPS = Metric.METRIC_RPS_SUSTAINED
LATENCIES = [info.metric for info in MEASURED if info.column.endswith("_ms")]

SINGLE = CellMethod.CELL_METHOD_SINGLE_RUN
MEDIAN = CellMethod.CELL_METHOD_MEDIAN_OF_RUNS
MERGED = CellMethod.CELL_METHOD_MERGED_SKETCHES
TOTALS = CellMethod.CELL_METHOD_POOLED_TOTALS
SAMPLES = CellMethod.CELL_METHOD_POOLED_SAMPLES
LARGEST = CellMethod.CELL_METHOD_MAX_OF_RUNS

THREE = Runs(median=0.5, low=0.4, high=0.7, run_count=3, requests=30, newest_us=5)


def figure(metric: int, runs: Runs | None, pool: Pool | None = None) -> Figure:
    found = figure_of(metric, runs, pool)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("metric", "pool", "method", "value"),
    [
        (TTFT_P90, None, MEDIAN, 0.5),
        (TTFT_P90, Pool(0.6, 300, 3), MERGED, 0.6),
        (THROUGHPUT, None, MEDIAN, 0.5),
        (THROUGHPUT, Pool(0.6, 30, 3), TOTALS, 0.6),
        (RPS, Pool(0.6, 30, 3), TOTALS, 0.6),
        (ACCURACY, None, MEDIAN, 0.5),
        (ACCURACY, Pool(0.6, 30, 3), SAMPLES, 0.6),
        (MEMORY, None, LARGEST, 0.7),
    ],
)
def test_each_metric_is_pooled_by_its_own_rule(
    metric: int, pool: Pool | None, method: int, value: float
) -> None:
    found = figure(metric, THREE, pool)
    assert (found.method, found.value) == (method, value)
    # The spread over the runs is told whatever the figure is.
    assert (found.low, found.high, found.runs, found.newest_us) == (0.4, 0.7, 3, 5)


@pytest.mark.parametrize("metric", [info.metric for info in MEASURED])
def test_a_single_run_is_its_own_figure(metric: int) -> None:
    one = Runs(0.5, 0.5, 0.5, 1)
    for pool in (None, Pool(0.5000001, 40, 1)):
        found = figure(metric, one, pool)
        assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
        shared = metric == ACCURACY and pool is not None
        assert found.method == (SAMPLES if shared else SINGLE)


def test_no_run_and_no_pool_is_no_figure() -> None:
    assert figure_of(TTFT_P90, None, None) is None


def test_sketches_tell_a_percentile_that_no_run_has_a_figure_of() -> None:
    found = figure(TTFT_P90, None, Pool(100.0, 500, 2))
    assert (found.value, found.runs, found.requests, found.method) == (100.0, 2, 500, MERGED)
    assert list(found.sure) == pytest.approx([100 / 1.01, 100 / 0.99])


def test_one_figure_among_several_sketches_does_not_stand_for_all() -> None:
    found = figure(TTFT_P90, Runs(50.0, 50.0, 50.0, 1), Pool(100.0, 500, 4))
    assert (found.value, found.runs, found.method) == (100.0, 4, MERGED)


def test_the_runs_narrow_what_sketches_leave_open() -> None:
    runs = Runs(299.6, 299.5, 299.8, 3)
    found = figure(TTFT_P90, runs, Pool(300.5, 900, 3))
    assert found.sure == (299.5, 299.8)
    assert found.value == 299.8
    # Unless they contradict them, as those of a tool that interpolates may.
    apart = figure(TTFT_P90, Runs(200.0, 190.0, 210.0, 3), Pool(300.0, 900, 3))
    assert list(apart.sure) == pytest.approx([300 / 1.01, 300 / 0.99])


@given(
    st.lists(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=40), min_size=1, max_size=5),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_the_percentile_of_all_requests_lies_where_the_figure_says(
    samples: list[list[float]], q: float
) -> None:
    def exact(values: list[float]) -> float:
        return float(np.quantile(values, q, method="inverted_cdf"))

    own = sorted(map(exact, samples))
    runs = Runs(float(np.median(own)), own[0], own[-1], len(own))
    value = float(quantiles(merge([encode(run) for run in samples]), [q])[0])
    found = figure(TTFT_P90, runs, Pool(value, sum(map(len, samples)), len(samples)))
    low, high = found.sure
    truth = exact([x for run in samples for x in run])
    assert low * (1 - 1e-12) <= truth <= high * (1 + 1e-12)
    assert low <= found.value <= high
    assert own[0] <= low <= high <= own[-1]


@given(st.floats(0, 1), st.integers(1, 10**9))
def test_an_interval_of_a_share_holds_it_and_stays_a_share(share: float, samples: int) -> None:
    low, high = wilson(share, samples)
    assert 0 <= low <= share <= high <= 1
    wider = wilson(share, max(1, samples // 4))
    assert wider[0] <= low + 1e-12
    assert wider[1] >= high - 1e-12


def test_an_interval_of_a_share_is_where_the_score_test_does_not_refuse_it() -> None:
    # Its ends are the shares p from which the observed one is 1.96 standard errors of p away.
    for share, samples in ((0.9, 10), (0.5, 100), (0.02, 1000), (0.999, 14_000)):
        for end in wilson(share, samples):
            off = (share - end) / math.sqrt(end * (1 - end) / samples)
            assert abs(off) == pytest.approx(1.959964, abs=1e-6)


def test_an_accuracy_without_a_single_miss_is_not_certain() -> None:
    found = figure(ACCURACY, Runs(1.0, 1.0, 1.0, 1), Pool(1.0, 50, 1))
    low, high = found.sure
    assert low == pytest.approx(50 / (50 + 1.959964**2), abs=1e-6)
    assert high == 1.0


def test_memory_is_judged_by_the_largest_run_alone() -> None:
    assert figure(MEMORY, Runs(70.0, 60.0, 79.0, 4)).sure == (79.0, 79.0)
