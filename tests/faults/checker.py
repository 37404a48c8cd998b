"""Compares what clients sent with what the table holds, row by row and byte by byte.

Rows are read as binary COPY with fields of fixed width and laid beside the same bytes made from
what was sent: no code of the service takes part.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import asyncpg
import numpy as np

from tests.faults.clients import Client
from tests.faults.history import History
from tests.support.simulation.figures import FIGURES, Rows, joined
from tests.support.simulation.messages import TOOL, TOOL_VERSION

# PostgreSQL's binary COPY: a header, the rows, a trailer of two bytes.
_HEADER_BYTES: Final = 19
_TRAILER_BYTES: Final = 2
_FIELDS: Final = (
    ("id", "V16"),
    ("config_id", "V16"),
    ("time_ms", ">i8"),
    *((name, ">f8") for name in FIGURES),
    ("request_count", ">i8"),
    ("failed_request_count", ">i8"),
)
# A row of binary COPY: how many fields, then each after its length.
_ROW: Final = np.dtype(
    [
        ("fields", ">i2"),
        *(part for name, kind in _FIELDS for part in ((f"{name}_length", ">i4"), (name, kind))),
    ]
)
_READ: Final = f"""
    SELECT id, config_id, (extract(epoch FROM benchmarked_at) * 1000)::bigint,
        {", ".join(f"coalesce({name}, 'NaN')" for name in FIGURES)},
        coalesce(request_count, -1), coalesce(failed_request_count, -1)
    FROM ingest.benchmark_results WHERE stream_id = $1
"""
# What is copied into a row from its configuration and its stream has to say the same as they do.
_CONTRADICTIONS: Final = """
    SELECT count(*)
    FROM ingest.benchmark_results AS result
    JOIN ingest.benchmark_configs AS config
        ON config.model_id = result.model_id AND config.id = result.config_id
    JOIN ingest.streams AS stream USING (stream_id)
    WHERE (
        result.model_version_id, result.hardware_config_id, result.framework_id,
        result.workload_type, result.input_tokens, result.output_tokens, result.sequence_length,
        result.tool, result.tool_version, result.tool, result.tool_version,
        result.percentile_source, result.benchmark_date
    ) IS DISTINCT FROM (
        config.model_version_id, config.hardware_config_id, config.framework_id,
        config.workload_type, config.input_tokens, config.output_tokens,
        config.input_tokens + config.output_tokens,
        stream.tool, stream.tool_version, $1, $2,
        'measured', (result.benchmarked_at AT TIME ZONE 'UTC')::date
    )
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the table says, in rows.

    lost: sent, acknowledged and not there. duplicated: there more often than once. foreign: sent by
    nobody. altered: there with other content than was sent. sent counts every row once, replayed
    those that went out again.
    """

    sent: int
    stored: int
    lost: int
    duplicated: int
    foreign: int
    altered: int
    replayed: int
    wrong_cursors: int
    wrong_events: int

    @property
    def is_clean(self) -> bool:
        """Whether every row that was sent is there once with its content, and nothing else is."""
        return self.sent == self.stored and not (
            self.lost
            or self.duplicated
            or self.foreign
            or self.altered
            or self.wrong_cursors
            or self.wrong_events
        )


async def check(dsn: str, clients: Sequence[Client], history: History) -> Verdict:
    """The verdict, once every client is done; `dsn` is a superuser's."""
    connection = await asyncpg.connect(dsn)
    try:
        sent = lost = duplicated = foreign = altered = wrong_cursors = wrong_events = 0
        for client in clients:
            expected = await asyncio.to_thread(_expected, client)
            found = await _stored(connection, client)
            sent += len(expected)
            compared = await asyncio.to_thread(_compare, expected, found)
            lost += compared.lost
            duplicated += compared.duplicated
            foreign += compared.foreign
            altered += compared.altered
            cursor = await connection.fetchrow(
                "SELECT next_sequence, stored_count FROM ingest.streams WHERE stream_id = $1",
                UUID(client.source.stream_id),
            )
            wrong_cursors += tuple(cursor) != (client.sent_below, len(expected))
        stored, events = (
            await connection.fetchval("SELECT count(*) FROM ingest.benchmark_results"),
            await connection.fetchval("SELECT count(*) FROM ingest.outbox"),
        )
        # Every batch brings new rows, and so an event of its own.
        wrong_events = abs(events - sum(client.sent_below for client in clients))
        altered += await connection.fetchval(_CONTRADICTIONS, TOOL, TOOL_VERSION)
        of_others = await connection.fetchval(
            "SELECT count(*) FROM ingest.benchmark_results WHERE stream_id <> ALL ($1)",
            [UUID(client.source.stream_id) for client in clients],
        )
    finally:
        await connection.close()
    again = sum(
        (times - 1) * clients[client].source.row_count(sequence)
        for (client, sequence), times in history.sent.items()
    )
    return Verdict(
        sent=sent,
        stored=stored,
        lost=lost,
        duplicated=duplicated,
        foreign=foreign + of_others,
        altered=altered,
        replayed=again,
        wrong_cursors=wrong_cursors,
        wrong_events=wrong_events,
    )


def _expected(client: Client) -> Any:
    """The rows that the client sent, each once."""
    rows = joined([client.source.rows(sequence) for sequence in range(client.sent_below)])
    return _laid_out(rows, [UUID(config_id).bytes for config_id in client.config_ids])


def _laid_out(rows: Rows, config_ids: Sequence[bytes]) -> Any:
    table = np.zeros(len(rows), _ROW)
    table["fields"] = len(_FIELDS)
    for name, kind in _FIELDS:
        table[f"{name}_length"] = np.dtype(kind).itemsize
    table["id"] = rows.ids.view("V16")[:, 0]
    table["config_id"] = np.array(config_ids, "V16")[rows.config_indexes]
    table["time_ms"] = rows.times_ms
    for name, values in zip(FIGURES, rows.figures, strict=True):
        table[name] = values
    table["request_count"] = rows.request_counts
    table["failed_request_count"] = rows.failed_counts
    return table


async def _stored(connection: asyncpg.Connection, client: Client) -> Any:
    """The rows that are stored under the client's stream."""
    document = BytesIO()
    await connection.copy_from_query(
        _READ, UUID(client.source.stream_id), output=document, format="binary"
    )
    content = document.getbuffer()
    return np.frombuffer(content[_HEADER_BYTES : len(content) - _TRAILER_BYTES], _ROW)


@dataclass(frozen=True, slots=True)
class _Compared:
    lost: int
    duplicated: int
    foreign: int
    altered: int


def _compare(expected: Any, found: Any) -> _Compared:
    """How the rows found differ from those expected, whatever order they come in."""
    expected, found = _by_id(expected), _by_id(found)
    expected_ids, found_ids = _ids(expected), _ids(found)
    is_first = np.ones(len(found), np.bool_)
    is_first[1:] = found_ids[1:] != found_ids[:-1]
    is_known = np.isin(found_ids, expected_ids)
    known = found[is_first & is_known]
    is_there = np.isin(expected_ids, found_ids)
    same = _bytes(known) == _bytes(expected[is_there])
    return _Compared(
        lost=int((~is_there).sum()),
        duplicated=int((~is_first).sum()),
        foreign=int((is_first & ~is_known).sum()),
        altered=int((~same.all(axis=1)).sum()),
    )


def _by_id(table: Any) -> Any:
    return table[np.argsort(_ids(table), kind="stable")]


def _ids(table: Any) -> Any:
    """The ids as something that numpy can order; a zero at the end is no character to it."""
    return np.ascontiguousarray(table["id"]).view("S16")


def _bytes(table: Any) -> Any:
    return np.ascontiguousarray(table).view(np.uint8).reshape(len(table), _ROW.itemsize)
