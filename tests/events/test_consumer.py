"""Each event takes effect once; one that cannot is put away and holds up no other."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.events.v1.event_pb2 import Event
from servemark.runtime.errors import ServemarkError, unavailable
from servemark.runtime.events.consumer import MOST_DELIVERIES
from servemark.runtime.events.inbox import UnusableEventError
from servemark.runtime.events.keys import stream_of
from servemark.runtime.ids import uuid7
from tests.events.place import GROUP, POISON, TOPIC, Place
from tests.support import servers

STREAM = stream_of(TOPIC)


async def letters(here: Place) -> list[tuple[UUID, str, int]]:
    return [(one.id, one.reason, one.delivery_count) for one in await here.inbox.letters(10)]


async def test_one_poison_event_in_a_thousand_is_one_dead_letter(here: Place) -> None:
    before = await here.write(500)
    [poison] = await here.write(1, sequence=POISON)
    after = await here.write(499)
    await here.settle()
    assert await here.effects() == dict.fromkeys([*before, *after], 1)
    assert await letters(here) == [(poison, "ValueError: poison?", MOST_DELIVERIES)]
    assert await here.pending() == 0


async def test_bytes_that_are_no_event_are_dead_at_once_and_once(here: Place) -> None:
    good = await here.write(3)
    nameless = Event(id="not an id").SerializeToString()
    for payload in (b"\xff\xff", nameless):
        await here.send(payload)
    await here.settle()
    await here.redis.flushdb()
    await here.settle()
    assert await here.effects() == dict.fromkeys(good, 1)
    assert {(reason, count) for _, reason, count in await letters(here)} == {
        ("The bytes are no event.", 1),
        ("The event's id is not a UUID.", 1),
    }
    assert await here.pending() == 0


async def test_a_poison_event_that_comes_again_stays_one_letter(here: Place) -> None:
    await here.write(1, sequence=POISON)
    await here.settle()
    await here.redis.flushdb()
    await here.settle()
    assert len(await letters(here)) == 1
    assert not await here.effects()


async def test_what_a_later_version_says_is_ignored_and_not_dead(here: Place) -> None:
    # Field 900 is not in this contract, neither beside the payload nor as one.
    unknown = b"\xa2\x38\x05later"
    [known] = await here.write(1)
    of_new_kind = Event(id=str(uuid7())).SerializeToString() + unknown
    await here.send(of_new_kind)
    await here.publish()
    await here.redis.xadd(STREAM, {"event_v2": b"\xff\xff"})
    assert await here.consume() == 3
    assert not await letters(here)
    assert await here.pending() == 0
    assert (await here.effects())[known] == 1


async def test_an_event_sent_twice_takes_effect_once(here: Place) -> None:
    ids = await here.write(300)
    await here.publish()
    for _, fields in await here.redis.xrange(STREAM):
        await here.redis.xadd(STREAM, fields)
    assert await here.consume() == 600
    assert await here.effects() == dict.fromkeys(ids, 1)


async def test_members_that_get_the_same_events_at_once_apply_them_once(here: Place) -> None:
    events = {uuid7(): Event(id=str(uuid7())) for _ in range(200)}
    for id_, event in events.items():
        event.id = str(id_)
    backwards = dict(reversed(events.items()))
    for _ in range(5):
        await asyncio.gather(
            *(here.inbox.take(each, here.effect) for each in (events, backwards) * 2)
        )
    assert await here.effects() == dict.fromkeys(events, 1)


async def test_what_a_crashed_member_has_left_is_taken_over(here: Place) -> None:
    ids = await here.write(5)
    await here.consumer.ensure_groups()
    await here.publish()
    await here.redis.xreadgroup(GROUP, "crashed", {STREAM: ">"}, count=5)
    # Those that are alive are left in peace.
    patient = here.member("two", claim_seconds=60)
    assert await here.consume(patient) == 0
    assert await here.consume() == 5
    assert await here.effects() == dict.fromkeys(ids, 1)
    assert await here.pending() == 0


async def test_an_event_that_always_ends_the_process_is_put_away(here: Place) -> None:
    [id_] = await here.write(1)
    await here.consumer.ensure_groups()
    await here.publish()
    await here.redis.xreadgroup(GROUP, "crashed", {STREAM: ">"})
    for _ in range(9):
        await here.redis.xautoclaim(STREAM, GROUP, "crashed", 0)
    assert await here.consume() == 1
    assert not await here.effects()
    [(dead, reason, _)] = await letters(here)
    assert dead == id_
    assert "never came to an end" in reason


async def test_what_fails_for_a_while_takes_effect_then(here: Place) -> None:
    ids = await here.write(1)
    here.failures = [RuntimeError()] * 3
    await here.settle()
    assert not here.failures
    assert await here.effects() == dict.fromkeys(ids, 1)
    assert not await letters(here)


async def test_an_outage_is_no_fault_of_the_event(here: Place) -> None:
    ids = await here.write(1)
    await here.publish()
    here.failures = [unavailable("The catalog")] * 7
    member = here.member("one", claim_seconds=60)
    while here.failures:
        with pytest.raises(ServemarkError, match="does not answer"):
            await here.consume(member)
    await here.consume(member)
    assert await here.effects() == dict.fromkeys(ids, 1)
    assert not await letters(here)


async def test_a_letter_that_is_replayed_takes_effect_and_is_gone(here: Place) -> None:
    [poison] = await here.write(1, sequence=POISON)
    await here.send(b"\xff")
    await here.settle()
    garbage = next(id_ for id_, reason, _ in await letters(here) if "bytes" in reason)
    with pytest.raises(ValueError, match="poison"):
        await here.inbox.replay(poison, here.effect)
    with pytest.raises(UnusableEventError):
        await here.inbox.replay(garbage, here.effect)
    assert not await here.effects()
    assert len(await letters(here)) == 2

    async def mended(connection: AsyncConnection, events: Any) -> None:
        for event in events:
            event.results_stored.sequence = 0
        await here.effect(connection, events)

    assert await here.inbox.replay(poison, mended)
    assert not await here.inbox.replay(poison, mended)
    assert await here.effects() == {poison: 1}
    assert [id_ for id_, _, _ in await letters(here)] == [garbage]


async def test_notes_stay_longer_than_an_event_can_come_again(here: Place) -> None:
    await here.write(3)
    await here.settle()
    age = (
        "UPDATE ranking.processed_events SET processed_at = now() - interval '{}' WHERE event_id ="
        " (SELECT event_id FROM ranking.processed_events ORDER BY processed_at DESC LIMIT 1)"
    )
    servers.execute(here.dsn, age.format("6.9 days"), age.format("7.1 days"))
    assert await here.inbox.forget_old(5000) == 1


async def test_a_cancellation_that_is_lost_on_its_way_up_still_ends_it(here: Place) -> None:
    called = asyncio.Event()

    async def effect(*_: Any) -> None:
        called.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    here.effect = effect  # type: ignore[assignment, method-assign]
    await here.write(1)
    await here.publish()
    task = asyncio.create_task(here.member("one").run())
    await asyncio.wait_for(called.wait(), 10)
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=10)
    assert ended == {task}
