"""The Redis keys of a topic, and the order of a stream's entries."""

_PREFIX = "servemark:events:"


def stream_of(topic: str) -> str:
    """The stream that carries the topic's events."""
    return f"{_PREFIX}{topic}"


def marker_of(topic: str) -> str:
    """What says that the stream holds, or has held, all that the outbox calls published."""
    return f"{_PREFIX}{topic}:marker"


def outbox_of(topic: str) -> str:
    """What the topic's owner last said of its outbox; it goes when the owner is silent."""
    return f"{_PREFIX}{topic}:outbox"


def order_of(identifier: bytes | str) -> tuple[int, int]:
    """What orders the ids of entries, `milliseconds-sequence`, as the stream does."""
    text = identifier.decode() if isinstance(identifier, bytes) else identifier
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)
