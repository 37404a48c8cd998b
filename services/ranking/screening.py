"""Who is left out before the ranking, and every reason why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# By their names in the module: looking one up in the enum takes longer than a sentence.
from servemark.ranking.v1.candidate_pb2 import (
    CELL_METHOD_INTERPOLATED,
    CELL_METHOD_MAX_OF_RUNS,
    CELL_METHOD_MERGED_SKETCHES,
    CELL_METHOD_POOLED_SAMPLES,
    ExclusionReason,
)
from servemark.type.v1.metric_pb2 import Metric
from services.ranking.candidates import Candidates
from services.ranking.cells import Figure
from services.ranking.limits import MISSED, UNCERTAIN, UNKNOWN, Limit, Verdicts, judge
from services.ranking.matrix import Bools, Ints
from services.ranking.metrics import GIVEN_DIGITS, METRICS, PLACE, amount, bound, figure, info_of

_OF_ALL: dict[int, str] = {
    CELL_METHOD_MERGED_SKETCHES: "requests",
    CELL_METHOD_POOLED_SAMPLES: "samples",
}
_OF_VERDICT = (
    (MISSED, ExclusionReason.EXCLUSION_REASON_LIMIT_MISSED),
    (UNCERTAIN, ExclusionReason.EXCLUSION_REASON_LIMIT_UNCERTAIN),
    (UNKNOWN, ExclusionReason.EXCLUSION_REASON_LIMIT_UNKNOWN),
)


@dataclass(frozen=True, eq=False, slots=True)
class Exclusion:
    """One reason, the metric it is about, and the candidates[k] it leaves out."""

    reason: ExclusionReason.ValueType
    metric: int
    who: Bools
    verdicts: Verdicts | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Screened:
    """The candidates with what leaves them out."""

    candidates: Candidates
    verdicts: tuple[Verdicts, ...]  # in the order of the limits
    exclusions: tuple[Exclusion, ...]  # by reason, then metric; none that leaves nobody out
    kept: Ints  # candidates that take part, rising
    max_usd_per_hour: float | None

    def excluded(self) -> Ints:
        """The candidates that are left out, rising."""
        out: Bools = np.ones(len(self.candidates), dtype=np.bool_)
        out[self.kept] = False
        return np.flatnonzero(out)

    def why(self, index: int) -> list[tuple[ExclusionReason.ValueType, str]]:
        """Each reason that leaves candidate `index` out, once, with a sentence of its figures."""
        texts: dict[ExclusionReason.ValueType, list[str]] = {}
        for exclusion in self.exclusions:
            if exclusion.who[index]:
                texts.setdefault(exclusion.reason, []).append(self._text(exclusion, index))
        return [(reason, f"{'; '.join(parts)}.") for reason, parts in texts.items()]

    def _text(self, exclusion: Exclusion, index: int) -> str:
        reason, metric = exclusion.reason, exclusion.metric
        if reason == ExclusionReason.EXCLUSION_REASON_CRITERION_MISSING:
            return f"There is no figure for {info_of(metric).label}"
        if reason == ExclusionReason.EXCLUSION_REASON_PRICE_UNKNOWN:
            return "No price is known, so it cannot be held against the budget"
        if reason == ExclusionReason.EXCLUSION_REASON_OVER_BUDGET:
            usd = float(self.candidates.usd_per_hour[index])
            most = self.max_usd_per_hour or 0.0
            return (
                f"Costs {figure(metric, usd, beside=most)}; "
                f"the budget is {figure(metric, most, digits=GIVEN_DIGITS)}"
            )
        assert exclusion.verdicts is not None  # noqa: S101  (all other reasons are of limits)
        return limit_text(self.candidates, exclusion.verdicts, index)

    def main_reason(self) -> str:
        """What leaves most candidates out, and how many. Raises ValueError if nothing does."""
        most = max(self.exclusions, key=lambda exclusion: int(exclusion.who.sum()))
        return f"The main reason, for {int(most.who.sum())}: {_SAYS[most.reason](most)}."


def _limited(exclusion: Exclusion) -> str:
    assert exclusion.verdicts is not None  # noqa: S101  (only limits have these reasons)
    return bound(exclusion.metric, exclusion.verdicts.limit.bound)


_SAYS: dict[int, Callable[[Exclusion], str]] = {
    ExclusionReason.EXCLUSION_REASON_CRITERION_MISSING: lambda exclusion: (
        f"there is no figure for {info_of(exclusion.metric).label}"
    ),
    ExclusionReason.EXCLUSION_REASON_LIMIT_MISSED: lambda exclusion: (
        f"{_limited(exclusion)} is missed"
    ),
    ExclusionReason.EXCLUSION_REASON_LIMIT_UNCERTAIN: lambda exclusion: (
        f"{_limited(exclusion)} is kept by some runs only"
    ),
    ExclusionReason.EXCLUSION_REASON_LIMIT_UNKNOWN: lambda exclusion: (
        f"{_limited(exclusion)} cannot be judged"
    ),
    ExclusionReason.EXCLUSION_REASON_OVER_BUDGET: lambda _: "the budget is exceeded",
    ExclusionReason.EXCLUSION_REASON_PRICE_UNKNOWN: lambda _: "no price is known",
}


def screen(
    candidates: Candidates,
    criteria: Sequence[int],
    limits: Sequence[Limit],
    *,
    max_usd_per_hour: float | None = None,
    accept_uncertain: bool = False,
) -> Screened:
    """The candidates that have every criterion, keep every limit and the budget.

    `criteria` are metrics. All reasons are looked at for all candidates, so counts are complete.
    """
    found = []
    for metric in criteria:
        missing: Bools = np.isnan(candidates.value(PLACE[metric]))
        reason = ExclusionReason.EXCLUSION_REASON_CRITERION_MISSING
        found.append(Exclusion(reason, metric, missing))
    verdicts = tuple(judge(candidates, limit) for limit in limits)
    for verdict in verdicts:
        for value, reason in _OF_VERDICT:
            if value != UNCERTAIN or not accept_uncertain:
                who: Bools = verdict.verdict == value
                found.append(Exclusion(reason, verdict.limit.metric, who, verdict))
    if max_usd_per_hour is not None:
        found += _budget(candidates, max_usd_per_hour)
    found = [exclusion for exclusion in found if exclusion.who.any()]
    found.sort(key=lambda exclusion: (exclusion.reason, exclusion.metric))
    out = np.zeros(len(candidates), dtype=np.bool_)
    for exclusion in found:
        out |= exclusion.who
    return Screened(candidates, verdicts, tuple(found), np.flatnonzero(~out), max_usd_per_hour)


def _budget(candidates: Candidates, most: float) -> list[Exclusion]:
    metric = Metric.METRIC_USD_PER_HOUR
    usd = candidates.usd_per_hour
    over, unknown = (
        ExclusionReason.EXCLUSION_REASON_OVER_BUDGET,
        ExclusionReason.EXCLUSION_REASON_PRICE_UNKNOWN,
    )
    return [Exclusion(over, metric, usd > most), Exclusion(unknown, metric, np.isnan(usd))]


def limit_text(candidates: Candidates, verdicts: Verdicts, index: int) -> str:
    """How candidate `index` stands to a limit, with its figures, as a sentence without its stop."""
    limit, verdict = verdicts.limit, int(verdicts.verdict[index])
    place = int(verdicts.decided_by[index])
    wanted = bound(limit.metric, limit.bound)
    if verdict == UNKNOWN:
        return f"{wanted} cannot be judged: it was not measured"
    figure = candidates.figure(index, place)
    if figure is None:
        (low, high), runs = candidates.span_of(index, place), candidates.runs_of(index, place)
    else:
        (low, high), runs = figure.sure, figure.runs
    whole = _not_of_runs(figure)
    by = "" if place == PLACE[limit.metric] else f" (by its {METRICS[place].label})"
    if verdict == UNCERTAIN:
        least, most = (amount(limit.metric, end, beside=limit.bound) for end in (low, high))
    if verdict == UNCERTAIN and by:
        other = f"{METRICS[place].label} is {least}" + (f" to {most}" if high > low else "")
        return f"{wanted} is uncertain: another percentile keeps it, but {other}"
    if verdict == UNCERTAIN:
        return f"{wanted} is uncertain{by}: {least} to {most} {whole or f'over {runs} runs'}"
    kept = verdict != MISSED
    # Kept means that even the worst run is within, missed that even the best is not.
    at_most = kept != info_of(limit.metric).maximize
    telling = amount(limit.metric, high if at_most else low, beside=limit.bound)
    says = f"{'Keeps' if kept else 'Misses'} {wanted}{by}:"
    if whole:
        return f"{says} at {'most' if at_most else 'least'} {telling} {whole}"
    is_largest = figure is not None and figure.method == CELL_METHOD_MAX_OF_RUNS
    end = "largest" if is_largest else "worst" if kept else "best"
    over = f" in the {end} of {runs} runs" if runs > 1 else ""
    return f"{says} {telling}{over}"


def _not_of_runs(figure: Figure | None) -> str:
    """What a figure's interval is of, if it is not of runs: how many requests or samples."""
    if figure is not None and figure.method == CELL_METHOD_INTERPOLATED:
        return "with the error of its estimate"
    if figure is None or figure.method not in _OF_ALL:
        return ""
    return f"over {figure.requests:,} {_OF_ALL[figure.method]}"
