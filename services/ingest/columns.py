"""A batch's rows as columns: what both encodings become before anything is checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Whole numbers of a row, in this order everywhere.
COUNT_COLUMNS = ("request_count", "failed_request_count", "batch_size")
SKETCH_COLUMNS = ("ttft_sketch", "tpot_sketch")

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sketches:
    """The sketches of n rows, their counts in one array.

    `firsts` and `zeros`, shape (n,): first bucket, samples of 0 ms. `lengths` (n,): how many counts
    each row has; they begin at `starts` (n,) in `counts`. `present` (n,): which rows have a sketch.
    """

    firsts: Ints
    zeros: Ints
    lengths: Ints
    starts: Ints
    counts: Ints
    present: Bools


@dataclass(frozen=True, slots=True)
class Columns:
    """n rows. What is absent holds 0 and False in its `present`.

    ids: (n, 16) bytes; `is_uuid` (n,): whether the sender's id had the form of one at all.
    config_indexes, times_ms (Unix milliseconds), percentile_sources (the enum's numbers): (n,).
    `is_time` (n,): whether the time was one. figures, has_figure: (metrics, n) in the order of
    METRIC_COLUMNS. counts, has_count: (3, n) in the order of COUNT_COLUMNS. details: JSON text, ""
    where there is none; digests: b"" where there is none; both None where no row has one. sketches:
    one for each of SKETCH_COLUMNS, None where no row has one.
    """

    ids: NDArray[np.uint8]
    is_uuid: Bools
    config_indexes: Ints
    times_ms: Ints
    is_time: Bools
    figures: NDArray[np.float64]
    has_figure: Bools
    counts: Ints
    has_count: Bools
    percentile_sources: Ints
    details: list[str] | None
    digests: list[bytes] | None
    sketches: tuple[Sketches | None, Sketches | None]

    def __len__(self) -> int:
        return len(self.ids)

    def embedded_ms(self) -> Ints:
        """The time that each id carries: its first 48 bits, in Unix milliseconds."""
        padded = np.zeros((len(self), 8), np.uint8)
        padded[:, 2:] = self.ids[:, :6]
        return padded.view(">i8")[:, 0].astype(np.int64)

    def in_order_of_id(self, rows: Ints) -> Ints:
        """The given rows in order of their ids; of equal ids the earlier row first."""
        halves = np.ascontiguousarray(self.ids[rows]).view(">u8")
        high, low = halves[:, 0], halves[:, 1]
        if len(rows) < 2 or bool(np.all(high[1:] > high[:-1])):
            return rows
        return rows[np.lexsort((low, high))]


def joined(parts: Sequence[Columns]) -> Columns:
    """The rows of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]

    def side_by_side(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts], axis=-1)

    return Columns(
        ids=np.concatenate([part.ids for part in parts]),
        is_uuid=side_by_side("is_uuid"),
        config_indexes=side_by_side("config_indexes"),
        times_ms=side_by_side("times_ms"),
        is_time=side_by_side("is_time"),
        figures=side_by_side("figures"),
        has_figure=side_by_side("has_figure"),
        counts=side_by_side("counts"),
        has_count=side_by_side("has_count"),
        percentile_sources=side_by_side("percentile_sources"),
        details=_lists(parts, "details", ""),
        digests=_lists(parts, "digests", b""),
        sketches=(_joined_sketches(parts, 0), _joined_sketches(parts, 1)),
    )


def _lists(parts: Sequence[Columns], name: str, nothing: Any) -> Any:
    if all(getattr(part, name) is None for part in parts):
        return None
    return [value for part in parts for value in (getattr(part, name) or [nothing] * len(part))]


def _joined_sketches(parts: Sequence[Columns], which: int) -> Sketches | None:
    if all(part.sketches[which] is None for part in parts):
        return None
    given = [part.sketches[which] or no_sketches(len(part)) for part in parts]

    def end_to_end(name: str) -> Any:
        return np.concatenate([getattr(sketches, name) for sketches in given])

    lengths = end_to_end("lengths")
    return Sketches(
        firsts=end_to_end("firsts"),
        zeros=end_to_end("zeros"),
        lengths=lengths,
        starts=np.cumsum(lengths) - lengths,
        counts=end_to_end("counts"),
        present=end_to_end("present"),
    )


def no_sketches(count: int) -> Sketches:
    """The sketches of rows of which none has one."""
    zeros = np.zeros(count, np.int64)
    return Sketches(zeros, zeros, zeros, zeros, np.zeros(0, np.int64), np.zeros(count, np.bool_))
