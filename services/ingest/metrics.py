"""The figures of a result: their columns, their highest values, and which can be filtered by.

One list, in the order of the fields of `ResultMetrics`, so that field n is column n - 1 everywhere.
"""

from dataclasses import dataclass

MAX_LATENCY_MS = 1e9
MAX_RATE = 1e12

LATENCY_COLUMNS = (
    "ttft_p50_ms",
    "ttft_p90_ms",
    "ttft_p95_ms",
    "ttft_p99_ms",
    "tpot_p50_ms",
    "tpot_p90_ms",
    "tpot_p95_ms",
    "tpot_p99_ms",
)

# Every figure is 0 or more; this is the most it may be.
HIGHEST: dict[str, float] = {
    **dict.fromkeys(LATENCY_COLUMNS, MAX_LATENCY_MS),
    "throughput_tokens_sec": MAX_RATE,
    "rps_sustained": MAX_RATE,
    "accuracy_score": 1.0,
    "gpu_utilization_pct": 100.0,
    "memory_used_gb": MAX_RATE,
}
METRIC_COLUMNS: tuple[str, ...] = tuple(HIGHEST)

LARGER_IS_BETTER = frozenset({"throughput_tokens_sec", "rps_sustained", "accuracy_score"})

# What results are condensed to: the figures that `servemark.type.v1.Metric` has a value for.
SUMMARY_COLUMNS: tuple[str, ...] = tuple(
    name for name in METRIC_COLUMNS if name != "gpu_utilization_pct"
)


@dataclass(frozen=True, slots=True)
class Limit:
    """Keep results whose `column` is at most `limit`, or at least, where larger is better."""

    column: str
    limit: float
