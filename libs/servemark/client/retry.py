"""When a failed call may be sent again, and how long to wait before."""

import random
from dataclasses import dataclass

import grpc

from servemark.client.errors import ServemarkCallError

# What gRPC says when it never got a connection, so that the server cannot have seen the call.
_NEVER_SENT = "failed to connect to all addresses"


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently to repeat. Delays are in seconds."""

    max_attempts: int = 5
    first_delay: float = 0.1
    max_delay: float = 2.0

    def delay(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after a failed attempt (the first is 1).

        Doubles from `first_delay` to `max_delay`, of which a random half to whole is taken, so that
        many clients do not come back at once. Never less than the server asked for.
        """
        ceiling: float = min(self.first_delay * 2.0 ** min(attempt - 1, 30), self.max_delay)
        # Jitter, not a secret.
        jittered = ceiling * random.uniform(0.5, 1.0)  # noqa: S311
        return max(jittered, retry_after or 0.0)


def may_repeat(error: ServemarkCallError, method: str) -> bool:
    """Whether a unary call may be sent again.

    UNAVAILABLE may, but for a certificate that is not to be trusted; RESOURCE_EXHAUSTED only with
    RetryInfo, since an oversized message has the same code. What makes something new each time,
    such as a key's secret, is repeated only where it is certain that the first was not carried out.
    """
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error.retry_after is not None
    if error.code() is not grpc.StatusCode.UNAVAILABLE or error.is_untrusted:
        return False
    creates = method.rsplit("/", 1)[-1].startswith(("Create", "Rotate"))
    return not creates or bool(error.reason) or _NEVER_SENT in error.message
