"""SQL that keeps configurations condensed: takes marks over, and calculates what they ask for.

Marks of batches are many and name the same configurations again and again. They are taken over into
a queue: rows of a few hundred configurations that belong together, in which each is named once.
Until the turn of its row is committed a configuration stays marked, for readers too.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from servemark.runtime.database import Database, driver_connection
from services.ingest.metrics import SUMMARY_COLUMNS
from services.ingest.records import Turn
from services.ingest.store_condense import (
    OLDEST,
    OTHER_FIELDS,
    POOL_FIELDS,
    RUN_COUNT,
    STATISTICS,
    condense,
    statistic,
)
from services.ingest.store_filter import Arguments
from services.ingest.store_summaries import ALL_RUNS, WINDOWS, in_window, window_start

# Configurations that one turn calculates.
CONFIGS_A_TURN: Final = 256

# One process at a time, so that the later of two calculations, which knows more, stays. Another one
# does not wait for it: there is enough to do elsewhere.
_TAKE_TURN: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('config_summaries', 0))"

# Neighbours in the queue share their scans.
_QUEUE_UP: Final = """
    WITH marks AS (
        DELETE FROM dirty_configs WHERE NOT queued RETURNING config_ids, created_at
    ), fresh AS (
        SELECT unnest(config_ids) AS config_id FROM marks
        EXCEPT
        SELECT unnest(config_ids) FROM dirty_configs WHERE queued
    ), placed AS (
        SELECT config.id, (row_number() OVER (
            ORDER BY model_version_id, hardware_config_id, framework_id, config.id
        ) - 1) / $1 AS place
        FROM fresh JOIN benchmark_configs AS config ON config.id = fresh.config_id
    )
    INSERT INTO dirty_configs (queued, created_at, config_ids)
    SELECT true, (SELECT max(created_at) FROM marks), array_agg(id)
    FROM placed GROUP BY place ORDER BY place
"""

_NEXT: Final = """
    WITH next AS (
        DELETE FROM dirty_configs WHERE id = (SELECT min(id) FROM dirty_configs WHERE queued)
        RETURNING config_ids
    )
    SELECT (SELECT config_ids FROM next), count(*) > 1 AS more FROM dirty_configs
"""

_OUTDATED: Final = """
    SELECT config_id FROM config_summaries
    WHERE recent_days = $1 AND recent_days > 0 AND oldest_benchmarked_at < $2
    ORDER BY model_version_id, hardware_config_id, framework_id, config_id LIMIT $3
"""

# Written by code that pooled no runs.
_UNPOOLED: Final = """
    SELECT DISTINCT model_version_id, hardware_config_id, framework_id, config_id
    FROM config_summaries WHERE pooled_at IS DISTINCT FROM updated_at
    ORDER BY model_version_id, hardware_config_id, framework_id, config_id LIMIT $1
"""

_KEY: Final = ("recent_days", "config_id")
_OF_CONFIG: Final = (
    "model_id",
    "model_version_id",
    "hardware_config_id",
    "framework_id",
    "workload_type",
    "provenance",
)
_FIELDS: Final = (
    RUN_COUNT,
    OLDEST,
    *OTHER_FIELDS,
    *(statistic(column, name) for column in SUMMARY_COLUMNS for name in STATISTICS),
    *POOL_FIELDS,
)
# What runs make of a column; what of a configuration without any.
_MADE: Final = {
    "run_count": "coalesce(run_count, 0)",
    "request_count": "coalesce(request_count, 0)",
    "failed_request_count": "coalesce(failed_request_count, 0)",
    "oldest_benchmarked_at": "oldest_benchmarked_at",
    "newest_benchmarked_at": "newest_benchmarked_at",
    "tools": "coalesce(tools, '{}')",
    **{
        name: f"ARRAY[{', '.join(f'{column}_{name}' for column in SUMMARY_COLUMNS)}]"
        for name in STATISTICS
    },
    **{field.name: field.name for field in POOL_FIELDS},
    "updated_at": "statement_timestamp()",
    "pooled_at": "statement_timestamp()",
}


class SummaryRollUp:
    """Keeps `config_summaries` up with the results. `today` answers the current UTC day."""

    def __init__(self, database: Database, today: Callable[[], date]) -> None:
        self._database = database
        self._today = today
        # Such rows are looked for until none is left: there is no index on them, as every turn
        # would have to keep it.
        self._may_be_unpooled = True

    async def roll_up(self) -> Turn:
        """Calculates up to 256 configurations anew that are marked, that code from before pooled
        figures has written, or whose window has moved on.

        Several processes may do so at once; all but one find nothing to do. Marks go in the
        transaction that writes what they ask for.
        """
        today = self._today()
        async with self._database.transaction() as connection:
            driver = await driver_connection(connection)
            if not await driver.fetchval(_TAKE_TURN):
                return Turn()
            await driver.execute(_QUEUE_UP, CONFIGS_A_TURN)
            queue = await driver.fetchrow(_NEXT)
            if queue["config_ids"]:
                await _calculate(driver, queue["config_ids"], WINDOWS, today)
                return Turn(len(queue["config_ids"]), queue["more"])
            if self._may_be_unpooled:
                unpooled = [row[-1] for row in await driver.fetch(_UNPOOLED, CONFIGS_A_TURN)]
                if unpooled:
                    await _calculate(driver, unpooled, WINDOWS, today)
                    return Turn(len(unpooled), more=True)
                self._may_be_unpooled = False
            outdated = await _outdated(driver, today)
            if outdated:
                await _calculate(driver, outdated, [w for w in WINDOWS if w != ALL_RUNS], today)
            return Turn(len(outdated), len(outdated) == CONFIGS_A_TURN)


async def _outdated(driver: Any, today: date) -> Sequence[UUID]:
    """Configurations whose oldest run has left a window."""
    found: set[UUID] = set()
    for recent_days in WINDOWS:
        if recent_days != ALL_RUNS:
            start = window_start(recent_days, today)
            rows = await driver.fetch(_OUTDATED, recent_days, start, CONFIGS_A_TURN)
            found.update(row[0] for row in rows)
    return sorted(found)[:CONFIGS_A_TURN]


async def _calculate(
    driver: Any, config_ids: Sequence[UUID], windows: Sequence[int], today: date
) -> None:
    for recent_days in windows:
        arguments = Arguments()
        await driver.execute(_upsert(config_ids, recent_days, today, arguments), *arguments.values)


def _upsert(config_ids: Sequence[UUID], recent_days: int, today: date, arguments: Arguments) -> str:
    """Writes a row for each configuration, also for one without runs in the window."""
    window = arguments.add(recent_days, "smallint")
    start = arguments.add(window_start(recent_days, today), "timestamptz")
    runs = condense(config_ids, _FIELDS, in_window(recent_days, today, arguments), arguments)
    columns = (*_KEY, *_OF_CONFIG, "counted_from", *_MADE)
    # What a configuration is never changes.
    changing = ", ".join(f"{name} = excluded.{name}" for name in ("counted_from", *_MADE))
    # New rows that are read together lie together.
    return f"""
        INSERT INTO config_summaries ({", ".join(columns)})
        SELECT {window}, config.id, {", ".join(_OF_CONFIG)}, {start}, {", ".join(_MADE.values())}
        FROM benchmark_configs AS config
        LEFT JOIN ({runs}) AS condensed ON condensed.config_id = config.id
        WHERE config.id = {arguments.any_of(config_ids, "uuid")}
        ORDER BY workload_type, config.id
        ON CONFLICT (recent_days, config_id) DO UPDATE SET {changing}"""  # noqa: S608  (as above)
