"""The catalog's model use cases say what the stored rankings do; what people say stays as it is."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from google.protobuf import json_format

from servemark.catalog.v1.model_use_case_pb2 import (
    ArchiveModelUseCaseRequest,
    CreateModelUseCaseRequest,
    ListModelUseCasesRequest,
    ModelUseCase,
    UpdateModelUseCaseRequest,
)
from servemark.events.v1.event_pb2 import Event
from servemark.ranking.v1.ranking_pb2 import GetRankingsRequest
from servemark.type.v1.metric_pb2 import Metric
from services.ranking import consumer
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.test_follow import by_events, until
from tests.rpc.ranking.world import LARGE, SMALL, World, run, world
from tests.support import servers

TTFT, SPEED = Metric.METRIC_TTFT_P50_MS, Metric.METRIC_THROUGHPUT_TOKENS_SEC
FOLLOWING = by_events(ranking_suitability_seconds=0.05)


async def entries(made: World, use_case: str = "chatbot", **request: Any) -> list[ModelUseCase]:
    """The entries of the use case, by priority."""
    answer = await made.catalog.ListModelUseCases(
        ListModelUseCasesRequest(use_case_ids=[made.ids[use_case]], **request)
    )
    return list(answer.model_use_cases)


def summary_of(entry: ModelUseCase) -> dict[str, Any]:
    return dict(json_format.MessageToDict(entry.performance_summary))


async def done(made: World, use_case: str, count: int) -> None:
    """Waits until the use case has so many entries."""

    async def there() -> bool:
        return len(await entries(made, use_case)) == count

    await until(there, 10.0)


async def ordered(made: World, *models: str) -> None:
    """Waits until these models, and no others, have a priority, in this order."""
    wanted = [made.ids[model] for model in models]

    async def there() -> bool:
        return [one.model_id for one in await entries(made) if one.priority] == wanted

    await until(there, 10.0)


async def test_they_say_what_the_stored_ranking_says(migrated_database: str, valkey: str) -> None:
    async with world(migrated_database, valkey, **FOLLOWING) as made:
        await made.add_use_case("chatbot", weights={TTFT: 1.0, SPEED: 1.0}, limits={TTFT: 100.0})
        ids = await made.store(
            run(LARGE, ttft_p50_ms=30.0, throughput_tokens_sec=900.0),
            run(LARGE, concurrency=1, ttft_p50_ms=60.0, throughput_tokens_sec=300.0),
            run(SMALL, ttft_p50_ms=50.0, throughput_tokens_sec=500.0),
        )
        await ordered(made, LARGE, SMALL)
        large, small = await entries(made)
        stored = await made.ranking.GetRankings(GetRankingsRequest(use_case="chatbot"))
        first, second, third = stored.recommendations
        assert [one.alternative.config_id for one in (first, second)] == [ids[0], ids[2]]
        assert (large.suitability_score, large.priority, large.recommended) == (
            round(first.score, 4),
            1,
            True,
        )
        # The best of the other model is second, and dominated.
        assert (small.suitability_score, small.priority, small.recommended) == (
            round(second.score, 4),
            2,
            False,
        )
        summary = summary_of(large)
        figures = summary.pop("figures")
        assert (figures["ttft_p50_ms"], figures["throughput_tokens_sec"]) == (30.0, 900.0)
        assert summary == {
            "calculated_from": "model_rankings",
            "rank_position": 1,
            "ranked_count": 3,
            "configuration_count": 2,
            "config_id": ids[0],
            "model_version": "base",
            "quantization": "fp8",
            "hardware": "acme/h100x1",
            "gpu_type": "H100-80GB",
            "gpu_count": 1,
            "framework": "vllm",
            "framework_version": "0.11.0",
            "provenance": "measured",
            "run_count": 1,
        }
        assert third.alternative.model_id == large.model_id


async def test_new_results_change_them_and_a_missed_limit_takes_the_place_away(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey, **FOLLOWING) as made:
        await made.add_use_case("chatbot", weights={TTFT: 1.0}, limits={TTFT: 100.0})
        await made.store(run(LARGE, ttft_p50_ms=30.0), run(SMALL, ttft_p50_ms=50.0))
        await ordered(made, LARGE, SMALL)
        await made.store(run(SMALL, concurrency=1, ttft_p50_ms=20.0))
        await ordered(made, SMALL, LARGE)
        # With a run beyond the limit it is no longer sure to be kept.
        await made.store(run(LARGE, ttft_p50_ms=300.0))
        await ordered(made, SMALL)
        gone = next(one for one in await entries(made) if one.model_id == made.ids[LARGE])
        assert not gone.HasField("suitability_score")
        assert (gone.recommended, gone.priority) == (False, 0)
        assert summary_of(gone) == {"calculated_from": "model_rankings"}
        assert [one.model_id for one in await entries(made, recommended=True)] == [made.ids[SMALL]]


async def test_what_people_said_or_archived_stays_as_it_is(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey, **FOLLOWING) as made:
        use_case_id = await made.add_use_case("chatbot", weights={TTFT: 1.0})
        own = (
            await made.catalog.CreateModelUseCase(
                CreateModelUseCaseRequest(
                    model_use_case=ModelUseCase(
                        model_id=made.ids[SMALL],
                        use_case_id=use_case_id,
                        suitability_score=0.125,
                        priority=7,
                    )
                )
            )
        ).model_use_case
        await made.store(run(LARGE, ttft_p50_ms=30.0), run(SMALL, ttft_p50_ms=50.0))
        await ordered(made, LARGE, SMALL)
        # One that was calculated becomes one's own by another summary.
        calculated, kept = await entries(made)
        assert kept == own
        calculated.performance_summary.Clear()
        calculated.suitability_score = 0.25
        taken = (
            await made.catalog.UpdateModelUseCase(
                UpdateModelUseCaseRequest(model_use_case=calculated)
            )
        ).model_use_case
        archived = (
            await made.catalog.ArchiveModelUseCase(ArchiveModelUseCaseRequest(id=own.id))
        ).model_use_case

        await made.store(run(SMALL, concurrency=1, ttft_p50_ms=20.0))

        async def ranked() -> bool:
            answer = await made.ranking.GetRankings(GetRankingsRequest(use_case="chatbot"))
            return len(answer.recommendations) == 3

        await until(ranked, 10.0)
        # A use case made later is done after this one, so that has had its round.
        await made.add_use_case("later", weights={TTFT: 1.0})
        await done(made, "later", 2)
        found = {one.id: one for one in await entries(made, include_archived=True)}
        assert found == {taken.id: taken, archived.id: archived}


async def test_what_they_say_already_is_not_written_again_and_sets_off_no_refresh(
    migrated_database: str, valkey: str
) -> None:
    settings = {**FOLLOWING, "redis_url": valkey, "background": True}
    del settings["follow"]
    async with world(migrated_database, valkey) as made:
        await made.add_use_case("chatbot", weights={TTFT: 1.0})
        await made.store(run(LARGE, ttft_p50_ms=30.0), run(SMALL, ttft_p50_ms=50.0))
        async with ranking(migrated_database, **made.addresses, **settings):
            await ordered(made, LARGE, SMALL)
        before = await entries(made)
        told = (
            "SELECT count(*) FROM catalog.outbox JOIN ranking.processed_events ON event_id = id "
            "WHERE position('model_use_cases'::bytea IN payload) > 0"
        )

        async def all_told() -> bool:
            return bool(await asyncio.to_thread(servers.fetch_value, made.dsn, told) == 4)

        # A process that knows nothing of what the other wrote; it serves the later use case last.
        with noted_events() as noted:
            async with ranking(migrated_database, **made.addresses, **settings):
                await made.add_use_case("later", weights={TTFT: 1.0})
                await done(made, "later", 2)
                await until(all_told, 10.0)
        assert await entries(made) == before
    # Both processes' entries, each written once.
    written = "SELECT count(*) FROM catalog.outbox WHERE position($1::bytea IN payload) > 0"
    assert servers.fetch_value(made.dsn, written, b"model_use_cases") == 4
    resources = {event.catalog_changed.resource for event in noted}
    assert "use_case_taxonomy" in resources
    assert "model_use_cases" not in resources


@contextmanager
def noted_events() -> Iterator[list[Event]]:
    """The events that the ranking takes as a reason to refresh."""
    noted: list[Event] = []
    changed_by = consumer._changed_by

    def keep(events: Sequence[Event]) -> set[str] | None:
        noted.extend(events)
        return changed_by(events)

    with patch.object(consumer, "_changed_by", keep):
        yield noted
