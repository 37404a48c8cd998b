"""What a request's headers ask for, in the Connect protocol's words."""

import re
from dataclasses import dataclass
from typing import Final

import grpc
from starlette.requests import Request

_TIMEOUT: Final = re.compile(r"[0-9]{1,10}")
_UNARY: Final = {"application/json": "json", "application/proto": "proto"}
_STREAM: Final = {"application/connect+json": "json", "application/connect+proto": "proto"}
# As much as the gRPC port takes.
_MAX_HEADER_BYTES: Final = 8 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
# A browser sends one of these with every POST, and a page of another site cannot take them out.
_OF_BROWSERS: Final = ("origin", "sec-fetch-site", "cookie")


class UnreadableError(Exception):
    """A request that is not one of the protocol, with HTTP's status and headers for the answer."""

    def __init__(
        self, status: int, code: grpc.StatusCode, text: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Wish:
    """How the request is written and how its answer should be."""

    codec: str
    streams: bool
    timeout: float | None
    gzipped: bool
    gzip_answer: bool

    @property
    def content_type(self) -> str:
        """Of the answer: that of the request."""
        return f"application/{'connect+' if self.streams else ''}{self.codec}"


def wish_of(request: Request) -> Wish:
    """What the request asks for. Raises UnreadableError."""
    if request.method != "POST":
        raise UnreadableError(
            405,
            grpc.StatusCode.UNIMPLEMENTED,
            "Call methods with POST.",
            {"allow": "POST"},
        )
    if sum(len(key) + len(value) for key, value in request.headers.raw) > _MAX_HEADER_BYTES:
        raise UnreadableError(
            431,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"The headers have more than {_MAX_HEADER_BYTES} bytes.",
        )
    if request.headers.get("connect-protocol-version", "1") != "1":
        raise UnreadableError(
            400,
            grpc.StatusCode.INVALID_ARGUMENT,
            "connect-protocol-version has to be 1.",
        )
    codec, streams = _codec(request)
    encoding = request.headers.get(
        "connect-content-encoding" if streams else "content-encoding", "identity"
    )
    if encoding != "identity" and (streams or encoding != "gzip"):
        raise UnreadableError(
            501,
            grpc.StatusCode.UNIMPLEMENTED,
            "The encoding is not supported; send identity" + ("." if streams else " or gzip."),
        )
    return Wish(
        codec,
        streams,
        _timeout(request.headers.get("connect-timeout-ms")),
        gzipped=encoding == "gzip",
        gzip_answer=not streams and _takes_gzip(request.headers.get("accept-encoding", "")),
    )


def _codec(request: Request) -> tuple[str, bool]:
    """The codec's name, and whether the body is written as a stream."""
    content_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    content_type = content_type.strip()
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if charset in ("", "utf-8"):
        if content_type in _UNARY:
            return _UNARY[content_type], False
        if content_type in _STREAM:
            return _STREAM[content_type], True
        if content_type == _FORM and not any(name in request.headers for name in _OF_BROWSERS):
            # What curl -d says of any body. From a browser it would be a request that pages of
            # other sites can make without being asked first, so it is taken from others only.
            return "json", False
    raise unsupported("Send application/json or application/proto as content-type.", _UNARY)


def unsupported(text: str, accepted: "dict[str, str] | tuple[str, ...]") -> UnreadableError:
    """The refusal of a content type, with those that would be taken."""
    return UnreadableError(
        415, grpc.StatusCode.UNIMPLEMENTED, text, {"accept-post": ", ".join(accepted)}
    )


def require_kind(wish: Wish, *, client_streams: bool, server_streams: bool) -> None:
    """Refuses a request whose way of writing is not that of the method. Raises UnreadableError."""
    if client_streams:
        raise unsupported(
            "The method takes a stream of requests, which HTTP does not offer here: call it over "
            "gRPC, or use servemark.client.",
            (),
        )
    if server_streams and not wish.streams:
        raise unsupported(
            "The method answers with a stream: send the request in Connect's envelope as "
            "application/connect+json, or call it over gRPC.",
            tuple(_STREAM),
        )
    if wish.streams and not server_streams:
        raise unsupported(
            "The method answers once: send application/json or application/proto.", tuple(_UNARY)
        )


def _timeout(value: str | None) -> float | None:
    if value is None:
        return None
    if not _TIMEOUT.fullmatch(value):
        raise UnreadableError(
            400,
            grpc.StatusCode.INVALID_ARGUMENT,
            "connect-timeout-ms takes a number of milliseconds of at most ten digits.",
        )
    return int(value) / 1000


def _takes_gzip(accept: str) -> bool:
    return any(
        name.strip() == "gzip" and weight.replace(" ", "") not in ("q=0", "q=0.0")
        for name, _, weight in (part.partition(";") for part in accept.lower().split(","))
    )
