"""Why an alternative is where it is, in sentences for people."""

from dataclasses import dataclass
from math import isnan

import numpy as np

from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.limits import UNCERTAIN
from services.ranking.metrics import PLACE, amount, figure, info_of, rounded
from services.ranking.recommend import Answer, Ranking
from services.ranking.screening import limit_text

_TOKEN_PRICE = Metric.METRIC_USD_PER_MILLION_TOKENS

_NOT_MEASURED = {
    Provenance.PROVENANCE_SIMULATED: "Its figures were simulated, not measured.",
    Provenance.PROVENANCE_ESTIMATED: "Its figures were estimated, not measured.",
}


@dataclass(frozen=True, eq=False, slots=True)
class Explainer:
    """Gives the reasons of the alternatives that are listed. Make it with `explainer`."""

    answer: Answer
    ranking: Ranking
    best: list[float]  # [m] the best value of each criterion
    values: list[list[float]]  # [s, m]
    leads: list[list[int]]  # [s] the criteria in which it has that, and not everybody
    losses: list[list[float]]  # [s, m] parts of D+²
    prices: list[float]  # [s] the price per million tokens, NaN where it is not known
    cheapest: float  # the lowest of all that were ranked; NaN where none is known

    def reasons(self, at: int) -> list[str]:
        """The reasons of the alternative that is listed at `at`, the strongest first."""
        who = int(self.ranking.who[self.ranking.shown[at]])
        found = [
            *self._leads(at),
            *self._price(self.prices[at]),
            *self._front(int(self.ranking.pareto_rank[self.ranking.shown[at]])),
            *self._weakness(at),
            *self._limits(who),
        ]
        row = self.answer.candidates.row(who)
        if row.run_count == 1:
            found.append("Rests on a single run, so its spread is not known.")
        if row.provenance in _NOT_MEASURED:
            found.append(_NOT_MEASURED[Provenance.ValueType(row.provenance)])
        return found

    def _leads(self, at: int) -> list[str]:
        """The criteria in which none is better, if they tell alternatives apart."""
        count, found = self.ranking.who.size, []
        for column in self.leads[at]:
            metric, best = self.ranking.criteria[column], self.best[column]
            info = info_of(metric)
            others = int((self.ranking.values[:, column] == best).sum()) - 1
            shared = f", as {others} other{'s' * (others > 1)}" if others else ""
            found.append(
                f"{'Highest' if info.maximize else 'Lowest'} {info.label} of {count} alternatives"
                f"{shared}: {amount(metric, best)}."
            )
        return found

    def _price(self, price: float) -> list[str]:
        """How its tokens' price stands to the cheapest, unless it leads by that criterion."""
        if not price > self.cheapest:
            alone = self.ranking.who.size == 1 or _TOKEN_PRICE in self.ranking.criteria
            if isnan(price) or alone:
                return []
            return [f"Cheapest of the alternatives: {figure(_TOKEN_PRICE, price)}."]
        ratio = rounded(price / self.cheapest, 2 if price / self.cheapest >= 1.1 else 3)
        if ratio == "1":
            return []
        own = amount(_TOKEN_PRICE, price, beside=self.cheapest)
        cheapest = amount(_TOKEN_PRICE, self.cheapest, beside=price)
        return [f"{ratio}x the price per million tokens of the cheapest: {own} against {cheapest}."]

    def _front(self, rank: int) -> list[str]:
        if self.ranking.who.size == 1:
            return ["The only alternative left."]
        if rank == 1:
            return [
                "Nothing is at least as good in every criterion and better in one (Pareto front)."
            ]
        return [f"On Pareto front {rank}: another is at least as good in every criterion."]

    def _weakness(self, at: int) -> list[str]:
        """The criterion that takes it farthest from the ideal."""
        losses = self.losses[at]
        most = max(losses)
        column = losses.index(most)
        metric = self.ranking.criteria[column]
        value, best = self.values[at][column], self.best[column]
        if not most > 0 or value == best:
            return []
        return [
            f"Loses most by {info_of(metric).label}: {amount(metric, value, beside=best)}, "
            f"where the best has {amount(metric, best, beside=value)}."
        ]

    def _limits(self, who: int) -> list[str]:
        # What may be broken is said before what is kept.
        verdicts = sorted(
            self.answer.screened.verdicts, key=lambda one: int(one.verdict[who]) != UNCERTAIN
        )
        return [f"{limit_text(self.answer.candidates, one, who)}." for one in verdicts]


def explainer(answer: Answer) -> Explainer | None:
    """The explainer of an answer's alternatives; None where nothing was ranked."""
    ranking = answer.ranking
    if ranking is None:
        return None
    values, shown = ranking.values, ranking.shown
    best = ranking.result.ideal
    if ranking.bounds is not None:  # the ideal is the better of these
        best = np.where(ranking.maximize, values.max(axis=0), values.min(axis=0))
    prices = answer.candidates.value(PLACE[_TOKEN_PRICE])[ranking.who]
    # NaN if there is no other.
    cheapest = float(np.fmin.reduce(prices))
    losses, _ = ranking.result.parts_of(shown)
    leads: list[list[int]] = [[] for _ in shown]
    for at, column in np.argwhere((values[shown] == best) & ~ranking.result.constant).tolist():
        leads[at].append(column)
    return Explainer(
        answer=answer,
        ranking=ranking,
        best=best.tolist(),
        values=values[shown].tolist(),
        leads=leads,
        losses=losses.tolist(),
        prices=prices[shown].tolist(),
        cheapest=cheapest,
    )
