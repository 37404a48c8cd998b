"""How a forwarded call ended, as the service behind said it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import grpc

from services.gateway.metadata import back

# What grpc.aio says of a call whose write failed.
_CORE_ERROR = "Internal error from Core"


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ended."""

    code: grpc.StatusCode
    text: str
    trailers: tuple[tuple[str, str | bytes], ...]


class Ending:
    """Catches the status a call ended with.

    A write that is under way when the service ends the call fails, and grpc.aio then replaces the
    service's status by one of its own. So it is read at once, where it is set.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._status: Status | None = None
        call.add_done_callback(self._note)

    def _note(self, call: Any) -> None:
        status = Status(
            _without_waiting(call.code()),
            _without_waiting(call.details()) or "",
            back(_without_waiting(call.trailing_metadata())),
        )
        if self._status is None or self._status.text == _CORE_ERROR:
            self._status = status

    async def status(self) -> Status:
        """The service's status, once the call is over."""
        await self._call.code()
        for _ in range(100):
            if self._status is not None and self._status.text != _CORE_ERROR:
                break
            # The write failed first; the service's status follows, and nothing tells us when.
            await asyncio.sleep(0.005)
            self._note(self._call)
        assert self._status is not None  # noqa: S101  (set by the call, which is over)
        return self._status


def _without_waiting(answer: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        answer.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a call that is over has no status")
