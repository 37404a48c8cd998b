"""What the results of vLLM's and SGLang's serving benchmarks have in common.

SGLang's began as a copy of vLLM's: one JSON object a run, latencies in milliseconds under
`<statistic>_<metric>_ms`, and arrays of one entry a request where details were asked for. TPOT
leaves the first token out in both.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from servemark.importers.samples import Samples
from servemark.importers.values import number

NOTE_ZERO_TTFT = (
    "the tool reports a median TTFT of 0 ms, so at least half of the requests produced nothing;"
    " its TTFT percentiles are left out"
)


def computed(samples: Samples, duration: float | None) -> dict[str, Any]:
    """What the requests one by one say, over those that produced output."""
    return {
        **samples.values(),
        "rps_sustained": samples.answered_count / duration if duration else None,
    }


def percentiles(data: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """The tool's own percentiles, those that it wrote and no others."""
    values: dict[str, Any] = {}
    for metric in ("ttft", "tpot"):
        median = number(data.get(f"median_{metric}_ms", data.get(f"p50_{metric}_ms")))
        if median == 0:
            # Zero is how the tools write "never happened": no token, or no second token.
            notes.extend([NOTE_ZERO_TTFT] if metric == "ttft" else [])
            continue
        values[f"{metric}_p50_ms"] = median
        for percent in (90, 95, 99):
            values[f"{metric}_p{percent}_ms"] = number(data.get(f"p{percent}_{metric}_ms"))
    return values


def own_figures(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything the file says, key by key; those of 2024 to 2026 have a key with a colon in it."""
    for key, value in data.items():
        yield str(key).rstrip(":"), value
