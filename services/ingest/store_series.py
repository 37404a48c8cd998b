"""SQL that condenses runs bucket by bucket, series by series."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Interval,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from services.ingest.metrics import LATENCY_COLUMNS
from services.ingest.records import Bucket, Config, MetricSummary, Pooled, Series, SeriesQuery
from services.ingest.rows import CONFIG_COLUMNS, config_from_row
from services.ingest.store_condense import STATISTICS, runs_of
from services.ingest.store_filter import among, config_conditions, run_conditions
from services.ingest.tables import benchmark_configs

_c = benchmark_configs.c

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Buckets read in one go, so that memory does not grow with the answer.
_POINTS: Final = 5_000
# Keys looked at in one go: many may have no runs in the range.
_MOST_KEYS: Final = 200
_QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
_LATENCIES: Final = ("ttft", "tpot")


class SeriesStore:
    """Reads time series."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def series(self, query: SeriesQuery, after: UUID | None) -> AsyncGenerator[Series]:
        """The series with runs in the range, in order of their key, after the one named.

        No connection is held while the caller does something else.
        """
        size = max(1, min(_MOST_KEYS, _POINTS // query.count))
        while True:
            async with self._database.snapshot() as connection:
                keys = (await connection.execute(_keys(query, after, size))).scalars().all()
                found = await _read(connection, query, keys) if keys else []
            for series in found:
                yield series
            if len(keys) < size:
                return
            after = keys[-1]


def _key(query: SeriesQuery) -> Any:
    return _c["id" if query.key == "config_id" else query.key]


def _keys(query: SeriesQuery, after: UUID | None, limit: int) -> Select[Any]:
    key = _key(query)
    keys = select(key).where(*config_conditions(query.wanted)).distinct()
    if after is not None:
        keys = keys.where(key > after)
    return keys.order_by(key).limit(limit)


async def _read(
    connection: AsyncConnection, query: SeriesQuery, keys: Sequence[UUID]
) -> list[Series]:
    configs: dict[UUID, Config] = {}
    if query.key == "config_id":
        described = select(_c.id.label("config_id"), *CONFIG_COLUMNS).where(among(_c.id, keys))
        configs = {
            row.config_id: config_from_row(row) for row in await connection.execute(described)
        }
    rows = (await connection.execute(_buckets(query, keys))).all()
    return [
        Series(key, configs.get(key), [_bucket(query, row) for row in group])
        for key, group in groupby(rows, key=attrgetter("key"))
    ]


def _buckets(query: SeriesQuery, keys: Sequence[UUID]) -> Select[Any]:
    pooled = [name for name in _LATENCIES if _is_asked(query, name)]
    columns = {"benchmarked_at", *query.columns}
    for name in pooled:
        columns |= {f"{name}_sketch", *_figures(name)}
    source, run, config = runs_of(
        [*config_conditions(query.wanted), among(_key(query), keys)],
        columns,
        run_conditions(query.wanted),
    )
    key = config["id" if query.key == "config_id" else query.key]
    width = literal(timedelta(seconds=query.seconds), Interval)
    starts_at = func.date_bin(width, run.benchmarked_at, literal(_BEGINNING))
    buckets = (
        select(
            key.label("key"),
            starts_at.label("starts_at"),
            func.count().label("run_count"),
            *(
                make(run[column]).label(f"{column}_{statistic}")
                for column in query.columns
                for statistic, make in STATISTICS.items()
            ),
            *(_merged(run, name).label(f"{name}_merged") for name in pooled),
        )
        .select_from(source)
        .group_by(key, starts_at)
        .subquery("buckets")
    )
    whole = [column for column in buckets.c if not column.name.endswith("_merged")]
    for name in pooled:
        merged = buckets.c[f"{name}_merged"]
        values = array([func.ingest.sketch_quantile(merged, q) for q in _QUANTILES])
        whole.append(case((merged.is_not(None), values)).label(f"{name}_values"))
        whole.append(func.ingest.sketch_count(merged).label(f"{name}_samples"))
    return select(*whole).order_by(buckets.c.key, buckets.c.starts_at)


def _figures(latency: str) -> list[str]:
    return [name for name in LATENCY_COLUMNS if name.startswith(latency)]


def _is_asked(query: SeriesQuery, latency: str) -> bool:
    return any(name in query.columns for name in _figures(latency))


def _merged(run: Any, latency: str) -> ColumnElement[Any]:
    """The merged sketch, if no run that has a figure of the latency lacks one."""
    sketch = run[f"{latency}_sketch"]
    has_figure = or_(*(run[name].is_not(None) for name in _figures(latency)))
    is_missing = func.bool_or(and_(has_figure, sketch.is_(None)))
    return case((is_missing.is_not(true()), func.ingest.merge_sketches(sketch)))


def _bucket(query: SeriesQuery, row: Any) -> Bucket:
    figures = row._mapping
    return Bucket(
        starts_at=row.starts_at,
        run_count=row.run_count,
        metrics=tuple(
            MetricSummary(column, *(figures[f"{column}_{name}"] for name in STATISTICS))
            for column in query.columns
            if figures[f"{column}_counts"]
        ),
        ttft=_pooled(figures, "ttft"),
        tpot=_pooled(figures, "tpot"),
    )


def _pooled(figures: Any, latency: str) -> Pooled | None:
    values = figures.get(f"{latency}_values")
    # Sketches may hold no sample at all.
    if values is None or values[0] is None:
        return None
    p50, p90, p95, p99 = values
    return Pooled(p50, p90, p95, p99, int(figures[f"{latency}_samples"]))
