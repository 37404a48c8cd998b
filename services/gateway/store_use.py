"""The gateway's SQL of what callers used on each UTC day."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from servemark.runtime.database import Database
from services.gateway.daily_use import Use, Uses
from services.gateway.tables import daily_use

_FIRST_DAY = date(1970, 1, 1)
_ROWS_A_STATEMENT = 1_000


class UseStore:
    """Sums by day and caller, to which every gateway adds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, day: int) -> Uses:
        """The sums of a day, given as days since 1970."""
        query = select(daily_use).where(daily_use.c.day == _FIRST_DAY + timedelta(day))
        async with self._database.transaction() as connection:
            return dict(_read(row) for row in (await connection.execute(query)).all())

    async def add(self, uses: Uses) -> Uses:
        """Adds to the sums, all or none, and returns those that changed."""
        sums: dict[tuple[int, str], Use] = {}
        async with self._database.transaction() as connection:
            for values in _in_parts(uses):
                added = insert(daily_use).values(values)
                statement = added.on_conflict_do_update(
                    index_elements=[daily_use.c.day, daily_use.c.caller],
                    set_={
                        "calls": daily_use.c.calls + added.excluded.calls,
                        "rows": daily_use.c["rows"] + added.excluded["rows"],
                    },
                ).returning(daily_use)
                sums |= dict(_read(row) for row in (await connection.execute(statement)).all())
        return sums

    async def forget(self, day: int) -> None:
        """Deletes the sums of every day before this one."""
        old = delete(daily_use).where(daily_use.c.day < _FIRST_DAY + timedelta(day))
        async with self._database.transaction() as connection:
            await connection.execute(old)


def _read(row: Any) -> tuple[tuple[int, str], Use]:
    day, caller, calls, rows = row
    return ((day - _FIRST_DAY).days, caller), Use(calls, rows)


def _in_parts(uses: Uses) -> Iterator[list[dict[str, Any]]]:
    # In one order everywhere, so that no two gateways wait for each other.
    ordered = sorted(uses.items())
    for start in range(0, len(ordered), _ROWS_A_STATEMENT):
        yield [
            {
                "day": _FIRST_DAY + timedelta(day),
                "caller": caller,
                "calls": use.calls,
                "rows": use.rows,
            }
            for (day, caller), use in ordered[start : start + _ROWS_A_STATEMENT]
        ]
