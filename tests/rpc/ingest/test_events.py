"""Each batch that stored something is told, after it became durable."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.events.keys import stream_of
from tests.rpc.ingest.builders import batch, config, header, row, rows
from tests.rpc.ingest.serving import append, serving

pytestmark = pytest.mark.every_profile


async def test_a_stored_batch_is_told_once_with_its_configurations(
    ingest_dsn: str, valkey: str
) -> None:
    async with serving(ingest_dsn, redis_url=valkey) as ingest, Redis.from_url(valkey) as redis:
        message = header(config(concurrency=1), config(concurrency=2), config(concurrency=3))
        known = [row(config_index=0), row(config_index=2), row(config_index=0)]
        opened, _ = await append(
            ingest.stub,
            message,
            batch(0, known),
            batch(1, known),
            batch(2, [row(config_index=9)]),
            batch(3, [known[0], *rows(1)]),
        )
        entries: Any = []
        async with asyncio.timeout(10):
            while len(entries) < 2:
                entries = await redis.xrange(stream_of("results"))
                await asyncio.sleep(0.05)
        told = [Event.FromString(fields[b"event"]) for _, fields in entries]
    ids = [outcome.config_id for outcome in opened.configs]
    stored = {event.results_stored.sequence: event.results_stored for event in told}
    assert set(stored) == {0, 3}
    assert {event.stream_id for event in stored.values()} == {message.stream_id}
    assert (set(stored[0].config_ids), stored[0].stored_count) == ({ids[0], ids[2]}, 3)
    assert (set(stored[3].config_ids), stored[3].stored_count) == ({ids[0]}, 1)
    assert all(event.HasField("create_time") for event in told)


async def test_writing_does_not_wait_for_redis(ingest_dsn: str) -> None:
    nobody = "redis://127.0.0.1:1/0"
    async with serving(ingest_dsn, redis_url=nobody) as ingest:
        _, acks = await append(ingest.stub, header(), batch(0, rows(3)))
        assert acks[0].stored_count == 3
        waiting = "SELECT count(*) FROM ingest.outbox WHERE published_at IS NULL"
        assert ingest.value(waiting) == 1
