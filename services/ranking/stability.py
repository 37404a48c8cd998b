"""How far the weight of each criterion may move before another alternative wins, and which.

Weights are compared with the sum 1. If one becomes u, the others share 1 - u and keep their
proportions to each other. Scores depend on nothing else: scaling all weights changes none.

With P[i,j] and N[i,j] the parts of D+² and D-² of alternative i for equal weights, and v the
weights of the others, scaled to a sum of 1,

    D-²[i](u) = (1-u)² n[i] + u² N[i,j],    n[i] = sum over k ≠ j of v[k]² N[i,k]
    D+²[i](u) = (1-u)² p[i] + u² P[i,j],    p[i] likewise

and a does not score below b while D-²[a] D+²[b] ≥ D-²[b] D+²[a], as C rises with D-²/D+². The
difference is a quadratic in t = u² / (1-u)², whose roots are the only places where the order of the
two can change. So the ends of a's interval are roots, in closed form; between two of them, one look
at a point tells who is ahead. The nearest places on either side of the weight as it is where
somebody gets ahead are the ends.

The normalized values do not depend on the weights, so this holds for every normalization.

Of many alternatives, few ever get ahead before the first one does. A few of the best give ends
which are no nearer than the real ones, and up to those ends the sign of the quadratic is looked at
for all others: where its Bernstein coefficients are not negative it is not either, and no root is
needed. Where many are left, those farthest ahead at the ends give nearer ones. As a form in
y = (1-u)² and x = u²,

    Q(y, x) = c0 y² + c1 y x + c2 x²

has between the weight as it is, e, and another one, f, the coefficients Q(e), which no rival has
below 0, B(e,f) and Q(f), with B its polar form. The two are linear in the parts of the rival, so
one product of matrices gives them for everybody.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NOBODY = -1

_ROUNDING = 1e-13  # scores that differ by no more than this may be equal
_TOGETHER = 1e-9  # who gets ahead within this much of an end gets ahead at it
_BEYOND = 1e-6  # how far beyond an end is just beyond
_FEW = 128  # so many alternatives need not be told apart before
_ROUNDS = 3  # of those, before all that are left are looked at
_BLOCK_ROWS = 16_384  # whose coefficients are looked at together: 3 MiB for six criteria


@dataclass(frozen=True, eq=False)
class Stability:
    """The weights, with a sum of 1, between which the winner stays the winner; m criteria."""

    weights: Floats
    """[m] as they are."""
    low: Floats
    """[m] down to this weight nobody scores above the winner; 0: it need not count at all."""
    high: Floats
    """[m] up to this weight nobody does; 1: it may be all that counts."""
    below: Ints
    """[m] the row that wins if the weight is a little less than low; NOBODY if low is 0."""
    above: Ints
    """[m] the row that wins if the weight is a little more than high; NOBODY if high is 1."""


def intervals(distances: npt.ArrayLike, weights: npt.ArrayLike, best: int | Ints) -> Stability:
    """The interval of each weight in which row best[0] stays first.

    distances[2, n, m] are the parts of D+² and D-² before they are weighted, as `topsis.rank` gives
    them. weights[m] ≥ 0 in any scale are those in use, with which the winner has the highest score,
    alone or with others. The rows of others that score high may follow it in best[b]: they change
    no answer, and with some dozens of them it is found sooner.

    - Who ties with the winner does not end its interval until it scores above. So the interval may
      end at the weight as it is, on either side or both.
    - The winner's equals never score above it. Rows with NaN (excluded alternatives) take no part.
    - A criterion without weight: its interval starts at 0. One that alone has weight has no others
      to share the rest, so scores do not depend on its weight and its interval is 0 to 1.
    - Of several that get ahead at the same place, the best one just beyond is named, then the first
      by row.

    Raises ValueError for shapes that do not fit together, a winner that is excluded, and weights
    that are not finite and ≥ 0 with one above 0.

    The first two alternatives are each the best by one criterion and the worst by the other, so
    their scores are the weights. The third has 6/10 of the way behind it by both: it scores 0.6
    whatever the weights, and wins until one of them is more than that.

    >>> to_ideal, to_worst = [[0, 1], [1, 0], [0.16, 0.16]], [[1, 0], [0, 1], [0.36, 0.36]]
    >>> found = intervals([to_ideal, to_worst], [1, 1], 2)
    >>> found.low.round(12).tolist(), found.high.round(12).tolist()
    ([0.4, 0.4], [0.6, 0.6])
    >>> found.below.tolist(), found.above.tolist()
    ([1, 0], [0, 1])
    """
    first = np.atleast_1d(best)
    winner = int(first[0])
    parts, w = _checked(distances, weights, winner)
    share = w / w.sum()
    rivals, down, up = _who_matters(parts, w, winner, np.sort(first))
    low, high = down.max(axis=1, initial=-np.inf), up.min(axis=1, initial=np.inf)
    above, below = np.full((2, w.size), NOBODY)
    for j in range(w.size):
        if high[j] < 1:
            beyond = high[j] + min(_BEYOND, (1 - high[j]) / 2)
            above[j] = rivals.best(up[j] <= high[j] + _TOGETHER, j, beyond)
        if low[j] > 0:
            beyond = low[j] - min(_BEYOND, low[j] / 2)
            below[j] = rivals.best(down[j] >= low[j] - _TOGETHER, j, beyond)
    return Stability(share, low.clip(0), high.clip(max=1), below, above)


@dataclass(frozen=True, eq=False)
class _Rivals:
    """k complete rows, and the winner after them: what makes up their D+² and D-².

    Transposed: what belongs to one criterion lies together, and numpy is quick along it.
    """

    rows: Ints  # [k]
    own: Floats  # P and N, [2, m, k + 1]
    rest: Floats  # p and n, [2, m, k + 1], for each j
    rest_of_own: Floats  # [m, m] rest is this times own

    def lead(self, u: Floats) -> Floats:
        """The winner's score minus each rival's […, m, k] if weight j is u[…, m, k] or u[m, 1]."""
        winners = _score(u, self.own[..., -1:], self.rest[..., -1:])
        return winners - _score(u, self.own[..., :-1], self.rest[..., :-1])

    def lead_now(self, share: Floats) -> Floats:
        """The winner's score minus each rival's [k] with the weights share[m, 1] as they are."""
        score = _closeness(*(np.square(share[:, 0]) @ self.own))
        lead: Floats = score[-1] - score[:-1]
        return lead

    def quadratic(self) -> tuple[Floats, Floats, Floats]:
        """c0, c1, c2[m, k]: D-²[a] D+²[b] - D-²[b] D+²[a] = c0 + c1 t + c2 t²."""
        (p, n), (p_own, n_own) = self.rest[..., :-1], self.own[..., :-1]
        (p_a, n_a), (p_own_a, n_own_a) = self.rest[..., -1:], self.own[..., -1:]
        c0 = n_a * p - n * p_a
        c1 = (n_a * p_own - n * p_own_a) + (n_own_a * p - n_own * p_a)
        c2 = n_own_a * p_own - n_own * p_own_a
        return c0, c1, c2

    def best(self, some: Bools, j: int, u: float) -> int:
        """The row with the highest score among some[k] of the rivals if weight j is u."""
        places = np.flatnonzero(some)
        if places.size == 1:
            return int(self.rows[places[0]])
        score = _score(np.array(u), self.own[:, j, places], self.rest[:, j, places])
        return int(self.rows[places[score >= score.max() - _ROUNDING][0]])


def _score(u: Floats, own: Floats, rest: Floats) -> Floats:
    """C[…] if a criterion with these parts[2, …] of D+² and D-² weighs u, and the rest 1 - u."""
    one, other = np.square(u), np.square(1 - u)
    return _closeness(*(other * r + one * o for r, o in zip(rest, own, strict=True)))


def _closeness(plus: Floats, minus: Floats) -> Floats:
    """C[…] for D+² and D-²; where they are both 0, nothing differs and all are level."""
    with np.errstate(divide="ignore", over="ignore"):  # infinite where the score is 0
        ratio = np.divide(plus, minus, where=(plus > 0) | (minus > 0), out=np.ones_like(plus))
    score: Floats = 1 / (1 + np.sqrt(ratio, out=ratio))
    return score


def _rivals(parts: Floats, w: Floats, winner: int, rows: Ints) -> _Rivals:
    """These rows[k], all of them complete, and the winner."""
    own = parts[:, :, np.append(rows, winner)]
    others = 1 - np.eye(w.size)
    total = w @ others  # of the others, without subtracting
    v_sq = np.square(np.divide(w[:, None] * others, total, where=total > 0, out=0 * others))
    return _Rivals(rows, own, v_sq.T @ own, v_sq.T)


def _who_matters(
    parts: Floats, w: Floats, winner: int, first: Ints
) -> tuple[_Rivals, Floats, Floats]:
    """Those who may get ahead up to the nearest ends, and where they first do: see `_first_ahead`.

    All that are complete if they are few.
    """
    share = (w / w.sum())[:, None]
    _, m, n = parts.shape
    if n <= _FEW:
        complete = np.isfinite(parts).all(axis=(0, 1))
        everybody = _rivals(parts, w, winner, np.flatnonzero(complete))
        return everybody, *_first_ahead(everybody, share)
    # Whoever is the best by one criterion gets ahead where that one counts for nearly everything.
    champions = parts[0].argmin(axis=1)
    champions = champions[np.isfinite(parts[:, :, champions]).all(axis=(0, 1))]
    first = np.union1d(first, champions)
    left, own = np.arange(n), parts.reshape(2 * m, n)
    for _ in range(_ROUNDS):
        few = _rivals(parts, w, winner, first)
        down, up = _first_ahead(few, share)
        # A little more, for who gets ahead just beyond an end is named if it is the best there.
        low = down.max(axis=1, keepdims=True, initial=-np.inf) - _BEYOND
        high = up.min(axis=1, keepdims=True, initial=np.inf) + _BEYOND
        coefficients = _coefficients(few, share, low.clip(0), high.clip(max=1))
        places, values = _below(coefficients, own)
        left, own = left[places], own[:, places]
        matters = np.union1d(few.rows, left)
        if matters.size == few.rows.size:
            return few, down, up
        if matters.size <= 2 * _FEW:
            break
        # Who is farthest ahead of the winner up to those ends gives nearer ones.
        first = np.union1d(few.rows, left[values.argmin(axis=1)])
    rivals = _rivals(parts, w, winner, matters)
    return rivals, *_first_ahead(rivals, share)


def _below(coefficients: Floats, own: Floats) -> tuple[Ints, Floats]:
    """The places[p], rising, where a product[c] with the coefficients is below 0, and those[c, p].

    There is none where something is not complete.
    """
    places, values = [], []
    for start in range(0, own.shape[1], _BLOCK_ROWS):
        product = coefficients @ own[:, start : start + _BLOCK_ROWS]
        found = np.flatnonzero(product.min(axis=0) < 0)
        places.append(start + found)
        values.append(product[:, found])
    return np.concatenate(places), np.concatenate(values, axis=1)


def _coefficients(rivals: _Rivals, share: Floats, low: Floats, high: Floats) -> Floats:
    """What times a rival's P and N, one below the other, gives its Bernstein coefficients[4m].

    They are those of the quadratics between low[m, 1] and share, and between share and high, but
    for those at share. Who has none below 0 is nowhere ahead there.
    """
    m = share.size
    (p_a, n_a), (p_own_a, n_own_a) = rivals.rest[..., -1], rivals.own[..., -1]
    here, *ends = (np.square([1 - u[:, 0], u[:, 0]]) for u in (share, low, high))
    (y, x), (v, u) = np.stack([here, here, *ends], axis=1), np.stack([*ends, *ends], axis=1)
    first, middle, last = y * v, (y * u + x * v) / 2, x * u  # [4, m]
    rest = np.stack([n_a * first + n_own_a * middle, -(p_a * first + p_own_a * middle)], axis=-1)
    own = np.stack([n_a * middle + n_own_a * last, -(p_a * middle + p_own_a * last)], axis=-1)
    found = rest[..., None] * rivals.rest_of_own[:, None, :]  # [4, m, 2, m]
    criteria = np.arange(m)
    found[:, criteria, :, criteria] += own.transpose(1, 0, 2)
    return found.reshape(4 * m, 2 * m)


def _first_ahead(rivals: _Rivals, share: Floats) -> tuple[Floats, Floats]:
    """Where each rival[m, k] first gets ahead below and above the weight as it is; ∓∞: nowhere."""
    edges = _edges(rivals, share)
    start, end = edges[:-1], edges[1:]
    ahead = rivals.lead((start + end) / 2) < -_ROUNDING
    down = np.where(ahead & (start < share), np.minimum(end, share), -np.inf).max(axis=0)
    up = np.where(ahead & (end > share), np.maximum(start, share), np.inf).min(axis=0)
    return down, up


def _edges(rivals: _Rivals, share: Floats) -> Floats:
    """0, the weights at which a rival's score equals the winner's, and 1: rising, [4, m, k].

    Where there are fewer than two such weights, 1 is repeated.
    """
    c0, c1, c2 = rivals.quadratic()
    # Negative or no roots become NaN, and t = ∞, where only this criterion counts, is no change.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        q = -0.5 * (c1 + np.copysign(np.sqrt(c1 * c1 - 4 * c0 * c2), c1))  # without cancellation
        root = np.sqrt(np.stack([q / c2, c0 / q]))
        u = root / (1 + root)
    # A rival which is level as things are has a root right there, whatever rounding makes of it.
    away = np.where(np.isnan(u), np.inf, np.abs(u - share))
    nearer = np.stack([away[0] <= away[1], away[0] > away[1]])
    u = np.where(nearer & (np.abs(rivals.lead_now(share)) <= _ROUNDING), share, u)
    u[np.isnan(u)] = 1
    return np.stack([np.zeros_like(c0), u.min(axis=0), u.max(axis=0), np.ones_like(c0)])


def _checked(
    distances: npt.ArrayLike, weights: npt.ArrayLike, winner: int
) -> tuple[Floats, Floats]:
    """The parts[2, m, n], and the weights, the largest of which is 1."""
    parts = np.asarray(distances, dtype=np.float64)
    w = np.asarray(weights, dtype=np.float64)
    if parts.ndim != 3 or len(parts) != 2 or w.shape != parts.shape[2:]:
        raise ValueError(f"distances {parts.shape} need two parts for each weight of {w.shape}")
    if not (np.isfinite(w).all() and (w >= 0).all() and (w > 0).any()):
        raise ValueError(f"weights {w.tolist()} are not finite and ≥ 0 with one above 0")
    if not np.isfinite(parts[:, winner]).all():
        raise ValueError(f"row {winner} takes no part, so it cannot win")
    return np.ascontiguousarray(parts.transpose(0, 2, 1)), w / w.max()
