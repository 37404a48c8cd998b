"""The second level: replies in Redis, each with the version tokens it counts under.

A tag's token is a random text that lies in Redis. Whoever changes what has the tag deletes the
token after the commit; who reads next makes a new one, and every reply that was read under the old
one counts no more. Nothing is ever set back to a token that was there before: a counter would be by
a flush, and the id of an event when the event is told a second time, and replies that were out of
date would count again. Tokens are read before the database is, so a reply from before a commit has
the token from before its deletion.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from redis.asyncio import Redis

from servemark.cache.v1.cache_pb2 import CacheEntry
from servemark.runtime.cache.breaker import Breaker
from servemark.runtime.cache.families import lock_key, version_key
from servemark.runtime.cache.patience import Patience

# Raised whenever an entry means something else than before to the code that reads it.
FORMAT: Final = 1
LOCK_MS: Final = 2_000
# Longer than any reply is kept. It may go before, as every key of the cache may.
_TOKEN_SECONDS: Final = 86_400
_LARGEST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Look:
    """What lies in Redis for a key: an entry that counts, or None; and the tokens of its tags."""

    entry: CacheEntry | None
    tokens: tuple[bytes | None, ...]


class Shared:
    """Replies in Redis. Every method may raise RedisError, OSError or TimeoutError."""

    def __init__(self, redis: Redis, breaker: Breaker) -> None:
        self._redis = redis
        self._breaker = breaker

    async def look(
        self, key: str, tags: Sequence[str], version: str, server: bytes, patience: Patience
    ) -> Look:
        """The entry for `key`, if it counts now; one trip to Redis."""
        keys = [*(version_key(tag) for tag in tags), key]
        *tokens, value = await self._ask(self._redis.mget(keys), patience)
        entry = _entry(value)
        counts = (
            entry is not None
            and None not in tokens
            and list(entry.tokens) == tokens
            and entry.version == version
            and entry.server == server
        )
        return Look(entry if counts else None, tuple(tokens))

    async def begin(
        self, key: str, look: Look, tags: Sequence[str], patience: Patience
    ) -> tuple[tuple[bytes, ...], bool]:
        """The tokens to read the database under, and whether it is this process that should.

        Tokens that were missing are made, unless another process has made them meanwhile.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            missing = [tag for tag, token in zip(tags, look.tokens, strict=True) if token is None]
            for tag in missing:
                pipeline.set(version_key(tag), secrets.token_bytes(12), nx=True, ex=_TOKEN_SECONDS)
            pipeline.set(lock_key(key), b"1", nx=True, px=LOCK_MS)
            if missing:
                pipeline.mget([version_key(tag) for tag in tags])
            answers = await self._ask(pipeline.execute(), patience)
        tokens = answers[-1] if missing else look.tokens
        return tuple(token or b"" for token in tokens), bool(answers[len(missing)])

    async def write(self, key: str, entry: CacheEntry) -> None:
        """Stores an entry, and lets others read the database for this key again."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            if len(entry.reply) <= _LARGEST_BYTES:
                pipeline.set(key, entry.SerializeToString(), px=max(1, entry.lifetime_ms))
            pipeline.unlink(lock_key(key))
            await self._ask(pipeline.execute(), Patience())

    async def give_up(self, key: str) -> None:
        """Lets others read the database for this key, after this process failed to."""
        await self._ask(self._redis.unlink(lock_key(key)), Patience())

    async def ping(self) -> None:
        """Returns if Redis answers."""
        await self._ask(self._redis.ping(), Patience())

    async def _ask(self, command: Any, patience: Patience) -> Any:
        try:
            answer = await patience.spend(command)
        except Exception:
            self._breaker.failed()
            raise
        self._breaker.answered()
        return answer


def _entry(value: bytes | None) -> CacheEntry | None:
    if value is None:
        return None
    try:
        entry = CacheEntry.FromString(value)
    except DecodeError:
        return None
    return entry if entry.format == FORMAT else None
