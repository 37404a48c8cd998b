"""What the reader of an answer should know beside the ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

from servemark.ranking.v1.candidate_pb2 import Notice
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.candidates import Candidates
from services.ranking.curves import AXES
from services.ranking.matrix import Ints
from services.ranking.options import OperatingPoint
from services.ranking.screening import Screened
from services.ranking.topsis import TopsisResult


@dataclass(frozen=True, slots=True)
class Message:
    """Something the reader of an answer should know; metric 0: none in particular."""

    kind: Notice.Kind.ValueType
    text: str
    metric: int = 0


SCORES_RELATIVE = Message(
    Notice.KIND_SCORES_RELATIVE,
    "Scores compare only the alternatives of this answer with each other.",
)


def notices_of(
    result: TopsisResult, labels: Sequence[str], metrics: Sequence[int]
) -> list[Message]:
    """What a result says of itself: degenerate, constant and clipped criteria.

    `labels` name the criteria; `metrics` are theirs, or 0 for criteria of the caller's own.
    """
    found = []
    if result.degenerate:
        alone = result.kept.size == 1
        text = (
            "There is only one alternative, so its score compares it with no other."
            if alone
            else "No criterion that counts tells the alternatives apart, so neither do the scores."
        )
        found.append(Message(Notice.KIND_DEGENERATE, text))
    clipped = result.clipped_counts()
    for place, (label, metric) in enumerate(zip(labels, metrics, strict=True)):
        if result.constant[place] and not result.degenerate:
            same = "count as the same" if clipped[place] else "are the same"
            text = f"All values of {label} {same}; it cannot tell the alternatives apart."
            found.append(Message(Notice.KIND_CRITERION_CONSTANT, text, metric))
        count = int(clipped[place])
        if count:
            text = (
                f"{count} of {result.kept.size} values of {label} lie outside the reference "
                "bounds and were clipped to them."
            )
            found.append(Message(Notice.KIND_VALUES_CLIPPED, text, metric))
    return found


def nothing_left(screened: Screened) -> Message:
    """The notice that nothing is left to rank, with the reason that leaves most out."""
    count = len(screened.candidates)
    if not screened.candidates.matrix.rows:
        text = "There are no results yet."
    elif not count:
        text = "No configuration passed the filter."
    else:
        text = f"None of the {count} candidates is left. {screened.main_reason()}"
    return Message(Notice.KIND_NOTHING_FEASIBLE, text)


def not_measured(candidates: Candidates, who: Ints) -> list[Message]:
    """The notice that some of the candidates `who` were not measured, if so."""
    kinds = candidates.of(candidates.matrix.provenance)[who]
    count = int((kinds != Provenance.PROVENANCE_MEASURED).sum())
    if not count:
        return []
    text = f"{count} of {who.size} alternatives were simulated or estimated, not measured."
    return [Message(Notice.KIND_NOT_MEASURED_INCLUDED, text)]


def elsewhere(candidates: Candidates, who: Ints, point: OperatingPoint | None) -> list[Message]:
    """The notice that some of the candidates `who` do not lie at the operating point, if so."""
    if point is None:
        return []
    wanted = [(axis, value) for axis in AXES if (value := getattr(point, axis)) is not None]
    rows = map(candidates.row, who.tolist())
    count = sum(any(getattr(row, axis) != value for axis, value in wanted) for row in rows)
    if not count:
        return []
    text = (
        f"{count} of {who.size} alternatives were measured at other loads or lengths than those "
        "asked for, so figures do not say whether they would be better there."
    )
    return [Message(Notice.KIND_WORKLOADS_DIFFER, text)]
