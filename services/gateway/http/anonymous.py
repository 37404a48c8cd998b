"""Who calls over HTTP without a credential: nobody, or a reader of what is public."""

from collections.abc import Callable

from starlette.requests import Request

from servemark.runtime.errors import ServemarkError
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.http.here import Here
from services.gateway.keys import ANONYMOUS, Caller, key_invalid
from services.gateway.settings import GatewaySettings


def anonymous_reader(settings: GatewaySettings, here: Here) -> Callable[[Request], Caller]:
    """Says who sent a request without a credential, or raises KEY_INVALID."""

    def caller_of(request: Request) -> Caller:
        # On loopback nobody else is let in by default; through a proxy there, everybody would be.
        passed_on = settings.http_anonymous_read is None and here.forwarded(request)
        if passed_on or not settings.anonymous_read_enabled:
            raise key_invalid()
        if not here.knows(request):
            raise ServemarkError(
                ErrorReason.ERROR_REASON_KEY_INVALID,
                "Without a key, this server answers requests under its own names only. Send "
                "`authorization: Bearer <key>`, or name the host in SERVEMARK_HTTP_HOSTS.",
            )
        return ANONYMOUS

    return caller_of
