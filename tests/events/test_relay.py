"""What is committed is published, by however many relays, and kept while it may be lost."""

import asyncio
from contextlib import suppress
from unittest.mock import patch

from redis.exceptions import RedisError
from sqlalchemy import text

from servemark.events.v1.event_pb2 import Event, ResultsStored
from servemark.runtime.events import keeper
from servemark.runtime.events.keys import stream_of
from servemark.runtime.events.outbox import write_event
from servemark.runtime.events.relay import OutboxRelay
from tests.events.place import TOPIC, Place
from tests.support import servers


async def published(here: Place) -> list[str]:
    """The ids of the events in the stream."""
    entries = await here.redis.xrange(stream_of(TOPIC))
    return [Event.FromString(fields[b"event"]).id for _, fields in entries]


async def test_what_commits_out_of_order_is_published_all_the_same(here: Place) -> None:
    early, late = Event(results_stored=ResultsStored()), Event(results_stored=ResultsStored())
    async with here.owner.transaction() as first:
        await write_event(first, TOPIC, early)
        async with here.owner.transaction() as second:
            await write_event(second, TOPIC, late)
        assert early.id < late.id
        assert await here.publish() == 1
    assert await here.publish() == 1
    assert await published(here) == [late.id, early.id]
    await here.settle()
    assert set((await here.effects()).values()) == {1}


async def test_several_relays_share_what_waits(here: Place) -> None:
    ids = await here.write(2000)
    relays = [OutboxRelay(here.owner, here.redis, here.metrics) for _ in range(4)]

    async def drain(relay: OutboxRelay) -> None:
        # Nothing to claim may also mean that the others hold it.
        while (await here.outbox.waiting()).get(TOPIC):
            # On a busy machine Redis may answer too late, and the batch is sent again.
            with suppress(RedisError, OSError):
                await relay.publish_once()

    async with asyncio.timeout(60):
        await asyncio.gather(*(drain(relay) for relay in relays))
    sent = await published(here)
    assert set(sent) == set(map(str, ids))
    # No relay takes what another one has: that would double all of it.
    assert len(sent) < 2 * len(ids)


async def test_rows_stay_48_hours_after_they_were_published(here: Place) -> None:
    await here.write(3)
    await here.publish()
    await here.write(1)
    age = (
        "UPDATE ingest.outbox SET published_at = now() - interval '{} hours' WHERE id = "
        "(SELECT id FROM ingest.outbox WHERE published_at > now() - interval '1 hour' LIMIT 1)"
    )
    servers.execute(here.dsn, age.format("47.9"), age.format("48.1"), age.format("100"))
    # However old, what is not published is not lost.
    old = "UPDATE ingest.outbox SET created_at = now() - interval '90 days'"
    servers.execute(here.dsn, f"{old} WHERE published_at IS NULL")
    assert await here.outbox.trim(1) == 1
    await here.keeper.trim_outbox()
    left = "SELECT count(*) FROM ingest.outbox"
    assert servers.fetch_value(here.dsn, left) == 2
    assert servers.fetch_value(here.dsn, f"{left} WHERE published_at IS NULL") == 1


async def test_the_lag_is_measured_up_to_the_groups(here: Place) -> None:
    await here.consumer.ensure_groups()
    await here.write(5)
    await here.publish()
    await here.redis.xreadgroup("ranking", "another", {stream_of(TOPIC): ">"}, count=2)
    await here.write(7)
    old = "UPDATE outbox SET created_at = now() - interval '1 minute' WHERE published_at IS NULL"
    async with here.owner.transaction() as connection:
        await connection.execute(text(old))
    await here.keeper.measure_streams(await here.keeper.measure_outbox())
    assert here.metric("servemark_outbox_waiting", topic=TOPIC) == 7
    assert 60 <= here.metric("servemark_outbox_oldest_seconds", topic=TOPIC) < 90
    assert here.metric("servemark_events_stream_length", topic=TOPIC) == 5
    assert here.metric("servemark_events_stream_over_bound", topic=TOPIC) == 0
    group = {"topic": TOPIC, "group": "ranking"}
    assert here.metric("servemark_events_undelivered", **group) == 3
    assert here.metric("servemark_events_pending", **group) == 2
    await here.settle()
    await here.keeper.measure_streams(await here.keeper.measure_outbox())
    assert here.metric("servemark_outbox_oldest_seconds", topic=TOPIC) == 0
    assert here.metric("servemark_events_undelivered", **group) == 0


async def test_a_stream_that_nobody_follows_is_told_of_and_not_cut(here: Place) -> None:
    await here.consumer.ensure_groups()
    await here.write(600)
    await here.publish()
    with patch.object(keeper, "STREAM_BOUND", 599):
        await here.keeper.measure_streams(await here.keeper.measure_outbox())
        await here.keeper.trim_streams()
    assert here.metric("servemark_events_stream_over_bound", topic=TOPIC) == 1
    assert await here.redis.xlen(stream_of(TOPIC)) == 600
