"""What answers which path. A new path is one more entry in `routes`.

Whatever needs no key on them has to ask `Here.knows` before it acts on a cookie or for anybody who
sent none.
"""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.http.headers import SecurityHeaders
from services.gateway.http.unread import ClosesUnread

# Every method's path begins so: its package does.
_METHODS = "/servemark."


class Paths:
    """Methods by their full names, everything else by the first route that matches."""

    def __init__(self, connect: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._connect = connect
        self._router = Router(routes, redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        to = self._connect if scope["path"].startswith(_METHODS) else self._router
        await to(scope, receive, send)


def site(connect: ASGIApp, routes: Sequence[BaseRoute], cors_origins: Sequence[str]) -> ASGIApp:
    """The whole HTTP port; pages of `cors_origins` may call it with a key."""
    app: ASGIApp = Paths(connect, routes)
    if cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=[
                "authorization",
                "connect-protocol-version",
                "connect-timeout-ms",
                "content-type",
                "x-request-id",
            ],
            expose_headers=["trailer-x-servemark-cache", "x-request-id"],
        )
    return ClosesUnread(SecurityHeaders(app))


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    answer = JSONResponse({"message": f"There is nothing at {Request(scope).url.path[:200]}."}, 404)
    await answer(scope, receive, send)
