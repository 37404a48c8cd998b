"""Which configurations take part, at which price."""

import numpy as np
import pytest

from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.candidates import Candidates, Filter, PriceBasis, choose_price, select
from services.ranking.metrics import METRICS, PLACE
from tests.unit.ranking_matrix.builders import (
    DAY_US,
    MADE_AT_US,
    ON_DEMAND,
    RESERVED,
    SPOT,
    USD_HOUR,
    USD_TOKENS,
    config,
    identifier,
    matrix_of,
    price,
    use_case,
)


def numbers(candidates: Candidates) -> list[int]:
    return [int(candidates.row(i).config_id[-4:], 16) for i in range(len(candidates))]


ROWS = [
    config(1, model="acme/Small", gpu_type="H100-80GB", gpu_count=1, input_tokens=128),
    config(2, model="acme/Large", gpu_type="H100-94GB", gpu_count=8, cloud_provider="aws"),
    config(3, gpu_type="H200-141GB", quantization="int4", framework="sglang", output_tokens=None),
    config(4, workload_type="sharegpt", input_tokens=None, output_tokens=None),
    config(5, provenance=Provenance.PROVENANCE_SIMULATED),
    config(6, model_id=identifier(1001), input_tokens=4096, output_tokens=1024),
]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Filter(), [1, 2, 3, 4, 6]),
        (Filter(models=("ACME/small",)), [1]),
        (Filter(models=(identifier(1001), "acme/large")), [2, 6]),
        (Filter(quantizations=("INT4",)), [3]),
        (Filter(gpu_types=("h100",)), [1, 2, 4, 6]),
        (Filter(gpu_types=("H100-80GB",)), [1, 4, 6]),
        (Filter(gpu_types=("H20",)), []),
        (Filter(cloud_providers=("AWS",)), [2]),
        (Filter(frameworks=("sglang", "nothing")), [3]),
        (Filter(workload_types=("ShareGPT",)), [4]),
        (Filter(max_gpu_count=1), [1, 3, 4, 6]),
        (Filter(input_tokens=(100, 200)), [1]),
        (Filter(input_tokens=(512, 512)), [2, 3]),
        (Filter(input_tokens=(513, 0)), [6]),
        (Filter(output_tokens=(0, 256)), [1, 2]),
        (Filter(output_tokens=(0, 0)), [1, 2, 3, 4, 6]),
        (Filter(provenances=(Provenance.PROVENANCE_SIMULATED,)), [5]),
        (Filter(models=("acme/small",), gpu_types=("H200",)), []),
    ],
)
def test_a_filter_keeps_what_it_says(chosen: Filter, expected: list[int]) -> None:
    assert numbers(select(matrix_of(ROWS), chosen, PriceBasis())) == expected


def test_the_use_cases_lengths_hold_where_the_filter_has_none() -> None:
    matrix = matrix_of(ROWS)
    chat = use_case(input_tokens=(64, 600), output_tokens=(32, 300))
    assert numbers(select(matrix, Filter(), PriceBasis(), chat)) == [1, 2]
    wide = Filter(input_tokens=(0, 0))
    assert numbers(select(matrix, wide, PriceBasis(), chat)) == [1, 2]
    assert numbers(select(matrix, Filter((), output_tokens=(1, 0)), PriceBasis(), chat)) == [1, 2]
    everything = Filter(input_tokens=(0, 0), output_tokens=(0, 0))
    assert numbers(select(matrix, everything, PriceBasis(), chat)) == [1, 2, 3, 4, 6]


def test_the_first_option_with_a_price_counts_and_its_lowest_price() -> None:
    prices = [
        price(9.0, purchase_option=ON_DEMAND, region="us-east-1"),
        price(8.0, purchase_option=ON_DEMAND, region="eu-north-1"),
        price(5.0, purchase_option=RESERVED),
        price(2.0, purchase_option=SPOT),
    ]

    def usd(*options: int, region: str = "") -> float | None:
        basis = PriceBasis(options, region) if options else PriceBasis(region=region)
        chosen = choose_price(prices, basis, MADE_AT_US)
        return None if chosen is None else chosen.usd_per_hour

    assert usd() == 8.0
    assert usd(region="US-EAST-1") == 9.0
    assert usd(region="elsewhere") == 5.0  # only the reserved price is valid everywhere
    assert usd(SPOT, ON_DEMAND) == 2.0
    assert usd(RESERVED) == 5.0


def test_spot_is_never_taken_unless_asked_for() -> None:
    assert choose_price([price(2.0, purchase_option=SPOT)], PriceBasis(), MADE_AT_US) is None


def test_a_price_counts_from_its_first_instant_until_before_its_end() -> None:
    old = price(4.0, valid_from_us=MADE_AT_US - 2 * DAY_US, valid_to_us=MADE_AT_US)
    new = price(6.0, valid_from_us=MADE_AT_US)
    future = price(1.0, valid_from_us=MADE_AT_US + 1)
    matrix = matrix_of([config(1)], [old, new, future])

    def usd(at_us: int | None) -> float:
        found = select(matrix, Filter(), PriceBasis(at_us=at_us))
        return float(found.value_of(0, PLACE[USD_HOUR]))

    assert usd(None) == usd(MADE_AT_US) == 6.0
    assert usd(MADE_AT_US - 1) == 4.0
    assert usd(MADE_AT_US + 1) == 1.0
    assert np.isnan(usd(MADE_AT_US - 3 * DAY_US))


def test_the_price_of_tokens_is_that_of_the_hour_over_the_tokens_of_the_hour() -> None:
    matrix = matrix_of([config(1, throughput_tokens_sec=(500.0, 1000.0, 2000.0))], [price(3.6)])
    found = select(matrix, Filter(), PriceBasis())
    place = PLACE[USD_TOKENS]
    assert found.value_of(0, place) == pytest.approx(1.0)
    assert found.span_of(0, place) == pytest.approx((0.5, 2.0))
    assert found.runs_of(0, place) == 3


def test_the_price_of_all_tokens_spreads_over_the_input_too() -> None:
    rows = [
        config(1, throughput_tokens_sec=1000.0, input_tokens=768, output_tokens=256),
        config(2, throughput_tokens_sec=1000.0, input_tokens=0, output_tokens=256),
        config(3, throughput_tokens_sec=1000.0, input_tokens=None),
        config(4, throughput_tokens_sec=1000.0, output_tokens=None),
    ]
    found = select(matrix_of(rows, [price(3.6)]), Filter(), PriceBasis())
    place = PLACE[Metric.METRIC_USD_PER_MILLION_TOTAL_TOKENS]
    np.testing.assert_allclose(found.value(place), [0.25, 1.0, np.nan, np.nan])
    assert found.runs(place).tolist() == [1, 1, 0, 0]


def test_without_a_price_or_a_throughput_tokens_have_no_price() -> None:
    place = PLACE[USD_TOKENS]
    unpriced = select(matrix_of([config(1, throughput_tokens_sec=1.0)]), Filter(), PriceBasis())
    stalled = matrix_of([config(1, throughput_tokens_sec=0.0), config(2)], [price(2.0)])
    assert np.isnan(unpriced.value_of(0, place))
    found = select(stalled, Filter(), PriceBasis())
    assert np.isnan(found.value(place)).all()
    assert np.isnan(found.span(place)).all()
    assert (found.runs(place) == 0).all()


def test_what_many_calls_read_none_can_change() -> None:
    found = select(matrix_of([config(1), config(2)]), Filter(), PriceBasis())
    for column in (found.value(0), *found.span(0), *found.sure(0), found.runs(0)):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_single_cells_are_those_of_the_columns() -> None:
    found = select(matrix_of(ROWS, [price(3.6)]), Filter(), PriceBasis())
    places = range(len(METRICS))
    value, low, high, runs = found.columns(places)
    for index in range(len(found)):
        assert [found.value_of(index, place) for place in places] == pytest.approx(
            value[index].tolist(), rel=0, nan_ok=True
        )
        cells = [found.span_of(index, place) for place in places]
        np.testing.assert_array_equal(cells, np.stack([low[index], high[index]], axis=1))
        assert [found.runs_of(index, place) for place in places] == runs[index].tolist()
