"""How long changes have waited to be told is what Postgres says, whoever has locked them."""

from sqlalchemy import text

from servemark.runtime.cache.backlog import outbox_backlog
from tests.cache.things import World

_EVENTS = text(
    "INSERT INTO outbox (id, topic, payload, created_at) "
    "SELECT gen_random_uuid(), 'catalog', '', clock_timestamp() - :age * interval '1 second' "
    "FROM generate_series(1, :count)"
)
_PUBLISH = text("UPDATE outbox SET published_at = clock_timestamp()")


async def _wait(world: World, age: float, count: int = 1) -> None:
    async with world.database.transaction() as connection:
        await connection.execute(_EVENTS, {"age": age, "count": count})


async def test_the_oldest_event_that_was_not_told_counts(world: World) -> None:
    backlog = outbox_backlog(world.database)
    assert await backlog() == 0.0
    for age in (30.0, 70.0, 50.0):
        await _wait(world, age)
    waited = await backlog()
    assert waited is not None
    assert 70.0 <= waited < 100.0
    async with world.database.transaction() as connection:
        await connection.execute(_PUBLISH)
    assert await backlog() == 0.0


async def test_events_that_a_relay_has_locked_have_not_been_told(world: World) -> None:
    await _wait(world, 30.0)
    release = await world.hold()
    try:
        waited = await outbox_backlog(world.database)()
    finally:
        await release()
    assert waited is not None
    assert waited >= 30.0


async def test_nothing_is_said_of_events_from_the_future_or_of_very_many(world: World) -> None:
    backlog = outbox_backlog(world.database)
    await _wait(world, -60.0)
    assert await backlog() is None
    async with world.database.transaction() as connection:
        await connection.execute(_PUBLISH)
    await _wait(world, 1.0, 1_000)
    assert await backlog() is None
