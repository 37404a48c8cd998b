"""Whatever happens between a write and its effect, and in which order: it takes effect once."""

import asyncio
from contextlib import suppress
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from servemark.runtime.events.consumer import EventConsumer
from servemark.runtime.events.keys import stream_of
from servemark.runtime.events.outbox import Outbox
from servemark.runtime.events.trim import trim_stream
from tests.events.place import GROUP, POISON, TOPIC, Place, place
from tests.support import servers

STREAM = stream_of(TOPIC)


class CrashError(Exception):
    """The process ends here."""


async def _crash(*_: Any) -> None:
    raise CrashError


class Life(RuleBasedStateMachine):
    """Writes, relays and consumers that crash, servers that forget; at the end all settles."""

    here: Place
    loop: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.written: list[UUID] = []
        self.poisoned: list[UUID] = []
        self.run(self.clean())

    async def clean(self) -> None:
        """Leaves nothing of the example before."""
        await self.here.redis.flushdb()
        async with self.here.user.transaction() as connection:
            for table in ("effects", "processed_events", "dead_letters"):
                await connection.exec_driver_sql(f"DELETE FROM {table}")
        async with self.here.owner.transaction() as connection:
            await connection.exec_driver_sql("DELETE FROM outbox")
        await self.here.consumer.ensure_groups()

    def run(self, work: Any) -> Any:
        return self.loop.run(work)

    @rule(count=st.integers(1, 30))
    def write(self, count: int) -> None:
        """Commits events."""
        self.written += self.run(self.here.write(count))

    @rule()
    def write_poison(self) -> None:
        """Commits an event that cannot take effect."""
        self.poisoned += self.run(self.here.write(1, sequence=POISON))

    @rule()
    def publish(self) -> None:
        """A relay's turn."""
        self.run(self.here.relay.publish_once())

    @rule()
    def crash_between_send_and_mark(self) -> None:
        """A relay sends, and is gone before it has marked what it sent."""
        with patch.object(Outbox, "mark", _crash), suppress(CrashError):
            self.run(self.here.relay.publish_once())

    @rule()
    def consume(self) -> None:
        """A consumer's turn."""
        self.run(self.turn())

    async def turn(self) -> None:
        await self.here.consumer.ensure_groups()
        await self.here.consumer.read_once(block_seconds=0.001)

    @rule()
    def crash_before_the_effect(self) -> None:
        """A consumer is given events, and is gone."""
        self.run(self.given("crashed"))

    async def given(self, member: str) -> None:
        await self.here.consumer.ensure_groups()
        await self.here.redis.xreadgroup(GROUP, member, {STREAM: ">"}, count=10)

    @rule()
    def crash_between_effect_and_acknowledgement(self) -> None:
        """A consumer's events take effect, and it is gone."""
        with patch.object(EventConsumer, "_acknowledge", _crash), suppress(CrashError):
            self.run(self.here.consume(self.here.member("crashed")))

    @rule()
    def fail_after_the_effect(self) -> None:
        """The next effect fails after it has written."""
        self.here.failures = [RuntimeError()]

    @rule()
    def flush(self) -> None:
        """Redis forgets everything."""
        self.run(self.here.redis.flushdb())

    @rule()
    def drop_stream(self) -> None:
        """The stream is gone, its marker is not."""
        self.run(self.here.redis.delete(STREAM))

    @rule()
    def trim(self) -> None:
        """The stream is shortened."""
        self.run(trim_stream(self.here.redis, TOPIC))

    @rule()
    def repair(self) -> None:
        """The keeper looks for losses."""
        self.run(self.here.keeper.repair())

    def teardown(self) -> None:
        """Once all is quiet, every event took effect once, and the poisoned ones are put away."""
        self.here.failures = []
        self.run(self.settled())

    async def settled(self) -> None:
        await self.here.settle()
        # Who crashed or failed too often is put away as well, and has its effect by a replay.
        for letter in await self.here.inbox.letters(1000):
            if letter.id in self.written:
                assert await self.here.inbox.replay(letter.id, self.here.effect)
        assert await self.here.effects() == dict.fromkeys(self.written, 1)
        letters = {one.id for one in await self.here.inbox.letters(1000)}
        assert letters == set(self.poisoned)


@pytest.fixture
def runner(migrated_database: str, valkey: str) -> Any:
    """A loop of its own for the machine, which is not async, with a place in it."""
    with asyncio.Runner() as loop:
        opened = place(migrated_database, valkey)
        Life.loop, Life.here = loop, loop.run(opened.__aenter__())
        yield
        loop.run(opened.__aexit__(None, None, None))


def test_every_event_takes_effect_once_whatever_happens(runner: None) -> None:
    servers.run_apart(asyncio.to_thread(_run))


def _run() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
