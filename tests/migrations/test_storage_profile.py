"""A database without TimescaleDB stores results in partitions, and says why."""

import asyncpg
import pytest

from migrations.storage import MoveError, move_results
from tests.support.days import recorded


async def test_the_profile_is_native_and_the_reason_is_recorded(migrated_database: str) -> None:
    assert recorded(migrated_database) == ("native", "TimescaleDB is not on this server")


async def test_results_stay_where_they_are_and_the_reason_is_told(migrated_database: str) -> None:
    with pytest.raises(MoveError, match="native partitions: TimescaleDB is not on this server"):
        await move_results(migrated_database, print)


@pytest.mark.parametrize(
    "call",
    [
        "offered_profile()",
        "build_hypertable()",
        "compress_old_days()",
        "adopt_hypertable('timescale', false)",
        "record_profile('timescale', NULL)",
    ],
)
async def test_the_service_may_not_change_how_results_are_stored(
    migrated_database: str, call: str
) -> None:
    connection = await asyncpg.connect(
        migrated_database, server_settings={"role": "servemark_ingest"}
    )
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"SELECT ingest.{call}")
    finally:
        await connection.close()
