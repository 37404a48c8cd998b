"""How long one read waits for Redis, over all that it asks of it."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from servemark.runtime.redis_connections import LONGEST_WAIT_SECONDS

T = TypeVar("T")


class Patience:
    """A read's time for Redis. Once it is over, or Redis has failed, the read does without."""

    def __init__(self) -> None:
        self._left = LONGEST_WAIT_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be asked."""
        return self._left <= 0

    async def spend(self, work: Awaitable[T]) -> T:
        """The outcome of `work`. Raises TimeoutError when the time is over."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._left):
                found = await work
        except BaseException:
            self._left = 0.0
            raise
        self._left -= loop.time() - began
        return found
