"""The kinds of columns that a batch has, while rows are put in one by one."""

from array import array
from collections.abc import Mapping
from typing import Any

from servemark.client.record_fields import METRICS
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_columns_pb2 import MetricColumns

MAX_BUCKETS = 2_201
"""All buckets that a sketch may have lie from -1,100 to 1,100."""

# Most bytes that a bucket's count takes.
_COUNT_BYTES = 10


class Numbers:
    """A column of numbers: 0 for the rows that were passed over, which it remembers."""

    __slots__ = ("_passed", "_values")

    def __init__(self, typecode: Any) -> None:
        self._values: array[Any] = array(typecode)
        self._passed: list[tuple[int, int]] = []

    def put(self, row: int, value: float) -> None:
        """Sets a row's value; rows come in rising order."""
        values = self._values
        # What is no number raises here, before any row is passed over for it.
        values.append(value)
        if len(values) <= row:
            del values[-1]
            self._pass_to(row)
            values.append(value)

    def extend(self, row: int, values: "array[Any]") -> None:
        """Sets the values of the rows from `row` on."""
        if values and len(self._values) != row:
            self._pass_to(row)
        self._values.extend(values)

    def _pass_to(self, row: int) -> None:
        self._passed.append((len(self._values), row))
        _zero_to(self._values, row)

    def of(self, count: int) -> "array[Any]":
        """The values of so many rows; nothing where no row has one."""
        if self._values and len(self._values) != count:
            self._pass_to(count)
        return self._values

    def fill(self, parent: Any, field: str, count: int) -> None:
        """Writes a column with presence, if any row has a value; one without gaps needs none."""
        values = self.of(count)
        if not values:
            return
        column = getattr(parent, field)
        column.values.extend(values)
        if self._passed:
            present = bytearray(b"1") * count
            for start, stop in self._passed:
                present[start:stop] = b"0" * (stop - start)
            column.presence = presence_bits(present)

    def cut(self, row: int) -> None:
        """Forgets the value of the row that was put in last."""
        del self._values[row:]


class Figures:
    """The columns of figures. Rows that have the same figures are kept row after row first.

    A runner names the same figures every time, and then a row costs one step instead of one for
    each figure.
    """

    __slots__ = ("_columns", "_names", "_run", "_start")

    def __init__(self) -> None:
        self._columns = {name: Numbers("d") for name in METRICS}
        # The run of rows that go on now: the row it began with, its figures, and their values.
        self._start = 0
        self._names: tuple[str, ...] = ()
        self._run = array("d")

    def put(self, row: int, figures: Mapping[str, float | None]) -> None:
        """Sets a row's figures, None being absent; rows come in rising order.

        Raises TypeError for a name that no figure has, and for what is no number.
        """
        names = tuple(figures)
        if names != self._names:
            self._begin(row, names)
        try:
            self._run.extend(figures.values())  # type: ignore[arg-type]
        except TypeError:
            self.cut(row)
            given = {name: value for name, value in figures.items() if value is not None}
            if len(given) == len(figures):
                raise
            self.put(row, given)

    def _begin(self, row: int, names: tuple[str, ...]) -> None:
        for name in names:
            if name not in self._columns:
                raise TypeError(
                    f"{name} is not a figure of a result; those are {', '.join(METRICS)}"
                )
        self._end_run()
        self._start, self._names = row, names

    def _end_run(self) -> None:
        for place, name in enumerate(self._names):
            self._columns[name].extend(self._start, self._run[place :: len(self._names)])
        self._names, self._run = (), array("d")

    def fill(self, message: MetricColumns, count: int) -> None:
        """Writes the columns of those figures that any of so many rows has."""
        self._end_run()
        for name, column in self._columns.items():
            column.fill(message, name, count)

    def cut(self, row: int) -> None:
        """Forgets the figures of the row that was put in last."""
        del self._run[len(self._names) * (row - self._start) :]


class Texts:
    """A column of texts or bytes: empty for the rows that were passed over."""

    __slots__ = ("_nothing", "_values")

    def __init__(self, nothing: str | bytes) -> None:
        self._nothing = nothing
        self._values: list[Any] = []

    def put(self, row: int, value: str | bytes) -> int:
        """Sets a row's value and says how many bytes it has; rows come in rising order."""
        size = len(value) if isinstance(value, bytes) else len(value.encode())
        self._values += [self._nothing] * (row - len(self._values))
        self._values.append(value)
        return size

    def of(self, count: int) -> list[Any]:
        """The values of so many rows; nothing where no row has one."""
        if self._values:
            self._values += [self._nothing] * (count - len(self._values))
        return self._values

    def cut(self, row: int) -> None:
        """Forgets the value of the row that was put in last."""
        del self._values[row:]


class Sketches:
    """A column of sketches, their counts one after the other."""

    __slots__ = ("_counts", "_firsts", "_lengths", "_zeros")

    def __init__(self) -> None:
        self._firsts = array("i")
        self._zeros = array("q")
        self._lengths = array("i")
        self._counts = array("q")

    def put(self, row: int, sketch: LatencySketch) -> int:
        """Sets a row's sketch and says how many bytes it takes at most; none if it is of nothing.

        Raises ValueError for more buckets than there are.
        """
        counts = sketch.counts
        if not sketch.zero_count and not any(counts):
            return 0
        if len(counts) > MAX_BUCKETS:
            raise ValueError(f"a sketch has {len(counts)} buckets; there are {MAX_BUCKETS}")
        self._pass_to(row)
        self._firsts.append(sketch.first_bucket)
        self._zeros.append(sketch.zero_count)
        self._lengths.append(len(counts))
        self._counts.extend(counts)
        return _COUNT_BYTES * (len(counts) + 2)

    def _pass_to(self, row: int) -> None:
        for column in (self._firsts, self._zeros, self._lengths):
            _zero_to(column, row)

    def fill(self, parent: Any, field: str, count: int) -> None:
        """Writes the column for so many rows, if any has a sketch."""
        if not any(self._lengths) and not any(self._zeros):
            return
        self._pass_to(count)
        column = getattr(parent, field)
        column.first_buckets.extend(self._firsts)
        column.zero_counts.extend(self._zeros)
        column.lengths.extend(self._lengths)
        column.counts.extend(self._counts)

    def cut(self, row: int) -> None:
        """Forgets the sketch of the row that was put in last."""
        for column in (self._firsts, self._zeros, self._lengths):
            del column[row:]
        del self._counts[sum(self._lengths) :]


def presence_bits(present: bytes | bytearray) -> bytes:
    """The bitmap of a column from a text of `1` and `0` for its rows, the lowest bit first."""
    return int(present[::-1], 2).to_bytes((len(present) + 7) // 8, "little")


def _zero_to(values: "array[Any]", row: int) -> None:
    """Appends zeros until there are so many values."""
    values.frombytes(bytes(values.itemsize * (row - len(values))))
