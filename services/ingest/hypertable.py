"""Where results lie: the storage profiles `timescale` and `timescale-apache`, one hypertable.

TimescaleDB makes the chunk of a day with its first result and finds it again by itself. Where its
licence allows it, a policy compresses days that are a week old; which ones those are decides how
late rows are stored, so that is looked up now and then. A view that is some minutes old makes late
rows slow, never wrong.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby
from typing import Final

from sqlalchemy import text

from servemark.runtime.database import Database
from services.ingest.profile import Target
from services.ingest.records import Day

NAMES: Final = ("timescale", "timescale-apache")

_COMPRESSED_DAYS = text("SELECT day FROM ingest.result_days() WHERE is_compressed")


class Hypertable:
    """The hypertable, and which of its days are compressed."""

    def __init__(self, name: str, database: Database) -> None:
        self.name = name
        self._database = database
        self._compressed: frozenset[date] = frozenset()

    def targets(self, days: Sequence[Day]) -> Sequence[Target]:
        """The hypertable, for days in a row that are compressed or not."""
        return [
            Target("benchmark_results", tuple(alike), columnar)
            for columnar, alike in groupby(days, lambda day: day.date in self._compressed)
        ]

    async def ensure(self, days: Iterable[date]) -> None:
        """Nothing: a day's first row makes its chunk."""

    def forget(self, days: Iterable[date]) -> None:
        """Nothing: no day is taken for present."""

    def ahead(self) -> Sequence[date]:
        """None: a day's first row makes its chunk."""
        return ()

    async def maintain(self) -> None:
        """Looks up which days are compressed."""
        async with self._database.transaction() as connection:
            days = (await connection.execute(_COMPRESSED_DAYS)).scalars()
            self._compressed = frozenset(days)
