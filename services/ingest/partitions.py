"""Where results lie: the storage profile `native`, plain partitions by UTC day.

A profile owns how its database keeps days apart. This one makes a day's partition when the first
result of the day arrives, and the coming week's ahead of it, so that almost no batch has to wait
for one.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Final

from sqlalchemy import func, select

from servemark.runtime.database import Database
from services.ingest.profile import Target
from services.ingest.records import Day

DAYS_AHEAD: Final = 7
DAYS_APART: Final = 8


class NativePartitions:
    """The days that have a partition, and new ones as they are needed.

    `today` answers the current UTC day.
    """

    name = "native"

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today
        self._known: set[date] = set()

    def targets(self, days: Sequence[Day]) -> Sequence[Target]:
        """Each day's own partition: nothing has to be routed, and COPY inserts many at once.

        Past a few days the parent takes them all: a COPY of its own for each costs more than that.
        """
        if len(days) > DAYS_APART:
            return [Target("benchmark_results", days)]
        return [Target(f"benchmark_results_{day.date:%Y%m%d}", (day,)) for day in days]

    async def ensure(self, days: Iterable[date]) -> None:
        """Makes the partitions that are missing; each in a transaction of its own.

        Never inside a batch's transaction: attaching a partition takes a lock that would be held
        until the batch commits, and two batches could wait for each other.
        """
        for day in sorted(set(days) - self._known):
            async with self._database.transaction() as connection:
                await connection.execute(select(func.ingest.create_result_partition(day)))
            self._known.add(day)

    def forget(self, days: Iterable[date]) -> None:
        """Stops taking the days for present, after the database said that one is not."""
        self._known.difference_update(days)

    def ahead(self) -> Sequence[date]:
        """Today and the days ahead."""
        first = self._today()
        return [first + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]

    async def maintain(self) -> None:
        """Makes today's partition and those of the days ahead."""
        await self.ensure(self.ahead())
