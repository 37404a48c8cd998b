"""What follows the changes ends when it is told to, also where Redis' client loses that."""

import asyncio

from redis.asyncio import Redis

from servemark.runtime.cache.watch import Watch


class LosingWatch(Watch):
    """A watch whose cancellation is lost while it subscribes."""

    async def open(self) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise TimeoutError from None


async def test_a_watch_in_a_group_ends_although_its_cancellation_was_lost() -> None:
    redis = Redis(port=1)
    watch = LosingWatch(
        redis, None, heard=lambda _: None, lost=lambda: None, clock=asyncio.get_running_loop().time
    )

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch.run())

    task = asyncio.create_task(group())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    _, left = await asyncio.wait([task], timeout=5)
    await redis.aclose()
    assert not left
