"""Ends tasks for sure.

A cancellation can be lost: one that comes just before `asyncio.timeout(0)` is taken for that
timeout's own (Python 3.11), and Redis' client asks in this way whether a connection is still good.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

_AGAIN_SECONDS: Final = 0.5


async def end_tasks(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    """Cancels the tasks, again and again, until all have ended; what they raise is passed over.

    Cancelled itself, it goes on until they have, and raises that then.
    """
    left = set(tasks)
    cancelled = None
    while left:
        for task in left:
            task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
            left = {task for task in left if not task.done()}
    await asyncio.gather(*tasks, return_exceptions=True)
    if cancelled is not None:
        raise cancelled


async def run_together(*work: Coroutine[Any, Any, None]) -> None:
    """Runs all of it until the first ends, or this is cancelled; then ends the others for sure.

    Raises what the first raised. A task group would cancel each of them only once, and leave its
    own task looking cancelled where one of them failed (Python 3.11).
    """
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = next(task for task in tasks if task.done())
    finally:
        await end_tasks(tasks)
    first.result()


def is_ending() -> bool:
    """Whether the current task was cancelled, also where that was lost.

    Not for a task that has run a task group: see `run_together`.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
