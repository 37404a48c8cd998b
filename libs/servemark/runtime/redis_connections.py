"""Connections to Redis that give up soon: it carries events and keeps replies, but owns neither.

A server that hangs answers no sooner for being waited for. Whoever uses it goes on without it, and
tries again later by itself.
"""

from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

LONGEST_WAIT_SECONDS: Final = 0.25
"""How long anything waits for Redis to connect, or to answer."""

# The most reads of a process that ask Redis at the same time; others wait for one of them.
_CACHE_CONNECTIONS: Final = 16


def open_event_redis(url: str, *, blocking_seconds: float = 0.0) -> Redis:
    """A client that waits for no answer longer than LONGEST_WAIT_SECONDS, and connects when used.

    `blocking_seconds` is how much longer a command may take that asks the server to wait for
    something. Give such commands a client of their own.
    """
    return Redis.from_url(url, **_soon(LONGEST_WAIT_SECONDS + blocking_seconds))


def open_cache_redis(url: str) -> Redis:
    """The same with few connections, none of which is waited for longer either."""
    pool: Any = BlockingConnectionPool.from_url(
        url,
        max_connections=_CACHE_CONNECTIONS,
        timeout=LONGEST_WAIT_SECONDS,
        # Messages of a subscription come as plain answers then.
        protocol=2,
        **_soon(LONGEST_WAIT_SECONDS),
    )
    return Redis.from_pool(pool)


def _soon(answer_seconds: float) -> dict[str, Any]:
    return {
        "socket_timeout": answer_seconds,
        "socket_connect_timeout": LONGEST_WAIT_SECONDS,
        # By default it tries three times more, with pauses of seconds between.
        "retry": Retry(NoBackoff(), 0),
    }
