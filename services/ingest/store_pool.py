"""SQL that pools runs: what all their requests say together, where the runs tell enough for that.

    latency     a percentile of all requests, from merged sketches, if every run that has a figure
                of the latency came with a sketch of it
    rates       all requests, or all tokens, over all time. A run took its requests over its rate
    accuracy    the share over all requests

Rates and accuracies are pooled if every run that has them says how many requests it had, and for a
throughput at what rate. Sums are of integers (microseconds, thousandths of a token, billionths of
a request), so that they do not depend on the order of the runs, as those of floats do: the same
runs always give the same bytes.
"""

from typing import Final

from services.ingest.metrics import LATENCY_COLUMNS, SUMMARY_COLUMNS

LATENCIES: Final = ("ttft", "tpot")
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

# What a run has to say so that its time and tokens are known, and no sum can overflow: at most 10^9
# requests, a millisecond to 30 years, and 10^6 tokens a request.
_COUNTED: Final = "run.request_count BETWEEN 1 AND 1000000000"
_TIMED: Final = (
    f"({_COUNTED} AND run.rps_sustained BETWEEN run.request_count * 1e-9::float8"
    " AND run.request_count * 1e3::float8)"
)
_TOKENS: Final = (
    f"({_TIMED} AND run.throughput_tokens_sec"
    " BETWEEN 1e-9::float8 AND run.rps_sustained * 1e6::float8)"
)
_SECONDS: Final = "run.request_count / run.rps_sustained"


def figures_of(latency: str) -> list[str]:
    """The columns of a latency's percentiles, rising."""
    return [name for name in LATENCY_COLUMNS if name.startswith(latency)]


def merged_sketch(latency: str) -> str:
    """The term of the merged sketch of `run`s; NULL if one that has a figure lacks a sketch."""
    figures = ", ".join(f"run.{name}" for name in figures_of(latency))
    sketch = f"run.{latency}_sketch"
    is_missing = f"bool_or({sketch} IS NULL AND coalesce({figures}) IS NOT NULL)"
    return f"CASE WHEN NOT {is_missing} THEN ingest.merge_sketches({sketch}) END"


def pooled(column: str) -> tuple[str, str, str]:
    """The terms of the figure over all requests of `run`s, of their number, and of the runs'."""
    latency, _, rest = column.partition("_")
    if latency in LATENCIES:
        merged = merged_sketch(latency)
        return (
            f"ingest.sketch_quantile({merged}, {QUANTILES[rest.removesuffix('_ms')]})",
            f"ingest.sketch_count({merged})",
            f"count(run.{latency}_sketch)",
        )
    if column == "throughput_tokens_sec":
        tokens = f"sum(({_SECONDS} * run.{column} * 1e3)::bigint)"
        return _over_all(column, _TOKENS, f"{tokens} FILTER (WHERE {_TOKENS})", "1e3")
    if column == "rps_sustained":
        requests = "sum(run.request_count)"
        return _over_all(column, _TIMED, f"{requests} FILTER (WHERE {_TIMED})", "1e6")
    if column == "accuracy_score":
        right = f"sum((run.{column} * run.request_count * 1e9)::bigint) FILTER (WHERE {_COUNTED})"
        value = f"{right}::float8 / 1e9 / sum(run.request_count) FILTER (WHERE {_of(column)})"
        return _if_all(column, _COUNTED, value)
    return "NULL", "NULL", "NULL"


def _of(column: str) -> str:
    return f"run.{column} IS NOT NULL"


def _over_all(column: str, known: str, amount: str, scale: str) -> tuple[str, str, str]:
    """An amount over the time of all runs, which is in microseconds."""
    time = f"sum(({_SECONDS} * 1e6)::bigint) FILTER (WHERE {known})"
    return _if_all(column, known, f"{amount}::float8 / {time}::float8 * {scale}")


def _if_all(column: str, known: str, value: str) -> tuple[str, str, str]:
    """The terms, NULL unless all runs that have the figure say enough."""
    runs = f"count(run.{column})"
    is_known = f"count(run.{column}) FILTER (WHERE {known}) = {runs} AND {runs} > 0"
    requests = f"sum(run.request_count) FILTER (WHERE {_of(column)})"
    return tuple(  # type: ignore[return-value]
        f"CASE WHEN {is_known} THEN {term} END" for term in (value, requests, runs)
    )


def total(summed: str) -> str:
    """The term of a sum of counts, which may be beyond what a count can say; 0 for no rows."""
    return f"least(coalesce({summed}, 0), {2**63 - 1})::bigint"


def requests(column: str) -> str:
    """The term of the requests of the `run`s that have the figure, where known."""
    return total(f"sum(run.request_count) FILTER (WHERE {_of(column)})")


def newest(column: str) -> str:
    """The term of the time at which the newest `run` that has the figure ended."""
    return f"max(run.benchmarked_at) FILTER (WHERE {_of(column)})"


POOL_COLUMNS: Final = (
    *SUMMARY_COLUMNS,
    "request_count",
    "benchmarked_at",
    *(f"{latency}_sketch" for latency in LATENCIES),
)
"""The columns of runs that the terms name."""
