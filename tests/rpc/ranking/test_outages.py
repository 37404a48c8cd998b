"""What still answers while Postgres or the neighbours are away, and what says to come again."""

import time

import grpc

from migrations.runner import migrate_async
from servemark.embedded import EmbeddedPostgres
from servemark.ranking.v1.rank_matrix_pb2 import RankMatrixRequest
from servemark.ranking.v1.ranking_pb2 import GetRankingsRequest, RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.world import run, world
from tests.support.failures import failure
from tests.support.servers import THROWAWAY_SETTINGS, temporary_folder

RECOMMEND = RecommendRequest(use_case="chatbot")
RANKINGS = GetRankingsRequest(use_case="chatbot")
REFRESH = RefreshRankingsRequest()


async def test_with_the_neighbours_away_all_but_a_refresh_is_answered(
    migrated_database: str,
) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(run(ttft_p50_ms=30.0, throughput_tokens_sec=900.0))
        await made.ranking.RefreshRankings(REFRESH)
        before = await made.ranking.Recommend(RECOMMEND)
    async with ranking(migrated_database, background=True) as alone:
        assert await alone.Recommend(RECOMMEND) == before
        assert len((await alone.GetRankings(RANKINGS)).recommendations) == 1
        found = await failure(alone.RefreshRankings(REFRESH))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert found.retry_seconds is not None


async def test_with_postgres_away_recommend_answers_from_memory() -> None:
    with temporary_folder() as folder:
        postgres = EmbeddedPostgres(folder / "postgres", settings=THROWAWAY_SETTINGS)
        postgres.start()
        try:
            dsn = postgres.dsn()
            await migrate_async(dsn)
            async with world(dsn) as made:
                await made.add_use_case()
                await made.store(run(ttft_p50_ms=30.0, throughput_tokens_sec=900.0))
                await made.ranking.RefreshRankings(REFRESH)
                before = await made.ranking.Recommend(RECOMMEND)
                postgres.stop()
                assert await made.ranking.Recommend(RECOMMEND) == before
                assert (await failure(made.ranking.RankMatrix(RankMatrixRequest()))).reason == (
                    "INVALID_FIELD"
                )
                stubs = made.ranking
                for call in (stubs.GetRankings(RANKINGS), stubs.RefreshRankings(REFRESH)):
                    started = time.monotonic()
                    found = await failure(call)
                    assert found.code is grpc.StatusCode.UNAVAILABLE
                    assert found.reason == "DEPENDENCY_UNAVAILABLE"
                    assert found.retry_seconds is not None
                    assert time.monotonic() - started < 2.0
        finally:
            postgres.stop()
