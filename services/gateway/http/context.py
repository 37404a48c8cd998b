"""What a handler sees of a call that came over HTTP: the same as of one that came over gRPC."""

import base64
import binascii
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn

import grpc
from starlette.requests import Request

from services.gateway.http.session import session_key
from services.gateway.keys import Caller

Pair = tuple[str, str | bytes]
Pairs = Iterable[Pair]

# What browsers, proxies and the protocol itself say; it is not metadata of the call.
_OF_HTTP = re.compile(
    r"(accept|access-control-|cache-control|connect-|dnt|expect|forwarded|if-|origin|pragma|priority"
    r"|range|referer|sec-|upgrade|via|x-forwarded-)"
)
_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")
_METADATA_VALUE = re.compile(r"[\x20-\x7e]*")
AUTHORIZATION = "authorization"


class HttpContext:
    """As much of grpc.aio's ServicerContext as the gateway uses.

    `timeout` is the seconds the caller gave; `write` sends one message of a stream; `anonymous`
    says who calls where no credential was sent, or raises what refuses such a call.
    """

    def __init__(
        self,
        request: Request,
        timeout: float | None,
        write: Callable[[bytes], Awaitable[None]],
        anonymous: Callable[[Request], Caller],
    ) -> None:
        self._request = request
        self._metadata = tuple(_metadata(request))
        self._end = None if timeout is None else time.monotonic() + timeout
        self._write = write
        self._anonymous = anonymous
        self._code: grpc.StatusCode | None = None
        self.text = ""
        self.head: list[Pair] = []
        self.trailers: tuple[Pair, ...] = ()

    def anonymous(self) -> Caller:
        """Who calls without a credential. Raises KEY_INVALID where nobody may."""
        return self._anonymous(self._request)

    @property
    def session_key(self) -> str | None:
        """The key of the page's session that the call belongs to; None: it belongs to none."""
        return session_key(self._request)

    def invocation_metadata(self) -> tuple[Pair, ...]:
        """The request's headers, as far as they can be metadata, and every `authorization`."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds left of those the caller gave; None where it gave none."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def peer(self) -> str:
        """The caller's address as gRPC writes it."""
        client = self._request.client
        if client is None:
            return "unknown"
        family = "ipv6" if ":" in client.host else "ipv4"
        return f"{family}:{client.host}:{client.port}"

    async def send_initial_metadata(self, metadata: Pairs) -> None:
        """Notes what the answer's headers will say."""
        self.head += metadata

    def set_trailing_metadata(self, metadata: Pairs) -> None:
        """Notes what the answer's trailers will say."""
        self.trailers = tuple(metadata)

    async def write(self, message: bytes) -> None:
        """Sends one message of a stream, once the one before has been taken."""
        await self._write(message)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        """Ends the call with an error."""
        self._code, self.text, self.trailers = code, details, tuple(trailing_metadata)
        raise grpc.aio.AbortError

    def code(self) -> grpc.StatusCode | None:
        """The error the call was ended with; None if it was not."""
        return self._code


def _metadata(request: Request) -> Iterable[Pair]:
    for key, value in request.headers.items():
        if key == AUTHORIZATION:
            # Whatever it holds: a credential that cannot be read is not the same as none.
            yield key, value
        elif _OF_HTTP.match(key) or not _METADATA_KEY.fullmatch(key):
            continue
        elif key.endswith("-bin"):
            decoded = _decoded(value)
            if decoded is not None:
                yield key, decoded
        elif _METADATA_VALUE.fullmatch(value):
            yield key, value


def _decoded(value: str) -> bytes | None:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def as_headers(pairs: Iterable[tuple[str, Any]], prefix: str = "") -> list[tuple[str, str]]:
    """Metadata as headers of the answer; bytes in base64 without padding."""
    return [
        (prefix + key, encoded(value) if isinstance(value, bytes) else value)
        for key, value in pairs
    ]


def encoded(value: bytes) -> str:
    """Base64 without padding, as Connect writes bytes."""
    return base64.b64encode(value).decode().rstrip("=")
