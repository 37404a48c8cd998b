"""The matrix's version rises exactly when its content changed, wherever it is made."""

import asyncio
import time
from typing import Any

from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.type.v1.metric_pb2 import Metric
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.world import H100, L4, LARGE, World, run, weights_of, world
from tests.support import servers

TTFT = Metric.METRIC_TTFT_P50_MS
_TABLES = ("matrix_versions", "matrix_rows", "ranking_inputs", "rank_references")


async def version(stub: Any) -> int:
    answer = await stub.RefreshRankings(RefreshRankingsRequest(), timeout=30)
    return int(answer.matrix_version)


async def test_the_version_rises_exactly_when_the_content_changed(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(run(ttft_p50_ms=30.0))
        assert await version(made.ranking) == 1
        assert await version(made.ranking) == 1
        await made.store(run(ttft_p50_ms=30.0))  # a second run of the same
        assert await version(made.ranking) == 2
        await made.set_price(H100, 5.0, at=time.time() - 10)
        assert await version(made.ranking) == 3
        await made.add_use_case("batch")
        assert await version(made.ranking) == 4
        assert await version(made.ranking) == 4


async def test_a_price_that_begins_makes_a_new_version_when_its_time_comes(
    migrated_database: str,
) -> None:
    async with world(migrated_database) as made:
        await made.store(run(ttft_p50_ms=30.0))
        begins = int(time.time()) + 2
        await made.set_price(H100, 2.5, at=begins)

        async def usd() -> float:
            request = RecommendRequest(weights=weights_of({TTFT: 1}))
            answer = await made.ranking.Recommend(request)
            return float(answer.recommendations[0].alternative.price.usd_per_hour)

        assert (await version(made.ranking), await usd()) == (1, 4.0)
        await asyncio.sleep(begins + 0.1 - time.time())
        assert (await version(made.ranking), await usd()) == (2, 2.5)


def _facts(dsn: str) -> str:
    """The stored facts as text, without the versions they changed in."""
    return str(
        servers.fetch_value(
            dsn,
            "SELECT json_agg(f ORDER BY f.id) FROM ("
            " SELECT config_id AS id, content::text, content_digest FROM ranking.matrix_rows"
            " UNION ALL SELECT id, kind || content::text, content_digest"
            " FROM ranking.ranking_inputs) f",
        )
    )


async def test_a_matrix_made_from_scratch_has_the_same_bytes(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(
            *(run(concurrency=n, ttft_p50_ms=30.0 + n / 7) for n in range(1, 40)),
            run(LARGE, ttft_p50_ms=0.1 + 0.2, throughput_tokens_sec=1e-7),
            # Runs that are pooled: sums, whose last digit must not depend on their order.
            *(
                run(
                    hardware=L4,
                    ttft_p50_ms=n / 7,
                    throughput_tokens_sec=1000 / n,
                    rps_sustained=n / 3,
                    accuracy_score=n / 31,
                    memory_used_gb=70 + n / 11,
                    requests=100 + n,
                    ttft_samples=[n / 7, n / 3, n * 1.1],
                )
                for n in range(1, 30)
            ),
        )
        await version(made.ranking)
        await made.store(
            run(concurrency=3, ttft_p50_ms=11.0),
            run(hardware=L4, ttft_p50_ms=5.0, requests=9, ttft_samples=[5.0, 6.0]),
        )
        assert await version(made.ranking) == 2
        digest = "SELECT content_digest FROM ranking.matrix_versions ORDER BY version DESC LIMIT 1"
        grown = servers.fetch_value(migrated_database, digest), _facts(migrated_database)
        servers.execute(
            migrated_database,
            "TRUNCATE " + ", ".join(f"ranking.{table}" for table in _TABLES),
        )
        async with ranking(migrated_database, **made.addresses) as other:
            assert await version(other) == 1
        scratch = servers.fetch_value(migrated_database, digest), _facts(migrated_database)
    assert scratch == grown


async def test_a_started_process_finds_the_stored_matrix_and_its_version(
    migrated_database: str,
) -> None:
    request = RecommendRequest(weights=weights_of({TTFT: 1}))
    async with world(migrated_database) as made:
        await made.store(run(ttft_p50_ms=30.0))
        first = await made.ranking.Recommend(request)
        async with ranking(migrated_database, **made.addresses) as other:
            assert await version(other) == 1
            assert await other.Recommend(request) == first
    async with ranking(migrated_database) as alone:
        assert await alone.Recommend(request) == first


async def test_only_rows_that_changed_are_written(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.store(*(run(concurrency=n, ttft_p50_ms=30.0) for n in (1, 2, 3)))
        await version(made.ranking)
        [changed] = await made.store(run(concurrency=2, ttft_p50_ms=50.0))
        assert await version(made.ranking) == 2
    query = "SELECT string_agg(config_id::text, ',') FROM ranking.matrix_rows"
    assert servers.fetch_value(migrated_database, query + " WHERE matrix_version = 2") == changed


async def test_calls_at_once_share_a_reading_and_each_sees_what_came_before_it(
    migrated_database: str,
) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()

        async def store_and_refresh(n: int) -> int:
            await made.store(run(concurrency=n, ttft_p50_ms=30.0))
            answer = await made.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
            return int(answer.alternative_count)

        found = await asyncio.gather(*(store_and_refresh(n) for n in range(1, 9)))
        assert max(found) == 8
        last: World = made
        assert await version(last.ranking) <= 8
