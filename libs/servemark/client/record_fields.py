"""The keys of a result record, their types and ranges, and what is wrong with a given one."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

TTFT = ("ttft_p50_ms", "ttft_p90_ms", "ttft_p95_ms", "ttft_p99_ms")
TPOT = ("tpot_p50_ms", "tpot_p90_ms", "tpot_p95_ms", "tpot_p99_ms")
PERCENTILES = TTFT + TPOT
METRICS = (
    *PERCENTILES,
    "throughput_tokens_sec",
    "rps_sustained",
    "accuracy_score",
    "gpu_utilization_pct",
    "memory_used_gb",
)
PROVENANCES = ("measured", "simulated", "estimated")
PERCENTILE_SOURCES = ("measured", "computed_from_samples", "absent")
PARALLELISM = ("tp", "pp", "dp", "ep")

# What a record cannot do without, and a result file often does not say.
REQUIRED = (
    "model",
    "quantization",
    "hardware",
    "gpu_count",
    "framework",
    "framework_version",
    "workload_type",
    "benchmarked_at",
    "provenance",
    "tool",
)

# The wire takes 16 KiB; the rest is room for `gpu_count` and `source`, which travel with them.
MAX_DETAILED_METRICS_BYTES = 14 * 1024
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class FieldProblem:
    """One thing that is wrong with one key."""

    field: str
    reason: str
    """`missing`, `unknown`, `type`, `range`, or `no_metrics`."""
    description: str


class RecordError(ValueError):
    """A record that cannot be sent, with everything that is wrong with it."""

    def __init__(self, problems: list[FieldProblem]) -> None:
        self.problems = problems
        super().__init__(
            "; ".join(f"{problem.field}: {problem.description}" for problem in problems)
        )


class _WrongValueError(Exception):
    """A value that does not fit its key: the reason and the description of the problem."""

    def __init__(self, reason: str, description: str) -> None:
        self.reason = reason
        self.description = description


def _text(limit: int) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise _WrongValueError("type", "must be a text that is not empty")
        if len(value) > limit:
            raise _WrongValueError("range", f"has {len(value)} characters; {limit} are allowed")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise _WrongValueError("type", "has half of a surrogate pair, which is no character")
        return value.strip()

    return parse


def _lower(limit: int) -> Callable[[Any], str]:
    text = _text(limit)
    return lambda value: text(value).lower()


def _integer(low: int, high: int = _MAX_INT32) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        # 4.0 is an integer some tools write as a float; True is not a count.
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise _WrongValueError("type", f"must be a whole number, not {_shown(value)}")
        if not low <= value <= high:
            raise _WrongValueError("range", f"is {_shown(value)}; it must be {low} to {high}")
        return int(value)

    return parse


def _number(low: float, high: float, *, above_low: bool = False) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _WrongValueError("type", f"must be a number, not {_shown(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise _WrongValueError("range", f"is {_shown(value)}; it must be a finite number")
        if not low <= number <= high or (above_low and number == low):
            start = f"above {low:g}" if above_low else f"{low:g}"
            raise _WrongValueError("range", f"is {_shown(value)}; it must be {start} to {high:g}")
        return number

    return parse


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in choices:
            raise _WrongValueError(
                "range", f"is {_shown(value)}; it must be one of {', '.join(choices)}"
            )
        return value.lower()

    return parse


def parse_time(value: Any) -> datetime:
    """The UTC time a text or an aware datetime means.

    A time without a zone is refused: read as UTC it would be hours off, and nobody would see it.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise _WrongValueError(
                "type", f"is {_shown(value)}, not a time such as 2025-09-14T02:09:03Z"
            ) from None
    if not isinstance(value, datetime):
        raise _WrongValueError(
            "type", f"is {_shown(value)}, not a time such as 2025-09-14T02:09:03Z"
        )
    if value.tzinfo is None:
        raise _WrongValueError("type", f"is {value.isoformat()} without a zone; add Z or an offset")
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        raise _WrongValueError("range", "is outside of the years there are") from None
    if utc.year < 1970:
        raise _WrongValueError("range", "is before 1970")
    return utc


def _parallelism(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping) or not set(value) <= set(PARALLELISM):
        raise _WrongValueError("type", "must be an object with the keys tp, pp, dp, ep")
    degree = _integer(0)
    return {key: degree(value[key]) for key in PARALLELISM if value.get(key) is not None}


def _sha256(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        try:
            return bytes.fromhex(value).hex()
        except ValueError:
            pass
    raise _WrongValueError("type", "must be a SHA-256 as 64 hexadecimal digits")


def _detailed_metrics(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _WrongValueError("type", "must be a JSON object")
    try:
        size = len(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise _WrongValueError("type", f"is not JSON with finite numbers ({error})") from None
    if size > MAX_DETAILED_METRICS_BYTES:
        raise _WrongValueError(
            "range", f"has {size} bytes; {MAX_DETAILED_METRICS_BYTES} are allowed"
        )
    return dict(value)


_LATENCY = _number(0, 1e9)
_RATE = _number(0, 1e12)
_COUNT = _integer(0, 2**53)

PARSERS: dict[str, Callable[[Any], Any]] = {
    "model": _text(256),
    "model_version": _text(64),
    "quantization": _lower(32),
    "format": _lower(32),
    "hardware": _text(256),
    "gpu_count": _integer(1, 4096),
    "framework": _lower(64),
    "framework_version": _text(64),
    "workload_type": _lower(64),
    "input_tokens": _integer(0),
    "output_tokens": _integer(0),
    "concurrency": _integer(1),
    "request_rate": _number(0, 1e12, above_low=True),
    "parallelism": _parallelism,
    "batch_size": _integer(1),
    "benchmarked_at": parse_time,
    **dict.fromkeys(PERCENTILES, _LATENCY),
    "throughput_tokens_sec": _RATE,
    "rps_sustained": _RATE,
    "accuracy_score": _number(0, 1),
    "gpu_utilization_pct": _number(0, 100),
    "memory_used_gb": _RATE,
    "request_count": _COUNT,
    "failed_request_count": _COUNT,
    "percentile_source": _one_of(PERCENTILE_SOURCES),
    "provenance": _one_of(PROVENANCES),
    "tool": _lower(64),
    "tool_version": _text(64),
    "source": _text(1024),
    "source_sha256": _sha256,
    "detailed_metrics": _detailed_metrics,
}


def parse_fields(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """The values of the known keys that are right, and a problem for each key that is wrong.

    null is the same as absent. Keys nobody knows are a problem: a misspelt percentile that is
    silently dropped would look like one that was not measured.
    """
    values: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for key, value in document.items():
        if key not in PARSERS:
            problems.append(FieldProblem(str(key), "unknown", "is not a key of a result record"))
        elif value is not None:
            try:
                values[key] = PARSERS[key](value)
            except _WrongValueError as wrong:
                problems.append(FieldProblem(key, wrong.reason, wrong.description))
    return values, problems


def missing_problems(document: Mapping[str, Any]) -> list[FieldProblem]:
    """A problem for each required key without a value, and one if there is no figure at all."""
    problems = [
        FieldProblem(key, "missing", "is missing") for key in REQUIRED if document.get(key) is None
    ]
    if all(document.get(key) is None for key in METRICS):
        problems.append(
            FieldProblem(
                "metrics", "no_metrics", f"none is given; give one of {', '.join(METRICS)}"
            )
        )
    return problems


def order_problems(values: Mapping[str, Any]) -> list[FieldProblem]:
    """A problem for each percentile that is smaller than a lower one of the same metric."""
    problems = []
    for names in (TTFT, TPOT):
        given = [(name, values[name]) for name in names if name in values]
        for (low_name, low), (name, value) in pairwise(given):
            if value < low:
                problems.append(
                    FieldProblem(name, "range", f"is {value:g}, smaller than {low_name} ({low:g})")
                )
    return problems


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
