"""What dies again and again is started again more and more slowly, and never given up."""

from servemark.runtime.lifetime import Restarts


def test_the_pause_grows_to_ten_seconds_and_no_further() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_after(1.0) for _ in range(5000)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[4999] == max(pauses) == 10.0


def test_after_a_long_life_a_restart_is_quick_again() -> None:
    restarts = Restarts()
    for _ in range(9):
        restarts.pause_after(1.0)
    assert restarts.pause_after(31.0) == 0.1
    assert restarts.pause_after(1.0) == 0.2
