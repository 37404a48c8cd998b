"""How far what has been told to the caches lies behind what was committed."""

from collections.abc import Awaitable, Callable
from typing import Final

from servemark.runtime.database import Database

Backlog = Callable[[], Awaitable[float | None]]

# With more than that waiting, how long they have waited is not worth the look.
_MOST_EVENTS: Final = 1_000

# Events that a relay has locked are counted, too: it may be dead, and has told nobody yet.
_OLDEST: Final = f"""
    SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8
    FROM (SELECT created_at FROM outbox WHERE published_at IS NULL LIMIT {_MOST_EVENTS}) AS waiting
"""  # noqa: S608  (a number of ours)


def outbox_backlog(database: Database) -> Backlog:
    """Answers how many seconds the oldest unpublished event of the schema has waited; 0: none has.

    None: nothing can be said. Give it a database of its own: waiting for a connection behind the
    reads that a cache is there to spare would end with no cache when it is needed most.
    """

    async def backlog() -> float | None:
        count, age = (await database.fetch(_OLDEST))[0]
        if not count:
            return 0.0
        # A clock that was set back says nothing.
        return None if count >= _MOST_EVENTS or age < 0 else float(age)

    return backlog
