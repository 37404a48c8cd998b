"""What the sender of a refused row is told: which value is wrong, and what to do."""

from collections.abc import Callable
from typing import Any

import numpy as np

from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ingest.columns import COUNT_COLUMNS, SKETCH_COLUMNS, Columns
from services.ingest.metrics import HIGHEST, LATENCY_COLUMNS, METRIC_COLUMNS
from services.ingest.sketches import FIRST_BUCKET, LAST_BUCKET
from services.ingest.validation import (
    HIGHEST_COUNTS,
    LOWEST_COUNTS,
    MAX_COUNT,
    SHA256_BYTES,
    Checked,
    counts_out_of_range,
    falling,
    figures_out_of_range,
    has_known_source,
    is_uuid7,
    wrong_sketches,
)

ID_REUSED = (
    "A result with this id is stored with other content, and results are never overwritten. "
    "Send a changed result under a new id."
)


def explain(columns: Columns, checked: Checked, index: int, config_count: int) -> str:
    """One or two sentences on why row `index` is refused; it is, or there is nothing to tell."""
    reason = int(checked.reasons[index])
    if reason == ErrorReason.ERROR_REASON_CONFIG_INDEX_UNKNOWN:
        found = columns.config_indexes[index]
        return f"config_index is {found}; the header has {config_count} configuration(s)."
    if reason == ErrorReason.ERROR_REASON_CONFIG_UNRESOLVED:
        return (
            f"Configuration {columns.config_indexes[index]} could not be resolved; the answer to "
            "the header says why. Add it to the catalog and open a stream again."
        )
    if reason == ErrorReason.ERROR_REASON_DETAILED_METRICS_INVALID:
        return f"detailed_metrics_json {checked.detail_problems[index]}."
    return _SENTENCES[reason](columns, index)


def _id_and_time(columns: Columns, index: int) -> str:
    if not is_uuid7(columns)[index]:
        return "The id is not a UUIDv7 such as 0198c1d2-7f00-7abc-8def-0123456789ab."
    embedded, time = columns.embedded_ms()[index], columns.times_ms[index]
    if not columns.is_time[index]:
        return f"benchmark_time is not a time; the id carries {embedded} ms since 1970."
    return (
        f"The id carries {embedded} ms since 1970, benchmark_time is {time} ms. Make the id from "
        "benchmark_time."
    )


def _out_of_range(columns: Columns, index: int) -> str:
    wrong = np.flatnonzero(figures_out_of_range(columns)[:, index])
    if len(wrong):
        name, value = METRIC_COLUMNS[wrong[0]], columns.figures[wrong[0], index]
        return (
            f"{name} is {value:g}; it must be from 0 to {HIGHEST[name]:g}. Leave out what was not "
            "measured."
        )
    row = int(np.flatnonzero(counts_out_of_range(columns)[:, index])[0])
    return (
        f"{COUNT_COLUMNS[row]} is {columns.counts[row, index]}; it must be from "
        f"{LOWEST_COUNTS[row, 0]} to {HIGHEST_COUNTS[row, 0]}. Leave out what is not known."
    )


def _falls(columns: Columns, index: int) -> str:
    wrong = int(np.flatnonzero(falling(columns)[:, index])[0])
    metric = wrong - wrong % 4
    lower = columns.figures[metric:wrong, index][columns.has_figure[metric:wrong, index]].max()
    return (
        f"{LATENCY_COLUMNS[wrong]} is {columns.figures[wrong, index]:g}, below a lower percentile "
        f"({lower:g}) of the same metric."
    )


def _field(columns: Columns, index: int) -> str:
    if not has_known_source(columns)[index]:
        return f"percentile_source has the unknown value {columns.percentile_sources[index]}."
    length = len(columns.digests[index]) if columns.digests else 0
    return f"source_sha256 has {length} bytes; a SHA-256 has {SHA256_BYTES}."


def _sketch(columns: Columns, index: int) -> str:
    names = [
        name
        for name, sketches in zip(SKETCH_COLUMNS, columns.sketches, strict=True)
        if sketches is not None and wrong_sketches(sketches)[index]
    ]
    return (
        f"{names[0]} needs at least one sample, buckets from {FIRST_BUCKET} to {LAST_BUCKET}, and "
        f"counts from 0 to {MAX_COUNT}. Leave it out where samples were not kept."
    )


def _says(sentence: str) -> Callable[[Columns, int], str]:
    return lambda columns, index: sentence


_SENTENCES: dict[Any, Callable[[Columns, int], str]] = {
    ErrorReason.ERROR_REASON_ID_TIME_MISMATCH: _id_and_time,
    ErrorReason.ERROR_REASON_TIME_IN_FUTURE: _says(
        "benchmark_time is more than 24 hours ahead of the server. Check the clock."
    ),
    ErrorReason.ERROR_REASON_TIME_BEFORE_RETENTION: _says(
        "benchmark_time is older than the store keeps results."
    ),
    ErrorReason.ERROR_REASON_METRIC_OUT_OF_RANGE: _out_of_range,
    ErrorReason.ERROR_REASON_NO_METRICS: _says("The row carries no figure at all."),
    ErrorReason.ERROR_REASON_PERCENTILES_NOT_MONOTONE: _falls,
    ErrorReason.ERROR_REASON_INVALID_FIELD: _field,
    ErrorReason.ERROR_REASON_SKETCH_INVALID: _sketch,
}
