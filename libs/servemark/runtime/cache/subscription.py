"""A connection that hears which replies are gone. It is never made anew behind its owner's back.

The client library's own would be: it connects and subscribes again by itself, and what was said in
between is lost without anybody knowing.
"""

import math
from typing import Any

from redis.asyncio import Redis

from servemark.cache.v1.cache_pb2 import CacheInvalidation
from servemark.runtime.cache.families import CHANNEL


class Subscription:
    """One connection; after any error it is of no more use. `server` is the server's run id."""

    def __init__(self, redis: Redis) -> None:
        pool: Any = redis.connection_pool
        self._connection = pool.connection_class(**pool.connection_kwargs)
        self.server = b""

    async def open(self) -> None:
        """Connects and subscribes. Raises RedisError or OSError, as every method does."""
        await self._connection.connect()
        await self._connection.send_command("INFO", "server")
        info: bytes = await self._connection.read_response()
        self.server = info.partition(b"run_id:")[2].split(b"\r\n", 1)[0]
        await self._connection.send_command("SUBSCRIBE", CHANNEL)
        await self._connection.read_response()

    async def ping(self, number: int) -> None:
        """Asks for an answer with this number, which comes after all that was said before."""
        await self._connection.send_command("PING", str(number))

    async def read(self) -> CacheInvalidation | int:
        """What is said next, or the number of a ping that was answered."""
        answer = await self._connection.read_response(timeout=math.inf)
        if answer[0] == b"pong":
            return int(answer[1])
        return CacheInvalidation.FromString(answer[2])

    async def close(self) -> None:
        """Ends the connection."""
        await self._connection.disconnect(nowait=True)
