"""A scatter of points as plain text: letters for the front, dots for what lies behind it."""

from collections.abc import Sequence
from math import log10
from string import ascii_letters
from typing import NamedTuple

from servemark.cli.metrics import figure

LETTERS = ascii_letters[26:] + ascii_letters[:26]

_WIDTH = 78
_HEIGHT = 16
_MARGIN = 9
_DECADES = 2
_BEHIND = "."
_UNNAMED = "+"

Point = tuple[float, float]


class Scatter(NamedTuple):
    """The lines of the picture, at most 78 characters each, and which letters hide others."""

    lines: list[str]
    hidden: dict[str, str]


class _Axis:
    """Maps values to cells. Logarithmic where the values span more than two decades."""

    def __init__(self, values: Sequence[float], cells: int) -> None:
        low, high = min(values), max(values)
        self.is_log = low > 0 and log10(high) - log10(low) > _DECADES
        self._low, self._high = (log10(low), log10(high)) if self.is_log else (low, high)
        self._last = cells - 1

    def cell(self, value: float) -> int:
        """0 for the smallest value, the last cell for the largest, the middle if all are equal."""
        if self._high == self._low:
            return self._last // 2
        place = log10(value) if self.is_log else value
        return round((place - self._low) / (self._high - self._low) * self._last)

    def value(self, cell: int) -> float:
        """The value in the middle of a cell."""
        place = self._low + (self._high - self._low) * cell / self._last
        return float(10.0**place) if self.is_log else place


def draw_scatter(
    front: Sequence[Point], behind: Sequence[Point], x_label: str, y_label: str
) -> Scatter:
    """Draws points, x to the right and y upwards. There has to be at least one, all finite.

    The front's points are A to Z and a to z in order, and `+` from the 53rd on. Where points fall
    on one cell the first letter is shown, and `hidden` has it for each letter that is not.
    """
    points = [*front, *behind]
    width = _WIDTH - _MARGIN - 2
    x_axis = _Axis([x for x, _ in points], width)
    y_axis = _Axis([y for _, y in points], _HEIGHT)
    cells: dict[tuple[int, int], str] = {}
    hidden: dict[str, str] = {}
    for number, (x, y) in enumerate(front):
        mark = LETTERS[number] if number < len(LETTERS) else _UNNAMED
        shown = cells.setdefault((x_axis.cell(x), y_axis.cell(y)), mark)
        if shown != mark:
            hidden[mark] = shown
    for x, y in behind:
        cells.setdefault((x_axis.cell(x), y_axis.cell(y)), _BEHIND)
    rows = []
    ticks = {0, _HEIGHT // 2, _HEIGHT - 1}
    for row in reversed(range(_HEIGHT)):
        tick = _tick(y_axis.value(row)) if row in ticks else ""
        marks = "".join(cells.get((column, row), " ") for column in range(width))
        rows.append(f"{tick:>{_MARGIN}} |{marks}".rstrip())
    lines = [
        _label(y_label, y_axis),
        *rows,
        f"{'':{_MARGIN}} +{'-' * width}",
        _x_ticks(x_axis, width),
        _label(x_label, x_axis).rjust(_WIDTH),
    ]
    return Scatter(lines, hidden)


def _tick(value: float) -> str:
    """A figure that fits beside the axis."""
    text = figure(value)
    return text if len(text) <= _MARGIN else f"{value:.2g}"


def _label(label: str, axis: _Axis) -> str:
    return f"{label}, logarithmic" if axis.is_log else label


def _x_ticks(axis: _Axis, width: int) -> str:
    left, middle, right = (_tick(axis.value(cell)) for cell in (0, width // 2, width - 1))
    room = width - len(left) - len(right)
    return f"{'':{_MARGIN + 2}}{left}{middle:^{room}}{right}"
