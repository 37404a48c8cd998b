import pytest

from servemark.cli.metrics import (
    figure,
    known_metrics,
    limit_text,
    metric_label,
    parse_limits,
    parse_metric,
    parse_weights,
)
from servemark.cli.output import CliError
from servemark.type.v1 import metric_pb2 as metrics
from servemark.type.v1.metric_pb2 import Metric, MetricLimit


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("ttft_p90_ms", metrics.METRIC_TTFT_P90_MS),
        ("TTFT-p90", metrics.METRIC_TTFT_P90_MS),
        ("throughput", metrics.METRIC_THROUGHPUT_TOKENS_SEC),
        ("usd_per_hour", metrics.METRIC_USD_PER_HOUR),
        ("cost", metrics.METRIC_USD_PER_HOUR),
    ],
)
def test_metrics_are_understood_as_people_type_them(text: str, metric: int) -> None:
    assert parse_metric(text) == metric


def test_every_metric_has_a_name_that_is_read_back_and_a_label() -> None:
    for name in known_metrics():
        assert metric_label(parse_metric(name))
    assert len(known_metrics()) == len(Metric.keys()) - 1


@pytest.mark.parametrize("text", ["", "unspecified", "METRIC_TTFT_P90_MS ttft", "ttft_p42"])
def test_an_unknown_metric_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(CliError, match="ttft_p90_ms"):
        parse_metric(text)


@pytest.mark.parametrize("text", ["ttft_p90", "ttft_p90=", "=3", "ttft_p90=fast"])
def test_a_pair_that_is_none_is_refused_by_its_options_name(text: str) -> None:
    with pytest.raises(CliError, match="--limit"):
        parse_limits([text])
    with pytest.raises(CliError, match="--weight"):
        parse_weights([text])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123, "0.012"),
        (0.5, "0.50"),
        (7.151, "7.15"),
        (99.94, "99.9"),
        (956.39, "956"),
        (12345.6, "12,346"),
    ],
)
def test_figures_have_no_more_digits_than_help(value: float, text: str) -> None:
    assert figure(value) == text


def test_a_limit_reads_the_way_its_metric_is_better() -> None:
    assert limit_text(MetricLimit(metric=metrics.METRIC_TTFT_P90_MS, limit=300)) == (
        "TTFT p90 ≤ 300 ms"
    )
    throughput = MetricLimit(metric=metrics.METRIC_THROUGHPUT_TOKENS_SEC, limit=1500)
    assert limit_text(throughput) == "tokens/s ≥ 1,500"
