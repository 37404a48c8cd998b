"""A reply as the caches give it, and how a caller is told where it comes from."""

from dataclasses import dataclass
from typing import Any, Final, Literal

CACHE_KEY: Final = "x-servemark-cache"

Level = Literal["L1", "L2", "DB"]


@dataclass(frozen=True, slots=True)
class Reply:
    """The bytes of a message, the level they come from, and the seconds since they were read."""

    message: bytes
    level: Level
    age: float


def send(reply: Reply, context: Any) -> Any:
    """What a unary handler returns to answer with `reply`; its trailing metadata says whence.

    The bytes go out as they are: the server's interceptor does not serialize them again.
    """
    told = f"level={reply.level}; age={reply.age:.1f}"
    context.set_trailing_metadata(((CACHE_KEY, told),))
    return reply.message
