"""Metrics as people type and read them."""

from typing import TypeAlias

from servemark.cli.output import CliError
from servemark.type.v1.metric_pb2 import (
    METRIC_ACCURACY_SCORE,
    METRIC_MEMORY_USED_GB,
    METRIC_RPS_SUSTAINED,
    METRIC_THROUGHPUT_TOKENS_SEC,
    METRIC_UNSPECIFIED,
    METRIC_USD_PER_HOUR,
    METRIC_USD_PER_MILLION_TOKENS,
    METRIC_USD_PER_MILLION_TOTAL_TOKENS,
    Metric,
    MetricLimit,
    MetricWeight,
)

MetricValue: TypeAlias = "Metric.ValueType"

_PREFIX = "METRIC_"
_MAXIMIZED = (METRIC_THROUGHPUT_TOKENS_SEC, METRIC_RPS_SUSTAINED, METRIC_ACCURACY_SCORE)
_MONEY = (
    METRIC_USD_PER_HOUR,
    METRIC_USD_PER_MILLION_TOKENS,
    METRIC_USD_PER_MILLION_TOTAL_TOKENS,
)
_SHORT = {
    "throughput": METRIC_THROUGHPUT_TOKENS_SEC,
    "rps": METRIC_RPS_SUSTAINED,
    "accuracy": METRIC_ACCURACY_SCORE,
    "memory": METRIC_MEMORY_USED_GB,
    "cost": METRIC_USD_PER_HOUR,
    "price": METRIC_USD_PER_HOUR,
    "token_cost": METRIC_USD_PER_MILLION_TOKENS,
}
_LABELS = {
    METRIC_THROUGHPUT_TOKENS_SEC: ("tokens/s", ""),
    METRIC_RPS_SUSTAINED: ("requests/s", ""),
    METRIC_ACCURACY_SCORE: ("accuracy", ""),
    METRIC_MEMORY_USED_GB: ("memory", "GB"),
    METRIC_USD_PER_HOUR: ("USD/h", ""),
    METRIC_USD_PER_MILLION_TOKENS: ("USD/M tokens", ""),
    METRIC_USD_PER_MILLION_TOTAL_TOKENS: ("USD/M in+out tokens", ""),
}


def metric_name(metric: MetricValue) -> str:
    """The metric's name in requests and files: `ttft_p90_ms`."""
    return Metric.Name(metric).removeprefix(_PREFIX).lower()


def known_metrics() -> list[str]:
    """The names of all metrics."""
    return [metric_name(metric) for metric in Metric.values() if metric != METRIC_UNSPECIFIED]


def parse_metric(text: str) -> MetricValue:
    """The metric a person means: `ttft_p90_ms`, `ttft-p90`, `throughput`. Raises CliError."""
    name = text.strip().lower().replace("-", "_")
    for candidate in (name, f"{name}_ms"):
        if (
            f"{_PREFIX}{candidate.upper()}" in Metric.DESCRIPTOR.values_by_name
            and candidate != "unspecified"
        ):
            return Metric.Value(f"{_PREFIX}{candidate.upper()}")
    if name in _SHORT:
        return _SHORT[name]
    raise CliError(f"There is no metric {text!r}. Known: {', '.join(known_metrics())}.")


def parse_pair(option: str, text: str) -> tuple[str, float]:
    """Name and number of `name=number`. Raises CliError, naming the option."""
    name, separator, number = text.partition("=")
    try:
        if not separator or not name.strip():
            raise ValueError
        return name.strip(), float(number)
    except ValueError:
        raise CliError(f"{option} takes name=number, such as ttft_p90=300, not {text!r}.") from None


def parse_weights(texts: list[str]) -> list[MetricWeight]:
    """The weights of `metric=weight` texts."""
    pairs = (parse_pair("--weight", text) for text in texts)
    return [MetricWeight(metric=parse_metric(name), weight=number) for name, number in pairs]


def parse_limits(texts: list[str]) -> list[MetricLimit]:
    """The limits of `metric=limit` texts."""
    pairs = (parse_pair("--limit", text) for text in texts)
    return [MetricLimit(metric=parse_metric(name), limit=number) for name, number in pairs]


def is_maximized(metric: MetricValue) -> bool:
    """Whether larger is better."""
    return metric in _MAXIMIZED


def metric_parts(metric: MetricValue) -> tuple[str, str]:
    """The metric's name and unit for people: `TTFT p90` and `ms`. The unit may be empty."""
    if metric in _LABELS:
        return _LABELS[metric]
    kind, percentile, unit = metric_name(metric).split("_")
    return f"{kind.upper()} {percentile}", unit


def metric_label(metric: MetricValue) -> str:
    """The metric with its unit, for people: `TTFT p90 ms`."""
    return " ".join(metric_parts(metric)).strip()


def metric_head(metric: MetricValue) -> str:
    """The metric with its unit as a table's head, narrow: `TTFT`, and `p90 ms` below it."""
    return metric_label(metric).replace(" ", "\n", 1)


def figure(value: float) -> str:
    """A number with no more digits than help to compare: about three, thousands grouped."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def metric_figure(metric: MetricValue, value: float) -> str:
    """A metric's value for people: money to the cent, accuracy to a tenth of a percent."""
    if metric in _MONEY:
        return f"{value:,.2f}"
    return f"{value:.3f}" if metric == METRIC_ACCURACY_SCORE else figure(value)


def limit_text(limit: MetricLimit) -> str:
    """A limit as people say it: `TTFT p90 ≤ 300 ms`."""
    name, unit = metric_parts(limit.metric)
    sign = "≥" if is_maximized(limit.metric) else "≤"
    return f"{name} {sign} {limit.limit:,g} {unit}".rstrip()
