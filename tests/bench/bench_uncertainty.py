"""How long it takes to say how sure a ranking is, next to the plain ways to do it."""

import numpy as np

from services.ranking import chance, confidence, draws, pareto, smaa, spread, topsis
from services.ranking.columns import Floats
from tests.bench.bench_ranking import peak_mib, trade_offs
from tests.bench.harness import Bench, Figure, alternate, measure

ALTERNATIVES, CRITERIA = 1000, 8
PART = 20
"""The baselines take one in so many of the draws, and their time is multiplied."""


@measure("rank.smaa_1000x8x10k", unit="ms")
def smaa_1000x8x10k(bench: Bench) -> Figure:
    """Rank acceptability of 1000 alternatives by 8 criteria, 10^4 draws; baseline: TOPSIS for each.

    The baseline ranks all alternatives with the weights of each draw, in the fastest form there is
    here for one ranking (`topsis.scores`).
    """
    values = trade_offs(np.random.default_rng(1), ALTERNATIVES, CRITERIA)
    weights, maximize = np.arange(1.0, CRITERIA + 1), np.ones(CRITERIA, dtype=np.bool_)
    samples, kappa = smaa.DEFAULT_SAMPLES, smaa.DEFAULT_KAPPA

    def ours() -> Floats:
        return smaa.acceptability(values, weights, maximize, seed=1).first

    def plain(count: int = samples // PART) -> Floats:
        alpha = kappa * weights / weights.sum()
        first = np.zeros(ALTERNATIVES)
        for drawn in chance.generator(1).dirichlet(alpha, count):
            first[topsis.scores(values, drawn, maximize).argmax()] += 1
        return first / count

    np.testing.assert_allclose(ours(), plain(samples), atol=1e-12)
    subject, baseline = alternate(ours, plain, bench.rounds)
    front = int(pareto.front(values, maximize).sum())
    note = f"{front} on the front, extra memory {peak_mib(ours):.1f} MiB"
    return Figure(subject * 1e3, baseline * PART * 1e3, note=note)


@measure("rank.confidence_1000x8x1k", unit="ms")
def confidence_1000x8x1k(bench: Bench) -> Figure:
    """P(best) of 1000 alternatives by 8 criteria, 10^3 draws; baseline: TOPSIS for each.

    One criterion is exact, as a price is. Most of the time goes into normal numbers and their
    exponentials, which both have to draw.
    """
    return _confidence(bench, ALTERNATIVES, PART)


@measure("rank.confidence_50x8x1k", unit="ms")
def confidence_50x8x1k(bench: Bench) -> Figure:
    """P(best) of 50 alternatives, as answers mostly have; baseline: TOPSIS for each draw."""
    return _confidence(bench, 50, 1)


def _confidence(bench: Bench, alternatives: int, part: int) -> Figure:
    rng = np.random.default_rng(1)
    values = trade_offs(rng, alternatives, CRITERIA)
    runs = rng.integers(1, 6, values.shape)
    runs[:, -1] = 0
    factor = np.exp(0.02 * np.abs(rng.standard_normal(values.shape)) * (runs > 1))
    found = spread.spread_of(values, values / factor, values * factor, runs)
    weights, maximize = np.arange(1.0, CRITERIA + 1), np.ones(CRITERIA, dtype=np.bool_)
    samples = confidence.DEFAULT_SAMPLES
    chosen = np.arange(20)

    def ours() -> Floats:
        return confidence.confidence(values, found, weights, maximize, seed=1, chosen=chosen).p_best

    def plain(count: int = samples // part) -> Floats:
        streams = [chance.generator(1, j) for j in range(CRITERIA - 1)]
        first, drawn = np.zeros(alternatives), values.copy()
        for _ in range(count):
            for j, stream in enumerate(streams):
                normal = stream.standard_normal(alternatives)
                drawn[:, j] = values[:, j] * np.exp(found.error[:, j] * normal)
            first[topsis.scores(drawn, weights, maximize).argmax()] += 1
        return first / count

    np.testing.assert_allclose(ours(), plain(samples), atol=1e-9)
    subject, baseline = alternate(ours, plain, bench.rounds)
    note = f"blocks of {draws.BLOCK_CELLS} cells, extra memory {peak_mib(ours):.1f} MiB"
    return Figure(subject * 1e3, baseline * part * 1e3, note=note)
