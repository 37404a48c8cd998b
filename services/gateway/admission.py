"""Decides about every call before its request is looked at: key, method, scope, limits."""

from contextvars import ContextVar
from typing import Any

import structlog
from grpc_reflection.v1alpha import reflection

from servemark.runtime.errors import ServemarkError
from servemark.runtime.health import HEALTH_SERVICE
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.gateway.errors import scope_missing
from services.gateway.grants import GRANTS
from services.gateway.http.context import HttpContext
from services.gateway.http.session import reading_only
from services.gateway.keys import ANONYMOUS, Caller, KeyChecker, bearer, key_invalid
from services.gateway.limits import Leave, Limits
from services.gateway.usage import UsageRecorder

# A probe needs no secret, and the contract is no secret.
OPEN_SERVICES = (HEALTH_SERVICE, "grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)

_caller: ContextVar[Caller] = ContextVar("servemark_caller")


def current_caller() -> Caller:
    """Who made the call being answered. Raises LookupError outside of one."""
    return _caller.get()


class Admission:
    """The gateway's door: everything but health and reflection needs a key with the scope.

    Only over HTTP, and only where the settings allow it, reading needs none.
    """

    def __init__(self, keys: KeyChecker, usage: UsageRecorder, limits: Limits) -> None:
        self._keys = keys
        self._usage = usage
        self._limits = limits

    async def __call__(self, method: str, context: Any) -> Leave | None:
        """Lets the call in; what is returned has to be called when it is over.

        Raises KEY_INVALID, METHOD_NOT_OFFERED, SCOPE_MISSING, or what `Limits` raises.
        """
        if method.lstrip("/").rpartition("/")[0] in OPEN_SERVICES:
            return None
        caller = await self._who(context)
        structlog.contextvars.bind_contextvars(caller=caller.key_id)
        scope = GRANTS.get(method)
        if scope is None:
            raise ServemarkError(
                ErrorReason.ERROR_REASON_METHOD_NOT_OFFERED,
                "The gateway does not offer the method.",
            )
        if not caller.may(scope):
            raise key_invalid() if caller is ANONYMOUS else scope_missing(scope)
        _caller.set(caller)
        return await self._limits.enter(caller, method)

    async def _who(self, context: Any) -> Caller:
        sent = [
            value for key, value in context.invocation_metadata() or () if key == "authorization"
        ]
        if not sent and isinstance(context, HttpContext):
            session = context.session_key
            if session is None:
                return context.anonymous()
            caller = reading_only(await self._keys.check(session))
        else:
            caller = await self._keys.check(bearer(sent))
        self._usage.touch(caller.key_id)
        return caller
