"""Units a mapping may name, and what each is in the unit of our field."""

from collections.abc import Mapping

from servemark.client.record_fields import PERCENTILES

# Times and divided by: so that 187392125 ns are 187.392125 ms to the last digit.
Factor = tuple[int, int]

_TIME = {"ms": (1, 1), "s": (1000, 1), "us": (1, 1000), "ns": (1, 10**6)}
_RATE = {"1/s": (1, 1), "1/min": (1, 60), "1/h": (1, 3600)}
_SIZE = {
    "GB": (1, 1),
    "MB": (1, 10**3),
    "KB": (1, 10**6),
    "B": (1, 10**9),
    "GiB": (2**30, 10**9),
    "MiB": (2**20, 10**9),
    "KiB": (2**10, 10**9),
}

UNITS: Mapping[str, Mapping[str, Factor]] = {
    **dict.fromkeys(PERCENTILES, _TIME),
    **dict.fromkeys(("throughput_tokens_sec", "rps_sustained", "request_rate"), _RATE),
    "memory_used_gb": _SIZE,
    "gpu_utilization_pct": {"percent": (1, 1), "fraction": (100, 1)},
    "accuracy_score": {"fraction": (1, 1), "percent": (1, 100)},
}
"""By field, its units by name and their size in the field's own, which comes first."""

EPOCHS: Mapping[str, int] = {"epoch_s": 1, "epoch_ms": 1000}
"""Units of `benchmarked_at`: how many of them a second has, since 1970."""
