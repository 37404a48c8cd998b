"""`grpc.health.v1.Health`: a status for each service, and watchers that do not hold up a stop."""

import asyncio
from collections.abc import Mapping
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemark.runtime.errors import not_found

HEALTH_SERVICE = "grpc.health.v1.Health"
_Answer = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers what `update` was last told; every service is NOT_SERVING until then.

    grpcio's own servicer keeps `Watch` open through a shutdown, so that one watcher makes the
    server wait for its whole grace period. Here `shut_down` tells watchers and ends them.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._statuses: dict[str, int] = dict.fromkeys(("", *names), _Answer.NOT_SERVING)
        self._changed = asyncio.Condition()
        self._closed = False

    @property
    def serving(self) -> dict[str, bool]:
        """Whether each service is SERVING; "" is the whole server."""
        return {name: status == _Answer.SERVING for name, status in self._statuses.items()}

    async def update(self, serving: Mapping[str, bool]) -> None:
        """Sets the status of each named service; the empty name is the whole server."""
        if self._closed:
            return
        async with self._changed:
            for name, is_serving in serving.items():
                self._statuses[name] = _Answer.SERVING if is_serving else _Answer.NOT_SERVING
            self._changed.notify_all()

    async def shut_down(self) -> None:
        """Says NOT_SERVING for every service, for good, and ends the watchers."""
        async with self._changed:
            self._closed = True
            for name in self._statuses:
                self._statuses[name] = _Answer.NOT_SERVING
            self._changed.notify_all()

    async def Check(self, request: Any, context: Any) -> Any:
        """The status of one service. NOT_FOUND for one that is not served here."""
        status = self._statuses.get(request.service)
        if status is None:
            raise not_found("service", request.service[:200])
        return _Answer(status=status)

    async def Watch(self, request: Any, context: Any) -> None:
        """The status of one service now and whenever it changes, until the server stops."""
        last: int | None = None
        while True:
            status = self._statuses.get(request.service, _Answer.SERVICE_UNKNOWN)
            if status != last:
                await context.write(_Answer(status=status))
                last = status
            async with self._changed:
                if self._statuses.get(request.service, _Answer.SERVICE_UNKNOWN) != last:
                    continue
                if self._closed:
                    return
                await self._changed.wait()
