"""What is kept of an alternative is what would be written of it anew, whoever asks and for what."""

from itertools import product

import pytest

from servemark.ranking.v1.candidate_pb2 import Alternative
from servemark.ranking.v1.recommend_pb2 import Recommendation
from services.ranking import convert_kept
from services.ranking.candidates import Candidates, Filter, PriceBasis, select
from services.ranking.convert_alternatives import write_alternative
from services.ranking.convert_cells import write_cells
from services.ranking.convert_kept import merge_alternative, merge_facts
from services.ranking.estimated import EstimatedRow, select_with_estimates
from services.ranking.matrix import Matrix
from services.ranking.options import OperatingPoint
from tests.unit.ranking_matrix.builders import (
    THROUGHPUT,
    TTFT,
    USD_HOUR,
    USD_TOKENS,
    config,
    identifier,
    matrix_of,
    price,
)

METRICS = ((TTFT, USD_HOUR, USD_TOKENS), (THROUGHPUT, USD_TOKENS))
PRICES = (PriceBasis(), PriceBasis(overrides=((identifier(2000), 9.0),)), PriceBasis(at_us=1))


def some() -> Matrix:
    rows = [
        config(
            number,
            concurrency=2**number,
            ttft_p50_ms=(30.0 * number, 40.0 * number),
            throughput_tokens_sec=(900.0 * number, 1100.0 * number),
        )
        for number in (1, 2, 3, 4)
    ]
    return matrix_of(rows, [price(3.6)])


def facts(
    candidates: Candidates, index: int, metrics: tuple[int, ...], *, explain: bool
) -> tuple[Recommendation, Recommendation]:
    """As they are merged, and as they are written."""
    merged, written = Recommendation(rank=7), Recommendation(rank=7)
    merge_facts(merged, candidates, index, metrics, explain=explain)
    write_alternative(written.alternative, candidates, index)
    write_cells(written.cells, candidates, index, metrics, explain=explain)
    return merged, written


def test_it_is_what_would_be_written_anew() -> None:
    matrix = some()
    for _ in range(2):
        for basis, metrics, explain in product(PRICES, METRICS, (False, True)):
            candidates = select(matrix, Filter(), basis)
            for index in range(len(candidates)):
                merged, written = facts(candidates, index, metrics, explain=explain)
                assert merged == written
                message = Alternative()
                merge_alternative(message, candidates, index)
                assert message == written.alternative
    # Four alternatives at three prices, alone and with each choice of cells.
    assert len(matrix.kept) == 4 * 3 * (1 + 4)


def test_no_more_is_kept_than_is_meant_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert_kept, "_MOST_KEPT", 5)
    matrix = some()
    for usd in range(1, 40):
        basis = PriceBasis(overrides=((identifier(2000), float(usd)),))
        candidates = select(matrix, Filter(), basis)
        merged, written = facts(candidates, usd % 4, METRICS[0], explain=False)
        assert merged == written
        assert len(matrix.kept) <= 5


def test_what_was_estimated_for_one_request_is_not_kept() -> None:
    matrix = some()
    point = OperatingPoint(None, None, 6, None)
    candidates, _ = select_with_estimates(matrix, point, Filter(), PriceBasis(), None)
    [index] = [
        index for index in range(len(candidates)) if isinstance(candidates.row(index), EstimatedRow)
    ]
    merged, written = facts(candidates, index, METRICS[0], explain=False)
    assert merged == written
    assert not matrix.kept
    assert candidates.matrix.kept is matrix.kept
