"""Ends tasks for sure.

A cancellation can be lost: one that comes just before `asyncio.timeout(0)` is taken for that
timeout's own (Python 3.11), and Redis' client asks in this way whether a connection is still good.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

_AGAIN_SECONDS: Final = 0.5


async def end_tasks(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    """Cancels the tasks, again and again, until all have ended; what they raise is passed over."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


def is_ending() -> bool:
    """Whether the current task was cancelled, also where that was lost.

    For loops in a task group, which cancels its tasks only once.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
