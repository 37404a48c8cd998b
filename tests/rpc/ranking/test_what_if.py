"""What if weights, limits or prices were other ones: answered from the matrix in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from servemark.ranking.v1.candidate_pb2 import PriceBasis, PriceOverride
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.type.v1.metric_pb2 import Metric
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.world import H100, L4, limits_of, run, weights_of, world

TTFT, USD = Metric.METRIC_TTFT_P50_MS, Metric.METRIC_USD_PER_HOUR
BEFORE = RecommendRequest(weights=weights_of({TTFT: 3, USD: 1}))
WHAT_IF = (
    RecommendRequest(weights=weights_of({TTFT: 1, USD: 9})),
    RecommendRequest(weights=BEFORE.weights, limits=limits_of({USD: 1.0})),
    RecommendRequest(
        weights=BEFORE.weights,
        price_basis=PriceBasis(overrides=[PriceOverride(hardware=H100, usd_per_hour=0.1)]),
    ),
)


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that every service in this process sends until the end of the block."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_other_weights_limits_and_prices_are_answered_without_reading_anything(
    migrated_database: str,
) -> None:
    async with world(migrated_database) as made:
        await made.store(run(ttft_p50_ms=30.0), run(hardware=L4, ttft_p50_ms=90.0))
        before = await made.ranking.Recommend(BEFORE)
    # Its neighbours are away, so that asking them for anything would fail.
    async with ranking(migrated_database) as alone:
        with statements() as sent:
            assert await alone.Recommend(BEFORE) == before
            assert any("matrix_rows" in statement for statement in sent)
            sent.clear()
            answers = [await alone.Recommend(request) for request in WHAT_IF]
            assert sent == []
    assert {answer.matrix_version for answer in answers} == {before.matrix_version}
    best = [answer.recommendations[0].alternative for answer in (before, *answers)]
    assert [one.hardware for one in best] == [H100, L4, L4, H100]
    assert best[-1].price.usd_per_hour == 0.1
