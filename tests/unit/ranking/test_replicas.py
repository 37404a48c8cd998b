"""Fleets by hand, and what holds for every load."""

import doctest
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ranking import replicas
from services.ranking.replicas import Gap, Load, OperatingPoint, Rate, plan

rates = st.floats(1e-3, 1e5)


def test_the_example_in_the_manual_is_true() -> None:
    results = doctest.testmod(replicas)
    assert results.attempted > 0
    assert results.failed == 0


def test_tokens_per_second_by_hand() -> None:
    # 10,000 / (1500 * 0.8) = 8.33 by the median run; 10,000 / (1000 * 0.8) = 12.5 by the worst.
    point = OperatingPoint(tokens=Rate(1500, 1000), usd_per_hour=4)
    found = plan(point, Load(tokens=10_000), headroom=0.2)
    assert found.typical is not None
    assert found.safe is not None
    assert (found.typical.instances, found.safe.instances) == (9, 13)
    assert found.typical.utilization == pytest.approx(10_000 / 13_500)
    assert found.typical.usd_per_hour == 36
    # 36 million tokens an hour for $36.
    assert found.typical.usd_per_million_tokens == pytest.approx(1.0)
    assert found.safe.usd_per_million_tokens == pytest.approx(52 / 36)
    assert not found.converted
    assert found.gaps == ()


def test_at_full_use_a_token_costs_what_the_metric_says() -> None:
    point = OperatingPoint(tokens=Rate(1000, 1000), usd_per_hour=3.6)
    found = plan(point, Load(tokens=4000), headroom=0)
    assert found.typical is not None
    assert found.typical.instances == 4
    assert found.typical.utilization == 1
    assert found.typical.usd_per_million_tokens == pytest.approx(3.6 / (1000 * 3600) * 1e6)


@pytest.mark.parametrize(
    ("point", "load", "instances"),
    [
        (OperatingPoint(tokens=Rate(2000, 1000), output_tokens=200), Load(requests=100), 10),
        (OperatingPoint(requests=Rate(10, 5), output_tokens=200), Load(tokens=20_000), 10),
    ],
)
def test_the_other_rate_is_converted_by_the_output_length(
    point: OperatingPoint, load: Load, instances: int
) -> None:
    found = plan(point, load, headroom=0)
    assert found.converted
    assert found.typical is not None
    assert found.safe is not None
    assert (found.typical.instances, found.safe.instances) == (instances, 2 * instances)


def test_the_rate_in_the_loads_own_unit_counts_where_both_were_measured() -> None:
    point = OperatingPoint(Rate(10, 10), Rate(1000, 1000), output_tokens=200, usd_per_hour=1)
    by_requests, by_tokens = (
        plan(point, load, headroom=0) for load in (Load(requests=100), Load(tokens=20_000))
    )
    assert by_requests.typical is not None
    assert by_tokens.typical is not None
    assert (by_requests.typical.instances, by_tokens.typical.instances) == (10, 20)
    # Requests stopped after 100 tokens in the mean, and it is these that are paid for.
    assert by_requests.typical.usd_per_million_tokens == pytest.approx(10 / (10_000 * 3600) * 1e6)


@pytest.mark.parametrize(
    ("point", "load", "gaps"),
    [
        (OperatingPoint(usd_per_hour=1, output_tokens=9), Load(requests=1), (Gap.NO_RATE,)),
        (OperatingPoint(tokens=Rate(9, 9), usd_per_hour=1), Load(requests=1), (Gap.NO_LENGTH,)),
        (
            OperatingPoint(Rate(9, 9), output_tokens=0, usd_per_hour=1),
            Load(tokens=1),
            (Gap.NO_LENGTH,),
        ),
        (OperatingPoint(Rate(0, 0), None, 9, 1), Load(requests=1), (Gap.NO_CAPACITY,)),
        (OperatingPoint(Rate(1e-320, 1e-320), None, 9, 1), Load(requests=1), (Gap.NO_CAPACITY,)),
    ],
)
def test_without_a_rate_there_is_no_fleet_and_a_reason(
    point: OperatingPoint, load: Load, gaps: tuple[Gap, ...]
) -> None:
    found = plan(point, load)
    assert found.typical is None
    assert found.safe is None
    assert found.gaps == gaps


def test_what_is_not_known_leaves_the_rest() -> None:
    found = plan(OperatingPoint(Rate(9, 9)), Load(requests=10), headroom=0)
    assert found.typical is not None
    assert found.typical.instances == 2
    assert found.typical.usd_per_hour is found.typical.usd_per_million_tokens is None
    assert found.gaps == (Gap.NO_LENGTH, Gap.NO_PRICE)


def test_a_worst_run_that_completed_nothing_has_no_safe_count() -> None:
    found = plan(OperatingPoint(Rate(9, 0), None, 5, 1), Load(requests=1))
    assert found.typical is not None
    assert found.safe is None
    assert found.gaps == (Gap.NO_CAPACITY,)


def test_rounding_buys_no_instance() -> None:
    load = 0.1 + 0.1 + 0.1
    assert math.ceil(load / 0.1) == 4
    found = plan(OperatingPoint(Rate(0.1, 0.1)), Load(requests=load), headroom=0)
    assert found.typical is not None
    assert found.typical.instances == 3


@pytest.mark.parametrize(
    "load",
    [Load(), Load(1, 1), Load(0), Load(tokens=-1), Load(tokens=math.inf), Load(math.nan)],
)
def test_a_load_that_is_none_is_refused(load: Load) -> None:
    with pytest.raises(ValueError, match="needs one rate"):
        plan(OperatingPoint(Rate(9, 9)), load)


@pytest.mark.parametrize("headroom", [-0.1, 1, math.nan])
def test_a_headroom_that_is_no_part_is_refused(headroom: float) -> None:
    with pytest.raises(ValueError, match="headroom"):
        plan(OperatingPoint(Rate(9, 9)), Load(requests=1), headroom=headroom)


@given(rates, rates, st.floats(0.01, 1), st.floats(0, 0.95))
def test_a_fleet_carries_the_load_and_one_instance_less_would_not(
    load: float, median: float, share: float, headroom: float
) -> None:
    point = OperatingPoint(Rate(median, median * share), None, 100, 2.0)
    found = plan(point, Load(requests=load), headroom=headroom)
    for fleet, rate in ((found.typical, median), (found.safe, median * share)):
        if fleet is None:
            assert load / (rate * (1 - headroom)) > replicas.MOST_INSTANCES
            continue
        usable = rate * (1 - headroom)
        assert fleet.instances * usable >= load * (1 - 1e-8)
        assert (fleet.instances - 1) * usable < load
        assert fleet.utilization <= (1 - headroom) * (1 + 1e-8)
        assert fleet.usd_per_hour == fleet.instances * 2.0
    if found.typical and found.safe:
        assert found.safe.instances >= found.typical.instances


@given(rates, rates, st.floats(0, 0.5), st.floats(0, 0.4))
def test_more_load_or_headroom_never_takes_fewer_instances(
    load: float, rate: float, more: float, headroom: float
) -> None:
    point = OperatingPoint(Rate(rate, rate))

    def count(**given_: Any) -> int:
        found = plan(point, Load(requests=given_["load"]), headroom=given_["headroom"]).typical
        return found.instances if found else replicas.MOST_INSTANCES + 1

    least = count(load=load, headroom=headroom)
    assert count(load=load * (1 + more), headroom=headroom) >= least
    assert count(load=load, headroom=headroom + more) >= least
