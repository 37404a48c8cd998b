"""The levels of one process's cache, as a read finds them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servemark.runtime.cache.breaker import Breaker
from servemark.runtime.cache.memory import Memory
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.cache.shared import Shared
from servemark.runtime.cache.watch import Watch


@dataclass(frozen=True, slots=True)
class Levels:
    """Memory, Redis, and what is known of their age; without Redis the last two are None.

    `clock` gives seconds of the process, `wall_us` microseconds since 1970.
    """

    memory: Memory
    breaker: Breaker
    shared: Shared | None
    watch: Watch | None
    metrics: CacheMetrics
    clock: Callable[[], float]
    wall_us: Callable[[], int]

    def is_current(self, tags: Sequence[str]) -> bool:
        """Whether what is cached under the tags may be used and kept now."""
        return not tags or (self.watch is not None and self.watch.is_close_for(tags))
