"""Result messages turned into columns.

This is the one loop over rows that is left, and the dearest part of a row's way: what can be asked
of a whole array is asked there. A figure's presence is asked for only where it reads 0.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import numpy as np

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from services.ingest.columns import COUNT_COLUMNS, SKETCH_COLUMNS, Columns, Sketches
from services.ingest.metrics import METRIC_COLUMNS

_UUID_CHARACTERS: Final = 36
_NO_UUID: Final = "0" * _UUID_CHARACTERS
_DASHES: Final = (8, 13, 18, 23)
_DIGITS: Final = [place for place in range(_UUID_CHARACTERS) if place not in _DASHES]
# What each byte is worth as a hexadecimal digit; 255: it is none.
_WORTH: Final = np.full(256, 255, np.uint8)
for _value, _characters in enumerate(zip(b"0123456789abcdef", b"0123456789ABCDEF", strict=True)):
    _WORTH[list(_characters)] = _value
# Farther from 1970 than any timestamp; keeps milliseconds within 64 bits.
_MAX_SECONDS: Final = 1 << 40

_figures_of = attrgetter(*METRIC_COLUMNS)
_fields_of = attrgetter("id", "config_index", "percentile_source", *COUNT_COLUMNS)


def columns_from_rows(rows: Sequence[ResultRow]) -> Columns:
    """The rows as columns."""
    metrics = [row.metrics for row in rows]
    texts, indexes, sources, *counts = zip(*map(_fields_of, rows), strict=True)
    ids, is_uuid = _ids(texts)
    times_ms, is_time = _times([row.benchmark_time for row in rows])
    figures = np.array([_figures_of(message) for message in metrics], np.float64).T
    count_values = np.array(counts, np.int64)
    details = [row.detailed_metrics_json for row in rows]
    digests = [row.source_sha256 for row in rows]
    return Columns(
        ids=ids,
        is_uuid=is_uuid,
        config_indexes=np.array(indexes, np.int64),
        times_ms=times_ms,
        is_time=is_time,
        figures=figures,
        has_figure=_present(figures, metrics, METRIC_COLUMNS),
        counts=count_values,
        has_count=_present(count_values, rows, COUNT_COLUMNS),
        percentile_sources=np.array(sources, np.int64),
        details=details if any(details) else None,
        digests=digests if any(digests) else None,
        sketches=(_sketches(rows, SKETCH_COLUMNS[0]), _sketches(rows, SKETCH_COLUMNS[1])),
    )


def _ids(texts: Sequence[str]) -> tuple[Any, Any]:
    """The ids' bytes, and which texts are UUIDs of hexadecimal digits with dashes."""
    joined = "".join(texts)
    lengths_fit = len(joined) == _UUID_CHARACTERS * len(texts) and joined.isascii()
    fits = np.ones(len(texts), np.bool_)
    if not lengths_fit or any(len(text) != _UUID_CHARACTERS for text in texts):
        fits = np.array([len(text) == _UUID_CHARACTERS and text.isascii() for text in texts])
        pairs = zip(texts, fits, strict=True)
        joined = "".join([text if fit else _NO_UUID for text, fit in pairs])
    characters = np.frombuffer(joined.encode(), np.uint8).reshape(-1, _UUID_CHARACTERS)
    digits = _WORTH[characters[:, _DIGITS]]
    fits = fits & (characters[:, _DASHES] == ord("-")).all(axis=1) & (digits != 255).all(axis=1)
    return digits[:, 0::2] << 4 | digits[:, 1::2] & 15, fits


def _times(stamps: Sequence[Any]) -> tuple[Any, Any]:
    """Unix milliseconds, rounded down, and which stamps are instants."""
    seconds = np.array([stamp.seconds for stamp in stamps], np.int64)
    nanos = np.array([stamp.nanos for stamp in stamps], np.int64)
    is_time = (nanos >= 0) & (nanos < 1_000_000_000) & (np.abs(seconds) < _MAX_SECONDS)
    return np.where(is_time, seconds, 0) * 1000 + nanos // 1_000_000, is_time


def _present(values: Any, messages: Sequence[Any], names: Sequence[str]) -> Any:
    """Which values were set: all that are not 0, and of the others those that say so."""
    present = values != 0
    for column, index in np.argwhere(~present).tolist():
        present[column, index] = messages[index].HasField(names[column])
    return present


def _sketches(rows: Sequence[ResultRow], name: str) -> Sketches | None:
    present = np.array([row.HasField(name) for row in rows])  # type: ignore[arg-type]
    if not present.any():
        return None
    messages = [getattr(row, name) for row in rows]
    counts = [np.array(message.counts, np.int64) for message in messages]
    lengths = np.array([len(part) for part in counts], np.int64)
    return Sketches(
        firsts=np.array([message.first_bucket for message in messages], np.int64),
        zeros=np.array([message.zero_count for message in messages], np.int64),
        lengths=lengths,
        starts=np.cumsum(lengths) - lengths,
        counts=np.concatenate(counts),
        present=present,
    )
