"""Messages whose bytes are laid out at once are those that are written field by field."""

import math

import numpy as np
import pytest

from servemark.ranking.v1.recommend_pb2 import CriterionScore, LimitCheck, Recommendation
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from services.ranking.convert_packed import add_each

NUMBERS = [0.0, -0.0, 1.5, -1e300, 5e-324, math.inf, -math.inf, math.pi]
DOUBLES = ("normalized", "anti_ideal_distance_sq")
SAME = [
    CriterionScore(metric=Metric.METRIC_TTFT_P90_MS, weight=0.25),
    CriterionScore(metric=Metric.METRIC_USD_PER_MILLION_TOTAL_TOKENS, weight=0.75),
]


def test_they_are_those_that_are_written_one_by_one() -> None:
    values = np.random.default_rng(1).choice(NUMBERS, (40, 2, 2))
    # As what is taken from columns lies in memory.
    values = np.asfortranarray(values)
    packed = [Recommendation(rank=rank, breakdown=SAME[:1]) for rank in range(40)]
    add_each(packed, "breakdown", SAME, DOUBLES, values)
    for rank, (found, rows) in enumerate(zip(packed, values.tolist(), strict=True)):
        expected = Recommendation(rank=rank, breakdown=SAME[:1])
        for same, (normalized, distance) in zip(SAME, rows, strict=True):
            entry = expected.breakdown.add()
            entry.CopyFrom(same)
            entry.normalized, entry.anti_ideal_distance_sq = normalized, distance
        assert found.SerializeToString() == expected.SerializeToString()


def test_what_is_no_number_stays_none() -> None:
    [found] = packed = [Recommendation()]
    add_each(packed, "breakdown", SAME[:1], DOUBLES, np.full((1, 1, 2), np.nan))
    assert math.isnan(found.breakdown[0].normalized)


def test_nothing_is_added_to_nobody_and_nothing_of_nothing() -> None:
    add_each([], "breakdown", SAME, DOUBLES, np.empty((0, 2, 2)))
    found = [Recommendation()]
    add_each(found, "breakdown", [], DOUBLES, np.empty((1, 0, 2)))
    assert not found[0].breakdown


def test_what_does_not_fit_into_the_layout_is_refused() -> None:
    found = [Recommendation()]
    unlike = [SAME[0], CriterionScore(metric=Metric.METRIC_TTFT_P90_MS)]
    with pytest.raises(ValueError, match="inhomogeneous"):
        add_each(found, "breakdown", unlike, DOUBLES, np.empty((1, 2, 2)))
    long = LimitCheck(limit=MetricLimit(metric=Metric.METRIC_TTFT_P90_MS, limit=1.0))
    with pytest.raises(ValueError, match="more than one byte"):
        add_each(found, "limit_checks", [long], ("value",) * 14, np.empty((1, 1, 14)))
    assert found == [Recommendation()]
