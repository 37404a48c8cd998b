"""The caller's own matrix, ranked: nothing is read or stored."""

from dataclasses import dataclass

import numpy as np

from servemark.ranking.v1.candidate_pb2 import Notice
from services.ranking import pareto, topsis
from services.ranking.matrix import Bools, Floats, Ints
from services.ranking.notices import SCORES_RELATIVE, Message, notices_of
from services.ranking.topsis import Normalization


@dataclass(frozen=True, eq=False, slots=True)
class OwnMatrix:
    """n alternatives by m criteria, all valid but for cells that are not finite."""

    ids: tuple[str, ...]  # [n], each once
    names: tuple[str, ...]  # [m], each once
    values: Floats  # [n, m]
    weights: Floats  # [m]
    maximize: Bools  # [m]
    normalization: Normalization
    bounds: Floats | None  # [m, 2], for FIXED_BOUNDS only


@dataclass(frozen=True, eq=False, slots=True)
class OwnRanking:
    """The ranked rows, best first, and the others."""

    result: topsis.TopsisResult
    pareto_rank: Ints  # [n], 0 for excluded rows
    excluded: Ints  # rows that were left out, in order of id
    notices: tuple[Message, ...]


def rank_matrix(matrix: OwnMatrix) -> OwnRanking:
    """The rows' scores, ranks and Pareto ranks; equal scores in order of id."""
    by_id = sorted(range(len(matrix.ids)), key=matrix.ids.__getitem__)
    place_of_id = np.empty(len(by_id), dtype=np.int64)
    place_of_id[by_id] = np.arange(len(by_id))
    result = topsis.rank(
        matrix.values,
        matrix.weights,
        matrix.maximize,
        normalization=matrix.normalization,
        bounds=matrix.bounds,
        tie_break=place_of_id,
    )
    out = np.flatnonzero(result.excluded)
    notices = []
    if result.kept.size:
        notices += notices_of(result, matrix.names, [0] * len(matrix.names))
        if matrix.normalization is not Normalization.FIXED_BOUNDS:
            notices.append(SCORES_RELATIVE)
    else:
        text = (
            f"All {len(by_id)} alternatives have a value that is not finite."
            if by_id
            else "The matrix has no alternatives."
        )
        notices.append(Message(Notice.KIND_NOTHING_FEASIBLE, text))
    return OwnRanking(
        result=result,
        pareto_rank=pareto.pareto_rank(matrix.values, matrix.maximize),
        excluded=out[np.argsort(place_of_id[out])],
        notices=tuple(sorted(notices, key=lambda notice: notice.kind)),
    )
