"""Whether a request was meant for this server, as its Host and Origin have it.

A page of any site can have its own name resolve to 127.0.0.1 (DNS rebinding) and then asks this
server with its name in Host. So who sends no credential is answered under known names only.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

_OF_PROXIES: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Here:
    """The names this server is known by: the loopback's and `hosts`; `origins` may ask as well."""

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    def knows(self, request: Request) -> bool:
        """Whether the Host is one of ours and the Origin, if there is one, is the same or named."""
        hosts = request.headers.getlist("host")
        origins = request.headers.getlist("origin")
        if len(hosts) != 1 or len(origins) > 1 or not self._ours(hosts[0]):
            return False
        return (
            not origins
            or origins[0] in self._origins
            or origin_netloc(origins[0]) == hosts[0].lower()
        )

    @staticmethod
    def forwarded(request: Request) -> bool:
        """Whether a proxy passed it on: then it came from anywhere, with any Host."""
        return any(name in request.headers for name in _OF_PROXIES)

    def _ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self._hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def origin_netloc(origin: str) -> str | None:
    """Host and port of an Origin, in lower case; None for one that is of no page."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
