"""What a kind of resource is to the servicer: its fields, converters, filters and orders."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from servemark.runtime.validation import Violations
from services.catalog import store_collections
from services.catalog.store_collections import R

M = TypeVar("M", bound=Message)

Values = dict[str, object]


def _nothing_to_check(_: Any, __: Violations) -> None:
    pass


@dataclass(frozen=True)
class Resource(Generic[M, R]):
    """One kind of resource, from message to table.

    `field` is the request field that carries it. `mutable` are the fields an update may name, and
    `at_creation` those that creation alone takes; all others are output only. `from_proto` reads
    the named fields into columns of the same names and notes the wrong ones; `check` notes what is
    wrong with a row as a whole, for an update that changes one of two fields that belong together.
    `orders` maps the order_by enum to the collection's orders.
    """

    field: str
    collection: store_collections.Collection[R]
    mutable: tuple[str, ...]
    from_proto: Callable[[M, Collection[str], Violations], Values]
    to_proto: Callable[[R], M]
    filters_from_proto: Callable[[Any, Violations], Values]
    orders: Mapping[int, str]
    at_creation: tuple[str, ...] = ()
    check: Callable[[R, Violations], None] = _nothing_to_check
