"""How long the answers beside a ranking take, next to the plain ways to compute them."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from services.ranking import contributions, dominance, infeasible, pareto, stability, topsis
from tests.bench.bench_ranking import plain_topsis
from tests.bench.harness import Bench, Figure, alternate, measure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@measure("rank.nearest_1e5x6", unit="ms")
def nearest_1e5x6(bench: Bench) -> Figure:
    """What to drop or relax for 10^5 alternatives and 6 limits of which none keeps all.

    Baseline: each of the 64 sets of limits tried on all rows, and moocore's front of all
    percentages, sorted.
    """
    rng = np.random.default_rng(1)
    actual = rng.lognormal(0, 0.5, (100_000, 6))
    bounds = np.quantile(actual, 0.1, axis=0)
    actual[np.all(actual <= bounds, axis=1), 0] = 2 * bounds[0]
    actual[rng.random(actual.shape) < 0.01] = np.nan
    violated: Bools = ~(actual <= bounds)
    down = np.zeros(6, dtype=np.bool_)

    def ours() -> infeasible.Nearest:
        return infeasible.nearest(violated, actual, bounds, down)

    def plain() -> tuple[set[tuple[int, ...]], Ints]:
        found: set[tuple[int, ...]] = set()
        for size in range(7):
            for some in combinations(range(6), size):
                kept = [j for j in range(6) if j not in some]
                contains = any(set(other) <= set(some) for other in found)
                if not contains and (~violated[:, kept]).all(axis=1).any():
                    found.add(some)
        relax_pct = 100 * np.maximum(actual / bounds - 1, 0)
        front = np.flatnonzero(pareto.front(relax_pct, down))
        least = np.lexsort((relax_pct[front].sum(axis=1), relax_pct[front].max(axis=1)))
        return found, front[least]

    mine, (drops, rows) = ours(), plain()
    assert {tuple(np.flatnonzero(row)) for row in mine.drops} == set(
        sorted(drops, key=len)[: len(mine.drops)]
    )
    np.testing.assert_array_equal(mine.alternatives, rows[: mine.alternatives.size])
    subject, baseline = alternate(ours, plain, bench.rounds)
    return Figure(subject * 1e3, baseline * 1e3, note=f"{rows.size} on the front of relaxations")


@measure("rank.dominated_by_1e4x5", unit="ms")
def dominated_by_1e4x5(bench: Bench) -> Figure:
    """By whom each dominated one of 10^4 alternatives is dominated; baseline: a loop over them."""
    rng = np.random.default_rng(1)
    values = rng.lognormal(0, 1, (10_000, 5))
    maximize: Bools = np.arange(5) % 2 == 0
    ranks = pareto.pareto_rank(values, maximize)

    def ours() -> Ints:
        return dominance.dominated_by(values, maximize, ranks).by

    def plain() -> Ints:
        signed = np.where(maximize, values, -values)
        front = np.flatnonzero(ranks == 1)
        found = []
        for row in np.flatnonzero(ranks > 1):
            own = signed[row]
            over = front[np.all(signed[front] >= own, axis=1)]
            larger = np.maximum(np.abs(signed[over]), np.abs(own))
            found.append(over[np.argmax(((signed[over] - own) / larger).min(axis=1))])
        return np.array(found)

    np.testing.assert_array_equal(ours(), plain())
    subject, baseline = alternate(ours, plain, bench.rounds)
    note = f"{np.sum(ranks > 1):,} by {np.sum(ranks == 1)} on the front"
    return Figure(subject * 1e3, baseline * 1e3, note=note)


@measure("rank.contributions_1000x8", unit="ms")
def contributions_1000x8(bench: Bench) -> Figure:
    """Contributions to 1000 scores by 8 criteria; baseline: the sum over coalitions as written."""
    values, weights, maximize = problem()
    result = topsis.rank(values, weights, maximize)
    plus, minus = result.ideal_sq, result.anti_ideal_sq

    def ours() -> Floats:
        return contributions.of_score(plus, minus)

    def plain() -> Floats:
        middle = ((np.sqrt(plus) + np.sqrt(minus)) / 2) ** 2

        def score(some: tuple[int, ...]) -> Floats:
            inside = np.isin(np.arange(8), some)
            to_ideal = np.sqrt(np.where(inside, plus, middle).sum(axis=1))
            to_anti = np.sqrt(np.where(inside, minus, middle).sum(axis=1))
            closeness: Floats = to_anti / (to_ideal + to_anti)
            return closeness

        found = np.zeros(plus.shape)
        for j in range(8):
            others = [k for k in range(8) if k != j]
            for size in range(8):
                for some in combinations(others, size):
                    share = 1 / (8 * math.comb(7, size))
                    found[:, j] += share * (score((*some, j)) - score(some))
        return found

    np.testing.assert_allclose(ours(), plain(), rtol=0, atol=1e-12)
    subject, baseline = alternate(ours, plain, bench.rounds)
    return Figure(subject * 1e3, baseline * 1e3)


@measure("rank.stability_1000x8", unit="ms")
def stability_1000x8(bench: Bench) -> Figure:
    """The intervals of 8 weights among 1000 alternatives, TOPSIS included.

    Baseline: each end by bisection to 1e-9, scoring all again at each step. It finds no more than
    a change of the winner, which need not be the first.
    """
    values, weights, maximize = problem()
    share = weights / weights.sum()
    winner = int(topsis.rank(values, weights, maximize).order[0])

    def ours() -> stability.Stability:
        result = topsis.rank(values, weights, maximize)
        return stability.intervals(result.distances, weights, result.best(64))

    def end(j: int, outside: float) -> float:
        def wins(u: float) -> bool:
            moved = share * (1 - u) / (1 - share[j])
            moved[j] = u
            return int(np.argmax(plain_topsis(values, moved, maximize))) == winner

        inside = float(share[j])
        if wins(outside):
            return outside
        while abs(outside - inside) > 1e-9:
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if wins(middle) else (inside, middle)
        return inside

    def plain() -> list[list[float]]:
        return [[end(j, side) for j in range(8)] for side in (0.0, 1.0)]

    found = ours()
    np.testing.assert_allclose([found.low, found.high], plain(), rtol=0, atol=2e-9)
    subject, baseline = alternate(ours, plain, bench.rounds)
    return Figure(subject * 1e3, baseline * 1e3)


def problem() -> tuple[Floats, Floats, Any]:
    """1000 alternatives by 8 criteria, their weights and directions."""
    rng = np.random.default_rng(1)
    return rng.lognormal(0, 1, (1000, 8)), rng.uniform(0.1, 1, 8), np.arange(8) % 2 == 0
