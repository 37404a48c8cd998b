"""SQL that keeps configurations condensed: takes marks over, and calculates what they ask for.

Marks of batches are many and name the same configurations again and again. They are taken over into
a queue: rows of a few hundred configurations that belong together, in which each is named once.
Until the turn of its row is committed a configuration stays marked, for readers too.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Insert, Text, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.ingest.metrics import SUMMARY_COLUMNS
from services.ingest.records import Turn
from services.ingest.store_condense import (
    OLDEST,
    OTHER_FIELDS,
    RUN_COUNT,
    STATISTICS,
    condense,
    statistic,
)
from services.ingest.store_filter import among
from services.ingest.store_summaries import ALL_RUNS, WINDOWS, window_start
from services.ingest.tables import benchmark_configs, benchmark_results, config_summaries

_c = benchmark_configs.c
_s = config_summaries.c

# Configurations that one turn calculates.
CONFIGS_A_TURN: Final = 256

# One process at a time, so that the later of two calculations, which knows more, stays. Another one
# does not wait for it: there is enough to do elsewhere.
_TAKE_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('config_summaries', 0))")

# Neighbours in the queue share their scans.
_QUEUE_UP = text(
    """
    WITH marks AS (
        DELETE FROM dirty_configs WHERE NOT queued RETURNING config_ids, created_at
    ), fresh AS (
        SELECT unnest(config_ids) AS config_id FROM marks
        EXCEPT
        SELECT unnest(config_ids) FROM dirty_configs WHERE queued
    ), placed AS (
        SELECT config.id, (row_number() OVER (
            ORDER BY model_version_id, hardware_config_id, framework_id, config.id
        ) - 1) / :size AS place
        FROM fresh JOIN benchmark_configs AS config ON config.id = fresh.config_id
    )
    INSERT INTO dirty_configs (queued, created_at, config_ids)
    SELECT true, (SELECT max(created_at) FROM marks), array_agg(id)
    FROM placed GROUP BY place ORDER BY place
    """
)

_NEXT = text(
    """
    WITH next AS (
        DELETE FROM dirty_configs WHERE id = (SELECT min(id) FROM dirty_configs WHERE queued)
        RETURNING config_ids
    )
    SELECT (SELECT config_ids FROM next), count(*) > 1 AS more FROM dirty_configs
    """
)


class SummaryRollUp:
    """Keeps `config_summaries` up with the results. `today` answers the current UTC day."""

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today

    async def roll_up(self) -> Turn:
        """Calculates up to 256 configurations anew that are marked or whose window has moved on.

        Several processes may do so at once; all but one find nothing to do. Marks go in the
        transaction that writes what they ask for.
        """
        today = self._today()
        async with self._database.transaction() as connection:
            if not (await connection.execute(_TAKE_TURN)).scalar_one():
                return Turn()
            await connection.execute(_QUEUE_UP, {"size": CONFIGS_A_TURN})
            queue = (await connection.execute(_NEXT)).one()
            if queue.config_ids:
                await _calculate(connection, queue.config_ids, WINDOWS, today)
                return Turn(len(queue.config_ids), queue.more)
            outdated = await _outdated(connection, today)
            if outdated:
                await _calculate(connection, outdated, [w for w in WINDOWS if w], today)
            return Turn(len(outdated), len(outdated) == CONFIGS_A_TURN)


async def _outdated(connection: AsyncConnection, today: date) -> Sequence[UUID]:
    """Configurations whose oldest run has left a window."""
    found: set[UUID] = set()
    for recent_days in WINDOWS:
        if recent_days == ALL_RUNS:
            continue
        query = (
            select(_s.config_id)
            .where(
                _s.recent_days == recent_days,
                _s.recent_days > 0,
                _s.oldest_benchmarked_at < window_start(recent_days, today),
            )
            .order_by(_s.model_version_id, _s.hardware_config_id, _s.framework_id, _s.config_id)
            .limit(CONFIGS_A_TURN)
        )
        found.update((await connection.execute(query)).scalars())
    return sorted(found)[:CONFIGS_A_TURN]


async def _calculate(
    connection: AsyncConnection, config_ids: Sequence[UUID], windows: Sequence[int], today: date
) -> None:
    for recent_days in windows:
        await connection.execute(_upsert(config_ids, recent_days, today))


def _upsert(config_ids: Sequence[UUID], recent_days: int, today: date) -> Insert:
    """Writes a row for each configuration, also for one without runs in the window."""
    start = window_start(recent_days, today)
    conditions = []
    if recent_days != ALL_RUNS:
        conditions.append(benchmark_results.c.benchmarked_at >= start)
    fields = [RUN_COUNT, OLDEST, *OTHER_FIELDS]
    fields += [statistic(column, name) for column in SUMMARY_COLUMNS for name in STATISTICS]
    runs = condense(config_ids, fields, conditions).subquery("condensed")
    values: dict[str, Any] = {
        "config_id": _c.id,
        "model_id": _c.model_id,
        "model_version_id": _c.model_version_id,
        "hardware_config_id": _c.hardware_config_id,
        "framework_id": _c.framework_id,
        "workload_type": _c.workload_type,
        "provenance": _c.provenance,
        "recent_days": literal(recent_days),
        "counted_from": literal(start),
        "run_count": func.coalesce(runs.c.run_count, 0),
        "request_count": func.coalesce(runs.c.request_count, 0),
        "failed_request_count": func.coalesce(runs.c.failed_request_count, 0),
        "oldest_benchmarked_at": runs.c.oldest_benchmarked_at,
        "newest_benchmarked_at": runs.c.newest_benchmarked_at,
        "tools": func.coalesce(runs.c.tools, cast(array([]), ARRAY(Text()))),
        "updated_at": func.clock_timestamp(),
    }
    for name in STATISTICS:
        values[name] = array([runs.c[f"{column}_{name}"] for column in SUMMARY_COLUMNS])
    # New rows that are read together lie together.
    source = (
        select(*values.values())
        .select_from(benchmark_configs.outerjoin(runs, runs.c.config_id == _c.id))
        .where(among(_c.id, config_ids))
        .order_by(_c.workload_type, _c.id)
    )
    statement = insert(config_summaries).from_select(list(values), source)
    # What a configuration is never changes.
    changing = [name for name in values if name not in _FIXED]
    return statement.on_conflict_do_update(
        index_elements=[_s.recent_days, _s.config_id],
        set_={name: statement.excluded[name] for name in changing},
    )


_FIXED: Final = frozenset(
    (
        "recent_days",
        "config_id",
        "model_id",
        "model_version_id",
        "hardware_config_id",
        "framework_id",
        "workload_type",
        "provenance",
    )
)
