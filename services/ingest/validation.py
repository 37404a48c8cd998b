"""Whether rows may be stored, asked of whole columns.

The rules are asked in the order of this list, and the first that a row breaks is its reason:
CONFIG_INDEX_UNKNOWN, CONFIG_UNRESOLVED, ID_TIME_MISMATCH, TIME_IN_FUTURE, TIME_BEFORE_RETENTION,
METRIC_OUT_OF_RANGE, NO_METRICS, PERCENTILES_NOT_MONOTONE, METRIC_OUT_OF_RANGE (counts and batch
size), INVALID_FIELD (percentile source, source digest), DETAILED_METRICS_INVALID, SKETCH_INVALID.
What to tell the sender is in explain.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from servemark.runtime.validation import MAX_JSON_BYTES, json_problem
from servemark.type.v1.error_reason_pb2 import ErrorReason
from servemark.type.v1.provenance_pb2 import PercentileSource
from services.ingest.columns import Bools, Columns, Ints, Sketches
from services.ingest.metrics import HIGHEST, LATENCY_COLUMNS
from services.ingest.sketches import FIRST_BUCKET, LAST_BUCKET

MILLISECONDS_A_DAY: Final = 86_400_000
FUTURE_MS: Final = MILLISECONDS_A_DAY
SHA256_BYTES: Final = 32
MAX_COUNT: Final = 2**31 - 1
# The highest value of each of COUNT_COLUMNS, and the lowest.
HIGHEST_COUNTS: Final = np.array([[2**63 - 1], [2**63 - 1], [MAX_COUNT]])
LOWEST_COUNTS: Final = np.array([[0], [0], [1]])

_HIGHEST: Final = np.array(list(HIGHEST.values()))[:, None]
_LATENCIES: Final = len(LATENCY_COLUMNS)
_SOURCES: Final = sorted(PercentileSource.values())


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """The times of rows that are stored, in Unix milliseconds, both ends included."""

    earliest_ms: int
    latest_ms: int

    @classmethod
    def around(cls, now_ms: int, retention_days: int) -> "TimeWindow":
        """From the end of the retention to 24 hours ahead. See retention.py for days that go."""
        return cls(now_ms - retention_days * MILLISECONDS_A_DAY, now_ms + FUTURE_MS)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the rules say of n rows.

    `reasons` (n,): an ErrorReason each, 0 for a row that may be stored. `details`: the tools' own
    figures as they are stored, None where there are none or they are wrong; `detail_problems`: what
    is wrong with them, by row.
    """

    reasons: NDArray[np.int32]
    details: list[bytes | None] | None
    detail_problems: dict[int, str]


def check(columns: Columns, is_resolved: Bools, window: TimeWindow) -> Checked:
    """What the rules say of each row. `is_resolved` has an entry for each of the header's
    configurations."""
    reasons = np.zeros(len(columns), np.int32)

    def refuse(broken: Any, reason: "ErrorReason.ValueType") -> None:
        reasons[(reasons == 0) & broken] = reason

    indexes = columns.config_indexes
    known = (indexes >= 0) & (indexes < len(is_resolved))
    refuse(~known, ErrorReason.ERROR_REASON_CONFIG_INDEX_UNKNOWN)
    refuse(~is_resolved[np.where(known, indexes, 0)], ErrorReason.ERROR_REASON_CONFIG_UNRESOLVED)
    refuse(~_matches_time(columns), ErrorReason.ERROR_REASON_ID_TIME_MISMATCH)
    late, early = columns.times_ms > window.latest_ms, columns.times_ms < window.earliest_ms
    refuse(late, ErrorReason.ERROR_REASON_TIME_IN_FUTURE)
    refuse(early, ErrorReason.ERROR_REASON_TIME_BEFORE_RETENTION)
    refuse(figures_out_of_range(columns).any(axis=0), ErrorReason.ERROR_REASON_METRIC_OUT_OF_RANGE)
    refuse(~columns.has_figure.any(axis=0), ErrorReason.ERROR_REASON_NO_METRICS)
    refuse(falling(columns).any(axis=0), ErrorReason.ERROR_REASON_PERCENTILES_NOT_MONOTONE)
    refuse(counts_out_of_range(columns).any(axis=0), ErrorReason.ERROR_REASON_METRIC_OUT_OF_RANGE)
    refuse(~has_known_source(columns), ErrorReason.ERROR_REASON_INVALID_FIELD)
    refuse(_wrong_digests(columns.digests), ErrorReason.ERROR_REASON_INVALID_FIELD)
    details, problems = _check_details(columns.details)
    if problems:
        wrong = np.zeros(len(columns), np.bool_)
        wrong[list(problems)] = True
        refuse(wrong, ErrorReason.ERROR_REASON_DETAILED_METRICS_INVALID)
    for sketches in columns.sketches:
        if sketches is not None:
            refuse(wrong_sketches(sketches), ErrorReason.ERROR_REASON_SKETCH_INVALID)
    return Checked(reasons, details, problems)


def is_uuid7(columns: Columns) -> Bools:
    """Which ids are UUIDs of version 7 and the usual variant."""
    ids = columns.ids
    found: Bools = columns.is_uuid & (ids[:, 6] >> 4 == 7) & (ids[:, 8] >> 6 == 2)
    return found


def _matches_time(columns: Columns) -> Bools:
    same: Bools = columns.embedded_ms() == columns.times_ms
    return is_uuid7(columns) & columns.is_time & same


def figures_out_of_range(columns: Columns) -> Bools:
    """Which figures are there and not within their range; (metrics, n). NaN is in no range."""
    within = (columns.figures >= 0.0) & (columns.figures <= _HIGHEST)
    return columns.has_figure & ~within


def falling(columns: Columns) -> Bools:
    """Which percentiles are below a lower one of the same metric; (2 × 4 percentiles, n)."""
    shape = (2, _LATENCIES // 2, len(columns))
    present = columns.has_figure[:_LATENCIES].reshape(shape)
    values = columns.figures[:_LATENCIES].reshape(shape)
    found = np.zeros(shape, np.bool_)
    # What is absent holds 0: it neither falls nor hides the one before it.
    highest = values[:, 0].copy()
    for place in range(1, shape[1]):
        found[:, place] = present[:, place] & (values[:, place] < highest)
        np.maximum(highest, values[:, place], out=highest)
    return found.reshape(_LATENCIES, len(columns))


def counts_out_of_range(columns: Columns) -> Bools:
    """Which whole numbers are there and not within their range; (3, n)."""
    within = (columns.counts >= LOWEST_COUNTS) & (columns.counts <= HIGHEST_COUNTS)
    return columns.has_count & ~within


def has_known_source(columns: Columns) -> Bools:
    """Which rows' percentile source is a value that the enum has."""
    sources = columns.percentile_sources
    return (sources >= _SOURCES[0]) & (sources <= _SOURCES[-1])


def stored_sources(columns: Columns) -> Ints:
    """The percentile sources as they are stored: measured or absent where the sender set none."""
    given = columns.has_figure[:_LATENCIES].any(axis=0)
    default = np.where(
        given,
        PercentileSource.PERCENTILE_SOURCE_MEASURED,
        PercentileSource.PERCENTILE_SOURCE_ABSENT,
    )
    return np.where(columns.percentile_sources == 0, default, columns.percentile_sources)


def _wrong_digests(digests: Sequence[bytes] | None) -> Any:
    if digests is None:
        return False
    lengths = np.fromiter(map(len, digests), np.int64, len(digests))
    return (lengths != 0) & (lengths != SHA256_BYTES)


def wrong_sketches(sketches: Sketches) -> Bools:
    """Which rows' sketches are there and have a bucket or a count out of range, or no samples."""
    last = sketches.firsts + np.maximum(sketches.lengths, 1) - 1
    wrong = (sketches.firsts < FIRST_BUCKET) | (last > LAST_BUCKET)
    wrong |= (sketches.zeros < 0) | (sketches.zeros > MAX_COUNT)
    counts = sketches.counts
    wrong |= _any_in(sketches, (counts < 0) | (counts > MAX_COUNT))
    wrong |= (sketches.zeros == 0) & ~_any_in(sketches, counts != 0)
    return sketches.present & wrong


def _any_in(sketches: Sketches, marked: Bools) -> Bools:
    """Whether any of each row's counts is marked."""
    before = np.concatenate(([0], np.cumsum(marked)))
    found: Bools = before[sketches.starts + sketches.lengths] > before[sketches.starts]
    return found


def _check_details(
    texts: Sequence[str] | None,
) -> tuple[list[bytes | None] | None, dict[int, str]]:
    """The documents written anew (what was checked is what the database parses), and the wrong."""
    if texts is None:
        return None, {}
    details: list[bytes | None] = [None] * len(texts)
    problems: dict[int, str] = {}
    for index, text in enumerate(texts):
        if text:
            found = _document(text.encode())
            if isinstance(found, str):
                problems[index] = found
            else:
                details[index] = found
    return details, problems


def _document(raw: bytes) -> bytes | str:
    """A JSON object as it is stored, or what is wrong with it."""
    if len(raw) > MAX_JSON_BYTES:
        return f"has {len(raw)} bytes; at most {MAX_JSON_BYTES} are allowed"
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "is not JSON, or has a number that is not finite"
    if not isinstance(value, dict):
        return "is not a JSON object"
    problem = json_problem(value, len(raw))
    return orjson.dumps(value) if problem is None else problem
