"""How many instances of a configuration carry a load, and what that costs.

Each instance is taken to do what it did when it was measured, less a headroom for peaks and for an
instance that fails:

    instances = ceil(load / (rate of one instance * (1 - headroom)))

The rate is that of the operating point, not the most the instance could do, so the latencies are
those that were measured with it. Loads are spread evenly. Everything is counted twice: by the
median run, and by the worst, whose count is the safe one.

The price of a million tokens is of output tokens at this load, so it holds what is paid for
headroom and for the last instance's idle part; at full use it is METRIC_USD_PER_MILLION_TOKENS.
"""

import math
from dataclasses import dataclass
from enum import Enum

DEFAULT_HEADROOM = 0.3
"""Kept free of each instance: at 0.7 of the measured rate, a fleet of four can lose one and still
serve everything, at 0.93."""

MOST_INSTANCES = 1_000_000


class Gap(Enum):
    """Why a figure is not there, as a sentence for people."""

    NO_RATE = "Neither a request rate nor a throughput was measured."
    NO_LENGTH = "Requests cannot be converted to tokens: the output length is not known."
    NO_CAPACITY = "The measured rate is so low that more than a million instances would be needed."
    NO_PRICE = "No price is known."


@dataclass(frozen=True, slots=True)
class Rate:
    """A measured rate of one instance, per second, over its runs."""

    median: float
    worst: float


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What was measured of one instance; None where it was not."""

    requests: Rate | None = None
    """METRIC_RPS_SUSTAINED: completed requests per second."""
    tokens: Rate | None = None
    """METRIC_THROUGHPUT_TOKENS_SEC: output tokens per second."""
    output_tokens: int | None = None
    """Nominal output length of a request, None where it is not fixed."""
    usd_per_hour: float | None = None
    """Price of the whole instance."""


@dataclass(frozen=True, slots=True)
class Load:
    """What has to be carried: either requests or output tokens per second, above 0."""

    requests: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """The instances that carry a load at one rate."""

    instances: int
    utilization: float
    """Load over the rate of all instances, at most 1 - headroom."""
    usd_per_hour: float | None
    """Price of all instances."""
    usd_per_million_tokens: float | None
    """Price of a million output tokens at this load."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer; None with a reason in `gaps` where something is not known."""

    typical: Fleet | None
    """By the median run."""
    safe: Fleet | None
    """By the worst run: no fewer instances."""
    converted: bool
    """Whether the rate is that of the other unit, converted by the nominal output length. Requests
    that stop early have fewer tokens: requests from tokens are then too few, tokens from requests
    too many."""
    gaps: tuple[Gap, ...]


def plan(point: OperatingPoint, load: Load, *, headroom: float = DEFAULT_HEADROOM) -> Plan:
    """The instances for a load of requests or output tokens per second.

    The metric in the load's own unit counts where it was measured, else the other one, converted by
    the nominal output length. What a request makes in tokens, for the price, is measured where both
    rates are. Requests of other lengths than those measured are another load: they want the plan of
    a configuration that was measured with the like.

    Raises ValueError unless the load is one finite number above 0 and 0 ≤ headroom < 1.

    100 requests/s where one instance completes 12 in the median run and 10 in the worst, at $3/hour
    and 200 tokens a request: 100 / (12 * 0.7) = 11.9, and 100 / (10 * 0.7) = 14.3.

    >>> found = plan(OperatingPoint(Rate(12, 10), None, 200, 3.0), Load(requests=100))
    >>> found.typical.instances, found.safe.instances
    (12, 15)
    >>> found.safe.usd_per_hour, found.safe.usd_per_million_tokens, round(found.safe.utilization, 3)
    (45.0, 0.625, 0.667)
    """
    wanted = [amount for amount in (load.requests, load.tokens) if amount is not None]
    if len(wanted) != 1 or not 0 < wanted[0] < math.inf:
        raise ValueError(f"{load} needs one rate, finite and above 0")
    if not 0 <= headroom < 1:
        raise ValueError(f"headroom {headroom} has to be at least 0 and below 1")
    rate, converted = _rate(point, load)
    if isinstance(rate, Gap):
        return Plan(None, None, converted=False, gaps=(rate,))
    tokens, length = load.tokens, _tokens_per_request(point)
    if load.requests is not None and length is not None:
        tokens = load.requests * length
    usable = 1 - headroom
    typical = _fleet(wanted[0], rate.median, usable, point.usd_per_hour, tokens)
    safe = _fleet(wanted[0], rate.worst, usable, point.usd_per_hour, tokens)
    lacking = {
        Gap.NO_CAPACITY: typical is None or safe is None,
        Gap.NO_LENGTH: tokens is None,
        Gap.NO_PRICE: point.usd_per_hour is None,
    }
    return Plan(typical, safe, converted, tuple(gap for gap, is_so in lacking.items() if is_so))


def _rate(point: OperatingPoint, load: Load) -> tuple[Rate | Gap, bool]:
    """What one instance does in the load's unit, and whether that was converted."""
    own, other = point.requests, point.tokens
    if load.tokens is not None:
        own, other = other, own
    if own is not None:
        return own, False
    if other is None:
        return Gap.NO_RATE, False
    if not point.output_tokens:
        return Gap.NO_LENGTH, False
    factor = point.output_tokens if load.tokens is not None else 1 / point.output_tokens
    return Rate(other.median * factor, other.worst * factor), True


def _tokens_per_request(point: OperatingPoint) -> float | None:
    """Output tokens of a request, as measured if possible."""
    if point.requests and point.tokens and point.requests.median > 0 and point.tokens.median > 0:
        return point.tokens.median / point.requests.median
    return point.output_tokens or None


def _fleet(
    load: float, rate: float, usable: float, usd_per_hour: float | None, tokens: float | None
) -> Fleet | None:
    """The fleet for a load at the rate of one instance; None where it is beyond all measure."""
    needed = load / (rate * usable) if rate > 0 else math.inf
    if not needed <= MOST_INSTANCES:
        return None
    # Rounding must not buy an instance: (0.1 + 0.1 + 0.1) / 0.1 is a little above 3.
    instances = max(1, math.ceil(needed * (1 - 1e-9)))
    usd = None if usd_per_hour is None else instances * usd_per_hour
    return Fleet(
        instances=instances,
        utilization=load / (instances * rate),
        usd_per_hour=usd,
        usd_per_million_tokens=None if usd is None or not tokens else usd / (tokens * 3600) * 1e6,
    )
