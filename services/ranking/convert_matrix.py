"""RankMatrix's messages: a caller's matrix in, its ranking out."""

import math

import numpy as np

from servemark.ranking.v1.candidate_pb2 import ExclusionReason
from servemark.ranking.v1.rank_matrix_pb2 import (
    ExcludedRow,
    MatrixCriterion,
    MatrixCriterionScore,
    MatrixRank,
    RankMatrixRequest,
    RankMatrixResponse,
)
from servemark.runtime.validation import Violations
from servemark.type.v1.metric_pb2 import Objective
from services.ranking.convert import check_weight, normalization_from_proto
from services.ranking.convert_answers import NORMALIZATION_TO_PROTO, notices_to_proto
from services.ranking.rank_matrix import OwnMatrix, OwnRanking
from services.ranking.topsis import Normalization

MAX_CRITERIA = 32
MAX_ALTERNATIVES = 200_000
_MAX_ID = 256
# A hundred thousand wrong rows need not all be named.
_ENOUGH = 200


def matrix_from_proto(message: RankMatrixRequest) -> OwnMatrix:
    """The matrix. Raises INVALID_FIELD, naming each wrong criterion and row."""
    wrong = Violations()
    count = len(message.criteria)
    if not 1 <= count <= MAX_CRITERIA:
        wrong.add("criteria", f"has {count} entries; it must have 1 to {MAX_CRITERIA}")
    normalization = normalization_from_proto(wrong, message.normalization)
    fixed = normalization is Normalization.FIXED_BOUNDS
    names: dict[str, int] = {}
    for index, criterion in enumerate(message.criteria[:MAX_CRITERIA]):
        _check_criterion(wrong, f"criteria[{index}]", criterion, names, fixed=fixed)
        names.setdefault(criterion.name, index)
    weights = [criterion.weight for criterion in message.criteria]
    if weights and not any(weight > 0 for weight in weights):
        wrong.add("criteria", "need at least one weight above 0")
    _check_alternatives(wrong, message, count)
    wrong.raise_if_any()
    bounds = [(c.lower_bound, c.upper_bound) for c in message.criteria] if fixed else None
    values = np.array([a.values for a in message.alternatives], dtype=np.float64)
    return OwnMatrix(
        ids=tuple(alternative.id for alternative in message.alternatives),
        names=tuple(criterion.name for criterion in message.criteria),
        values=values.reshape(len(message.alternatives), count),
        weights=np.array(weights, dtype=np.float64),
        maximize=np.array(
            [c.objective == Objective.OBJECTIVE_MAXIMIZE for c in message.criteria],
            dtype=np.bool_,
        ),
        normalization=normalization,
        bounds=None if bounds is None else np.array(bounds, dtype=np.float64),
    )


def ranking_to_proto(matrix: OwnMatrix, ranking: OwnRanking) -> RankMatrixResponse:
    """The ranking, best first, and the rows left out, in order of id."""
    result = ranking.result
    # Plain lists: taking cells out of an array one by one takes ten times as long.
    rows = result.order.tolist()
    scores, places = result.score.tolist(), result.rank.tolist()
    fronts = ranking.pareto_rank.tolist()
    cells = np.stack((result.normalized, result.ideal_sq, result.anti_ideal_sq), axis=2).tolist()
    finite = np.isfinite(matrix.values)
    return RankMatrixResponse(
        ranks=[
            MatrixRank(
                id=matrix.ids[row],
                score=scores[row],
                rank=places[row],
                pareto_rank=fronts[row],
                breakdown=[
                    MatrixCriterionScore(
                        normalized=normalized,
                        ideal_distance_sq=ideal,
                        anti_ideal_distance_sq=anti_ideal,
                    )
                    for normalized, ideal, anti_ideal in cells[row]
                ],
            )
            for row in rows
        ],
        excluded=[
            ExcludedRow(
                id=matrix.ids[row],
                reason=ExclusionReason.EXCLUSION_REASON_VALUE_NOT_FINITE,
                criteria=[matrix.names[column] for column in np.flatnonzero(~finite[row])],
            )
            for row in ranking.excluded
        ],
        degenerate=result.degenerate and bool(rows),
        normalization=NORMALIZATION_TO_PROTO[matrix.normalization],
        notices=notices_to_proto(ranking.notices),
    )


def _check_criterion(
    wrong: Violations,
    field: str,
    criterion: MatrixCriterion,
    names: dict[str, int],
    *,
    fixed: bool,
) -> None:
    wrong.text(f"{field}.name", criterion.name, max_len=64)
    if criterion.name and criterion.name in names:
        wrong.add(f"{field}.name", f"is that of criteria[{names[criterion.name]}] too")
    wrong.enum(f"{field}.objective", criterion.objective, Objective.values())
    check_weight(wrong, f"{field}.weight", criterion.weight)
    if not fixed:
        return
    sound = True
    for name in ("lower_bound", "upper_bound"):
        if not criterion.HasField(name):
            wrong.add(f"{field}.{name}", "is required for FIXED_BOUNDS")
            sound = False
        elif not math.isfinite(getattr(criterion, name)):
            wrong.add(f"{field}.{name}", f"is {getattr(criterion, name):g}; it must be finite")
            sound = False
    if sound and criterion.lower_bound >= criterion.upper_bound:
        text = f"is {criterion.upper_bound!r}; it must be above lower_bound"
        wrong.add(f"{field}.upper_bound", f"{text}, which is {criterion.lower_bound!r}")


def _check_alternatives(wrong: Violations, message: RankMatrixRequest, criteria: int) -> None:
    count = len(message.alternatives)
    if count > MAX_ALTERNATIVES:
        wrong.add("alternatives", f"has {count} entries; at most {MAX_ALTERNATIVES} are allowed")
        return
    seen: dict[str, int] = {}
    for index, alternative in enumerate(message.alternatives):
        if len(wrong.found) >= _ENOUGH:
            return
        length = len(alternative.id)
        if not 1 <= length <= _MAX_ID:
            text = f"has {length} characters; it must have 1 to {_MAX_ID}"
            wrong.add(f"alternatives[{index}].id", text)
        elif alternative.id in seen:
            wrong.add(
                f"alternatives[{index}].id", f"is that of alternatives[{seen[alternative.id]}] too"
            )
        seen.setdefault(alternative.id, index)
        values = len(alternative.values)
        if values != criteria:
            text = f"has {values} entries; there are {criteria} criteria"
            wrong.add(f"alternatives[{index}].values", text)
