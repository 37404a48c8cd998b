"""SQL that reads results.

A result's id begins with its time, so the order of ids is the order of times: pages go by id alone,
backwards through the primary key of each day.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import FromClause, select

from servemark.runtime.database import Database
from services.ingest.records import Result, ResultFilter
from services.ingest.rows import CONFIG_COLUMNS, RESULT_COLUMNS, result_from_row
from services.ingest.store_filter import config_conditions, run_conditions
from services.ingest.tables import benchmark_configs, benchmark_results

_c = benchmark_configs.c
_r = benchmark_results.c


class ResultStore:
    """Reads results."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, result_id: UUID, benchmarked_at: datetime) -> Result | None:
        """The result with this id, whose time is in the id; None if there is none."""
        query = (
            select(*RESULT_COLUMNS, *CONFIG_COLUMNS)
            .select_from(_results_with_configs())
            .where(_r.id == result_id, _r.benchmarked_at == benchmarked_at)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else result_from_row(row)

    async def page(
        self, wanted: ResultFilter, after: tuple[UUID, datetime] | None, limit: int
    ) -> list[Result]:
        """Up to `limit` results, the latest first, that come after the one named by `after`."""
        conditions = [*config_conditions(wanted), *run_conditions(wanted)]
        if after is not None:
            last_id, last_time = after
            # The time says the same as the id, and lets whole days be passed over.
            conditions += [_r.id < last_id, _r.benchmarked_at <= last_time]
        query = (
            select(*RESULT_COLUMNS, *CONFIG_COLUMNS)
            .select_from(_results_with_configs())
            .where(*conditions)
            .order_by(_r.id.desc())
            .limit(limit)
        )
        async with self._database.transaction() as connection:
            return [result_from_row(row) for row in await connection.execute(query)]


def _results_with_configs() -> FromClause:
    return benchmark_results.join(
        benchmark_configs, (_c.model_id == _r.model_id) & (_c.id == _r.config_id)
    )
