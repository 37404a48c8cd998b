"""Follows what happens elsewhere: events make the matrix and the stored rankings new.

An event only says that something changed; all facts are read anew. So events may be lost, repeated
or out of order, and reading everything now and then makes up for any of it.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.events.inbox import Inbox
from servemark.runtime.redis_connections import LONGEST_WAIT_SECONDS
from services.ranking.generations import Generations
from services.ranking.model_use_cases import RESOURCE
from services.ranking.refresh import Refresher
from services.ranking.settings import RankingSettings

log = structlog.get_logger()

TOPICS = ("results", "catalog")
# With more configurations than that to read anew, everything is read.
_MOST_CONFIGS = 2000
_MAX_WAIT_SECONDS = 10.0
# While events keep coming, reading everything is put off so many times longer: whoever waits for an
# event would wait for it, and it finds only what no event tells.
_PATIENCE = 10
_HOUR = 3600.0
_FORGET = 5_000


class Follower:
    """Refreshes after events, and now and then without; `redis` None: there are no events."""

    def __init__(
        self,
        refresher: Refresher,
        generations: Generations,
        inbox: Inbox,
        redis: Redis | None,
        settings: RankingSettings,
    ) -> None:
        self._refresher = refresher
        self._generations = generations
        self._inbox = inbox
        self._redis = redis
        self._settings = settings
        # What happened while this process was down is not known.
        self._dirty = asyncio.Event()
        self._dirty.set()
        # Configurations that got results; None: anything may have changed.
        self._changed: set[str] | None = None
        # When the first of the events was noted that are not yet followed.
        self._since = time.monotonic()
        # When everything was read.
        self._whole = time.monotonic()
        self._forgot: float | None = None
        # How long the next reading is put off for what the last one took.
        self._pause = 0.0

    async def handle(self, _: AsyncConnection, events: Sequence[Event]) -> None:
        """Notes new events; the refresh comes once they stop, or a moment later.

        They are noted in memory only: a process that starts reads everything.
        """
        # Model use cases come from the rankings; what came of a refresh is no reason for another.
        events = [event for event in events if event.catalog_changed.resource != RESOURCE]
        if events:
            self._note(events)
            if not self._dirty.is_set():
                self._since = time.monotonic()
                self._dirty.set()

    def _note(self, events: Sequence[Event]) -> None:
        """Remembers what the events say has changed."""
        for event in events:
            match event.WhichOneof("payload"):
                case "results_stored":
                    if self._changed is not None:
                        self._changed |= set(event.results_stored.config_ids)
                case "catalog_changed" | "result_day_changed":
                    self._changed = None
        if self._changed is not None and len(self._changed) > _MOST_CONFIGS:
            self._changed = None

    async def run(self) -> None:
        """Follows until cancelled. A service that is away is waited for, not fatal."""
        failures = 0
        while True:
            if not await self._due():
                continue
            # Events that came during the last reading have waited for others long enough.
            debounce = self._settings.ranking_debounce_seconds
            await asyncio.sleep(max(self._since + debounce - time.monotonic(), self._pause))
            self._pause = 0.0
            try:
                await self._follow()
                failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._changed = None
                failures += 1
                if failures == 1:
                    log.warning("refresh waits", error=type(error).__name__, text=str(error)[:200])
                self._dirty.set()
                await asyncio.sleep(min(_MAX_WAIT_SECONDS, 0.2 * 2 ** min(failures, 10)))

    async def watch(self) -> None:
        """Takes over what other processes of this service have stored, until cancelled."""
        while True:
            try:
                await self._refresher.adopt()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.debug("watch waits", error=type(error).__name__)
            await asyncio.sleep(1.0)

    async def _follow(self) -> None:
        async with self._refresher.turn():
            # What was noted while others had their turns is read with the rest.
            self._dirty.clear()
            changed, self._changed = self._changed, set()
            started, began = time.monotonic(), time.process_time()
            matrix = await self._refresher.refresh(changed)
        made = await self._generations.follow(matrix)
        if made:
            log.info("rankings stored", count=made, matrix_version=matrix.version)
        if self._forgot is None or time.monotonic() - self._forgot > _HOUR:
            while await self._inbox.forget_old(_FORGET) == _FORGET:
                pass
            self._forgot = time.monotonic()
        if changed is None:
            self._whole = time.monotonic()
        # Under a steady flow of events, half of this process's time is left for answering calls
        # and a third of that of the services that are read.
        took, worked = time.monotonic() - started, time.process_time() - began
        self._pause = min(_MAX_WAIT_SECONDS, max(took / 2, worked))

    async def _due(self) -> bool:
        """Whether to refresh: at once after an event, and when it is time for it without one.

        Events may be lost, so whenever it is time, everything is read.
        """
        quiet = self._settings.ranking_reconcile_without_events_seconds
        regular = self._settings.ranking_reconcile_seconds
        try:
            async with asyncio.timeout(min(quiet, regular)):
                await self._dirty.wait()
        except TimeoutError:
            waited = time.monotonic() - self._whole
            if waited < regular and (waited < quiet or await self._events_come()):
                return False
            self._changed = None
        else:
            if time.monotonic() - self._whole >= _PATIENCE * regular:
                self._changed = None
        return True

    async def _events_come(self) -> bool:
        if self._redis is None:
            return False
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False
