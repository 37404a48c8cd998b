"""The arrays of one entry a request that vLLM and SGLang write, in seconds."""

import math
from collections.abc import Mapping
from typing import Any

from servemark.importers.samples import Samples, SamplesError

_HUGE = 1e300


def samples_of(data: Mapping[str, Any]) -> Samples | None:
    """The samples of a file with details; None for one without.

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
    samples = Samples()
    requests = zip(ttfts, itls, tokens, errors, latencies, strict=True)
    for ttft, gaps, count, error, latency in requests:
        if not _are_numbers(gaps):
            raise SamplesError("itls must hold an array of numbers for each request")
        if samples.add(ttft * 1000, 0 if error else count):
            _add_rest(samples, ttft, gaps, count, latency)
    return samples.sort()


def _add_rest(
    samples: Samples, ttft: float, gaps: list[float], tokens: float, latency: float | None
) -> None:
    if latency is None and (gaps or tokens == 1):
        # SGLang, and vLLM before it wrote `latencies`: the last token ends the request.
        latency = ttft + sum(gaps)
    samples.itls_ms.extend([gap * 1000 for gap in gaps])
    if latency is not None:
        samples.e2els_ms.append(latency * 1000)
        if tokens > 1:
            samples.tpots_ms.append((latency - ttft) / (tokens - 1) * 1000)


def _numbers(data: Mapping[str, Any], key: str) -> list[Any]:
    values: list[Any] = data[key]
    if not _are_numbers(values):
        raise SamplesError(f"{key} must be an array of numbers")
    return values


def _are_numbers(values: Any) -> bool:
    """Whether it is an array of finite numbers, in a few passes that cost no call for each."""
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        return False
    # An integer that no float can hold would raise where it is divided.
    return not values or (
        min(values) > -_HUGE and max(values) < _HUGE and not math.isnan(sum(values))
    )
