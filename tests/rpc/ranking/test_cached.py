"""Recommendations are kept for each matrix, and never given from another one."""

from typing import Any

from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from tests.rpc.ranking.world import LARGE, World, run, world


async def _ask(made: World, request: RecommendRequest, caller: str = "") -> tuple[Any, str]:
    """The answer, and the level it comes from."""
    metadata = (("x-servemark-caller", caller),) if caller else ()
    call = made.ranking.Recommend(request, metadata=metadata)
    answer = await call
    told = dict(await call.trailing_metadata())["x-servemark-cache"]
    return answer, told.partition(";")[0].removeprefix("level=")


async def test_the_same_question_about_the_same_matrix_is_answered_from_memory(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, redis_url=valkey) as made:
        await made.add_use_case()
        await made.store(run(ttft_p50_ms=100, throughput_tokens_sec=1000))
        await made.ranking.RefreshRankings(RefreshRankingsRequest())
        request = RecommendRequest(use_case="chatbot")
        first, level = await _ask(made, request)
        assert level == "DB"
        assert await _ask(made, request) == (first, "L1")
        assert (await _ask(made, RecommendRequest(use_case="chatbot", max_results=1)))[1] == "DB"
        assert (await _ask(made, request, caller="k2"))[1] == "DB"
        # The next matrix is used by the next call.
        await made.store(run(model=LARGE, ttft_p50_ms=50, throughput_tokens_sec=2000))
        await made.ranking.RefreshRankings(RefreshRankingsRequest())
        second, level = await _ask(made, request)
        assert level == "DB"
        assert second.matrix_version > first.matrix_version
        assert len(second.recommendations) == 2


async def test_a_caller_cannot_choose_the_key(migrated_database: str, valkey: str) -> None:
    async with world(migrated_database, redis_url=valkey) as made:
        await made.add_use_case()
        await made.store(run(ttft_p50_ms=100, throughput_tokens_sec=1000))
        await made.ranking.RefreshRankings(RefreshRankingsRequest())
        request = RecommendRequest(use_case="chatbot")
        await _ask(made, request, caller="a:b *")
        assert (await _ask(made, request, caller="c:d *"))[1] == "L1"
