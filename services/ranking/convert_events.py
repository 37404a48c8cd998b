"""Messages of EventService from and to what the service works with."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.events.v1 import dead_letter_pb2 as dead
from servemark.events.v1 import event_lag_pb2 as lag
from servemark.runtime.events.inbox import DeadLetter, UnusableEventError
from servemark.runtime.events.lag import Lag
from servemark.runtime.paging import decode_token, token_invalid
from servemark.runtime.validation import Violations

MOST_IDS: Final = 1000
# A page is one message, and clients take 4 MiB.
_PAGE_BYTES: Final = 2 * 1024 * 1024


def lag_to_proto(found: Lag) -> lag.TopicLag:
    """What waits in a topic."""
    message = lag.TopicLag(
        topic=found.topic,
        stream_length=found.stream_length,
        groups=[
            lag.GroupLag(
                group=group.name,
                undelivered_count=group.undelivered,
                pending_count=group.pending,
            )
            for group in found.groups
        ],
    )
    if found.outbox is not None:
        message.outbox.event_count = found.outbox.count
        message.outbox.oldest_seconds = found.outbox.oldest_seconds
    return message


def letter_to_proto(letter: DeadLetter) -> dead.DeadLetter:
    """A dead letter."""
    created = Timestamp()
    if letter.created_at is not None:
        created.FromDatetime(letter.created_at)
    return dead.DeadLetter(
        id=str(letter.id),
        topic=letter.topic,
        reason=letter.reason,
        delivery_count=letter.delivery_count,
        create_time=created,
        payload=letter.payload,
    )


def page_of(letters: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
    """The first of the letters that fit into one answer: one at least, whatever its size."""
    size = 0
    for count, letter in enumerate(letters):
        size += len(letter.payload) + len(letter.reason)
        if count and size > _PAGE_BYTES:
            return letters[:count]
    return letters


def place_of(letter: DeadLetter) -> list[Any]:
    """What a page token holds of the last letter of its page."""
    return [str(letter.created_at), str(letter.id)]


def place_from_token(digest: str, token: str) -> tuple[datetime, UUID] | None:
    """The place that a page continues after; None for the first page. Raises PAGE_TOKEN_INVALID."""
    key = decode_token(digest, token, 2)
    if key is None:
        return None
    try:
        return datetime.fromisoformat(key[0]), UUID(key[1])
    except (ValueError, TypeError, AttributeError):
        raise token_invalid() from None


def ids_from_proto(check: Violations, ids: Iterable[str]) -> list[UUID]:
    """The ids of letters; what is wrong with them is noted."""
    found: list[UUID] = []
    for index, text in enumerate(ids):
        try:
            found.append(UUID(text))
        except ValueError:
            check.add(f"ids[{index}]", "must be a UUID")
    if not found:
        check.add("ids", "is required")
    if len(found) > MOST_IDS:
        check.add("ids", f"must be at most {MOST_IDS:,}")
    return found


def problem_of(error: Exception) -> str:
    """Why an event does not take effect, for whoever replays it."""
    text = str(error)
    return text if isinstance(error, UnusableEventError) else f"{type(error).__name__}: {text}"
