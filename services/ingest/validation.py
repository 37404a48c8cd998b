"""Whether a row may be stored, and its encoding if so.

The rules are asked in the order of this list, and the first that a row breaks is its reason:
CONFIG_INDEX_UNKNOWN, CONFIG_UNRESOLVED, ID_TIME_MISMATCH, TIME_IN_FUTURE, TIME_BEFORE_RETENTION,
NO_METRICS, METRIC_OUT_OF_RANGE (also for counts and batch size), PERCENTILES_NOT_MONOTONE,
INVALID_FIELD (percentile source, source digest), DETAILED_METRICS_INVALID.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import orjson

from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.runtime.validation import MAX_JSON_BYTES, json_problem
from servemark.type.v1.error_reason_pb2 import ErrorReason
from servemark.type.v1.provenance_pb2 import PercentileSource
from services.ingest import copy_format as copy
from services.ingest.metrics import HIGHEST, LATENCY_COLUMNS, METRIC_COLUMNS
from services.ingest.records import PERCENTILE_SOURCES, RowRejection

MILLISECONDS_A_DAY: Final = 86_400_000
FUTURE_MS: Final = MILLISECONDS_A_DAY
# A UUID has 36 characters; a client that sends a novel as an id gets its beginning back.
MAX_RESULT_ID: Final = 64
SHA256_BYTES: Final = 32

_figures_of = attrgetter(*METRIC_COLUMNS)
_HIGHEST: Final = tuple(HIGHEST.values())
_LATENCIES: Final = len(LATENCY_COLUMNS)
_NO_LATENCIES: Final = [None] * _LATENCIES

_MEASURED = PercentileSource.PERCENTILE_SOURCE_MEASURED
_SOURCE_FIELDS: Final = {
    number: copy.bytes_field(name.encode())
    for number, name in enumerate(PERCENTILE_SOURCES, start=_MEASURED)
}


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """The times of rows that are stored, in Unix milliseconds, both ends included."""

    earliest_ms: int
    latest_ms: int

    @classmethod
    def around(cls, now_ms: int, retention_days: int) -> "TimeWindow":
        """From the end of the retention to 24 hours ahead."""
        return cls(now_ms - retention_days * MILLISECONDS_A_DAY, now_ms + FUTURE_MS)


class RowRefusedError(Exception):
    """A row breaks a rule: `reason` is an ErrorReason, `detail` says what to do."""

    def __init__(self, reason: "ErrorReason.ValueType", detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def encode_row(
    row: ResultRow, configs: Sequence[bytes | None], window: TimeWindow
) -> tuple[bytes, int]:
    """The row as COPY takes it, and its time in Unix milliseconds. Raises RowRefusedError.

    `configs` are the header's configurations as `copy_format.config_fields`; None: not resolved.
    """
    config_index = row.config_index
    if not 0 <= config_index < len(configs):
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_CONFIG_INDEX_UNKNOWN,
            f"config_index is {config_index}; the header has {len(configs)} configuration(s).",
        )
    config = configs[config_index]
    if config is None:
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_CONFIG_UNRESOLVED,
            f"Configuration {config_index} could not be resolved; the answer to the header says "
            "why. Add it to the catalog and open a stream again.",
        )
    identifier, milliseconds = _identity(row)
    if not window.earliest_ms <= milliseconds <= window.latest_ms:
        raise _out_of_window(milliseconds, window)
    figures = _figures(row.metrics)
    encoded = b"".join(
        (
            copy.key_fields(identifier, milliseconds),
            copy.float8_fields(figures),
            _counts(row),
            _percentile_source(row.percentile_source, figures),
            _source_digest(digest) if (digest := row.source_sha256) else copy.NULL,
            _details(details) if (details := row.detailed_metrics_json) else copy.NULL,
            config,
        )
    )
    return encoded, milliseconds


def rejection(position: int, row: ResultRow, refused: RowRefusedError) -> RowRejection:
    """The record of a refused row."""
    return RowRejection(
        row=position,
        # A text column takes no NUL.
        result_id=row.id[:MAX_RESULT_ID].replace("\x00", "\ufffd"),
        reason=refused.reason,
        detail=refused.detail,
        payload_sha256=hashlib.sha256(row.SerializeToString(deterministic=True)).digest(),
    )


def id_reused() -> RowRefusedError:
    """Why a row is refused whose id is stored with other content."""
    return RowRefusedError(
        ErrorReason.ERROR_REASON_ID_REUSED,
        "A result with this id is stored with other content, and results are never overwritten. "
        "Send a changed result under a new id.",
    )


def _identity(row: ResultRow) -> tuple[bytes, int]:
    """The id's 16 bytes and the row's time, which has to be the one in the id."""
    stamp = row.benchmark_time
    nanos = stamp.nanos
    milliseconds = stamp.seconds * 1000 + nanos // 1_000_000
    text = row.id
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        raw = b""
    # fromhex skips blanks, so the places of the dashes are asked for, too.
    is_uuid7 = (
        len(raw) == 16
        and len(text) == 36
        and text[8] == text[13] == text[18] == text[23] == "-"
        and raw[6] >> 4 == 7
        and raw[8] >> 6 == 2
    )
    if not is_uuid7:
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_ID_TIME_MISMATCH,
            "The id is not a UUIDv7 such as 0198c1d2-7f00-7abc-8def-0123456789ab.",
        )
    embedded = int.from_bytes(raw[:6])
    if embedded != milliseconds or not 0 <= nanos < 1_000_000_000:
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_ID_TIME_MISMATCH,
            f"The id carries {embedded} ms since 1970, benchmark_time is {milliseconds} ms. Make "
            "the id from benchmark_time.",
        )
    return raw, milliseconds


def _out_of_window(milliseconds: int, window: TimeWindow) -> RowRefusedError:
    if milliseconds > window.latest_ms:
        return RowRefusedError(
            ErrorReason.ERROR_REASON_TIME_IN_FUTURE,
            "benchmark_time is more than 24 hours ahead of the server. Check the clock.",
        )
    return RowRefusedError(
        ErrorReason.ERROR_REASON_TIME_BEFORE_RETENTION,
        "benchmark_time is older than the store keeps results.",
    )


def _figures(metrics: ResultMetrics) -> Sequence[float | None]:
    """The figures in the order of METRIC_COLUMNS, None where absent."""
    raw: Sequence[float] = _figures_of(metrics)
    # Absent figures read as 0, which is in every range. NaN compares as false, so it is refused.
    for value, highest in zip(raw, _HIGHEST, strict=True):
        if not 0.0 <= value <= highest:
            raise _out_of_range(raw)
    figures: Sequence[float | None] = raw
    if 0.0 in raw:
        # Only a zero may stand for an absent figure; asking the message is the slow part.
        present = metrics.HasField
        figures = [
            value if value or present(name) else None  # type: ignore[arg-type]
            for value, name in zip(raw, METRIC_COLUMNS, strict=True)
        ]
        if figures.count(None) == len(METRIC_COLUMNS):
            raise RowRefusedError(
                ErrorReason.ERROR_REASON_NO_METRICS, "The row carries no figure at all."
            )
    # With 0 in the place of what is absent, rising means rising; not rising may be no fault.
    if not (raw[0] <= raw[1] <= raw[2] <= raw[3] and raw[4] <= raw[5] <= raw[6] <= raw[7]):
        _monotone(figures)
    return figures


def _out_of_range(raw: Sequence[float]) -> RowRefusedError:
    name, value = next(
        (name, value)
        for value, name in zip(raw, METRIC_COLUMNS, strict=True)
        if not 0.0 <= value <= HIGHEST[name]
    )
    return RowRefusedError(
        ErrorReason.ERROR_REASON_METRIC_OUT_OF_RANGE,
        f"{name} is {value:g}; it must be from 0 to {HIGHEST[name]:g}. Leave out what was not "
        "measured.",
    )


def _monotone(figures: Sequence[float | None]) -> None:
    """Refuses a percentile below a lower one of the same metric: TTFT's four, then TPOT's."""
    for start in (0, _LATENCIES // 2):
        lowest = 0.0
        for index in range(start, start + _LATENCIES // 2):
            value = figures[index]
            if value is None:
                continue
            if value < lowest:
                raise RowRefusedError(
                    ErrorReason.ERROR_REASON_PERCENTILES_NOT_MONOTONE,
                    f"{LATENCY_COLUMNS[index]} is {value:g}, below a lower percentile "
                    f"({lowest:g}) of the same metric.",
                )
            lowest = value


def _counts(row: ResultRow) -> bytes:
    """The three whole numbers of a row; as with the figures, only a zero may be absent."""
    requests, failed, batch = row.request_count, row.failed_request_count, row.batch_size
    present = row.HasField
    if requests < 0 or failed < 0 or batch < 0 or (batch == 0 and present("batch_size")):
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_METRIC_OUT_OF_RANGE,
            f"request_count ({requests}) and failed_request_count ({failed}) must be 0 or more, "
            f"batch_size ({batch}) 1 or more. Leave out what is not known.",
        )
    return (
        copy.int8_field(requests if requests or present("request_count") else None)
        + copy.int8_field(failed if failed or present("failed_request_count") else None)
        + copy.int4_field(batch or None)
    )


def _percentile_source(number: int, figures: Sequence[float | None]) -> bytes:
    if number == 0:
        given = figures[:_LATENCIES] != _NO_LATENCIES
        number = _MEASURED if given else PercentileSource.PERCENTILE_SOURCE_ABSENT
    field = _SOURCE_FIELDS.get(number)
    if field is None:
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_INVALID_FIELD,
            f"percentile_source has the unknown value {number}.",
        )
    return field


def _source_digest(digest: bytes) -> bytes:
    if len(digest) != SHA256_BYTES:
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_INVALID_FIELD,
            f"source_sha256 has {len(digest)} bytes; a SHA-256 has {SHA256_BYTES}.",
        )
    return copy.bytes_field(digest)


def _details(text: str) -> bytes:
    """The tool's own figures, written anew: what was checked is what the database parses."""
    raw = text.encode()
    if len(raw) > MAX_JSON_BYTES:
        problem: str | None = f"has {len(raw)} bytes; at most {MAX_JSON_BYTES} are allowed"
    else:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            problem = "is not JSON, or has a number that is not finite"
        else:
            problem = "is not a JSON object"
            if isinstance(value, dict):
                problem = json_problem(value, len(raw))
    if problem is not None:
        raise RowRefusedError(
            ErrorReason.ERROR_REASON_DETAILED_METRICS_INVALID, f"detailed_metrics_json {problem}."
        )
    return copy.jsonb_field(orjson.dumps(value))
