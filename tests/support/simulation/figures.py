"""What simulated runs of a configuration measure: load curves, noise, drift, and gaps.

The curves say what queueing says: with c requests in flight, a time per token grows by c / s, where
s is how many the machine takes before it saturates; throughput follows by Little's law and levels
off. Unloaded times come from bandwidth (a token reads the weights once) and arithmetic (prefill).
Percentiles are those of a log-normal distribution that widens with the load. Runs differ by
log-normal noise and drift by some percent over weeks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from servemark.ingest.v1.result_columns_pb2 import MetricColumns
from tests.support.simulation.fleet import QUANTIZATIONS, Configuration, Model

FIGURES: Final = tuple(field.name for field in MetricColumns.DESCRIPTOR.fields)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Standard normal quantiles of p50, p90, p95, p99.
_QUANTILES: Final = np.array([0.0, 1.2816, 1.6449, 2.3263])[:, None]
# How often a figure is missing; what is not named here never is.
_MISSING: Final = {
    "ttft_p95_ms": 0.2,
    "ttft_p99_ms": 0.05,
    "tpot_p95_ms": 0.2,
    "tpot_p99_ms": 0.05,
    "rps_sustained": 0.1,
    "accuracy_score": 0.9,
    "gpu_utilization_pct": 0.35,
    "memory_used_gb": 0.35,
}
_IS_MISSING: Final = np.array([_MISSING.get(name, 0.0) for name in FIGURES], np.float32)[:, None]
# Shares of the paper figure that kernels reach.
_BANDWIDTH_SHARE: Final = 0.6
_ARITHMETIC_SHARE: Final = 0.45
_DRIFT_FROM_MS: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Curves:
    """What the configurations of a model measure on average, an entry for each: shape (c,).

    Times in ms. `load` is 0 without and 1 with infinitely many requests in flight.
    """

    ttft: Floats
    tpot: Floats
    load: Floats
    concurrency: Floats
    output_tokens: Floats
    accuracy: Floats
    memory_gb: Floats


@dataclass(frozen=True, slots=True)
class Rows:
    """n simulated results, in order of time as they are made.

    ids: (n, 16) bytes, UUIDv7. config_indexes, times_ms (Unix milliseconds), request_counts,
    failed_counts: (n,). figures: (13, n) in the order of FIGURES, NaN where one is missing.
    """

    ids: NDArray[np.uint8]
    config_indexes: Ints
    times_ms: Ints
    figures: Floats
    request_counts: Ints
    failed_counts: Ints

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int) -> "Rows":
        """The first `count` of them."""
        return Rows(
            self.ids[:count],
            self.config_indexes[:count],
            self.times_ms[:count],
            self.figures[:, :count],
            self.request_counts[:count],
            self.failed_counts[:count],
        )


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one after the other."""
    return Rows(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.config_indexes for part in parts]),
        np.concatenate([part.times_ms for part in parts]),
        np.concatenate([part.figures for part in parts], axis=1),
        np.concatenate([part.request_counts for part in parts]),
        np.concatenate([part.failed_counts for part in parts]),
    )


def curves(model: Model, configurations: Sequence[Configuration]) -> Curves:
    """The curves of the configurations, which are the model's."""

    def column(values: Any) -> Floats:
        return np.fromiter(values, np.float64, len(configurations))

    parameters = model.billions * 1e9
    bits = column(QUANTIZATIONS[one.quantization] for one in configurations)
    gpus = column(one.hardware.gpu_count for one in configurations)
    bandwidth = column(one.hardware.bandwidth_tb_s for one in configurations) * 1e12 * gpus
    flops = column(one.hardware.bf16_tflops for one in configurations) * 1e12 * gpus
    slowness = column(one.framework.slowness for one in configurations)
    inputs = column(one.workload.input_tokens for one in configurations)
    outputs = column(one.workload.output_tokens for one in configurations)
    concurrency = column(one.concurrency for one in configurations)

    step = parameters * bits / 8 / (bandwidth * _BANDWIDTH_SHARE) * 1e3 + 1.5 + np.log2(gpus)
    prefill = 2 * parameters * inputs / (flops * _ARITHMETIC_SHARE) * 1e3
    room = np.sqrt(gpus * 1024 / (inputs + outputs)) * (16 / bits) ** 0.25
    saturation = np.maximum(64 * room / (model.billions / 8) ** 0.2, 4)
    crowd = concurrency / saturation
    # Larger models know more, and fewer bits a little less.
    knowledge = 0.45 + 0.06 * np.log2(1 + model.billions) + model.number % 7 * 0.005
    return Curves(
        ttft=slowness * (15 + prefill * (1 + 1.5 * crowd)),
        tpot=slowness * step * (1 + crowd),
        load=crowd / (1 + crowd),
        concurrency=concurrency,
        output_tokens=outputs,
        accuracy=knowledge - np.select([bits == 8, bits == 4], [0.003, 0.02], 0.0),
        memory_gb=column(one.hardware.vram_gb for one in configurations) * gpus * 0.9,
    )


class Simulator:
    """Makes the results of one model's configurations.

    The same seed, model, configurations and arguments make the same rows, whoever asks and in
    whatever order.
    """

    def __init__(self, model: Model, configurations: Sequence[Configuration], seed: int) -> None:
        self.model = model
        self._curves = curves(model, configurations)
        self._seed = seed
        self._phases = np.random.default_rng((seed, model.number)).random(len(configurations))

    def rows(self, sequence: int, count: int, start_ms: int, end_ms: int) -> Rows:
        """`count` results of any configurations in [start_ms, end_ms), Unix milliseconds.

        Another `sequence` makes other ones.
        """
        rng = np.random.default_rng((self._seed, self.model.number, sequence))
        indexes = rng.integers(len(self._phases), size=count)
        times = np.sort(rng.integers(start_ms, end_ms, size=count))
        # Ten or more requests for each that is in flight, and few that fail.
        requests = np.maximum(64, 10 * self._curves.concurrency[indexes]).astype(np.int64)
        failed = rng.binomial(requests, 0.001)
        return Rows(
            ids=_ids(rng, times),
            config_indexes=indexes,
            times_ms=times,
            figures=self._figures(rng, indexes, times),
            request_counts=requests - failed,
            failed_counts=failed,
        )

    def _figures(self, rng: np.random.Generator, indexes: Ints, times: Ints) -> Floats:
        def noise(spread: float) -> Floats:
            return np.exp(spread * rng.standard_normal(len(indexes)))

        curves, load = self._curves, self._curves.load[indexes]
        days = (times - _DRIFT_FROM_MS) / _DAY_MS
        # Faster with every release, and up and down by some percent within a month.
        waves = 0.05 * np.sin(2 * np.pi * (days / 30 + self._phases[indexes]))
        drift = np.exp(waves - 0.0004 * days)
        ttft = curves.ttft[indexes] * drift * noise(0.06)
        tpot = curves.tpot[indexes] * drift * noise(0.04)
        outputs = curves.output_tokens[indexes]
        throughput = curves.concurrency[indexes] * outputs * 1e3 / (ttft + outputs * tpot)
        accuracy = curves.accuracy[indexes] + 0.004 * rng.standard_normal(len(indexes))

        figures = np.empty((len(FIGURES), len(indexes)))
        figures[0:4] = ttft * np.exp(_QUANTILES * (0.10 + 0.45 * load) * noise(0.1))
        figures[4:8] = tpot * np.exp(_QUANTILES * (0.04 + 0.20 * load) * noise(0.1))
        figures[8] = throughput
        figures[9] = throughput / outputs
        figures[10] = np.clip(accuracy, 0, 1)
        figures[11] = np.minimum(100 * (0.25 + 0.72 * load) * noise(0.02), 100)
        figures[12] = curves.memory_gb[indexes] * noise(0.01)
        figures[rng.random(figures.shape, np.float32) < _IS_MISSING] = np.nan
        return figures


def _ids(rng: np.random.Generator, times_ms: Ints) -> NDArray[np.uint8]:
    ids = rng.integers(256, size=(len(times_ms), 16), dtype=np.uint8)
    ids[:, :6] = times_ms.astype(">i8").view(np.uint8).reshape(-1, 8)[:, 2:]
    ids[:, 6] = ids[:, 6] & 0x0F | 0x70
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids
