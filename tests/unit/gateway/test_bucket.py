"""A bucket lets through its rate, and a second's worth at once."""

import pytest

from services.gateway.bucket import TokenBucket


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_second_is_saved_up_and_no_more() -> None:
    clock = Clock()
    bucket = TokenBucket(10, clock=clock)
    for _ in range(10):
        assert bucket.wait_for(1) == 0
        bucket.take(1)
    assert bucket.wait_for(1) == pytest.approx(0.1)
    clock.now += 3600
    for _ in range(10):
        assert bucket.wait_for(1) == 0
        bucket.take(1)
    assert bucket.wait_for(1) == pytest.approx(0.1)


def test_a_rate_below_one_a_second_lets_one_through_at_once() -> None:
    clock = Clock()
    bucket = TokenBucket(0.1, clock=clock)
    assert bucket.wait_for(1) == 0
    bucket.take(1)
    assert bucket.wait_for(1) == pytest.approx(10)
    clock.now += 10
    assert bucket.wait_for(1) == pytest.approx(0)


def test_what_overdraws_it_has_to_be_waited_for() -> None:
    clock = Clock()
    bucket = TokenBucket(100, clock=clock)
    bucket.take(1_000)
    assert bucket.wait_for(0) == pytest.approx(9)
    clock.now += 9
    assert bucket.wait_for(0) == pytest.approx(0)
