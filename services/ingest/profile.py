"""What a storage profile does for the rest of the service: it owns how days are kept apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from services.ingest.records import Day


@dataclass(frozen=True, slots=True)
class Target:
    """A table of the schema that takes the rows of some days of a batch.

    `columnar`: the days are compressed. A row is not found there through an index but by reading
    the day, and each row that comes is looked for, so rows are compared before they are stored.
    """

    table: str
    days: Sequence[Day]
    columnar: bool = False


class StorageProfile(Protocol):
    """The way one database stores results."""

    @property
    def name(self) -> str:
        """As the database records it."""
        ...

    def targets(self, days: Sequence[Day]) -> Sequence[Target]:
        """The tables that the days' rows are copied into, in order of time."""
        ...

    async def ensure(self, days: Iterable[date]) -> None:
        """Makes room for the days where there is none. Never inside a batch's transaction."""
        ...

    def forget(self, days: Iterable[date]) -> None:
        """Stops taking the days' room for present, after the database said that it is not."""
        ...

    def ahead(self) -> Sequence[date]:
        """The days that room is kept ready for, today's first; none where it comes by itself."""
        ...

    async def maintain(self) -> None:
        """One turn of keeping the store in order. Raises what the driver raises."""
        ...
