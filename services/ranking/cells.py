"""What a cell of the matrix says: the rules by which a configuration's runs become one figure.

    one run             its figure
    latencies           the percentile of all requests where sketches were merged, else the median
    rates               the total over all time where runs tell their time, else the median
    accuracy            the share over all samples where runs tell their number, else the median
    memory              the largest run: that much has to fit

What holds of all requests together is `sure` to lie in a span: for merged sketches within their
error of 1 %, and between the smallest and the largest run, as the percentile of a union lies
between those of its parts; for an accuracy in Wilson's interval (E. B. Wilson, "Probable Inference,
the Law of Succession, and Statistical Inference", J. Am. Stat. Assoc. 22 (1927)). Limits are judged
by it. Where nothing is known of all requests, it is the span of the runs.
"""

from math import sqrt
from typing import NamedTuple

# By their names in the module: to look them up in the enum takes longer than all of the rest.
from servemark.ranking.v1.candidate_pb2 import (
    CELL_METHOD_MAX_OF_RUNS,
    CELL_METHOD_MEDIAN_OF_RUNS,
    CELL_METHOD_MERGED_SKETCHES,
    CELL_METHOD_POOLED_SAMPLES,
    CELL_METHOD_POOLED_TOTALS,
    CELL_METHOD_SINGLE_RUN,
    CellMethod,
)
from servemark.type.v1.metric_pb2 import (
    METRIC_ACCURACY_SCORE,
    METRIC_MEMORY_USED_GB,
    METRIC_RPS_SUSTAINED,
    METRIC_THROUGHPUT_TOKENS_SEC,
)

SKETCH_ERROR = 0.01
"""Relative error of a percentile from merged sketches."""
WILSON_LEVEL = 0.95
_WILSON_Z = 1.959963984540054

_RATES = (METRIC_THROUGHPUT_TOKENS_SEC, METRIC_RPS_SUSTAINED)


class Figure(NamedTuple):
    """One measured figure of one configuration."""

    value: float
    low: float
    """The smallest run."""
    high: float
    """The largest run."""
    runs: int
    method: CellMethod.ValueType
    requests: int
    """Requests, or samples, behind it; 0: not known."""
    newest_us: int | None
    """When the newest of its runs ended, if that is not the newest of the configuration."""
    span: tuple[float, float] | None
    """Where the figure of all requests surely lies, if that is not between `low` and `high`."""

    @property
    def sure(self) -> tuple[float, float]:
        """The least and the most that the figure of all requests may be."""
        return self.span or (self.low, self.high)


class Runs(NamedTuple):
    """A figure over the runs that have it, at least one."""

    median: float
    low: float
    high: float
    run_count: int
    requests: int = 0
    newest_us: int | None = None


class Pool(NamedTuple):
    """A figure over all requests of all runs together."""

    value: float
    requests: int
    run_count: int


def figure_of(metric: int, runs: Runs | None, pool: Pool | None) -> Figure | None:
    """The figure of one metric; None where no run has it and nothing is pooled."""
    if runs is None:
        # Only sketches can tell what no run has a figure of.
        return None if pool is None else _merged(Runs(pool.value, pool.value, pool.value, 0), pool)
    if metric == METRIC_ACCURACY_SCORE:
        return _of_runs(runs) if pool is None else _share(runs, pool)
    if metric == METRIC_MEMORY_USED_GB:
        return _largest(runs)
    # What a single run says of itself is exact, and what is pooled may be rounded.
    if pool is None or pool.run_count == 1:
        return _of_runs(runs)
    if metric in _RATES:
        # Between the runs' but for rounding.
        value = min(max(pool.value, runs.low), runs.high)
        return _figure(runs, value, CELL_METHOD_POOLED_TOTALS)
    return _merged(runs, pool)


def wilson(share: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share, 0 to 1, of so many samples, at least one.

    For figures between 0 and 1 that are no yes or no, it is wider than need be.

    9 of 10, by hand: (0.9 + 0.192) / 1.384 ± 1.96 * sqrt(0.009 + 0.0096) / 1.384:

    >>> [round(end, 4) for end in wilson(0.9, 10)]
    [0.5958, 0.9821]
    """
    z2 = _WILSON_Z**2 / samples
    center = (share + z2 / 2) / (1 + z2)
    reach = sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return min(max(center - reach, 0.0), share), max(min(center + reach, 1.0), share)


def _of_runs(runs: Runs) -> Figure:
    single = runs.run_count == 1
    method = CELL_METHOD_SINGLE_RUN if single else CELL_METHOD_MEDIAN_OF_RUNS
    return _figure(runs, runs.median, method)


def _figure(
    runs: Runs, value: float, method: CellMethod.ValueType, span: tuple[float, float] | None = None
) -> Figure:
    return Figure(
        value, runs.low, runs.high, runs.run_count, method, runs.requests, runs.newest_us, span
    )


def _merged(runs: Runs, pool: Pool) -> Figure:
    low, high = pool.value / (1 + SKETCH_ERROR), pool.value / (1 - SKETCH_ERROR)
    # Some tools interpolate, so that a percentile of all may lie outside those of the runs.
    if runs.run_count == pool.run_count and runs.low <= high and runs.high >= low:
        low, high = max(low, runs.low), min(high, runs.high)
    return Figure(
        value=min(max(pool.value, low), high),
        low=runs.low,
        high=runs.high,
        runs=pool.run_count,
        method=CELL_METHOD_MERGED_SKETCHES,
        requests=pool.requests,
        newest_us=runs.newest_us,
        span=(low, high),
    )


def _share(runs: Runs, pool: Pool) -> Figure:
    value = runs.median if runs.run_count == 1 else min(max(pool.value, runs.low), runs.high)
    span = wilson(value, pool.requests)
    return _figure(runs, value, CELL_METHOD_POOLED_SAMPLES, span)


def _largest(runs: Runs) -> Figure:
    if runs.run_count == 1:
        return _of_runs(runs)
    method = CELL_METHOD_MAX_OF_RUNS
    return _figure(runs, runs.high, method, (runs.high, runs.high))
