"""Ends the connection of a caller that was answered before it had sent its whole body."""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# So much more is read and thrown away, for the sake of the connection.
_READ_ON_BYTES: Final = 64 * 1024


class ClosesUnread:
    """An ASGI application that answers as another, and reads no body that nobody wants.

    The server itself would go on reading for as long as the caller goes on sending.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, and says that the connection ends where much of a body was not read."""
        unread = _has_much(Headers(scope=scope))

        async def note() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                unread = False
            return message

        async def send_or_close(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._inner(scope, note, send_or_close)


def _has_much(headers: Headers) -> bool:
    length = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not length.isdigit() or int(length) > _READ_ON_BYTES
