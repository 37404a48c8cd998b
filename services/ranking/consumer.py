"""Follows what happens elsewhere: events make the matrix and the stored rankings new.

An event only says that something changed, which is noted with it until it is ranked; all facts are
read anew. So events may be lost, repeated or out of order, and reading everything now and then
makes up for any of it.
"""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

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
from services.ranking.store_changes import ChangeStore

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
        changes: ChangeStore,
        inbox: Inbox,
        redis: Redis | None,
        settings: RankingSettings,
    ) -> None:
        self._refresher = refresher
        self._generations = generations
        self._changes = changes
        self._inbox = inbox
        self._redis = redis
        self._settings = settings
        self._dirty = asyncio.Event()
        self._dirty.set()
        # When the first of the changes was noted that are not yet followed.
        self._since = time.monotonic()
        # What happened while no process was there is not known.
        self._is_whole_due = True
        # When everything was read.
        self._whole = time.monotonic()
        # Changes that were taken and are not ranked.
        self._taken: set[UUID] = set()
        self._forgot: float | None = None
        # How long the next reading is put off for what the last one took.
        self._pause = 0.0

    async def handle(self, connection: AsyncConnection, events: Sequence[Event]) -> None:
        """Notes what new events say has changed; a refresh takes it once it is committed."""
        # Model use cases come from the rankings; what came of a refresh is no reason for another.
        changed = _changed_by(
            [event for event in events if event.catalog_changed.resource != RESOURCE]
        )
        if changed is None or changed:
            await self._changes.note(connection, changed)

    def wake(self) -> None:
        """Has a refresh come soon; call it once what was noted is committed."""
        if not self._dirty.is_set():
            self._since = time.monotonic()
            self._dirty.set()

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
                self._is_whole_due = True
                failures += 1
                if failures == 1:
                    log.warning("refresh waits", error=type(error).__name__, text=str(error)[:200])
                self._dirty.set()
                await asyncio.sleep(min(_MAX_WAIT_SECONDS, 0.2 * 2 ** min(failures, 10)))

    async def watch(self) -> None:
        """Takes over what other processes stored, and what they left undone, until cancelled."""
        while True:
            try:
                await self._refresher.adopt()
                if await self._changes.are_left():
                    self.wake()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.debug("watch waits", error=type(error).__name__)
            await asyncio.sleep(1.0)

    async def _follow(self) -> None:
        async with self._refresher.turn():
            # What was noted while others had their turns is read with the rest.
            self._dirty.clear()
            started, began = time.monotonic(), time.process_time()
            changed = await self._take()
            if changed is not None and not changed:
                # Another process has taken it.
                await self._refresher.adopt()
                return
            matrix = await self._refresher.refresh(changed)
        made = await self._generations.follow(matrix)
        if made:
            log.info("rankings stored", count=made, matrix_version=matrix.version)
        if self._taken:
            await self._changes.done(self._taken)
            self._taken.clear()
        await self._forget_old()
        if changed is None:
            self._is_whole_due = False
            self._whole = time.monotonic()
        # Under a steady flow of events, half of this process's time is left for answering calls
        # and a third of that of the services that are read.
        took, worked = time.monotonic() - started, time.process_time() - began
        self._pause = min(_MAX_WAIT_SECONDS, max(took / 2, worked))

    async def _take(self) -> frozenset[str] | None:
        """The configurations to read anew of those that nobody is at; None: everything."""
        taken = await self._changes.take()
        self._taken |= taken.ids
        if self._is_whole_due or taken.config_ids is None or len(taken.config_ids) > _MOST_CONFIGS:
            return None
        return taken.config_ids

    async def _forget_old(self) -> None:
        if self._forgot is None or time.monotonic() - self._forgot > _HOUR:
            while await self._inbox.forget_old(_FORGET) == _FORGET:
                pass
            self._forgot = time.monotonic()

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
            self._is_whole_due = True
        else:
            if time.monotonic() - self._whole >= _PATIENCE * regular:
                self._is_whole_due = True
        return True

    async def _events_come(self) -> bool:
        if self._redis is None:
            return False
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False


def _changed_by(events: Sequence[Event]) -> set[str] | None:
    """The configurations that got results by the events; None: anything may have changed."""
    changed: set[str] = set()
    for event in events:
        match event.WhichOneof("payload"):
            case "results_stored":
                changed |= set(event.results_stored.config_ids)
            case "catalog_changed" | "result_day_changed":
                return None
    return changed
