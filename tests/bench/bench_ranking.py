"""How long the mathematics of ranking takes, next to the plain ways to do it."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt

from services.ranking import pareto, topsis
from tests.bench.harness import Bench, Figure, alternate, measure

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@measure("rank.topsis_1e6x8", unit="ms")
def topsis_1e6x8(bench: Bench) -> Figure:
    """TOPSIS scores of 10^6 alternatives by 8 criteria; baseline: whole-matrix numpy expressions.

    The baseline has none of ours' care: no scaling, no exact norms, no look for missing cells.
    """
    rng = np.random.default_rng(1)
    values = rng.lognormal(0, 1, (1_000_000, 8))
    weights = rng.uniform(0.1, 1, 8)
    maximize: Bools = np.arange(8) % 2 == 0

    def ours() -> Floats:
        return topsis.scores(values, weights, maximize)

    def plain() -> Floats:
        return plain_topsis(values, weights, maximize)

    np.testing.assert_allclose(ours(), plain(), atol=1e-12)
    subject, baseline = alternate(ours, plain, bench.rounds)
    note = f"extra memory {peak_mib(ours):.0f} MiB (baseline {peak_mib(plain):.0f})"
    return Figure(subject * 1e3, baseline * 1e3, note=note)


@measure("rank.pareto_1e5x5", unit="ms")
def pareto_1e5x5(bench: Bench) -> Figure:
    """The Pareto front of 10^5 alternatives by 5 criteria; baseline: moocore's function alone.

    Trade-off data, as configurations are: what is better in one criterion is worse in another, and
    about half of them are on the front. Ours looks for incomplete rows first; a ratio near 1 is the
    most there can be.
    """
    points = trade_offs(np.random.default_rng(1), 100_000, 5)
    maximize = [True, False, True, False, False]
    points[:, ~np.array(maximize)] *= -1

    def ours() -> Bools:
        return pareto.front(points, maximize)

    def alone() -> Bools:
        found: Bools = moocore.is_nondominated(points, maximise=maximize, keep_weakly=True)
        return found

    np.testing.assert_array_equal(ours(), alone())
    subject, baseline = alternate(ours, alone, bench.rounds)
    return Figure(subject * 1e3, baseline * 1e3, note=f"{np.mean(ours()):.0%} on the front")


def plain_topsis(values: Floats, weights: Floats, maximize: Bools) -> Floats:
    """TOPSIS as one writes it down, for a matrix without edge cases."""
    weighted = values / np.sqrt((values**2).sum(axis=0)) * (weights / weights.sum())
    high, low = weighted.max(axis=0), weighted.min(axis=0)
    ideal, anti = np.where(maximize, high, low), np.where(maximize, low, high)
    to_ideal = np.sqrt(((weighted - ideal) ** 2).sum(axis=1))
    to_anti = np.sqrt(((weighted - anti) ** 2).sum(axis=1))
    closeness: Floats = to_anti / (to_ideal + to_anti)
    return closeness


def trade_offs(rng: np.random.Generator, n: int, m: int) -> Floats:
    """Points to maximise in a shell that is 10 % thick around the origin."""
    directions = np.abs(rng.standard_normal((n, m)))
    shell = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    points: Floats = shell * rng.uniform(0.9, 1, (n, 1))
    return points


def peak_mib(function: Callable[[], Any]) -> float:
    """The most memory in use at once during the call, its result included."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
