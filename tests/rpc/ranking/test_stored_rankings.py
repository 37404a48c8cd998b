"""GetRankings and RefreshRankings: whole generations, pages of one, expiry."""

import asyncio
import json
from typing import Any

import grpc
import pytest

from servemark.ranking.v1.candidate_pb2 import Notice
from servemark.ranking.v1.ranking_pb2 import (
    GetRankingsRequest,
    GetRankingsResponse,
    RefreshRankingsRequest,
)
from servemark.ranking.v1.recommend_pb2 import Normalization, RecommendRequest
from servemark.type.v1.metric_pb2 import Metric
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.world import World, run, world
from tests.support import servers
from tests.support.failures import failure

TTFT, SPEED = Metric.METRIC_TTFT_P50_MS, Metric.METRIC_THROUGHPUT_TOKENS_SEC


def runs(count: int, *, shift: float = 0.0, first: int = 1) -> list[Any]:
    """So many configurations, told apart by their concurrency, the slower the faster in total."""
    return [
        run(
            concurrency=n,
            ttft_p50_ms=20.0 + n + shift,
            throughput_tokens_sec=100.0 * n,
        )
        for n in range(first, first + count)
    ]


async def refresh(made: World, *use_cases: str) -> Any:
    return await made.ranking.RefreshRankings(
        RefreshRankingsRequest(use_cases=use_cases), timeout=30
    )


async def page(made: Any, token: str = "", size: int = 0, use_case: str = "chatbot") -> Any:
    stub = getattr(made, "ranking", made)
    answer: GetRankingsResponse = await stub.GetRankings(
        GetRankingsRequest(use_case=use_case, page_size=size, page_token=token), timeout=20
    )
    return answer


async def whole(made: Any, size: int) -> tuple[str, list[Any]]:
    """The id of the generation and all of its places, read page by page."""
    answer = await page(made, size=size)
    found = list(answer.recommendations)
    while answer.next_page_token:
        following = await page(made, answer.next_page_token, size)
        assert following.generation == answer.generation
        answer = following
        found += answer.recommendations
    return answer.generation.id, found


async def test_a_refresh_has_everything_that_was_durable_and_stores_what_is_read(
    migrated_database: str,
) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case(limits={TTFT: 29.0})
        await made.add_use_case("batch", weights={SPEED: 1.0})
        await made.store(*runs(10))
        answer = await refresh(made)
        assert (answer.matrix_version, answer.alternative_count) == (1, 10)
        generations = {g.use_case: g for g in answer.generations}
        assert {name: g.ranked_count for name, g in generations.items()} == {
            "chatbot": 9,
            "batch": 10,
        }
        chat = generations["chatbot"]
        assert chat.expire_time.seconds - chat.calculate_time.seconds in (899, 900)
        assert [(w.metric, w.weight) for w in chat.weights] == [(TTFT, 0.5), (SPEED, 0.5)]
        assert [(x.metric, x.limit) for x in chat.limits] == [(TTFT, 29.0)]

        stored = await page(made)
        assert stored.generation == chat
        assert [r.rank for r in stored.recommendations] == sorted(
            r.rank for r in stored.recommendations
        )
        fresh = await made.ranking.Recommend(
            RecommendRequest(
                use_case="chatbot", normalization=Normalization.NORMALIZATION_FIXED_BOUNDS
            )
        )
        assert list(stored.recommendations) == list(fresh.recommendations)


async def test_the_rows_hold_what_the_requirement_names(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(*runs(3))
        await refresh(made)
        await refresh(made)
        stored = await page(made)
    rows = servers.fetch_value(
        migrated_database,
        "SELECT json_agg(r ORDER BY r.ordinal) FROM (SELECT ordinal, model_id, config_id,"
        " use_case_category, composite_score, rank_position, score_breakdown,"
        " expires_at > calculated_at AS lasts FROM ranking.model_rankings"
        " WHERE superseded_at IS NULL) r",
    )

    found = json.loads(rows)
    assert len(found) == 3
    for row, message in zip(found, stored.recommendations, strict=True):
        assert row["model_id"] == message.alternative.model_id
        assert row["config_id"] == message.alternative.config_id
        assert row["use_case_category"] == "chatbot"
        assert row["composite_score"] == message.score
        assert row["rank_position"] == message.rank
        assert row["lasts"]
        breakdown = row["score_breakdown"]
        assert set(breakdown) == {"ttft_p50_ms", "throughput_tokens_sec"}
        assert breakdown["ttft_p50_ms"]["value"] == message.breakdown[0].value
        assert breakdown["ttft_p50_ms"]["weight"] == 0.5
    superseded = servers.fetch_value(
        migrated_database,
        "SELECT count(*) FROM ranking.model_rankings WHERE superseded_at IS NOT NULL",
    )
    assert superseded == 3


async def test_pages_are_of_one_generation_though_others_follow(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(*runs(7))
        await refresh(made)
        first = await page(made, size=3)
        await made.store(*runs(5, first=20))
        await refresh(made)
        second = await page(made, first.next_page_token, 3)
        third = await page(made, second.next_page_token, 3)
        assert first.generation == second.generation == third.generation
        assert third.next_page_token == ""
        ids = [
            r.alternative.config_id
            for answer in (first, second, third)
            for r in answer.recommendations
        ]
        assert len(ids) == len(set(ids)) == first.generation.ranked_count == 7
        assert (await page(made)).generation.ranked_count == 12


async def test_a_token_whose_generation_is_gone_or_that_is_of_another_is_refused(
    migrated_database: str,
) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.add_use_case("batch", weights={SPEED: 1.0})
        await made.store(*runs(4))
        await refresh(made)
        token = (await page(made, size=2)).next_page_token
        for request in (
            GetRankingsRequest(use_case="batch", page_token=token),
            GetRankingsRequest(use_case="chatbot", page_token="x"),
            GetRankingsRequest(use_case="chatbot", page_token=token[:-4]),
        ):
            found = await failure(made.ranking.GetRankings(request))
            assert (found.code, found.reason) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "PAGE_TOKEN_INVALID",
            )
        servers.execute(migrated_database, "DELETE FROM ranking.ranking_generations")
        gone = GetRankingsRequest(use_case="chatbot", page_token=token)
        assert (await failure(made.ranking.GetRankings(gone))).reason == "PAGE_TOKEN_INVALID"


async def test_superseded_generations_do_not_pile_up(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(*runs(2))
        for _ in range(30):
            await refresh(made)
    kept = servers.fetch_value(
        migrated_database, "SELECT count(*) FROM ranking.ranking_generations"
    )
    assert kept == 21  # the current one and the last twenty before it
    rows = servers.fetch_value(migrated_database, "SELECT count(*) FROM ranking.model_rankings")
    assert rows == 42


async def test_a_reader_never_sees_half_a_generation(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(*runs(24))
        await refresh(made)
        done = asyncio.Event()
        seen: set[str] = set()

        async def read() -> None:
            while not done.is_set():
                generation, found = await whole(made, 5)
                seen.add(generation)
                ids = {r.alternative.config_id for r in found}
                assert len(found) == len(ids) == 24
                assert [r.rank for r in found] == list(range(1, 25))

        readers = [asyncio.create_task(read()) for _ in range(3)]
        for _ in range(12):
            await refresh(made)
        done.set()
        await asyncio.gather(*readers)
        assert len(seen) > 3


async def test_two_processes_at_once_leave_one_current_generation(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(*runs(5))
        async with ranking(migrated_database, **made.addresses) as other:
            await asyncio.gather(
                *(
                    stub.RefreshRankings(RefreshRankingsRequest(), timeout=30)
                    for stub in (made.ranking, other) * 4
                )
            )
    current = servers.fetch_value(
        migrated_database,
        "SELECT count(*) FROM ranking.ranking_generations WHERE superseded_at IS NULL",
    )
    versions = servers.fetch_value(
        migrated_database, "SELECT max(version) FROM ranking.matrix_versions"
    )
    assert (current, versions) == (1, 1)


async def test_an_expired_generation_is_calculated_anew_before_it_is_served(
    migrated_database: str,
) -> None:
    async with world(migrated_database, ranking_ttl_seconds=1.0) as made:
        await made.add_use_case()
        await made.store(*runs(3))
        await refresh(made)
        first = (await page(made)).generation
        assert (await page(made)).generation == first
        await asyncio.sleep(1.1)
        # Of many who come at once, one calculates it for all.
        answers = await asyncio.gather(*(page(made) for _ in range(10)))
    assert len({answer.generation.id for answer in answers}) == 1
    second = answers[0].generation
    assert second.id != first.id
    assert second.calculate_time.ToMicroseconds() >= first.expire_time.ToMicroseconds()


async def test_a_ranking_that_was_never_made_is_made_when_it_is_read(
    migrated_database: str,
) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.store(*runs(3))
        assert len((await page(made)).recommendations) == 3


async def test_scores_of_two_generations_can_be_compared_as_their_bounds_stay(
    migrated_database: str,
) -> None:
    async with world(migrated_database, ranking_reference_candidates=2) as made:
        await made.add_use_case()
        await made.store(*runs(6))
        await refresh(made)
        before = {r.alternative.config_id: r.score for r in (await page(made)).recommendations}
        # One far outside of the bounds, which are 20 to 50 ms and 100 to 1000 tokens/s.
        await made.store(run(concurrency=99, ttft_p50_ms=900, throughput_tokens_sec=50_000))
        await refresh(made)
        after = {r.alternative.config_id: r.score for r in (await page(made)).recommendations}
        assert len(after) == 7
        assert before.items() <= after.items()
        answer = await made.ranking.Recommend(
            RecommendRequest(
                use_case="chatbot", normalization=Normalization.NORMALIZATION_FIXED_BOUNDS
            )
        )
        clipped = {n.metric for n in answer.notices if n.kind == Notice.KIND_VALUES_CLIPPED}
        assert clipped == {TTFT, SPEED}


async def test_a_use_case_without_results_has_an_empty_ranking(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case("long", input_tokens=(100_000, 0))
        await made.store(*runs(2))
        answer = await refresh(made, "long", "LONG", made.ids["long"])
        assert [g.ranked_count for g in answer.generations] == [0]
        stored = await page(made, use_case="long")
        assert stored.generation == answer.generations[0]
        assert not stored.recommendations
        assert stored.next_page_token == ""


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (GetRankingsRequest(), {"use_case"}),
        (GetRankingsRequest(page_size=1001), {"use_case", "page_size"}),
        (GetRankingsRequest(use_case="x", page_size=-1), {"page_size"}),
    ],
)
async def test_wrong_fields_are_named(
    migrated_database: str, request_: GetRankingsRequest, fields: set[str]
) -> None:
    async with ranking(migrated_database) as stub:
        found = await failure(stub.GetRankings(request_))
    assert set(found.fields) == fields


async def test_unknown_use_cases_are_refused_by_both(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await made.add_use_case()
        await made.add_use_case("batch")
        refresh = RefreshRankingsRequest(use_cases=["batch", "chess"])
        for call, field in (
            (made.ranking.GetRankings(GetRankingsRequest(use_case="chess")), "use_case"),
            (made.ranking.RefreshRankings(refresh), "use_cases[1]"),
        ):
            found = await failure(call)
            assert found.code is grpc.StatusCode.INVALID_ARGUMENT
            assert found.reason == "USE_CASE_UNKNOWN"
            assert set(found.fields) == {field}
            assert found.metadata["known"] == "batch, chatbot"
