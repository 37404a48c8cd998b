"""The first level: replies in the memory of the process, bounded by number and bytes."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LONGEST_SECONDS: Final = 300.0
# What an entry takes up beside its key and its reply, measured roughly.
_OVERHEAD_BYTES: Final = 500
# One reply may not push out all the others.
_LARGEST_SHARE: Final = 1 / 16


@dataclass(slots=True)
class Held:
    """A reply in memory; times are seconds of the process's own clock.

    `refresh_at` is when a reader should see to a new one, which is before the old one goes.
    """

    reply: bytes
    tags: tuple[str, ...]
    version: str
    read_at: float
    drop_at: float
    refresh_at: float


class Memory:
    """Replies by key; the longest unused leave when it is full. Keys are found by their tags."""

    def __init__(self, *, most_entries: int, most_bytes: int) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._keys_of: dict[str, set[str]] = {}
        self.byte_size = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str, now: float) -> Held | None:
        """The reply for `key`, None where there is none or its time is over."""
        held = self._held.get(key)
        if held is None:
            return None
        if now >= held.drop_at:
            self.drop(key)
            return None
        self._held.move_to_end(key)
        return held

    def put(self, key: str, held: Held) -> None:
        """Keeps a reply, in the place of the one before it."""
        self.drop(key)
        if _size(key, held) > self._most_bytes * _LARGEST_SHARE:
            return
        self._held[key] = held
        self.byte_size += _size(key, held)
        for tag in held.tags:
            self._keys_of.setdefault(tag, set()).add(key)
        while len(self._held) > self._most_entries or self.byte_size > self._most_bytes:
            self.drop(next(iter(self._held)))

    def drop(self, key: str) -> None:
        """Forgets the reply for `key`, if there is one."""
        held = self._held.pop(key, None)
        if held is None:
            return
        self.byte_size -= _size(key, held)
        for tag in held.tags:
            keys = self._keys_of[tag]
            keys.discard(key)
            if not keys:
                del self._keys_of[tag]

    def drop_tags(self, tags: Iterable[str]) -> None:
        """Forgets all replies with one of the tags."""
        for tag in tags:
            for key in tuple(self._keys_of.get(tag, ())):
                self.drop(key)

    def drop_prefixes(self, prefixes: Iterable[str]) -> None:
        """Forgets all replies whose keys begin with one of the texts."""
        beginnings = tuple(prefixes)
        for key in [key for key in self._held if key.startswith(beginnings)]:
            self.drop(key)

    def drop_tagged(self) -> None:
        """Forgets all replies that have tags."""
        self.drop_tags(tuple(self._keys_of))


def _size(key: str, held: Held) -> int:
    return len(key) + len(held.reply) + _OVERHEAD_BYTES
