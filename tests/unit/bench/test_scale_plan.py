"""The plan of a large load: every batch has a place, and time goes on as it does for real runs."""

from itertools import pairwise

from tests.bench.scale.load import Plan
from tests.support.simulation.fleet import models

DAY_MS = 86_400_000
END_MS = 1_790_000_000_000


def test_models_take_turns_and_their_sequences_rise_by_one() -> None:
    plan = Plan(models(3), 70_000, 10_000, 10_000, END_MS)
    assert [plan.place(number) for number in range(plan.batches)] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (0, 1),
        (1, 1),
        (2, 1),
        (0, 2),
    ]


def test_time_goes_on_without_a_gap_up_to_the_end() -> None:
    plan = Plan(models(100), 20_000_000, 10_000, 250_000, END_MS)
    spans = [plan.span(sequence) for sequence in range(20)]
    assert spans[-1][1] == END_MS
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    # A million rows in a turn of all models, and a quarter of that on a day.
    assert {end - begin for begin, end in spans} == {4 * DAY_MS}
