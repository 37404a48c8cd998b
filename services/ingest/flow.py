"""How far a stream is read ahead of what is durable.

While the database stores one batch, the next ones are read and checked. That is bounded twice: by
so many batches for each call, and by so many bytes for the whole process. Past a bound nothing is
read, and HTTP/2's flow control holds the client back.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that takes up memory while it waits."""

    @property
    def byte_size(self) -> int:
        """Bytes it holds on to."""
        ...


T = TypeVar("T", bound=Sized)


class MemoryGate:
    """The bytes of checked batches that wait in this process, and whether more may be read."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._held = 0
        self._room = asyncio.Event()
        self._room.set()

    async def wait_for_room(self) -> None:
        """Returns once less than the limit is held. What is held is let go without reading more."""
        while self._held >= self._limit:
            self._room.clear()
            await self._room.wait()

    def hold(self, size: int) -> None:
        """Notes that so many bytes wait."""
        self._held += size

    def release(self, size: int) -> None:
        """Notes that so many bytes are done with."""
        self._held -= size
        if self._held < self._limit:
            self._room.set()

    @property
    def held(self) -> int:
        """Bytes that wait now."""
        return self._held


class _End(Generic[T]):
    """The end of a stream: regular, or with the error that ended it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


async def read_ahead(source: AsyncGenerator[T], limit: int, gate: MemoryGate) -> AsyncGenerator[T]:
    """The items of `source` in order, read while the consumer is busy with earlier ones.

    At most `limit` items are taken in and not done with; an item is done with when the next one is
    asked for. An error of the source is raised after the items before it.
    """
    waiting: asyncio.Queue[T | _End[T]] = asyncio.Queue()
    slots = asyncio.Semaphore(limit)

    async def read() -> None:
        error: Exception | None = None
        try:
            async with aclosing(source):
                while True:
                    await slots.acquire()
                    await gate.wait_for_room()
                    item = await anext(source)
                    gate.hold(item.byte_size)
                    waiting.put_nowait(item)
        except StopAsyncIteration:
            pass
        except Exception as problem:
            error = problem
        waiting.put_nowait(_End(error))

    reader = asyncio.create_task(read())
    try:
        while True:
            item = await waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            try:
                yield item
            finally:
                gate.release(item.byte_size)
            slots.release()
    finally:
        reader.cancel()
        while not waiting.empty():
            left = waiting.get_nowait()
            if not isinstance(left, _End):
                gate.release(left.byte_size)
