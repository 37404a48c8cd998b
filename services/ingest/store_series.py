"""SQL that condenses runs bucket by bucket, series by series."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from servemark.runtime.database import Database, Snapshot
from services.ingest.records import Bucket, Config, MetricSummary, Pooled, Series, SeriesQuery
from services.ingest.rows import configs_by_id
from services.ingest.store_condense import STATISTICS, runs_of
from services.ingest.store_filter import Arguments, config_conditions, run_conditions, where
from services.ingest.store_pool import LATENCIES, QUANTILES, figures_of, merged_sketch

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Buckets read in one go, so that memory does not grow with the answer.
_POINTS: Final = 5_000
# Keys looked at in one go: many may have no runs in the range.
_MOST_KEYS: Final = 200


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
            async with self._database.snapshot() as snapshot:
                keys = await _keys(snapshot, query, after, size)
                found = await _read(snapshot, query, keys) if keys else []
            for series in found:
                yield series
            if len(keys) < size:
                return
            after = keys[-1]


def _key(query: SeriesQuery) -> str:
    """The series' key as a column of `benchmark_configs`."""
    return "id" if query.key == "config_id" else query.key


async def _keys(
    snapshot: Snapshot, query: SeriesQuery, after: UUID | None, limit: int
) -> list[UUID]:
    arguments = Arguments()
    key = _key(query)
    conditions = config_conditions(query.wanted, arguments)
    if after is not None:
        conditions.append(f"{key} > {arguments.add(after)}")
    rows = await snapshot.fetch(
        f"SELECT DISTINCT {key} FROM benchmark_configs {where(conditions)} "  # noqa: S608
        f"ORDER BY {key} LIMIT {arguments.add(limit)}",
        *arguments.values,
    )
    return [row[0] for row in rows]


async def _read(snapshot: Snapshot, query: SeriesQuery, keys: Sequence[UUID]) -> list[Series]:
    configs: dict[UUID, Config] = {}
    if query.key == "config_id":
        configs = await configs_by_id(snapshot.fetch, keys)
    arguments = Arguments()
    statement = _buckets(query, keys, arguments)
    rows = await snapshot.fetch(statement, *arguments.values)
    return [
        Series(key, configs.get(key), [_bucket(query, row) for row in group])
        for key, group in groupby(rows, key=itemgetter("key"))
    ]


def _buckets(query: SeriesQuery, keys: Sequence[UUID], arguments: Arguments) -> str:
    key = _key(query)
    pooled = [name for name in LATENCIES if set(figures_of(name)) & set(query.columns)]
    columns = {"benchmarked_at", *query.columns}
    for name in pooled:
        columns |= {f"{name}_sketch", *figures_of(name)}
    configs = config_conditions(query.wanted, arguments)
    configs.append(f"{key} = {arguments.any_of(keys, 'uuid')}")
    wanted, source = runs_of(configs, columns, run_conditions(query.wanted, arguments))
    width = arguments.add(timedelta(seconds=query.seconds), "interval")
    made = [
        f"{makes.format(f'run.{column}')} AS {column}_{name}"
        for column in query.columns
        for name, makes in STATISTICS.items()
    ]
    made += [f"{merged_sketch(name)} AS {name}_merged" for name in pooled]
    percentiles = "".join(
        f", ingest.sketch_count({name}_merged)::bigint AS {name}_samples"
        + "".join(
            f", ingest.sketch_quantile({name}_merged, {q}) AS {name}_{place}"
            for place, q in QUANTILES.items()
        )
        for name in pooled
    )
    return f"""
        WITH {wanted}
        SELECT *{percentiles} FROM (
            SELECT wanted.{key} AS key,
                date_bin({width}, run.benchmarked_at, {arguments.add(_BEGINNING)}) AS starts_at,
                count(*) AS run_count, {", ".join(made)}
            FROM {source}
            GROUP BY wanted.{key}, starts_at
        ) AS buckets
        ORDER BY key, starts_at"""  # noqa: S608  (names are ours, values are arguments)


def _bucket(query: SeriesQuery, row: Mapping[str, Any]) -> Bucket:
    return Bucket(
        starts_at=row["starts_at"],
        run_count=row["run_count"],
        metrics=tuple(
            MetricSummary(column, *(row[f"{column}_{name}"] for name in STATISTICS))
            for column in query.columns
            if row[f"{column}_counts"]
        ),
        ttft=_pooled(row, "ttft"),
        tpot=_pooled(row, "tpot"),
    )


def _pooled(row: Mapping[str, Any], latency: str) -> Pooled | None:
    # Nothing is pooled where some run has no sketch, or none has a sample.
    if not row.get(f"{latency}_samples"):
        return None
    p50, p90, p95, p99 = (row[f"{latency}_{place}"] for place in QUANTILES)
    return Pooled(p50, p90, p95, p99, row[f"{latency}_samples"])
