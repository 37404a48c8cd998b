"""The table of metrics is complete, and its figures are written as people write them."""

import pytest

from servemark.type.v1.metric_pb2 import Metric
from services.ranking.metrics import FAMILIES, METRICS, PLACE, bound, figure, rounded


def test_every_metric_of_the_contract_has_an_entry_in_the_contracts_order() -> None:
    known = [value for value in Metric.values() if value != Metric.METRIC_UNSPECIFIED]
    assert [info.metric for info in METRICS] == known
    assert list(PLACE) == known


def test_every_entry_agrees_with_the_contracts_name_and_objective() -> None:
    better_higher = {"throughput_tokens_sec", "rps_sustained", "accuracy_score"}
    for info in METRICS:
        assert Metric.Name(info.metric) == f"METRIC_{info.column.upper()}"
        assert info.maximize == (info.column in better_higher)
        assert info.unit.strip() or info.column == "accuracy_score"
        assert (info.unit == " ms") == info.column.endswith("_ms")


def test_families_hold_the_percentiles_of_one_quantity_rising() -> None:
    names = [[METRICS[place].column for place in family] for family in FAMILIES]
    assert names == [
        [f"{quantity}_p{percent}_ms" for percent in (50, 90, 95, 99)]
        for quantity in ("ttft", "tpot")
    ]


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (Metric.METRIC_TTFT_P50_MS, 31.0, "31 ms"),
        (Metric.METRIC_THROUGHPUT_TOKENS_SEC, 12345.6, "12,300 tokens/s"),
        (Metric.METRIC_ACCURACY_SCORE, 0.87654, "0.877"),
        (Metric.METRIC_USD_PER_HOUR, 2.69, "$2.69/hour"),
        (Metric.METRIC_USD_PER_MILLION_TOKENS, 0.4123, "$0.412 per million tokens"),
        (Metric.METRIC_MEMORY_USED_GB, 999.6, "1,000 GB"),
    ],
)
def test_a_figure_has_three_digits_and_its_unit(
    metric: Metric.ValueType, value: float, text: str
) -> None:
    assert figure(metric, value) == text


def test_a_figure_just_beyond_a_limit_is_not_rounded_onto_it() -> None:
    assert figure(Metric.METRIC_TTFT_P90_MS, 300.04, beside=300.0) == "300.04 ms"
    assert figure(Metric.METRIC_TTFT_P90_MS, 300.0, beside=300.0) == "300 ms"


def test_a_limit_is_written_with_its_direction_and_all_its_digits() -> None:
    assert bound(Metric.METRIC_TTFT_P90_MS, 1234.5) == "TTFT p90 ≤ 1,234.5 ms"
    assert bound(Metric.METRIC_TTFT_P90_MS, 12345.67) == "TTFT p90 ≤ 12,345.67 ms"
    assert bound(Metric.METRIC_TTFT_P90_MS, 299.99999) == "TTFT p90 ≤ 299.99999 ms"
    assert bound(Metric.METRIC_ACCURACY_SCORE, 0.9) == "accuracy ≥ 0.9"
    assert bound(Metric.METRIC_USD_PER_HOUR, 20.0) == "price per hour ≤ $20"


@pytest.mark.parametrize(
    ("value", "text"),
    [(9.96, "10"), (81.6, "82"), (148.5, "150"), (451.2, "450"), (999.6, "1,000")],
)
def test_a_number_with_more_places_than_digits_is_written_without_an_exponent(
    value: float, text: str
) -> None:
    assert rounded(value, 2) == text
