"""Whatever dies, stands still or is lost: no read misses what was committed two seconds before."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from servemark.embedded import EmbeddedValkey
from tests.cache.things import Process, Relay, World
from tests.support import servers

BOUND_SECONDS = 2.0

NAMES = st.sampled_from("ab")
WHO = st.sampled_from((0, 1))
SPANS = st.sampled_from((0.1, 0.4, 1.0, 3.0, 40.0))


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A Valkey that may be stopped and killed."""
    with servers.temporary_folder() as folder, EmbeddedValkey(folder / "valkey") as server:
        yield server


Action = tuple[str, *tuple[Any, ...]]
ACTIONS = st.one_of(
    st.tuples(st.just("write"), NAMES, WHO),
    st.tuples(st.just("read"), NAMES, WHO),
    st.tuples(st.just("pass_time"), SPANS),
    st.tuples(st.just("look"), WHO),
    st.just(("relay_turns",)),
)


class Machine(RuleBasedStateMachine):
    """Two processes that read, somebody who writes, a relay, and everything that goes wrong."""

    dsn: str
    valkey: EmbeddedValkey
    levels: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        servers.flush(self.valkey.url())
        self.run(self._begin())

    async def _begin(self) -> None:
        self.world = World(self.dsn)
        await self.world.clear()
        self.relay = Relay(self.world.database, self.valkey.url())
        self.processes = [Process(self.world, self.valkey.url()) for _ in range(2)]
        for process in self.processes:
            await process.turn()

    @rule(actions=st.lists(ACTIONS, min_size=1, max_size=6))
    def act(self, actions: list[Action]) -> None:
        for name, *arguments in actions:
            getattr(self, name)(*arguments)

    def write(self, name: str, who: int) -> None:
        self.run(self.processes[who].write(name))

    def read(self, name: str, who: int) -> None:
        now = self.world.clock.now
        reply = self.run(self.processes[who].read(name))
        self.levels[reply.level] = self.levels.get(reply.level, 0) + 1
        committed = self.world.committed.get(name, ())
        due = sum(at <= now - BOUND_SECONDS for at in committed)
        assert due <= int(reply.message) <= len(committed)
        assert self.processes[who].wrote.get(name, 0) <= int(reply.message)

    def pass_time(self, seconds: float) -> None:
        self.world.clock.now += seconds

    def look(self, who: int) -> None:
        # Without an answer, or with one that comes later, nothing may be old either.
        self.run(self.processes[who].turn(seconds=0.1))

    def relay_turns(self) -> None:
        self.run(self.relay.turn())

    @rule(seconds=SPANS)
    def all_is_well(self, seconds: float) -> None:
        """What happens all the time, and everybody reads."""
        self.relay_turns()
        for who in (0, 1):
            self.look(who)
        for who in (0, 1):
            for name in "ab":
                self.read(name, who)
        self.pass_time(seconds)

    @rule(before=st.booleans())
    def relay_is_killed(self, before: bool) -> None:
        self.run(self.relay.turn(killed_before_bump=before))

    @rule(actions=st.lists(ACTIONS, max_size=6))
    def another_relay_hangs(self, actions: list[Action]) -> None:
        release = self.run(self.world.hold())
        try:
            self.act(actions)
        finally:
            self.run(release())

    @rule(who=WHO, actions=st.lists(ACTIONS, max_size=6))
    def process_hears_nothing(self, who: int, actions: list[Action]) -> None:
        process = self.processes[who]
        process.hears.clear()
        try:
            self.act(actions)
        finally:
            process.hears.set()
            self.run(asyncio.sleep(0.002))

    @rule(actions=st.lists(ACTIONS, max_size=4))
    def freeze(self, actions: list[Action]) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        try:
            self.act(actions)
        finally:
            os.kill(self._pid, signal.SIGCONT)
            self.run(asyncio.sleep(0.005))

    @rule()
    def flush(self) -> None:
        servers.flush(self.valkey.url())

    @rule(who=WHO)
    def connection_is_lost(self, who: int) -> None:
        self.run(self.processes[who].deafen())

    @rule()
    def restart(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self.valkey.stop()
        self.valkey.start()
        self.run(asyncio.sleep(0.005))

    @property
    def _pid(self) -> int:
        assert self.valkey.pid is not None
        return self.valkey.pid

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        for process in self.processes:
            await process.close()
        await self.relay.close()
        await self.world.database.close()


def test_no_read_is_older_than_two_seconds(
    migrated_database: str, own_valkey: EmbeddedValkey
) -> None:
    World.prepare(migrated_database)
    Machine.dsn, Machine.valkey, Machine.levels = migrated_database, own_valkey, {}
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # The caches took part: a cache that is never used is never old. How much, is for chance to say.
    assert all(Machine.levels.get(level) for level in ("L1", "L2", "DB")), Machine.levels
