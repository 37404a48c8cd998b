"""What the new runs of configurations say of each metric: worse, better, neither, or nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from services.ingest.metrics import LARGER_IS_BETTER
from services.ingest.records import Config, ConfigRuns, RegressionQuery
from services.ingest.regressions import LEVEL, Floats, compare, shown

# Configurations compared in one go: with all metrics and most runs, the pairs take 13 MB.
_BLOCK: Final = 50


class Verdict(Enum):
    """What is said of a metric, or of a configuration."""

    NOT_JUDGED = "not judged"
    UNCHANGED = "unchanged"
    REGRESSION = "regression"
    IMPROVEMENT = "improvement"


class Reason(Enum):
    """Why nothing is said."""

    FEW_NEW_RUNS = "few new runs"
    FEW_HISTORY_RUNS = "few history runs"
    FEW_RUNS_TOGETHER = "few runs together"


@dataclass(frozen=True, slots=True)
class MetricChange:
    """How one figure changed; what is None cannot be said. Shares are of the history's figure."""

    column: str
    verdict: Verdict
    reason: Reason | None
    history_count: int
    new_count: int
    outlier_count: int
    before: float | None = None
    after: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    noise: float | None = None
    z: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """How one configuration changed."""

    config: Config
    verdict: Verdict
    changes: tuple[MetricChange, ...]


def judge(query: RegressionQuery, found: Sequence[ConfigRuns]) -> list[ConfigChange]:
    """The changes of the configurations, in their order."""
    changes: list[ConfigChange] = []
    for start in range(0, len(found), _BLOCK):
        changes += _judge(query, found[start : start + _BLOCK])
    return changes


def _judge(query: RegressionQuery, found: Sequence[ConfigRuns]) -> list[ConfigChange]:
    width = len(query.columns)
    compared = compare(
        _logarithms([one.history for one in found], width),
        _logarithms([one.new for one in found], width),
    )
    shape = (len(found), width)
    up = np.tile([column in LARGER_IS_BETTER for column in query.columns], len(found))
    new_count, history_count = compared.new_count, compared.earlier_count
    few_new, few_history = new_count < query.min_new, history_count < query.min_history
    enough = ~(few_new | few_history)
    # How many metrics can be judged must not depend on which of the runs are the new ones: the
    # promise of false alarms rests on every choice of them being as good as any other.
    in_family = new_count + history_count >= query.min_new + query.min_history
    family_size = np.repeat(in_family.reshape(shape).sum(axis=1), width)
    # Not even the most extreme order of so few runs would be found.
    powerless = enough & (compared.p_least > LEVEL / np.maximum(family_size, 1))
    judged = enough & ~powerless

    # Each direction is a family of its own: that something got better is no false alarm.
    p_worse = np.where(up, compared.p_lower, compared.p_higher)
    p_better = np.where(up, compared.p_higher, compared.p_lower)
    change = np.expm1(compared.change)
    large = np.abs(change) >= query.min_effect
    worse, better = (
        judged
        & large
        & shown(np.where(in_family, np.where(judged, p, 1.0), np.nan).reshape(shape)).ravel()
        for p in (p_worse, p_better)
    )

    def verdict(place: int) -> tuple[Verdict, Reason | None]:
        if few_new[place]:
            return Verdict.NOT_JUDGED, Reason.FEW_NEW_RUNS
        if few_history[place]:
            return Verdict.NOT_JUDGED, Reason.FEW_HISTORY_RUNS
        if powerless[place]:
            return Verdict.NOT_JUDGED, Reason.FEW_RUNS_TOGETHER
        if worse[place]:
            return Verdict.REGRESSION, None
        return (Verdict.IMPROVEMENT if better[place] else Verdict.UNCHANGED), None

    p_value = np.fmin(compared.p_higher, compared.p_lower)
    figures = (
        np.exp(compared.before),
        np.exp(compared.after),
        change,
        np.expm1(compared.low),
        np.expm1(compared.high),
        compared.noise,
        compared.z,
        p_value,
    )

    def metric_change(place: int) -> MetricChange:
        both = bool(new_count[place] and history_count[place])
        return MetricChange(
            query.columns[place % width],
            *verdict(place),
            int(history_count[place]),
            int(new_count[place]),
            int(compared.outlier[place]),
            *(_known(values, place) if both else None for values in figures),
        )

    changes = [metric_change(place) for place in range(len(found) * width)]
    rows = (tuple(changes[start : start + width]) for start in range(0, len(changes), width))
    return [
        ConfigChange(one.config, _overall(row), row) for one, row in zip(found, rows, strict=True)
    ]


def _logarithms(runs: Sequence[Sequence[Sequence[float | None]]], width: int) -> Floats:
    """[configurations * width, runs] the figures' logarithms; NaN where there is none above 0."""
    most = max((len(one) for one in runs), default=0)
    figures = np.full((len(runs), most, width), np.nan)
    for place, one in enumerate(runs):
        if one:
            figures[place, : len(one)] = np.array(one, dtype=np.float64)
    figures[~(figures > 0)] = np.nan
    logarithms: Floats = np.log(figures).transpose(0, 2, 1).reshape(len(runs) * width, most)
    return logarithms


def _known(values: Floats, place: int) -> float | None:
    value = float(values[place])
    return value if np.isfinite(value) else None


def _overall(changes: Sequence[MetricChange]) -> Verdict:
    """The worst that any metric says."""
    said = {change.verdict for change in changes}
    order = (Verdict.REGRESSION, Verdict.IMPROVEMENT, Verdict.UNCHANGED)
    return next((verdict for verdict in order if verdict in said), Verdict.NOT_JUDGED)
