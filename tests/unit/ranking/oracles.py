"""Slow and obvious forms of the mathematics of ranking, to hold the fast ones against.

TOPSIS is computed with 60 decimal digits and no limit on exponents that a float could reach, so it
has no edge cases of its own: values of 1e200 and 1e-200 need no care here.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import numpy.typing as npt

from services.ranking.topsis import Normalization

Rows = Sequence[Sequence[float]]


def closeness(
    rows: Rows,
    weights: Sequence[float],
    maximize: Sequence[bool],
    normalization: Normalization = Normalization.VECTOR,
    bounds: Rows | None = None,
) -> list[float]:
    """D- / (D+ + D-) of complete rows, by the textbook; 0.5 where both are zero."""
    with localcontext() as context:
        context.prec = 60
        # Columns differ in size by up to 600 places, and the sum of their squares by twice that.
        context.Emax, context.Emin = 999_999, -999_999
        v, ends = [], []
        for j, weight in enumerate(weights):
            column = [Decimal(row[j]) for row in rows]
            low, high = min(column), max(column)
            offset, size = Decimal(0), sum((x * x for x in column), Decimal(0)).sqrt()
            if normalization is Normalization.MIN_MAX:
                offset, size = low, high - low
            if bounds is not None:
                low, high = (Decimal(end) for end in bounds[j])
                column = [min(max(x, low), high) for x in column]
                offset, size = low, high - low
            share = Decimal(weight) / sum(Decimal(w) for w in weights)
            scaled = [
                share * (x - offset) / size if size else Decimal(0) for x in [*column, low, high]
            ]
            v.append(scaled[:-2])
            ends.append(scaled[-2:] if maximize[j] else scaled[:-3:-1])
        scores = []
        for i in range(len(rows)):
            to_anti, to_ideal = (
                sum(
                    ((v[j][i] - ends[j][side]) ** 2 for j in range(len(weights))), Decimal(0)
                ).sqrt()
                for side in (0, 1)
            )
            total = to_anti + to_ideal
            scores.append(float(to_anti / total) if total else 0.5)
        return scores


def dominates(a: Sequence[float], b: Sequence[float], maximize: Sequence[bool]) -> bool:
    """Whether a is nowhere worse than b and somewhere better; never if a cell is not finite."""
    if not all(math.isfinite(x) for x in [*a, *b]):
        return False
    gains = [
        (x > y) - (x < y) if up else (x < y) - (x > y)
        for x, y, up in zip(a, b, maximize, strict=True)
    ]
    return min(gains) >= 0 and max(gains) > 0


def pareto_ranks(rows: Rows, maximize: Sequence[bool]) -> list[int]:
    """Fronts peeled off one by one; 0 for incomplete rows."""
    ranks = [0] * len(rows)
    left = {i for i, row in enumerate(rows) if all(math.isfinite(x) for x in row)}
    peeled = 0
    while left:
        peeled += 1
        front = {i for i in left if not any(dominates(rows[k], rows[i], maximize) for k in left)}
        for i in front:
            ranks[i] = peeled
        left -= front
    return ranks


def competition_ranks(scores: npt.NDArray[np.float64]) -> list[int]:
    """1 + the number of better scores; 0 for NaN."""
    return [0 if math.isnan(s) else 1 + sum(other > s for other in scores) for s in scores]


def minimal_drops(violated: Sequence[Sequence[bool]], limits: int) -> dict[frozenset[int], int]:
    """Every smallest set of limits to drop, with how many alternatives it frees."""
    broken = [frozenset(j for j in range(limits) if row[j]) for row in violated]
    frees = {
        frozenset(some): sum(row <= frozenset(some) for row in broken)
        for size in range(limits + 1)
        for some in combinations(range(limits), size)
    }
    return {
        some: count
        for some, count in frees.items()
        if count and not any(frees[some - {limit}] for limit in some)
    }


def relaxations(
    violated: Sequence[Sequence[bool]],
    actual: Rows,
    bounds: Sequence[float],
    maximize: Sequence[bool],
) -> list[tuple[int, list[float]]]:
    """The rows to which none is nearer and the percentages each needs, the least first."""
    needs: dict[int, list[Fraction]] = {}
    for i, (broken, figures) in enumerate(zip(violated, actual, strict=True)):
        moves = []
        for is_broken, figure, bound, up in zip(broken, figures, bounds, maximize, strict=True):
            known = math.isfinite(figure) and (figure < bound if up else figure > bound)
            if is_broken and not known:
                break
            moves.append(abs(Fraction(figure) - Fraction(bound)) if is_broken else Fraction(0))
        else:
            needs[i] = moves
    nearest = [
        i
        for i, moves in needs.items()
        if not any(
            other != moves and all(a <= b for a, b in zip(other, moves, strict=True))
            for other in needs.values()
        )
    ]
    listed = []
    for i in nearest:
        shares = [
            100 * float(move / abs(Fraction(bound)))
            if bound and move
            else math.inf
            if move
            else 0.0
            for move, bound in zip(needs[i], bounds, strict=True)
        ]
        listed.append((max(shares, default=0), sum(shares), needs[i], i, shares))
    return [(i, shares) for *_, i, shares in sorted(listed)]


def margin(better: float, worse: float) -> float:
    """By what share the smaller of two figures lies below the larger; 1 across zero."""
    if better == worse:
        return 0
    if min(better, worse) <= 0 <= max(better, worse):
        return 1
    low, high = sorted((abs(better), abs(worse)))
    return (high - low) / high


def clearest_dominator(
    rows: Rows, maximize: Sequence[bool], row: int
) -> tuple[int, list[float]] | None:
    """Who on the front has the largest smallest margin over `row`, and its margins."""
    ranks, found = pareto_ranks(rows, maximize), []
    for i, other in enumerate(rows):
        if ranks[i] == 1 and dominates(other, rows[row], maximize):
            margins = [margin(a, b) for a, b in zip(other, rows[row], strict=True)]
            found.append((-min(margins), -sum(margins), i, margins))
    return (min(found)[2], min(found)[3]) if found else None


def shapley(players: int, worth: Callable[[frozenset[int]], float]) -> list[float]:
    """The mean of what each player adds, over all orders."""
    added: list[list[float]] = [[] for _ in range(players)]
    for order in permutations(range(players)):
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            added[player].append(worth(before | {player}) - worth(before))
    return [math.fsum(parts) / len(parts) for parts in added]
