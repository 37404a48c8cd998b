"""Which replies are kept, under which keys, and for how long: the table of the requirements."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "servemark:"
VERSION_PREFIX: Final = f"{PREFIX}version:"
LOCK_PREFIX: Final = f"{PREFIX}lock:"
CHANNEL: Final = f"{PREFIX}invalidate"


@dataclass(frozen=True, slots=True)
class Family:
    """Replies of one kind. `pattern` has a `{}` for each part of a key; `lifetime` is in seconds.

    No reply is kept because its time is not over: that only bounds how long it takes up memory.
    """

    name: str
    pattern: str
    lifetime: float

    def key(self, *parts: str, variant: bytes = b"") -> str:
        """The key in Redis. `variant` is what else was asked for; none: the plain question."""
        plain = PREFIX + self.pattern.format(*parts)
        if not variant:
            return plain
        return f"{plain}:{hashlib.sha256(variant).hexdigest()[:32]}"

    @property
    def glob(self) -> str:
        """What all its keys match, in the way of Redis."""
        return f"{PREFIX}{self.pattern.replace('{}', '*')}*"

    @property
    def prefix(self) -> str:
        """What all its keys begin with."""
        return PREFIX + self.pattern.partition("{")[0]


MODEL_DETAILS: Final = Family("model_details", "model:{}:details", 3600)
HARDWARE_LIST: Final = Family("hardware_list", "hardware:list:active", 7200)
BENCHMARK_RESULTS: Final = Family("benchmark_results", "benchmark:{}:{}:results", 1800)
MODEL_METRICS: Final = Family("model_metrics", "metrics:model:{}:aggregated", 600)
RECOMMENDATIONS: Final = Family("recommendations", "rec:{}:{}:recommendations", 900)

FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family
    for family in (
        MODEL_DETAILS,
        HARDWARE_LIST,
        BENCHMARK_RESULTS,
        MODEL_METRICS,
        RECOMMENDATIONS,
    )
}


def version_key(tag: str) -> str:
    """Where the version token of a tag lies in Redis."""
    return VERSION_PREFIX + tag


def lock_key(key: str) -> str:
    """What says in Redis that a process is reading the reply for `key` from the database."""
    return LOCK_PREFIX + key.removeprefix(PREFIX)
