"""How far a stream is read ahead of what is durable.

While the database stores one batch, the next ones are read and checked. That is bounded twice: by
so many batches for each call, and by so many bytes for the whole process. Past a bound nothing is
read, and HTTP/2's flow control holds the client back.

A batch that was asked for while there was room may arrive when there is none any more: it waits as
it came, before it is checked. So the process holds at most its limit, one batch beyond it, and one
unchecked message of each call. What is done with is let go before the next is waited for, or each
idle call would keep its last batch.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, Generic, TypeVar

M = TypeVar("M")
T = TypeVar("T")


class MemoryGate:
    """The bytes of batches that were let in and are not done with, and whether more may be."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._held = 0
        self._room = asyncio.Event()
        self._room.set()
        self._turn = asyncio.Lock()

    async def wait_for_room(self) -> None:
        """Returns once less than the limit is held."""
        while self._held >= self._limit:
            self._room.clear()
            await self._room.wait()

    async def hold(self, size: int) -> None:
        """Waits for room, then notes that so many bytes are held. Who came first is first."""
        async with self._turn:
            await self.wait_for_room()
            self._held += size

    def release(self, size: int) -> None:
        """Notes that so many bytes are done with."""
        self._held -= size
        if self._held < self._limit:
            self._room.set()

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        return self._held


class Taken(Generic[T]):
    """A message that was taken in, checked, until it is done with."""

    def __init__(self, item: T, let_go: Callable[[], None]) -> None:
        self._item: T | None = item
        self._let_go = let_go

    @property
    def item(self) -> T:
        """The message. Raises LookupError after it was done with."""
        if self._item is None:
            raise LookupError("the message is done with")
        return self._item

    def done(self) -> None:
        """Lets the message and the memory that is counted for it go. Twice is as good as once."""
        if self._item is not None:
            self._item = None
            self._let_go()


class _End:
    """The end of a stream: regular, or with the error that ended it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error


async def read_ahead(
    source: AsyncIterator[M],
    check: Callable[[M], Awaitable[T]],
    size: Callable[[M], int],
    limit: int,
    gate: MemoryGate,
) -> AsyncGenerator[Taken[T]]:
    """The messages of `source` in order, checked, while the consumer is busy with earlier ones.

    At most `limit` messages are taken in and not done with. `size` is what a message and everything
    made of it take up until then. An error of the source or of a check is raised after the messages
    before it. What the consumer was given, it has to be done with, also when it leaves.
    """
    waiting: asyncio.Queue[Taken[T] | _End] = asyncio.Queue()
    slots = asyncio.Semaphore(limit)

    def let_go(held: int) -> None:
        gate.release(held)
        slots.release()

    async def read() -> None:
        await slots.acquire()
        await gate.wait_for_room()
        async for message in source:
            held = size(message)
            await gate.hold(held)
            try:
                waiting.put_nowait(Taken(await check(message), partial(let_go, held)))
            except BaseException:
                gate.release(held)
                raise
            del message
            await slots.acquire()
            await gate.wait_for_room()

    async def read_to_the_end() -> None:
        error: Exception | None = None
        try:
            await read()
        except Exception as problem:
            error = problem
        waiting.put_nowait(_End(error))

    reader = asyncio.create_task(read_to_the_end())
    try:
        while True:
            taken = await waiting.get()
            if isinstance(taken, _End):
                if taken.error is not None:
                    raise taken.error
                return
            yield taken
            del taken
    finally:
        reader.cancel()
        while not waiting.empty():
            left = waiting.get_nowait()
            if not isinstance(left, _End):
                left.done()
