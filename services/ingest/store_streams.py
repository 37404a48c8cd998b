"""SQL for streams and the configurations their headers name."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ARRAY, TextClause, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Double, Integer, Text, Uuid

from servemark.runtime import tenancy
from servemark.runtime.database import Database
from servemark.runtime.ids import uuid7
from services.ingest.records import (
    DictionaryEntry,
    Failure,
    NewConfig,
    Parts,
    Shape,
    Source,
    Stream,
    StreamProgress,
)
from services.ingest.rows import CONFIG_COLUMNS, config_from_row
from services.ingest.tables import benchmark_configs, stream_configs, streams

# The natural key, column by column, in the order of `_key_values`.
_KEY_TYPES: dict[str, Any] = {
    "model_id": Uuid(),
    "model_version_id": Uuid(),
    "hardware_config_id": Uuid(),
    "framework_id": Uuid(),
    "workload_type": Text(),
    "provenance": Text(),
    "input_tokens": Integer(),
    "output_tokens": Integer(),
    "concurrency": Integer(),
    "request_rate": Double(),
    "tensor_parallel": Integer(),
    "pipeline_parallel": Integer(),
    "data_parallel": Integer(),
    "expert_parallel": Integer(),
    "org_id": Uuid(),
}
_PARTS = tuple(field.name for field in fields(Parts))
_SHAPE = tuple(field.name for field in fields(Shape))
_KEY = ", ".join(_KEY_TYPES)
_NULLABLE = ("input_tokens", "output_tokens", "concurrency", "request_rate", "org_id")
_wanted = ", ".join(f":{name}" for name in _KEY_TYPES)
_arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in _KEY_TYPES.items()]

# In one order everywhere: two streams that name the same new configurations never deadlock.
_INSERT_CONFIGS = text(
    f"INSERT INTO benchmark_configs (id, {_KEY}) "  # noqa: S608  (column names of this module)
    f"SELECT id, {_KEY} FROM unnest(:id, {_wanted}) AS wanted (id, {_KEY}) "
    f"ORDER BY {_KEY} ON CONFLICT DO NOTHING"
).bindparams(bindparam("id", type_=ARRAY(Uuid())), *_arrays)

_WRITE_ENTRIES = text(
    """
    INSERT INTO stream_configs (stream_id, config_index, model_id, config_id, failures)
    SELECT :stream_id, config_index, model_id, config_id, failures::jsonb
    FROM unnest(:indexes, :models, :configs, :failures)
        AS entries (config_index, model_id, config_id, failures)
    ON CONFLICT (stream_id, config_index) DO UPDATE SET
        model_id = excluded.model_id, config_id = excluded.config_id, failures = excluded.failures
    WHERE stream_configs.config_id IS NULL
    """
).bindparams(
    bindparam("stream_id", type_=Uuid()),
    bindparam("indexes", type_=ARRAY(Integer())),
    bindparam("models", type_=ARRAY(Uuid())),
    bindparam("configs", type_=ARRAY(Uuid())),
    bindparam("failures", type_=ARRAY(Text())),
)

Failures = tuple[Failure, ...]


class StreamStore:
    """Streams: their headers, dictionaries and cursors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, stream_id: UUID) -> Stream | None:
        """The stream with its dictionary, or None if it was never opened."""
        async with self._database.transaction() as connection:
            return await _load(connection, stream_id)

    async def open(
        self, source: Source, header_digest: bytes, entries: Mapping[int, NewConfig | Failures]
    ) -> Stream | None:
        """The stream, new or as it was, with the given entries of its dictionary written.

        A new one belongs to the caller's organization; None: it is another's.

        `entries` are those not known to be resolved: the key of a configuration, or why there is
        none. One that another caller resolved meanwhile stays as it is. Configurations are found or
        made; however many callers race, equal keys give one id.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                insert(streams)
                .values(
                    stream_id=source.stream_id,
                    header_digest=header_digest,
                    tool=source.tool,
                    tool_version=source.tool_version,
                    provenance=source.provenance,
                    org_id=tenancy.current().organization_id,
                )
                .on_conflict_do_nothing()
            )
            # Whoever made the row, its dictionary is written by one caller at a time.
            digest = await connection.scalar(
                select(streams.c.header_digest)
                .where(streams.c.stream_id == source.stream_id)
                .with_for_update()
            )
            if digest == header_digest:
                await _write_entries(connection, source.stream_id, entries)
            return await _load(connection, source.stream_id)

    async def progress(self, stream_id: UUID) -> StreamProgress | None:
        """How far the stream has come, or None if it was never opened."""
        query = select(
            streams.c.next_sequence,
            streams.c.stored_count,
            streams.c.duplicate_count,
            streams.c.rejected_count,
            streams.c.created_at,
            streams.c.updated_at,
        ).where(streams.c.stream_id == stream_id)
        async with self._database.transaction() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else StreamProgress(*row)


async def _write_entries(
    connection: AsyncConnection, stream_id: UUID, entries: Mapping[int, NewConfig | Failures]
) -> None:
    if not entries:
        return
    keys = {index: entry for index, entry in entries.items() if isinstance(entry, NewConfig)}
    configs = await _get_or_create(connection, keys)
    configs_of = [keys.get(index) for index in entries]
    await connection.execute(
        _WRITE_ENTRIES,
        {
            "stream_id": stream_id,
            "indexes": list(entries),
            "models": [None if config is None else config.parts.model_id for config in configs_of],
            "configs": [configs.get(index) for index in entries],
            "failures": [_failures_json(entry) for entry in entries.values()],
        },
    )


def _failures_json(entry: NewConfig | Failures) -> str:
    if isinstance(entry, NewConfig):
        return "[]"
    found = [[failure.field, failure.reason, failure.detail] for failure in entry]
    return orjson.dumps(found).decode()


async def _get_or_create(
    connection: AsyncConnection, keys: Mapping[int, NewConfig]
) -> dict[int, UUID]:
    """The id of each key's configuration; equal keys get the same one."""
    if not keys:
        return {}
    ids = await _find(connection, keys)
    missing = {index: key for index, key in keys.items() if index not in ids}
    if missing:
        new = {"id": [uuid7() for _ in missing], **_columns_of(list(missing.values()))}
        await connection.execute(_INSERT_CONFIGS, new)
        # A statement of its own, so that it sees what another caller committed meanwhile.
        ids |= await _find(connection, missing)
    return ids


async def _find(connection: AsyncConnection, keys: Mapping[int, NewConfig]) -> dict[int, UUID]:
    """The id of each key's configuration, where there is one."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for index, key in keys.items():
        values = _columns_of([key])
        absent = tuple(name for name in _NULLABLE if values[name] == [None])
        alike.setdefault(absent, []).append(index)
    ids = {}
    for absent, indexes in alike.items():
        columns = _columns_of([keys[index] for index in indexes])
        for row in await connection.execute(_find_configs(absent), columns):
            ids[indexes[row.position - 1]] = row.id
    return ids


@cache
def _find_configs(absent: tuple[str, ...]) -> TextClause:
    """The query for keys that have these columns absent and no others.

    One for all keys would compare with IS NOT DISTINCT FROM, for which PostgreSQL uses no index: it
    read every configuration of a model, hardware and framework for each key.
    """
    matches = " AND ".join(
        f"config.{name} IS NULL" if name in absent else f"config.{name} = wanted.{name}"
        for name in _KEY_TYPES
    )
    return text(
        "SELECT wanted.position, config.id "  # noqa: S608  (column names of this module)
        f"FROM unnest({_wanted}) WITH ORDINALITY AS wanted ({_KEY}, position) "
        f"JOIN benchmark_configs AS config ON {matches}"
    ).bindparams(*_arrays)


def _columns_of(keys: Sequence[NewConfig]) -> dict[str, list[Any]]:
    """The keys turned into one list a column, as `unnest` takes them."""
    return {
        **{name: [getattr(key.parts, name) for key in keys] for name in _PARTS},
        **{name: [getattr(key.shape, name) for key in keys] for name in _SHAPE},
        "provenance": [key.provenance for key in keys],
        "org_id": [key.organization_id for key in keys],
    }


async def _load(connection: AsyncConnection, stream_id: UUID) -> Stream | None:
    header = (
        await connection.execute(
            select(
                streams.c.header_digest,
                streams.c.next_sequence,
                streams.c.tool,
                streams.c.tool_version,
                streams.c.provenance,
            ).where(streams.c.stream_id == stream_id)
        )
    ).one_or_none()
    if header is None:
        return None
    rows = await connection.execute(
        select(stream_configs.c.failures, *CONFIG_COLUMNS)
        .select_from(
            stream_configs.outerjoin(
                benchmark_configs,
                (benchmark_configs.c.model_id == stream_configs.c.model_id)
                & (benchmark_configs.c.id == stream_configs.c.config_id),
            )
        )
        .where(stream_configs.c.stream_id == stream_id)
        .order_by(stream_configs.c.config_index)
    )
    return Stream(
        source=Source(stream_id, header.tool, header.tool_version, header.provenance),
        header_digest=header.header_digest,
        next_sequence=header.next_sequence,
        entries=tuple(
            DictionaryEntry(
                config=None if row[1] is None else config_from_row(row[1:]),
                failures=tuple(Failure(*failure) for failure in row.failures),
            )
            for row in rows
        ),
    )
