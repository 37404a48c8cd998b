"""Requests one by one, and the percentiles and sketches they really give."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from servemark.client.records import ResultRecord
from servemark.client.sketch import LARGEST_MS, sketch_of
from servemark.importers.base import Rejection
from servemark.importers.percentile import percentile

NOTE_EMPTY = (
    "percentiles, rps_sustained and request_count are over the requests that produced output;"
    " the tool's own figures, under `reported`, count all"
)

_PERCENTS = (50, 90, 95, 99)


class SamplesError(ValueError):
    """Samples that do not describe one list of requests, or that no latency can be."""


@dataclass
class Samples:
    """The requests of a run: latencies in milliseconds of those that produced output."""

    answered_count: int = 0
    empty_count: int = 0
    """Requests that failed, or counted as completed without a single token."""
    ttfts_ms: list[float] = field(default_factory=list)
    tpots_ms: list[float] = field(default_factory=list)
    """One for each request with at least two tokens: the first one is TTFT's."""
    itls_ms: list[float] = field(default_factory=list)
    e2els_ms: list[float] = field(default_factory=list)

    def add(self, ttft_ms: float, tokens: float) -> bool:
        """Counts a request, and says whether it produced output: a first token after some time."""
        if ttft_ms <= 0 or tokens <= 0:
            self.empty_count += 1
            return False
        self.answered_count += 1
        self.ttfts_ms.append(ttft_ms)
        return True

    def sort(self) -> "Samples":
        """The samples in rising order. Raises SamplesError for what no latency can be."""
        for values in (self.ttfts_ms, self.tpots_ms, self.itls_ms, self.e2els_ms):
            values.sort()
            if values and not (values[0] >= 0 and values[-1] <= LARGEST_MS):
                odd = values[0] if values[0] < 0 else values[-1]
                raise SamplesError(f"a latency of {odd:g} ms is none")
        return self

    def percentiles(self) -> dict[str, float]:
        """TTFT and TPOT percentiles by the record's keys."""
        return _percentiles("ttft_p{}_ms", self.ttfts_ms) | _percentiles(
            "tpot_p{}_ms", self.tpots_ms
        )

    def other_percentiles(self) -> dict[str, float]:
        """Inter-token and end-to-end latency, which a record has no keys for."""
        return _percentiles("itl_p{}_ms", self.itls_ms) | _percentiles("e2el_p{}_ms", self.e2els_ms)

    def values(self) -> dict[str, Any]:
        """What a record says of these requests: percentiles and counts."""
        return {
            **self.percentiles(),
            "percentile_source": "computed_from_samples",
            "request_count": self.answered_count,
            "failed_request_count": self.empty_count,
        }

    def sketched(self, outcome: ResultRecord | Rejection) -> ResultRecord | Rejection:
        """The record with its sketches, so that runs can be added up later."""
        if isinstance(outcome, Rejection):
            return outcome
        return replace(
            outcome,
            ttft_sketch=_sketch(self.ttfts_ms),
            tpot_sketch=_sketch(self.tpots_ms),
        )


def _sketch(samples: Iterable[float]) -> Any:
    return sketch_of(samples) if samples else None


def _percentiles(name: str, ordered: list[float]) -> dict[str, float]:
    if not ordered:
        return {}
    return {name.format(percent): percentile(ordered, percent) for percent in _PERCENTS}
