"""EventService: what waits is shown, and what could not be used gets a second chance."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import grpc
import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1 import dead_letter_pb2 as dead
from servemark.events.v1.event_lag_pb2 import GetEventLagRequest
from servemark.events.v1.event_pb2 import Event, ResultsStored
from servemark.events.v1.event_service_pb2_grpc import EventServiceStub
from servemark.runtime.database import Database
from servemark.runtime.events.inbox import DeadLetter, Inbox, id_of
from servemark.runtime.events.keys import stream_of
from servemark.runtime.ids import uuid7
from services.ranking import app as ranking_app
from services.ranking.servicer_events import EventServicer
from services.ranking.settings import RankingSettings
from services.ranking.store_changes import ChangeStore
from tests.rpc.ranking.serving import running
from tests.rpc.ranking.world import world
from tests.support import servers


async def served(dsn: str, redis_url: str | None, work: Any) -> None:
    """Runs `work` with a stub of the events of a ranking that does nothing by itself."""
    settings = RankingSettings(
        database_url=dsn,  # type: ignore[arg-type]
        redis_url=redis_url,  # type: ignore[arg-type]
        port_base=0,
        metrics_port=0,
    )
    app = await ranking_app.create(settings)
    async with (
        running(app, background=False) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        await work(EventServiceStub(channel))


async def test_the_lag_of_all_topics_is_seen_from_outbox_to_group(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey, follow=True) as made:

        async def check(events: Any) -> None:
            async with asyncio.timeout(20):
                while True:
                    answer = await events.GetEventLag(GetEventLagRequest())
                    catalog, results = answer.topics
                    if catalog.stream_length and catalog.HasField("outbox") and catalog.groups:
                        break
                    await asyncio.sleep(0.1)
            assert (catalog.topic, results.topic) == ("catalog", "results")
            assert [group.group for group in catalog.groups] == ["ranking"]

        await served(made.dsn, valkey, check)


async def test_without_redis_its_absence_is_said(migrated_database: str) -> None:
    async def none(events: Any) -> None:
        assert not (await events.GetEventLag(GetEventLagRequest())).topics

    async def away(events: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await events.GetEventLag(GetEventLagRequest(), timeout=5)
        assert failed.value.code() == grpc.StatusCode.UNAVAILABLE

    await served(migrated_database, None, none)
    await served(migrated_database, "redis://127.0.0.1:1/0", away)


async def test_dead_letters_are_listed_and_replayed(migrated_database: str) -> None:
    event = Event(id=str(uuid7()), results_stored=ResultsStored(config_ids=[str(uuid7())]))
    garbage, more = b"\xff" * 1_500_000, b"\xfe" * 1_500_000
    database = Database(migrated_database, "ranking")
    try:
        inbox = Inbox(database)
        for id_, payload in (
            (UUID(event.id), event.SerializeToString()),
            (id_of(garbage), garbage),
            (id_of(more), more),
        ):
            assert await inbox.bury(DeadLetter(id_, "results", payload, "no", 5))
    finally:
        await database.close()

    async def check(events: Any) -> None:
        found: list[dead.DeadLetter] = []
        request = dead.ListDeadLettersRequest()
        pages = 0
        while True:
            page = await events.ListDeadLetters(request)
            found += page.dead_letters
            pages += 1
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        # Two of them do not fit into one answer.
        assert pages == 2
        assert [one.id for one in found] == [str(id_of(more)), str(id_of(garbage)), event.id]
        assert (found[2].topic, found[2].reason, found[2].delivery_count) == ("results", "no", 5)
        assert found[2].payload == event.SerializeToString()
        again = dead.ReplayDeadLettersRequest(ids=[event.id, str(id_of(garbage))])
        for _ in range(2):
            outcomes = (await events.ReplayDeadLetters(again)).outcomes
            assert [one.problem for one in outcomes] == ["", "The bytes are no event."]
        left = await events.ListDeadLetters(dead.ListDeadLettersRequest(page_size=1))
        assert [one.id for one in left.dead_letters] == [str(id_of(more))]
        for wrong in (["x"], []):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await events.ReplayDeadLetters(dead.ReplayDeadLettersRequest(ids=wrong))
            assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    await served(migrated_database, None, check)


async def test_who_follows_events_is_told_of_those_that_are_replayed(
    migrated_database: str,
) -> None:
    database = Database(migrated_database, "ranking")
    told: list[bool] = []
    try:
        inbox, changes = Inbox(database), ChangeStore(database)
        event = Event(id=str(uuid7()), results_stored=ResultsStored(config_ids=[str(uuid7())]))
        letter = DeadLetter(UUID(event.id), "results", event.SerializeToString(), "no", 5)
        assert await inbox.bury(letter)

        async def note(connection: AsyncConnection, _: Sequence[Event]) -> None:
            await changes.note(connection, None)

        servicer = EventServicer(inbox, note, None, (), committed=lambda: told.append(True))
        for _ in range(2):
            await servicer.ReplayDeadLetters(dead.ReplayDeadLettersRequest(ids=[event.id]), None)
        assert told == [True]
        assert len((await changes.take()).ids) == 1
    finally:
        await database.close()


async def test_a_poison_event_on_the_stream_does_not_stop_the_ranking(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, valkey, follow=True):
        async with Redis.from_url(valkey) as redis:
            await redis.xadd(stream_of("results"), {"event": b"\xff\xff"})
            good = Event(id=str(uuid7()), results_stored=ResultsStored())
            await redis.xadd(stream_of("results"), {"event": good.SerializeToString()})
        seen = (
            "SELECT (SELECT count(*) FROM ranking.dead_letters) = 1 AND EXISTS "
            "(SELECT FROM ranking.processed_events WHERE event_id = $1::text::uuid)"
        )
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(
                servers.fetch_value, migrated_database, seen, good.id
            ):
                await asyncio.sleep(0.05)
