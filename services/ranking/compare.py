"""Configurations side by side, and which of their differences are more than noise between runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from servemark.ranking.v1.candidate_pb2 import Notice
from services.ranking.candidates import Candidates, Filter, PriceBasis, select
from services.ranking.content import ConfigRow
from services.ranking.differences import Differences, differences
from services.ranking.matrix import Bools, Floats, Ints, Matrix
from services.ranking.metrics import METRICS, PLACE, info_of
from services.ranking.notices import Message, not_measured
from services.ranking.spread import spread_of

_WORKLOAD = {
    "workload_type": "workload type",
    "input_tokens": "input length",
    "output_tokens": "output length",
    "concurrency": "concurrency",
    "request_rate": "request rate",
}


@dataclass(frozen=True, slots=True)
class CompareRequest:
    """What to compare: rows of the matrix in the caller's order; `metrics` empty: all they have."""

    rows: tuple[int, ...]
    metrics: tuple[int, ...] = ()
    price_basis: PriceBasis = field(default_factory=PriceBasis)
    explain_cells: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """The c configurations by m metrics, and the differences of p pairs of them."""

    request: CompareRequest
    matrix: Matrix
    candidates: Candidates
    who: Ints  # [c] candidates, in the caller's order
    metrics: tuple[int, ...]
    values: Floats  # [c, m]
    pairs: tuple[tuple[int, int], ...]  # of 0 … c - 1, the first of each rising
    differences: tuple[Differences, ...]  # [p] by m metrics
    notices: tuple[Message, ...]

    def best(self, column: int) -> Bools:
        """Which of the c configurations have the best figure of a metric."""
        values = self.values[:, column]
        if np.isnan(values).all():
            return np.zeros(values.size, dtype=np.bool_)
        up = info_of(self.metrics[column]).maximize
        best: Bools = values == (np.nanmax(values) if up else np.nanmin(values))
        return best


def compare(matrix: Matrix, request: CompareRequest) -> Comparison:
    """The comparison of at least two configurations, each once."""
    rows = np.array(request.rows)
    # How far runs differ typically is asked of all that came about in the same way.
    kinds = tuple({int(kind) for kind in matrix.provenance[rows]})
    candidates = select(matrix, Filter(provenances=kinds), request.price_basis)
    who = np.searchsorted(candidates.rows, rows)
    metrics = request.metrics or tuple(
        info.metric
        for place, info in enumerate(METRICS)
        if not np.isnan(candidates.value(place)[who]).all()
    )
    spread = spread_of(*candidates.columns([PLACE[metric] for metric in metrics]))
    values = candidates.values_of(who, metrics)
    errors = spread.error[who]
    pairs = tuple(combinations(range(who.size), 2))
    found = tuple(differences(values[a], errors[a], values[b], errors[b]) for a, b in pairs)
    notices = [
        *_workloads([matrix.rows[row] for row in request.rows]),
        *not_measured(candidates, who),
        *_unknown_spreads(metrics, found),
    ]
    return Comparison(
        request=request,
        matrix=matrix,
        candidates=candidates,
        who=who,
        metrics=metrics,
        values=values,
        pairs=pairs,
        differences=found,
        notices=tuple(sorted(notices, key=lambda notice: (notice.kind, notice.metric))),
    )


def _workloads(rows: Sequence[ConfigRow]) -> Iterator[Message]:
    """The notice that the configurations did not do the same work, if so."""
    differing = [
        text for name, text in _WORKLOAD.items() if len({getattr(row, name) for row in rows}) > 1
    ]
    if differing:
        text = (
            f"They were measured under different workloads ({', '.join(differing)}), so figures "
            "do not say which configuration is better."
        )
        yield Message(Notice.KIND_WORKLOADS_DIFFER, text)


def _unknown_spreads(metrics: Sequence[int], found: Sequence[Differences]) -> Iterator[Message]:
    """A notice for each metric of which nobody knows how far runs differ."""
    for column, metric in enumerate(metrics):
        compared = [one for one in found if not np.isnan(one.change[column])]
        if compared and not any(one.known[column] for one in compared):
            text = (
                f"Nobody has several runs with {info_of(metric).label}, so it is not known how "
                "far runs differ, and no difference can be told from noise."
            )
            yield Message(Notice.KIND_SPREAD_UNKNOWN, text, metric)
