"""Times as microseconds since 1970, and as messages."""

from google.protobuf.timestamp_pb2 import Timestamp


def micros_from_proto(time: Timestamp) -> int:
    """Microseconds since 1970."""
    return time.seconds * 1_000_000 + time.nanos // 1000


def time_to_proto(micros: int) -> Timestamp:
    """A time from microseconds since 1970."""
    message = Timestamp()
    write_time(message, micros)
    return message


def write_time(message: Timestamp, micros: int) -> None:
    """Writes a time from microseconds since 1970."""
    message.seconds = micros // 1_000_000
    message.nanos = micros % 1_000_000 * 1000
