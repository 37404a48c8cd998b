"""Sessions of the page: a reader's key in a cookie that no script can read.

A browser sends a cookie whoever made it call. So a session counts only where the request says, in
headers no script can set, that our own page sent it; and it reads, whatever its key may do besides.
"""

import re
from dataclasses import replace
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.grants import READ
from services.gateway.http.here import origin_netloc
from services.gateway.keys import Caller, KeyChecker

COOKIE: Final = "servemark_session"
_MAX_BODY_BYTES: Final = 1024
# A cookie's value is quoted by nobody, so only what needs no quotes becomes one.
_KEY: Final = re.compile(r"[A-Za-z0-9_]{1,256}", re.ASCII)


def session_key(request: Request) -> str | None:
    """The key of the session that the request belongs to; None where there is none that counts."""
    key = request.cookies.get(COOKIE)
    return key if key and from_own_page(request) else None


def from_own_page(request: Request) -> bool:
    """Whether a page of this very server sent the request, as the browser has it."""
    origins, hosts = request.headers.getlist("origin"), request.headers.getlist("host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    return (
        origin_netloc(origins[0]) == hosts[0].lower()
        and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    )


def reading_only(caller: Caller) -> Caller:
    """The caller with no more than the right to read."""
    return replace(caller, scopes=frozenset({READ} if caller.may(READ) else ()))


def session_routes(keys: KeyChecker) -> list[Route]:
    """`/session`: GET says whether there is one, POST begins one with a key, DELETE ends it."""

    async def begin(request: Request) -> Response:
        if not from_own_page(request):
            return _said(403, "Sign in on this server's own page.")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return _said(415, "Send application/json.")
        key = await _key_in(request)
        if key is None:
            return _said(400, "Send an object with the API key as `key`.")
        try:
            caller = await keys.check(key)
        except ServemarkError as error:
            return _refused(error)
        if not caller.may(READ):
            return _said(403, "The key lacks the scope READ, which the page needs.")
        answer = JSONResponse({"signed_in": True})
        secure = request.headers["origin"].startswith("https:")
        answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=secure)
        return answer

    async def end(request: Request) -> Response:
        if not from_own_page(request):
            return _said(403, "Sign out on this server's own page.")
        answer = JSONResponse({"signed_in": False})
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    async def state(request: Request) -> Response:
        return JSONResponse({"signed_in": COOKIE in request.cookies})

    return [
        Route("/session", begin, methods=["POST"]),
        Route("/session", end, methods=["DELETE"]),
        Route("/session", state, methods=["GET"]),
    ]


async def _key_in(request: Request) -> str | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    key = value.get("key") if isinstance(value, dict) else None
    return key if isinstance(key, str) and _KEY.fullmatch(key) else None


def _refused(error: ServemarkError) -> Response:
    if error.reason == ErrorReason.ERROR_REASON_KEY_INVALID:
        return _said(401, "This key is unknown, expired or revoked.")
    return _said(503, error.message)


def _said(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status)
