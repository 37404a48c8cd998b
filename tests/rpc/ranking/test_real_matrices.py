"""RankMatrix on what was really measured: scores and fronts as of the libraries, holes named."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from servemark.ranking.v1.candidate_pb2 import ExclusionReason
from servemark.ranking.v1.rank_matrix_pb2 import (
    MatrixAlternative,
    MatrixCriterion,
    RankMatrixRequest,
)
from servemark.ranking.v1.recommend_pb2 import Normalization
from servemark.type.v1.metric_pb2 import Objective
from tests.rpc.ranking.serving import ranking
from tests.support import libraries as other
from tests.support.libraries import Libraries, finite_or_none
from tests.support.real_matrices import (
    MLPERF_ROUNDS,
    RealMatrix,
    aiconfigurator_points,
    mlperf_results,
)

VECTOR, MIN_MAX = Normalization.NORMALIZATION_VECTOR, Normalization.NORMALIZATION_MIN_MAX


@pytest.fixture(scope="module")
async def stub(module_database: str) -> AsyncIterator[Any]:
    """A ranking service whose neighbours are away: RankMatrix needs none."""
    async with ranking(module_database) as served:
        yield served


@pytest.fixture(scope="module")
def libraries() -> Libraries:
    """The other libraries; it takes seconds to import them."""
    return other.load()


def request(matrix: RealMatrix, normalization: int) -> RankMatrixRequest:
    """The matrix with weights 1, 2, 3 …"""
    minimize, maximize = Objective.OBJECTIVE_MINIMIZE, Objective.OBJECTIVE_MAXIMIZE
    return RankMatrixRequest(
        criteria=[
            MatrixCriterion(name=name, weight=place, objective=maximize if up else minimize)
            for place, (name, up) in enumerate(
                zip(matrix.criteria, matrix.maximize, strict=True), start=1
            )
        ],
        alternatives=[
            MatrixAlternative(id=name, values=row)
            for name, row in zip(matrix.ids, matrix.values, strict=True)
        ],
        normalization=normalization,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("source", ["aiconfigurator", *MLPERF_ROUNDS])
async def test_it_ranks_as_the_libraries_do_and_names_what_was_left_out(
    stub: Any, libraries: Libraries, source: str
) -> None:
    known = aiconfigurator_points() if source == "aiconfigurator" else mlperf_results(source)
    for matrix in known:
        values, up = matrix.values[matrix.whole], matrix.maximize
        ids = [matrix.ids[row] for row in np.flatnonzero(matrix.whole)]
        weights = np.arange(1.0, up.size + 1)
        fronts = libraries.pareto_rank["paretoset"](values, up).tolist()
        for normalization, scores in ((VECTOR, libraries.vector), (MIN_MAX, libraries.min_max)):
            answer = await stub.RankMatrix(request(matrix, normalization), timeout=10)
            found = {row.id: row for row in answer.ranks}
            assert [found[name].pareto_rank for name in ids] == fronts, matrix.name
            theirs = finite_or_none(scores["pymcdm"], values, weights, up)
            if theirs is not None:
                np.testing.assert_allclose(
                    [found[name].score for name in ids], theirs, rtol=0, atol=1e-9
                )
            assert {row.id for row in answer.excluded} == set(matrix.ids) - set(ids), matrix.name
            assert {row.reason for row in answer.excluded} <= {
                ExclusionReason.EXCLUSION_REASON_VALUE_NOT_FINITE
            }
