"""Tasks end, even where a library loses a cancellation."""

import asyncio

import pytest

from servemark.runtime.ending import end_tasks, is_ending, run_together


async def loses_the_first() -> None:
    """What Redis' client makes of a cancellation that is not yet delivered."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            break
    await asyncio.sleep(60)


async def fails_at_the_end() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise ValueError("at the end")


async def test_what_lost_a_cancellation_is_cancelled_again() -> None:
    tasks = [asyncio.create_task(loses_the_first()), asyncio.create_task(fails_at_the_end())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks(tasks)
    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), ValueError)


async def test_nothing_to_end_is_ended() -> None:
    await end_tasks([])


async def test_a_loop_that_asks_ends_although_its_cancellation_was_lost() -> None:
    begun = asyncio.Event()

    async def loop() -> int:
        turns = 0
        while not is_ending():
            turns += 1
            begun.set()
            # Not yet delivered when this begins, and taken for the timeout's own.
            try:
                async with asyncio.timeout(0):
                    await asyncio.sleep(60)
            except TimeoutError:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass
        return turns

    task = asyncio.create_task(loop())
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(5):
        assert await task >= 1


async def test_what_runs_together_ends_although_a_cancellation_was_lost() -> None:
    task = asyncio.create_task(run_together(loses_the_first(), asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_ending_goes_on_where_it_is_cancelled() -> None:
    left = asyncio.create_task(loses_the_first())
    task = asyncio.create_task(run_together(asyncio.sleep(60), _wait_for(left)))
    await asyncio.sleep(0.01)
    for _ in range(5):
        task.cancel()
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert left.cancelled()


async def test_a_failure_ends_the_others_and_leaves_the_task_as_it_was() -> None:
    other = asyncio.create_task(asyncio.sleep(60))

    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        await run_together(fails(), _wait_for(other))
    assert other.cancelled()
    assert not is_ending()


async def _wait_for(task: "asyncio.Task[None]") -> None:
    await task
