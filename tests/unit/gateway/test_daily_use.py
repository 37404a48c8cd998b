"""What callers used today is counted once, whatever happens to the database meanwhile."""

from collections import Counter

import pytest

from services.gateway.daily_use import DAY_SECONDS, DailyUse, Use, Uses


class Sums:
    """The sums as the database holds them, and whether it answers."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[int, str]] = Counter()
        self.rows: Counter[tuple[int, str]] = Counter()
        self.away = False
        self.loads = 0
        self.forgotten: list[int] = []

    async def load(self, day: int) -> Uses:
        self.loads += 1
        return {key: self._use(key) for key in self.calls if key[0] == day}

    async def add(self, uses: Uses) -> Uses:
        if self.away:
            raise ConnectionError
        for key, use in uses.items():
            self.calls[key] += use.calls
            self.rows[key] += use.rows
        return {key: self._use(key) for key in uses}

    async def forget(self, day: int) -> None:
        if self.away:
            raise ConnectionError
        self.forgotten.append(day)

    def _use(self, key: tuple[int, str]) -> Use:
        return Use(self.calls[key], self.rows[key])


class Clock:
    def __init__(self) -> None:
        self.now = 20_000.5 * DAY_SECONDS

    def __call__(self) -> float:
        return self.now


async def test_what_is_not_yet_written_counts_and_what_is_written_counts_once() -> None:
    sums = Sums()
    daily = DailyUse(sums.load, sums.add, sums.forget)
    await daily.ready()
    daily.count("a", calls=1, rows=5)
    daily.count("a", calls=1)
    assert daily.used("a") == Use(2, 5)
    await daily.write()
    assert daily.used("a") == Use(2, 5)
    assert daily.used("b") == Use()
    daily.count("a", calls=1)
    assert daily.used("a") == Use(3, 5)


async def test_gateways_learn_what_the_others_counted_and_a_new_one_begins_with_it() -> None:
    sums = Sums()
    one, other = (
        DailyUse(sums.load, sums.add, sums.forget),
        DailyUse(sums.load, sums.add, sums.forget),
    )
    for daily, calls in ((one, 3), (other, 4), (one, 1)):
        await daily.ready()
        daily.count("a", calls=calls)
        await daily.write()
    assert one.used("a") == Use(8)
    again = DailyUse(sums.load, sums.add, sums.forget)
    await again.ready()
    await again.ready()
    assert again.used("a") == Use(8)
    assert sums.loads == 3


async def test_a_database_that_is_away_loses_nothing() -> None:
    sums = Sums()
    daily = DailyUse(sums.load, sums.add, sums.forget)
    await daily.ready()
    daily.count("a", calls=2)
    sums.away = True
    with pytest.raises(ConnectionError):
        await daily.write()
    daily.count("a", calls=1)
    assert daily.used("a") == Use(3)
    sums.away = False
    await daily.write()
    assert daily.used("a") == Use(3)
    assert sum(sums.calls.values()) == 3


async def test_a_new_day_begins_at_midnight_utc_and_the_last_is_still_written() -> None:
    sums, clock = Sums(), Clock()
    daily = DailyUse(sums.load, sums.add, sums.forget, clock=clock)
    await daily.ready()
    daily.count("a", calls=2, rows=7)
    assert daily.seconds_left() == DAY_SECONDS / 2
    clock.now += DAY_SECONDS / 2
    assert daily.used("a") == Use()
    daily.count("a", calls=1)
    await daily.write()
    assert daily.used("a") == Use(1)
    assert sums.calls == {(20_000, "a"): 2, (20_001, "a"): 1}


async def test_days_long_ago_are_forgotten_once_a_day_and_again_where_that_failed() -> None:
    sums, clock = Sums(), Clock()
    daily = DailyUse(sums.load, sums.add, sums.forget, clock=clock)
    sums.away = True
    with pytest.raises(ConnectionError):
        await daily.forget_old()
    sums.away = False
    for days in (0, 0, 1):
        clock.now += days * DAY_SECONDS
        await daily.forget_old()
        await daily.forget_old()
    assert sums.forgotten == [20_000 - 400, 20_001 - 400]
