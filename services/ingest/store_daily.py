"""SQL for daily statistics: marks of days to calculate, the calculation, and reading."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, and_, any_, bindparam, delete, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from services.ingest.records import DailyStats
from services.ingest.tables import daily_model_stats, dirty_days

_d = daily_model_stats.c

# Marks taken by one turn of the roll-up.
_MARKS: Final = 500

# The percentile is over runs, not over merged samples; the row says so.
_ROLL_UP = text(
    """
    INSERT INTO daily_model_stats (
        id, model_id, stats_date, avg_accuracy, avg_throughput, p95_latency_ms,
        total_benchmarks, aggregated_metrics, updated_at
    )
    SELECT
        wanted.id, result.model_id, CAST(:day AS date),
        avg(accuracy_score), avg(throughput_tokens_sec),
        percentile_cont(0.95) WITHIN GROUP (ORDER BY ttft_p50_ms),
        count(*),
        jsonb_strip_nulls(jsonb_build_object(
            'p95_latency_source', CASE WHEN count(ttft_p50_ms) > 0 THEN 'runs' END,
            'accuracy_runs', count(accuracy_score),
            'throughput_runs', count(throughput_tokens_sec),
            'latency_runs', count(ttft_p50_ms),
            'request_count', sum(request_count),
            'failed_request_count', sum(failed_request_count)
        )),
        clock_timestamp()
    FROM benchmark_results AS result
    JOIN unnest(:ids, :models) AS wanted (id, model_id) ON wanted.model_id = result.model_id
    WHERE result.benchmarked_at >= :starts AND result.benchmarked_at < :ends
    GROUP BY wanted.id, result.model_id
    ON CONFLICT (model_id, stats_date) DO UPDATE SET
        avg_accuracy = excluded.avg_accuracy,
        avg_throughput = excluded.avg_throughput,
        p95_latency_ms = excluded.p95_latency_ms,
        total_benchmarks = excluded.total_benchmarks,
        aggregated_metrics = excluded.aggregated_metrics,
        updated_at = excluded.updated_at
    """
).bindparams(bindparam("ids", type_=ARRAY(Uuid())), bindparam("models", type_=ARRAY(Uuid())))

_LOCK = text(
    "SELECT pg_advisory_xact_lock(key) FROM ("
    "SELECT hashtextextended(name, 0) AS key FROM unnest(:keys) AS name ORDER BY key"
    ") AS keys"
).bindparams(bindparam("keys", type_=ARRAY(Text())))


class DailyStore:
    """Daily statistics of models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def roll_up(self) -> int:
        """Calculates up to 500 marked days anew, and returns how many there were.

        Several processes may do so at once. The marks go in the transaction that writes what they
        ask for. A lock for each model and day makes the second of two calculations of one day begin
        after the first was committed, so that the later figures, which know more, stay.
        """
        async with self._database.transaction() as connection:
            claimed = (
                select(dirty_days.c.id)
                .order_by(dirty_days.c.id)
                .limit(_MARKS)
                .with_for_update(skip_locked=True)
            )
            marks = await connection.execute(
                delete(dirty_days)
                .where(dirty_days.c.id.in_(claimed))
                .returning(dirty_days.c.stats_date, dirty_days.c.model_id)
            )
            wanted = sorted({(mark.stats_date, mark.model_id) for mark in marks})
            await _take_turns(connection, wanted)
            await _calculate(connection, wanted)
        return len(wanted)

    async def page(
        self,
        model_ids: Sequence[UUID],
        start: date | None,
        end: date | None,
        after: tuple[date, UUID] | None,
        limit: int,
    ) -> list[DailyStats]:
        """Up to `limit` days, the latest first, then by model, after the day and model named."""
        query = select(
            _d.model_id,
            _d.stats_date,
            _d.avg_accuracy,
            _d.avg_throughput,
            _d.p95_latency_ms,
            _d.total_benchmarks,
            _d.updated_at,
        )
        if model_ids:
            wanted = bindparam(None, list(model_ids), type_=ARRAY(Uuid()))
            query = query.where(_d.model_id == any_(wanted))
        if start is not None:
            query = query.where(_d.stats_date >= start)
        if end is not None:
            query = query.where(_d.stats_date < end)
        if after is not None:
            day, model_id = after
            query = query.where(
                or_(_d.stats_date < day, and_(_d.stats_date == day, _d.model_id > model_id))
            )
        query = query.order_by(_d.stats_date.desc(), _d.model_id).limit(limit)
        async with self._database.transaction() as connection:
            return [DailyStats(*row) for row in await connection.execute(query)]


async def _take_turns(connection: AsyncConnection, wanted: Sequence[tuple[date, UUID]]) -> None:
    """Locks each day and model until the commit, in one order everywhere."""
    keys = [f"daily_model_stats {day} {model_id}" for day, model_id in wanted]
    await connection.execute(_LOCK, {"keys": keys})


async def _calculate(connection: AsyncConnection, wanted: Sequence[tuple[date, UUID]]) -> None:
    """Writes the statistics of each day's models; each day reads its own partition only."""
    for day, group in groupby(wanted, key=itemgetter(0)):
        models = [model_id for _, model_id in group]
        starts = datetime.combine(day, time(), UTC)
        await connection.execute(
            _ROLL_UP,
            {
                "day": day,
                "ids": [uuid7() for _ in models],
                "models": models,
                "starts": starts,
                "ends": starts + timedelta(days=1),
            },
        )
