"""Which metadata goes through the gateway, and which ends here because it is of one hop."""

from collections.abc import Iterable, Sequence

REQUEST_ID = "x-request-id"
WORKER = "x-servemark-worker"
CACHE = "x-servemark-cache"

Pairs = Sequence[tuple[str, str | bytes]]

_OF_ONE_HOP = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        REQUEST_ID,
    }
)
# What begins with these is gRPC's, a proxy's, or said by us: nobody outside may say it in our name.
_OURS = (":", "grpc-", "proxy-", "x-servemark-")
STATUS_DETAILS = "grpc-status-details-bin"
# Of ours, what callers may see: why a call failed, which of several processes answered, and how old
# the answer is.
_SHOWN = frozenset({STATUS_DETAILS, WORKER, CACHE})


def onward(received: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str | bytes]]:
    """A caller's metadata as the service behind may see it; the credential is not among it."""
    return [
        (key, value)
        for key, value in received
        if key not in _OF_ONE_HOP and not key.startswith(_OURS)
    ]


def back(received: Iterable[tuple[str, str | bytes]] | None) -> tuple[tuple[str, str | bytes], ...]:
    """A service's metadata as the caller may see it, an error's details untouched."""
    return tuple(
        (key, value)
        for key, value in received or ()
        if key in _SHOWN or (key not in _OF_ONE_HOP and not key.startswith(_OURS))
    )
