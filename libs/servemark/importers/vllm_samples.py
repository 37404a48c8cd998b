"""The per-request arrays of vLLM's `--save-detailed`, and the percentiles they really give."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servemark.importers.percentile import percentile

_PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Samples:
    """The requests that produced output: latencies in milliseconds, in rising order."""

    answered_count: int
    empty_count: int
    """Requests that failed, or counted as completed without a single token."""
    ttfts_ms: list[float]
    tpots_ms: list[float]
    """One for each request with at least two tokens: the first one is TTFT's."""
    itls_ms: list[float]
    e2els_ms: list[float]

    def percentiles(self) -> dict[str, float]:
        """TTFT and TPOT percentiles by the record's keys."""
        return _percentiles("ttft_p{}_ms", self.ttfts_ms) | _percentiles(
            "tpot_p{}_ms", self.tpots_ms
        )

    def other_percentiles(self) -> dict[str, float]:
        """Inter-token and end-to-end latency, which a record has no keys for."""
        return _percentiles("itl_p{}_ms", self.itls_ms) | _percentiles("e2el_p{}_ms", self.e2els_ms)


class SamplesError(ValueError):
    """Arrays that do not describe one list of requests."""


def samples_of(data: Mapping[str, Any]) -> Samples | None:
    """The samples of a detailed file; None for a plain one.

    A request counts if its TTFT is above 0 and it produced at least one token. Real files hold
    hundreds of others, each with TTFT 0, and count them as completed. Raises SamplesError where the
    arrays contradict each other: the figures beside them were made from the same requests.
    """
    if not {"ttfts", "output_lens"} <= data.keys():
        return None
    ttfts, tokens = _numbers(data, "ttfts"), _numbers(data, "output_lens")
    itls = data.get("itls", [[]] * len(ttfts))
    errors = data.get("errors", [""] * len(ttfts))
    if not isinstance(itls, list) or not isinstance(errors, list):
        raise SamplesError("itls and errors must be arrays")
    latencies = _numbers(data, "latencies") if "latencies" in data else [None] * len(ttfts)
    if not len(ttfts) == len(itls) == len(tokens) == len(errors) == len(latencies):
        raise SamplesError("ttfts, itls, output_lens, errors and latencies have different lengths")
    if not ttfts:
        return None
    samples = Samples(0, 0, [], [], [], [])
    answered = 0
    requests = zip(ttfts, itls, tokens, errors, latencies, strict=True)
    for ttft, gaps, count, error, latency in requests:
        if not isinstance(gaps, list) or not all(map(_is_number, gaps)):
            raise SamplesError("itls must hold an array of numbers for each request")
        if not error and ttft > 0 and count > 0:
            answered += 1
            _add(samples, ttft, gaps, count, latency)
    return Samples(
        answered_count=answered,
        empty_count=len(ttfts) - answered,
        ttfts_ms=sorted(samples.ttfts_ms),
        tpots_ms=sorted(samples.tpots_ms),
        itls_ms=sorted(samples.itls_ms),
        e2els_ms=sorted(samples.e2els_ms),
    )


def _add(
    samples: Samples, ttft: float, gaps: list[float], tokens: float, latency: float | None
) -> None:
    if latency is None and (gaps or tokens == 1):
        # Files before `latencies` was written: the last token ends the request.
        latency = ttft + sum(gaps)
    samples.ttfts_ms.append(ttft * 1000)
    samples.itls_ms.extend(gap * 1000 for gap in gaps)
    if latency is not None:
        samples.e2els_ms.append(latency * 1000)
        if tokens > 1:
            samples.tpots_ms.append((latency - ttft) / (tokens - 1) * 1000)


def _numbers(data: Mapping[str, Any], key: str) -> list[Any]:
    values = data[key]
    if not isinstance(values, list) or not all(map(_is_number, values)):
        raise SamplesError(f"{key} must be an array of numbers")
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _percentiles(name: str, ordered: list[float]) -> dict[str, float]:
    if not ordered:
        return {}
    return {name.format(percent): percentile(ordered, percent) for percent in _PERCENTS}
