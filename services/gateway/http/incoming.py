"""The body of a request, read in bounded size and time, and whether the caller is still there."""

import asyncio
import zlib
from typing import Final

from starlette.types import Receive

from servemark.runtime.server import MAX_MESSAGE_BYTES
from services.gateway.http.messages import malformed

# A caller that sends more slowly than this is not sending.
_READ_SECONDS: Final = 30.0
# 16 more than 15 make zlib read gzip.
_GZIP: Final = 31


class Incoming:
    """One request's body; `gone` is for who answers it."""

    def __init__(self, receive: Receive, *, gzipped: bool = False) -> None:
        self._receive = receive
        self._gzipped = gzipped
        self._read = asyncio.Event()
        self._left = asyncio.Event()

    async def read(self) -> bytes:
        """The whole body. Raises MALFORMED_MESSAGE where it is more than a message may have."""
        body = bytearray()
        async with asyncio.timeout(_READ_SECONDS):
            while True:
                event = await self._receive()
                if event["type"] == "http.disconnect":
                    # Whoever waits for `gone` cancels this.
                    self._left.set()
                    await asyncio.Event().wait()
                body += event.get("body", b"")
                _bound(len(body))
                if not event.get("more_body", False):
                    break
        self._read.set()
        return _unzipped(bytes(body)) if self._gzipped else bytes(body)

    async def gone(self) -> None:
        """Returns once the caller went away before it was answered."""
        read, left = (
            asyncio.ensure_future(self._read.wait()),
            asyncio.ensure_future(self._left.wait()),
        )
        try:
            await asyncio.wait((read, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            read.cancel()
            left.cancel()
        while not self._left.is_set():
            if (await self._receive())["type"] == "http.disconnect":
                self._left.set()


def _bound(size: int) -> None:
    if size > MAX_MESSAGE_BYTES:
        raise malformed(
            f"The body has more than {MAX_MESSAGE_BYTES} bytes, the most a message may have. "
            "Send it in several requests, or stream it over gRPC."
        )


def _unzipped(body: bytes) -> bytes:
    reader = zlib.decompressobj(_GZIP)
    try:
        whole = reader.decompress(body, MAX_MESSAGE_BYTES + 1)
    except zlib.error:
        raise malformed("The body is not gzip, though its content-encoding says so.") from None
    _bound(len(whole))
    if not reader.eof or reader.unused_data:
        raise malformed("The body is not one whole gzip stream.")
    return whole
