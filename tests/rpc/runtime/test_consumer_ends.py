"""The reader of events ends when it is told to, even if what it waits for does not pass that on."""

import asyncio

from redis.asyncio import Redis

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.events.consumer import EventConsumer
from servemark.runtime.ids import uuid7


async def test_a_cancellation_that_is_lost_on_its_way_up_still_ends_it(valkey: str) -> None:
    called = asyncio.Event()

    async def handle(_: object) -> None:
        called.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    async with Redis.from_url(valkey) as redis:
        await redis.xadd(
            "servemark:events:results", {"event": Event(id=str(uuid7())).SerializeToString()}
        )
        task = asyncio.create_task(
            EventConsumer(redis, "ranking", "one", ("results",), handle).run()
        )
        await asyncio.wait_for(called.wait(), 10)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=10)
        assert ended == {task}
