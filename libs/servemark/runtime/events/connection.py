"""Connections to Redis that give up soon, because Redis carries events and is not where they are.

A server that hangs answers no sooner for being waited for. Whoever uses it goes on without it, and
tries again later by itself.
"""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

LONGEST_WAIT_SECONDS = 0.25
"""How long anything waits for Redis to connect, or to answer."""


def open_event_redis(url: str, *, blocking_seconds: float = 0.0) -> Redis:
    """A client that waits for no answer longer than LONGEST_WAIT_SECONDS, and connects when used.

    `blocking_seconds` is how much longer a command may take that asks the server to wait for
    something. Give such commands a client of their own.
    """
    return Redis.from_url(
        url,
        socket_timeout=LONGEST_WAIT_SECONDS + blocking_seconds,
        socket_connect_timeout=LONGEST_WAIT_SECONDS,
        # By default it tries three times more, with pauses of seconds between.
        retry=Retry(NoBackoff(), 0),
    )
