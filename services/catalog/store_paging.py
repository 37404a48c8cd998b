"""Keyset pages: each continues after the last row's sort key, whatever was inserted meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_

from services.catalog.errors import page_token_invalid

T = TypeVar("T")

_Bound = ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows in order, the sort key to continue after each of them, and whether more follow."""

    rows: tuple[T, ...]
    keys: tuple[tuple[str, ...], ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column of an order.

    `parse` reads its value from a token. Rows without a value come last in either direction:
    `if_missing` holds what stands for it in ascending and in descending order.
    """

    column: ColumnElement[Any]
    parse: Callable[[str], Any]
    if_missing: tuple[Any, Any] | None = None
    reversed: bool = False

    def expression(self, descending: bool) -> _Bound:
        """What is sorted by; never NULL."""
        if self.if_missing is None:
            return self.column
        return func.coalesce(self.column, self.if_missing[descending])


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a list. The last key must be unique, or pages would lose rows."""

    keys: tuple[SortKey, ...]

    def expressions(self, descending: bool) -> list[_Bound]:
        """What to select as `_key0`, `_key1` … to make the next token of."""
        return [key.expression(descending) for key in self.keys]

    def order_by(self, descending: bool) -> list[ColumnElement[Any]]:
        """The ORDER BY clause."""
        return [
            bound.desc() if descending != key.reversed else bound.asc()
            for key, bound in zip(self.keys, self.expressions(descending), strict=True)
        ]

    def after(self, values: Sequence[Any], descending: bool) -> ColumnElement[bool]:
        """The condition that a row comes after the one with these sort values.

        Raises PAGE_TOKEN_INVALID for values that cannot be of these columns.
        """
        parsed = self._parse(values)
        condition: ColumnElement[bool] | None = None
        bounds = self.expressions(descending)
        for key, bound, value in reversed(list(zip(self.keys, bounds, parsed, strict=True))):
            beyond = bound < value if descending != key.reversed else bound > value
            condition = (
                beyond if condition is None else or_(beyond, and_(bound == value, condition))
            )
        assert condition is not None  # noqa: S101  (an order has at least one key)
        return condition

    def _parse(self, values: Sequence[Any]) -> list[Any]:
        if len(values) != len(self.keys) or not all(isinstance(value, str) for value in values):
            raise page_token_invalid()
        try:
            return [key.parse(value) for key, value in zip(self.keys, values, strict=True)]
        except (ValueError, OverflowError):
            raise page_token_invalid() from None


def write_key(value: Any) -> str:
    """A sort value as text that its SortKey's `parse` reads back exactly."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def text_value(value: str) -> str:
    """The value of a text column. Raises ValueError for what no text column holds."""
    if "\x00" in value:
        raise ValueError("NUL in text")
    return value


def bigint_value(value: str) -> int:
    """The value of a bigint column. Raises ValueError outside its range."""
    return _whole(value, 63)


def integer_value(value: str) -> int:
    """The value of an integer column. Raises ValueError outside its range."""
    return _whole(value, 31)


def _whole(value: str, bits: int) -> int:
    number = int(value) if len(value) <= 20 else 1 << bits
    if not -(1 << bits) <= number < 1 << bits:
        raise ValueError("outside the column's range")
    return number


def time_value(value: str) -> datetime:
    """The value of a timestamptz column. Raises ValueError for what is no time."""
    return datetime.fromisoformat(value).astimezone(UTC)


def text_key(column: ColumnElement[Any]) -> SortKey:
    """A key on a text column without NULLs."""
    return SortKey(column, text_value)


def time_key(column: ColumnElement[Any], *, newest_first: bool = False) -> SortKey:
    """A key on a timestamptz column without NULLs."""
    return SortKey(column, time_value, reversed=newest_first)


def id_key(column: ColumnElement[Any]) -> SortKey:
    """The key that breaks ties."""
    return SortKey(column, UUID)
