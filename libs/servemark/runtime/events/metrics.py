"""What relays and consumers count, on the metrics page of their service."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class RelayMetrics:
    """How far the events of a service's topics have come. Several workers say the same of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "servemark_outbox_published", "Events sent to their streams.", registry=registry
        )
        self.repairs = Counter(
            "servemark_outbox_repairs",
            "Times that a stream had lost events, or may have, and they were sent again.",
            ("topic",),
            registry=registry,
        )
        self.waiting = self._gauge(
            registry, "servemark_outbox_waiting", "Events that are not published yet.", "topic"
        )
        self.oldest_seconds = self._gauge(
            registry,
            "servemark_outbox_oldest_seconds",
            "Age of the oldest event that is not published yet.",
            "topic",
        )
        self.stream_length = self._gauge(
            registry, "servemark_events_stream_length", "Events in the stream.", "topic"
        )
        self.stream_over_bound = self._gauge(
            registry,
            "servemark_events_stream_over_bound",
            "1 while a stream is too long, because a group does not follow.",
            "topic",
        )
        self.undelivered = self._gauge(
            registry,
            "servemark_events_undelivered",
            "Events that no member of the group was given yet.",
            "topic",
            "group",
        )
        self.pending = self._gauge(
            registry,
            "servemark_events_pending",
            "Events that a member was given and has not acknowledged.",
            "topic",
            "group",
        )

    @staticmethod
    def _gauge(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemostrecent")


class ConsumerMetrics:
    """What a service has done with the events it was given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.taken = Counter(
            "servemark_events_taken", "Events that took effect.", ("topic",), registry=registry
        )
        self.repeated = Counter(
            "servemark_events_repeated",
            "Events that had taken effect before.",
            ("topic",),
            registry=registry,
        )
        self.dead = Counter(
            "servemark_events_dead",
            "Events put away as dead letters.",
            ("topic",),
            registry=registry,
        )
