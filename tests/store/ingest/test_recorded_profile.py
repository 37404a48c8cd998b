"""The service stores results the way that the database has recorded, and follows a change of it."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date

import pytest
import pytest_asyncio

from servemark.runtime.database import Database
from services.ingest.profile import Target
from services.ingest.recorded_profile import RecordedProfile
from services.ingest.records import Day
from tests.support import servers

DAY = date(2026, 2, 28)


class Named:
    """A profile that notes what it is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []

    def targets(self, days: Sequence[Day]) -> Sequence[Target]:
        self.asked.append("targets")
        return [Target(self.name, days)]

    async def ensure(self, days: Iterable[date]) -> None:
        self.asked.append("ensure")

    def forget(self, days: Iterable[date]) -> None:
        self.asked.append("forget")

    def ahead(self) -> Sequence[date]:
        """No days."""
        return ()

    async def maintain(self) -> None:
        self.asked.append("maintain")


@pytest_asyncio.fixture
async def database(migrated_database: str) -> AsyncIterator[Database]:
    """The service's own connection."""
    pool = Database(migrated_database, "ingest")
    yield pool
    await pool.close()


def record(dsn: str, name: str) -> None:
    """Records a profile, as a migration does."""
    servers.execute(
        dsn, f"UPDATE ingest.settings SET value = '{name}' WHERE name = 'storage_profile'"
    )


async def test_the_recorded_profile_is_asked(migrated_database: str, database: Database) -> None:
    one, other = Named("native"), Named("timescale")
    profile = RecordedProfile(database, [one, other])
    record(migrated_database, "timescale")
    await profile.ensure([DAY])
    assert [target.table for target in profile.targets([])] == ["timescale"]
    await profile.maintain()
    assert (one.asked, other.asked) == ([], ["ensure", "targets", "maintain"])


@pytest.mark.parametrize("notice", ["missing", "maintenance", "health"])
async def test_a_change_is_followed(
    migrated_database: str, database: Database, notice: str
) -> None:
    profile = RecordedProfile(database, [Named("native"), Named("timescale")])
    record(migrated_database, "native")
    await profile.ensure([DAY])
    record(migrated_database, "timescale")
    # Nothing is asked while nothing is wrong.
    await profile.ensure([DAY])
    assert profile.name == "native"
    if notice == "missing":
        profile.forget([DAY])
        await profile.ensure([DAY])
    elif notice == "maintenance":
        await profile.maintain()
    else:
        assert await profile.recorded()
    assert profile.name == "timescale"
    assert [target.table for target in profile.targets([])] == ["timescale"]


async def test_a_profile_that_is_not_known_is_not_ready_and_stores_nothing(
    migrated_database: str, database: Database
) -> None:
    profile = RecordedProfile(database, [Named("native")])
    record(migrated_database, "timescale")
    assert not await profile.recorded()
    with pytest.raises(LookupError):
        await profile.ensure([DAY])
    with pytest.raises(LookupError):
        profile.targets([])
    record(migrated_database, "native")
    assert await profile.recorded()
