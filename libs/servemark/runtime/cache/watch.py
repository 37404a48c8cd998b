"""Knows up to when the caches of this process have heard of every change.

Each turn takes the time, asks Postgres how long the oldest event has waited that was not told yet,
and then has a ping come back through the subscription, behind everything that was said before.
Then all that was committed that long before the turn began is known here: its tokens in Redis are
gone, and its replies in memory. Whatever stands still (the relay, Redis, the network, this process)
keeps the next turn from saying so, and after a second the caches are not used.

No clock is compared with another's: both ends of the wait are Postgres's, the rest is this
process's. Hearing it from the relay would not do: what a frozen Redis passes on later sounds new.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from redis.asyncio import Redis

from servemark.cache.v1.cache_pb2 import CacheInvalidation
from servemark.runtime.cache.backlog import Backlog
from servemark.runtime.cache.subscription import Subscription
from servemark.runtime.ending import run_together

log = structlog.get_logger()

MOST_LAG_SECONDS: Final = 1.2
TURN_SECONDS: Final = 0.2
# After so long without an answer a connection is taken for dead.
_SILENCE_SECONDS: Final = 2.0
_OPEN_SECONDS: Final = 1.0
_POSTGRES_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.5
_LONG_AGO: Final = float("-inf")


class Watch:
    """What this process has heard.

    `heard` is called with each message, `lost` when some may have been missed. Without a `backlog`
    messages are heard, and nothing is known of changes.
    """

    def __init__(
        self,
        redis: Redis,
        backlog: Backlog | None,
        *,
        heard: Callable[[CacheInvalidation], None],
        lost: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._backlog = backlog
        self._heard = heard
        self._lost = lost
        self._clock = clock
        self._known_until = _LONG_AGO
        self._subscription: Subscription | None = None
        self._numbers = itertools.count(1)
        # When the turns began whose pings are on their way, less what had not been told then.
        self._pings: dict[int, float] = {}
        self._answered = asyncio.Event()
        # What this process has changed itself, and when.
        self._own: dict[str, float] = {}

    def changed_here(self, tags: Iterable[str]) -> None:
        """Notes that this process has committed a change of what has the tags."""
        self._own = {tag: at for tag, at in self._own.items() if at >= self._known_until}
        self._own.update(dict.fromkeys(tags, self._clock()))

    def is_close_for(self, tags: Iterable[str]) -> bool:
        """Whether what is cached under the tags may be used, or kept, now.

        What was changed here may not until that is known to have been told: who gets an answer from
        this process, and asks it again, finds what was changed.
        """
        return self.is_close and (
            not self._own or all(self._own.get(tag, _LONG_AGO) < self._known_until for tag in tags)
        )

    @property
    def lag(self) -> float:
        """Seconds up to now of which changes may not have been heard."""
        return self._clock() - self._known_until

    @property
    def is_close(self) -> bool:
        """Whether what is cached may be used."""
        return self.lag < MOST_LAG_SECONDS

    @property
    def server(self) -> bytes:
        """The run id of the server that is listened to; empty where none is."""
        return b"" if self._subscription is None else self._subscription.server

    async def run(self) -> None:
        """Listens until cancelled. A Redis or a Postgres that is away is waited for."""
        failures = 0
        while True:
            try:
                await self.open()
                failures = 0
                await run_together(self.listen(), self._take_turns())
            except Exception as error:
                failures += 1
                if failures == 1:
                    log.warning("cache is not used", error=type(error).__name__)
            finally:
                await self.close()
            await asyncio.sleep(_RETRY_SECONDS)

    async def open(self) -> None:
        """Subscribes. Raises RedisError, OSError or TimeoutError."""
        subscription = Subscription(self._redis)
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await subscription.open()
        except BaseException:
            await subscription.close()
            raise
        # What was said before is not known.
        self._lost()
        self._subscription = subscription

    async def close(self) -> None:
        """Ends the subscription; nothing is known from then on."""
        subscription, self._subscription = self._subscription, None
        self._known_until = _LONG_AGO
        self._pings.clear()
        self._lost()
        if subscription is not None:
            await subscription.close()

    async def listen(self) -> None:
        """Passes on what is said, until the subscription ends with an error."""
        subscription = self._subscription
        while subscription is not None:
            said = await subscription.read()
            if isinstance(said, CacheInvalidation):
                self._heard(said)
            else:
                known_until = self._pings.pop(said, self._known_until)
                self._known_until = max(self._known_until, known_until)
                self._answered.set()

    async def turn(self) -> None:
        """Looks how much was not told, and sends a ping after everything that was."""
        began = self._clock()
        waited = await self._waited()
        if self._subscription is not None:
            number = next(self._numbers)
            self._pings[number] = _LONG_AGO if waited is None else began - waited
            await self._subscription.ping(number)

    async def _take_turns(self) -> None:
        while True:
            next_turn = asyncio.get_running_loop().time() + TURN_SECONDS
            self._answered.clear()
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self.turn()
                    await self._answered.wait()
            except TimeoutError:
                raise ConnectionError("Redis does not answer the subscription") from None
            await asyncio.sleep(next_turn - asyncio.get_running_loop().time())

    async def _waited(self) -> float | None:
        """As the backlog; None while Postgres does not answer, whatever it is that it lacks."""
        if self._backlog is None:
            return None
        try:
            async with asyncio.timeout(_POSTGRES_SECONDS):
                return await self._backlog()
        except Exception:
            return None
