"""Works on several items of one stream at once, and keeps their order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

M = TypeVar("M")
T = TypeVar("T")

_END: Final[Any] = object()


class Turn:
    """When an item's turn comes: once the work on the one before it has succeeded."""

    def __init__(self, before: "asyncio.Task[Any] | None") -> None:
        self._before = before

    def has_come(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._before is None or self._before.done()

    async def come(self) -> None:
        """Returns when the turn has come, and never if the work before failed."""
        if self._before is not None:
            # Who gives up waiting does not stop the work before.
            await asyncio.shield(self._before)
            self._before = None


async def overlapped(
    source: AsyncIterator[M], work: Callable[[M, Turn], Awaitable[T]], beside: int
) -> AsyncGenerator[T]:
    """What `work` makes of each item of `source`, in order, with `beside` of them at work at once.

    Work whose turn has not come may prepare, and has to wait for it before it does what counts. The
    first error, of work or of the source, is raised after the outcomes before it; work on later
    items is cancelled, and has ended when this ends.
    """
    at_work: deque[asyncio.Task[T]] = deque()
    last: asyncio.Task[T] | None = None
    reading: asyncio.Task[Any] | None = None
    ended = False

    async def read() -> Any:
        return await anext(source, _END)

    async def do(item: M, turn: Turn) -> T:
        return await work(item, turn)

    try:
        while True:
            if reading is None and not ended and len(at_work) < beside:
                reading = asyncio.create_task(read())
            if at_work and (at_work[0].done() or reading is None):
                outcome = await at_work[0]
                at_work.popleft()
                yield outcome
                continue
            if reading is None:
                return
            await asyncio.wait(
                {reading, at_work[0]} if at_work else {reading},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not reading.done():
                continue
            if reading.exception() is not None and at_work:
                # It is told when its turn has come.
                await asyncio.wait(at_work)
                continue
            item, reading = reading.result(), None
            if item is _END:
                ended = True
                continue
            last = asyncio.create_task(do(item, Turn(last)))
            at_work.append(last)
            del item
    finally:
        left = [*at_work, *([reading] if reading else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
