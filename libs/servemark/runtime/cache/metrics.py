"""What the caches of a process count."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class CacheMetrics:
    """Counters of one process's cache, by family of keys."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reads = Counter(
            "servemark_cache_reads",
            "Replies by the level they came from: L1 memory, L2 Redis, DB.",
            ("family", "level"),
            registry=registry,
        )
        self.loads = Histogram(
            "servemark_cache_load_seconds",
            "Time that a reply took which no level had.",
            ("family",),
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self.invalidations = Counter(
            "servemark_cache_invalidations", "Messages that replies are gone.", registry=registry
        )
        self.breaker_open = Gauge(
            "servemark_cache_breaker_open",
            "1 while Redis is left alone because it did not answer.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.lag = Gauge(
            "servemark_cache_lag_seconds",
            "How long ago everything that was committed was known here.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.entries = Gauge(
            "servemark_cache_memory_entries",
            "Replies in memory.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.bytes = Gauge(
            "servemark_cache_memory_bytes",
            "About what the replies in memory take up.",
            registry=registry,
            multiprocess_mode="livesum",
        )
