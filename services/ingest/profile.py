"""What a storage profile does for the rest of the service: it owns how days are kept apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from services.ingest.records import Day


@dataclass(frozen=True, slots=True)
class Target:
    """A table of the schema that takes the rows of some days of a batch."""

    table: str
    days: Sequence[Day]


class StorageProfile(Protocol):
    """The way one database stores results."""

    name: str

    async def recorded(self) -> bool:
        """Whether the database was migrated to this profile. Raises what the driver raises."""
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

    async def run(self) -> None:
        """Keeps the store in order until cancelled. A database that is away is waited for."""
        ...
