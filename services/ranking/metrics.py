"""What each metric is: its column, its unit, which way is better, and how people call it."""

from dataclasses import dataclass
from functools import lru_cache

from servemark.type.v1.metric_pb2 import Metric


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """One metric of the contract."""

    metric: Metric.ValueType
    column: str
    """The name without the enum's prefix, in lower case: `ttft_p90_ms`."""
    label: str
    """What people call it, within a sentence: `TTFT p90`."""
    unit: str
    """What follows a figure, with a blank where one is due: ` ms`, `/hour`, or nothing."""
    maximize: bool
    """Whether more is better."""


def _percentiles(family: str) -> list[MetricInfo]:
    return [
        MetricInfo(
            Metric.Value(f"METRIC_{family}_P{percent}_MS"),
            f"{family.lower()}_p{percent}_ms",
            f"{family} p{percent}",
            " ms",
            maximize=False,
        )
        for percent in (50, 90, 95, 99)
    ]


METRICS: tuple[MetricInfo, ...] = (
    *_percentiles("TTFT"),
    *_percentiles("TPOT"),
    MetricInfo(
        Metric.METRIC_THROUGHPUT_TOKENS_SEC,
        "throughput_tokens_sec",
        "throughput",
        " tokens/s",
        maximize=True,
    ),
    MetricInfo(
        Metric.METRIC_RPS_SUSTAINED, "rps_sustained", "request rate", " requests/s", maximize=True
    ),
    MetricInfo(Metric.METRIC_ACCURACY_SCORE, "accuracy_score", "accuracy", "", maximize=True),
    MetricInfo(Metric.METRIC_MEMORY_USED_GB, "memory_used_gb", "GPU memory", " GB", maximize=False),
    MetricInfo(
        Metric.METRIC_USD_PER_HOUR, "usd_per_hour", "price per hour", "/hour", maximize=False
    ),
    MetricInfo(
        Metric.METRIC_USD_PER_MILLION_TOKENS,
        "usd_per_million_tokens",
        "price per million tokens",
        " per million tokens",
        maximize=False,
    ),
    MetricInfo(
        Metric.METRIC_USD_PER_MILLION_TOTAL_TOKENS,
        "usd_per_million_total_tokens",
        "price per million input and output tokens",
        " per million input and output tokens",
        maximize=False,
    ),
)
"""Every metric, in the order of the contract; a metric's place here is its column in a matrix."""

MEASURED: tuple[MetricInfo, ...] = METRICS[:12]
"""Those that results carry; the others come from prices."""

PLACE: dict[int, int] = {info.metric: place for place, info in enumerate(METRICS)}
"""A metric's column in a matrix."""

PRICES = (
    Metric.METRIC_USD_PER_HOUR,
    Metric.METRIC_USD_PER_MILLION_TOKENS,
    Metric.METRIC_USD_PER_MILLION_TOTAL_TOKENS,
)

GIVEN_DIGITS = 15
"""Digits of a number that the caller gave, lest it be misquoted; a float has no more to tell."""

FAMILIES: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3), (4, 5, 6, 7))
"""Columns of the percentiles of one quantity, rising: what is known of one bounds the others."""


def info_of(metric: int) -> MetricInfo:
    """What is known of a metric. Raises KeyError for one that is not in the contract."""
    return METRICS[PLACE[metric]]


def figure(metric: int, value: float, *, beside: float | None = None, digits: int = 3) -> str:
    """A value with its unit as people write it: `31 ms`, `$2.69/hour`.

    It has three significant digits, or as many as tell it from the figure it stands `beside`.
    """
    return f"{amount(metric, value, beside=beside, digits=digits)}{_unit_of_price(metric)}"


def amount(metric: int, value: float, *, beside: float | None = None, digits: int = 3) -> str:
    """A figure that follows its metric's label, which says already what a price is for: `$2.69`."""
    # Figures farther apart than the last digit may be worth need not be written to be compared.
    if beside is not None and 0 < abs(value - beside) <= 10.0 ** (1 - digits) * (
        abs(value) + abs(beside)
    ):
        while digits < 17 and rounded(value, digits) == rounded(beside, digits):
            digits += 1
    text = rounded(value, digits)
    return f"${text}" if metric in PRICES else f"{text}{info_of(metric).unit}"


# An answer says the same few limits of every alternative.
@lru_cache(maxsize=1024)
def bound(metric: int, limit: float) -> str:
    """A limit as people write it: `TTFT p90 ≤ 300 ms`."""
    info = info_of(metric)
    given = amount(metric, limit, digits=GIVEN_DIGITS)
    return f"{info.label} {'≥' if info.maximize else '≤'} {given}"


def _unit_of_price(metric: int) -> str:
    return info_of(metric).unit if metric in PRICES else ""


# Who asks again with other weights is told mostly the same figures.
@lru_cache(maxsize=16_384)
def rounded(value: float, digits: int = 3) -> str:
    """A number to some significant digits, without an exponent where it can be read without.

    >>> [rounded(x) for x in (31.26, 1240.4, 0.04567, 2.5, 300, 0)]
    ['31.3', '1,240', '0.0457', '2.5', '300', '0']
    """
    text = f"{value:.{digits}g}"
    number = float(text)
    # Python writes an exponent as soon as there are more places than digits: 1.5e+02.
    if not 1 <= abs(number) < 1e15:
        return text
    decimals = max(0, digits - len(str(int(abs(number)))))
    short = f"{number:,.{decimals}f}"
    return short.rstrip("0").rstrip(".") if decimals else short
