"""How sure a ranking is, given that its cells are medians of a few runs.

Every cell is drawn anew, lognormal around its value with the error that `spread` gives it, and the
whole is ranked anew, norms and ideals included. How often an alternative comes first is P(best),
the scores of a draw are paired, and 5 % to 95 % of a score is its interval.

What this takes for granted:

* Cells are independent, within an alternative and between them. A percentile and the next one are
  not, nor are configurations that share a model's accuracy; what they share is counted as noise of
  each, so differences look a little less certain than they are.
* A price per token follows from the throughput: `inverse_of` has it move against it in every draw.
* Weights, limits and who takes part stay as they are. `smaa` varies the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.ranking import chance, draws, topsis
from services.ranking.columns import Floats
from services.ranking.spread import LEVEL, Spread
from services.ranking.topsis import Bools, Normalization

DEFAULT_SAMPLES = 1000


@dataclass(frozen=True, eq=False, slots=True)
class Confidence:
    """What s draws of n alternatives by m criteria tell; of k chosen ones, their scores too."""

    samples: int
    """0 where a spread is not known or nobody takes part: shares and intervals are NaN then."""
    p_best: Floats
    """[n] share of the draws in which an alternative comes first, evenly shared by those which come
    first together. NaN for an excluded alternative."""
    error: Floats
    """[n] standard error of p_best from the number of draws; 0 where no draw can differ."""
    low: Floats
    """[k] 5 % of the score."""
    high: Floats
    """[k] 95 % of the score."""
    scores: Floats
    """[s, k] the scores of each draw."""
    unknown: Bools
    """[m] criteria of weight above 0 with a cell whose spread is not known: nobody has several runs
    from which to take what is typical."""

    def tied_with(self, place: int) -> Bools:
        """Whether the 90 % interval of the paired difference of score holds 0, for each of the k.

        Such an alternative is statistically tied with chosen alternative `place`, as it is with
        itself. False for all if spreads are not known, for nothing is then known of ties.
        """
        if not self.samples:
            return np.zeros(self.low.size, dtype=np.bool_)
        low, high = _interval(self.scores - self.scores[:, place, None])
        tied: Bools = (low <= 0) & (high >= 0)
        return tied


def confidence(
    values: npt.ArrayLike,
    spread: Spread,
    weights: npt.ArrayLike,
    maximize: npt.ArrayLike,
    *,
    seed: int,
    normalization: Normalization = Normalization.VECTOR,
    bounds: npt.ArrayLike | None = None,
    ceiling: npt.ArrayLike | None = None,
    inverse_of: Mapping[int, int] | None = None,
    hold_unknown: bool = False,
    samples: int = DEFAULT_SAMPLES,
    chosen: npt.ArrayLike | None = None,
) -> Confidence:
    """P(best) of the alternatives by criteria values[n, m], and the score intervals of the chosen.

    `spread` is that of the same cells. `ceiling[m]` is the most a criterion can be (an accuracy is
    at most 1; infinity: no limit) and draws are cut off there. `inverse_of` names criteria that are
    a constant over another one. With `hold_unknown`, a cell whose spread is not known is drawn as
    if it were exact, which its criterion being `unknown` has to be said beside. `chosen[k]` are
    rows; without it all are, and the scores take samples * n * 8 bytes.

    The other arguments, the exclusions and the errors are those of `topsis.rank`; ValueError too
    for a spread of other cells, for samples < 1, and for a base that is itself over another one.
    Where no cell can be off, the first of the ranking is certain to be: they are drawn once.
    """
    given = topsis.rank(values, weights, maximize, normalization=normalization, bounds=bounds)
    _, n, m = given.distances.shape
    if spread.error.shape != (n, m) or samples < 1:
        raise ValueError(f"a spread of {spread.error.shape} for {(n, m)} cells, {samples} samples")
    inverse = dict(inverse_of or {})
    if not inverse.keys().isdisjoint(inverse.values()):
        raise ValueError(f"inverse_of {inverse} has a criterion over one that is over another")
    rows = np.arange(n) if chosen is None else np.asarray(chosen, dtype=np.int64)
    kept = np.flatnonzero(~given.excluded)
    unknown = np.isnan(spread.error[kept]).any(axis=0) & (given.weights > 0)
    p_best, error = np.full((2, n), np.nan)
    if not kept.size or (unknown.any() and not hold_unknown):
        nothing = np.full(rows.size, np.nan)
        return Confidence(0, p_best, error, nothing, nothing, np.empty((0, rows.size)), unknown)

    cells = draws.noisy(
        given, values, spread.error, maximize, normalization, bounds, ceiling, inverse
    )
    certain = not cells.error.any()
    if certain:
        samples = 1
    p_best[kept] = 0.0
    scores = np.full((samples, rows.size), np.nan)
    present = ~given.excluded[rows]
    places = np.searchsorted(kept, rows[present])
    blocks = [given.score[None, kept]] if certain else draws.scores(cells, samples, seed)
    start = 0
    for block in blocks:
        draw, first = np.nonzero(block == block.max(axis=1, keepdims=True))
        together = np.bincount(draw)
        p_best[kept] += np.bincount(first, 1 / together[draw], minlength=kept.size) / samples
        scores[start : start + len(block), present] = block[:, places]
        start += len(block)
    error[kept] = 0.0 if certain else chance.standard_error(p_best[kept] * samples, samples)
    low, high = _interval(scores)
    return Confidence(samples, p_best, error, low, high, scores, unknown)


def _interval(drawn: Floats) -> tuple[Floats, Floats]:
    """5 % and 95 % [k] of what was drawn[s, k]."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
