"""What Redis loses comes from the outbox again; what Redis keeps is not lost by trimming."""

import asyncio

from servemark.embedded import EmbeddedValkey
from servemark.runtime.events.inbox import read_event
from servemark.runtime.events.keys import marker_of, stream_of
from servemark.runtime.events.trim import trim_stream
from tests.events.place import GROUP, TOPIC, Place, place
from tests.support import servers

STREAM = stream_of(TOPIC)


async def waiting(here: Place) -> int:
    """Events in the outbox that are to be published."""
    found = await here.outbox.waiting()
    return found[TOPIC].count if found else 0


async def test_a_flush_between_two_looks_loses_nothing(here: Place) -> None:
    ids = await here.write(700)
    await here.settle()
    ids += await here.write(100)
    await here.publish()
    await here.redis.flushdb()
    ids += await here.write(50)
    await here.settle()
    assert await here.effects() == dict.fromkeys(ids, 1)


async def test_a_stream_that_is_gone_alone_comes_again(here: Place) -> None:
    ids = await here.write(10)
    await here.keeper.repair()
    await here.publish()
    await here.redis.delete(STREAM)
    await here.settle()
    assert await here.effects() == dict.fromkeys(ids, 1)


async def test_a_group_that_is_new_gets_what_was_trimmed(here: Place) -> None:
    ids = await here.write(1000)
    await here.settle()
    await trim_stream(here.redis, TOPIC)
    other = here.member("other", group="archive")
    other._inbox = here.inbox  # its own schema would be its own inbox
    servers.execute(here.dsn, "TRUNCATE ranking.processed_events, ranking.effects")
    await here.consume(other)
    await here.keeper.repair()
    assert await waiting(here) == 1000
    await here.publish()
    await here.consume(other)
    assert await here.effects() == dict.fromkeys(ids, 1)


async def test_while_redis_keeps_everything_nothing_is_sent_again(here: Place) -> None:
    await here.consumer.ensure_groups()
    await here.keeper.repair()
    await here.write(10)
    await here.publish()
    for _ in range(3):
        await here.consumer.ensure_groups()
        await here.keeper.repair()
    assert await waiting(here) == 0
    assert here.metric("servemark_outbox_repairs_total", topic=TOPIC) == 1


async def test_a_server_that_was_restarted_may_have_lost_the_end(migrated_database: str) -> None:
    with servers.temporary_folder() as folder:
        valkey = EmbeddedValkey(folder / "valkey")
        valkey.start()
        try:
            async with place(migrated_database, valkey.url()) as here:
                ids = await here.write(5)
                await here.settle()
                # A copy that was behind takes the server's place.
                lost = await here.write(5)
                await here.publish()
                await here.redis.xtrim(STREAM, maxlen=0, approximate=False)
                await asyncio.to_thread(valkey.stop)
                await asyncio.to_thread(valkey.start)
                await here.redis.connection_pool.disconnect()
                await here.settle()
                assert await here.effects() == dict.fromkeys([*ids, *lost], 1)
        finally:
            valkey.stop()


async def test_a_relay_that_has_sent_and_not_yet_marked_is_waited_for(here: Place) -> None:
    await here.consumer.ensure_groups()
    await here.keeper.repair()
    [id_] = await here.write(1)
    async with here.owner.transaction() as connection:
        rows = await here.outbox.claim(connection, 10)
        await here.redis.xadd(STREAM, {"event": rows[0].payload})
        await here.redis.flushdb()
        repairing = asyncio.create_task(here.keeper.repair())
        while not await here.redis.exists(marker_of(TOPIC)):
            await asyncio.sleep(0.01)
        await here.outbox.mark(connection, [row.id for row in rows])
    await repairing
    assert await waiting(here) == 1
    await here.publish()
    await here.consume()
    assert await here.effects() == {id_: 1}


async def test_a_repair_that_was_broken_off_is_finished_by_another(here: Place) -> None:
    await here.settle()
    await here.write(12_000)
    await here.publish()
    await here.redis.flushdb()
    # One piece, and the process is gone.
    assert await here.keeper._repair.check(TOPIC)
    assert await waiting(here) == 5000
    await here.keeper.repair()
    assert await waiting(here) == 12_000


async def test_only_what_is_younger_than_48_hours_is_sent_again(here: Place) -> None:
    await here.settle()
    await here.write(2)
    await here.publish()
    old = "UPDATE ingest.outbox SET created_at = now() - interval '48.1 hours' WHERE id = "
    servers.execute(here.dsn, old + "(SELECT id FROM ingest.outbox LIMIT 1)")
    await here.redis.flushdb()
    await here.keeper.repair()
    assert await waiting(here) == 1


async def test_trimming_keeps_what_is_pending_or_unread_in_any_group(here: Place) -> None:
    slow = here.member("slow", group="slow")
    for reader in (here.consumer, slow):
        await reader.ensure_groups()
    await here.keeper.repair()
    await here.write(1000)
    await here.publish()
    stream = await here.redis.xrange(STREAM)
    entries = [identifier for identifier, _ in stream]
    # One group has read everything and holds on to one event; the other has read some.
    await here.redis.xreadgroup(GROUP, "one", {STREAM: ">"}, count=1000)
    await here.redis.xack(STREAM, GROUP, *entries[:700], *entries[701:])
    await here.redis.xreadgroup("slow", "slow", {STREAM: ">"}, count=400)
    await here.redis.xack(STREAM, "slow", *entries[:400])
    assert 200 < await trim_stream(here.redis, TOPIC) <= 399
    left = [identifier for identifier, _ in await here.redis.xrange(STREAM)]
    assert set(entries[400:]) <= set(left)
    await here.redis.xreadgroup("slow", "slow", {STREAM: ">"}, count=1000)
    await here.redis.xack(STREAM, "slow", *entries)
    await trim_stream(here.redis, TOPIC)
    left = [identifier for identifier, _ in await here.redis.xrange(STREAM)]
    assert set(entries[700:]) <= set(left)
    # The event that is pending takes effect: what it says is still there.
    assert await here.consume() == 1
    kept, _ = read_event(stream[700][1][b"event"])
    assert await here.effects() == {kept: 1}


async def test_a_stream_without_a_group_is_not_trimmed(here: Place) -> None:
    await here.write(500)
    await here.publish()
    assert await trim_stream(here.redis, TOPIC) == 0
    await here.settle()
    assert len(await here.effects()) == 500


async def test_a_trim_while_events_are_pending_and_sent_twice_changes_nothing(here: Place) -> None:
    ids = await here.write(1500)
    await here.publish()
    for _, fields in await here.redis.xrange(STREAM):
        await here.redis.xadd(STREAM, fields)
    await here.consumer.ensure_groups()
    await here.redis.xreadgroup(GROUP, "crashed", {STREAM: ">"}, count=700)
    for _ in range(8):
        await here.consumer.read_once(block_seconds=0.001)
        await here.keeper.trim_streams()
    await here.consume()
    assert await here.effects() == dict.fromkeys(ids, 1)
    assert await here.redis.xlen(STREAM) < 500
