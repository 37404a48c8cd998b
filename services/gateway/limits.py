"""Keeps each key within its limits: calls and rows a second, calls at once, and the day's quotas.

Rates and calls at once are counted in each gateway for itself; quotas over all of them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from google.protobuf import descriptor_pool
from prometheus_client import CollectorRegistry, Counter

from servemark.runtime.errors import QuotaViolation, ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.bucket import TokenBucket
from services.gateway.daily_use import DailyUse
from services.gateway.grants import GRANTS_OF_SERVICE
from services.gateway.key_limits import KeyLimits, OwnLimits
from services.gateway.keys import Caller

_CALL_RETRY_SECONDS: Final = 1.0

Leave = Callable[[], None]


class LimitMetrics:
    """What limits refused and slowed. Its counters belong to no registry until one takes them."""

    def __init__(self) -> None:
        self.refused = Counter(
            "servemark_gateway_refused",
            "Calls and streams refused or ended, by the limit they met.",
            ("limit",),
            registry=None,
        )
        self.rows = Counter(
            "servemark_gateway_rows", "Rows of ingest streams passed on.", registry=None
        )
        self.slowed = Counter(
            "servemark_gateway_slowed_seconds",
            "Time that ingest streams waited for their key's rows_per_second.",
            registry=None,
        )

    def show_in(self, registry: CollectorRegistry) -> None:
        """Shows the counters on the page of a registry."""
        for counter in (self.refused, self.rows, self.slowed):
            registry.register(counter)


class _Key:
    """What a key uses now. Kept for as long as the process lives: as many as keys were used."""

    def __init__(self, own: OwnLimits, limits: KeyLimits, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Open now: calls of one message each way, and streams.
        self.open = {"concurrent_calls": 0, "concurrent_streams": 0}
        self.change(own, limits)

    def change(self, own: OwnLimits, limits: KeyLimits) -> None:
        """Goes by other limits from now on."""
        self.own = own
        self.limits = limits
        self.calls = TokenBucket(limits.calls_per_second, clock=self._clock)
        self.rows = TokenBucket(limits.rows_per_second, clock=self._clock)


class Limits:
    """Every call enters here once its caller is known, and leaves when it is over."""

    def __init__(
        self,
        defaults: KeyLimits,
        daily: DailyUse,
        metrics: LimitMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._defaults = defaults
        self._daily = daily
        self._metrics = metrics
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        self._streams = frozenset(_streaming_methods())

    async def enter(self, caller: Caller, method: str) -> Leave:
        """Lets a call in and counts it; call what is returned when it is over.

        Raises TOO_MANY_CALLS, RATE_LIMITED or QUOTA_EXCEEDED, and has then counted nothing.
        """
        await self._daily.ready()
        key = self._key(caller)
        kind = "concurrent_streams" if method in self._streams else "concurrent_calls"
        most = (
            key.limits.concurrent_streams
            if method in self._streams
            else key.limits.concurrent_calls
        )
        if key.open[kind] >= most:
            raise self._refused(
                ErrorReason.ERROR_REASON_TOO_MANY_CALLS, caller, kind, most, _CALL_RETRY_SECONDS
            )
        wait = key.calls.wait_for(1)
        if wait:
            limit = key.limits.calls_per_second
            raise self._refused(
                ErrorReason.ERROR_REASON_RATE_LIMITED, caller, "calls_per_second", limit, wait
            )
        if self._daily.used(caller.key_id).calls >= key.limits.calls_per_day:
            raise self._day_is_over(caller, "calls_per_day", key.limits.calls_per_day)
        key.calls.take(1)
        key.open[kind] += 1
        self._daily.count(caller.key_id, calls=1)

        def leave() -> None:
            key.open[kind] -= 1

        return leave

    async def take_rows(self, caller: Caller, rows: int) -> None:
        """Returns once a batch of so many rows may go on: at once, or when the rate allows it.

        Raises QUOTA_EXCEEDED where the day has not so many left.
        """
        key = self._key(caller)
        while True:
            limits = key.limits
            if self._daily.used(caller.key_id).rows + rows > limits.rows_per_day:
                raise self._day_is_over(caller, "rows_per_day", limits.rows_per_day)
            # A batch goes on as a whole, so the bucket is overdrawn, and the next one waits.
            wait = key.rows.wait_for(0)
            if not wait:
                break
            self._metrics.slowed.inc(wait)
            await asyncio.sleep(wait)
        key.rows.take(rows)
        self._daily.count(caller.key_id, rows=rows)
        self._metrics.rows.inc(rows)

    def ended(self, limit: str) -> None:
        """Counts a stream that was ended by a limit that is no key's."""
        self._metrics.refused.labels(limit).inc()

    def _key(self, caller: Caller) -> _Key:
        key = self._keys.get(caller.key_id)
        if key is None:
            limits = caller.limits.instead_of(self._defaults)
            key = self._keys[caller.key_id] = _Key(caller.limits, limits, self._clock)
        elif key.own != caller.limits:
            key.change(caller.limits, caller.limits.instead_of(self._defaults))
        return key

    def _day_is_over(self, caller: Caller, limit: str, most: float) -> ServemarkError:
        reason = ErrorReason.ERROR_REASON_QUOTA_EXCEEDED
        return self._refused(reason, caller, limit, most, self._daily.seconds_left())

    def _refused(
        self,
        reason: "ErrorReason.ValueType",
        caller: Caller,
        limit: str,
        most: float,
        retry_after: float,
    ) -> ServemarkError:
        self._metrics.refused.labels(limit).inc()
        sentence = f"The key has at most {most:g} {limit.replace('_', ' ')}."
        return ServemarkError(
            reason,
            f"{sentence} Try again when RetryInfo says, or ask for a higher limit.",
            metadata={"limit": limit, "most": f"{most:g}"},
            quota=QuotaViolation(f"caller:{caller.key_id}", sentence),
            retry_after=retry_after,
        )


def _streaming_methods() -> list[str]:
    pool = descriptor_pool.Default()
    return [
        f"/{service}/{method.name}"
        for service in GRANTS_OF_SERVICE
        for method in pool.FindServiceByName(service).methods
        if method.client_streaming or method.server_streaming
    ]
