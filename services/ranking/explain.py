"""Why an alternative is where it is, in sentences for people."""

from dataclasses import dataclass

import numpy as np

from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance
from services.ranking.limits import UNCERTAIN
from services.ranking.matrix import Floats
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
    """Gives the reasons of any alternative of one answer. Make it with `explainer`."""

    answer: Answer
    ranking: Ranking
    best: list[float]  # [m] the best value of each criterion
    holders: list[int]  # [m] how many have it
    constant: list[bool]  # [m] whether all have it
    prices: Floats  # [r] the price per million tokens, NaN where it is not known
    cheapest: float  # the lowest of them; NaN where none is known

    def reasons(self, place: int) -> list[str]:
        """The reasons of ranked alternative `place`, the strongest first."""
        found = [
            *self._leads(place),
            *self._price(place),
            *self._front(place),
            *self._weakness(place),
            *self._limits(place),
        ]
        row = self.answer.candidates.row(int(self.ranking.who[place]))
        if row.run_count == 1:
            found.append("Rests on a single run, so its spread is not known.")
        if row.provenance in _NOT_MEASURED:
            found.append(_NOT_MEASURED[Provenance.ValueType(row.provenance)])
        return found

    def _leads(self, place: int) -> list[str]:
        """The criteria in which none is better, if they tell alternatives apart."""
        count, found = self.ranking.who.size, []
        for column, value in enumerate(self.ranking.values[place].tolist()):
            if self.constant[column] or value != self.best[column]:
                continue
            metric = self.ranking.criteria[column]
            info, others = info_of(metric), self.holders[column] - 1
            shared = f", as {others} other{'s' * (others > 1)}" if others else ""
            found.append(
                f"{'Highest' if info.maximize else 'Lowest'} {info.label} of {count} alternatives"
                f"{shared}: {amount(metric, value)}."
            )
        return found

    def _price(self, place: int) -> list[str]:
        """How its tokens' price stands to the cheapest, unless it leads by that criterion."""
        price = float(self.prices[place])
        if not price > self.cheapest:
            alone = self.ranking.who.size == 1 or _TOKEN_PRICE in self.ranking.criteria
            if np.isnan(price) or alone:
                return []
            return [f"Cheapest of the alternatives: {figure(_TOKEN_PRICE, price)}."]
        ratio = rounded(price / self.cheapest, 2 if price / self.cheapest >= 1.1 else 3)
        if ratio == "1":
            return []
        own = amount(_TOKEN_PRICE, price, beside=self.cheapest)
        cheapest = amount(_TOKEN_PRICE, self.cheapest, beside=price)
        return [f"{ratio}x the price per million tokens of the cheapest: {own} against {cheapest}."]

    def _front(self, place: int) -> list[str]:
        rank, count = int(self.ranking.pareto_rank[place]), self.ranking.who.size
        if count == 1:
            return ["The only alternative left."]
        if rank == 1:
            return [
                "Nothing is at least as good in every criterion and better in one (Pareto front)."
            ]
        return [f"On Pareto front {rank}: another is at least as good in every criterion."]

    def _weakness(self, place: int) -> list[str]:
        """The criterion that takes it farthest from the ideal."""
        result = self.ranking.result
        parts = (result.to_ideal[place] * np.square(result.weights)).tolist()
        most = max(parts)
        column = parts.index(most)
        metric = self.ranking.criteria[column]
        value, best = float(self.ranking.values[place, column]), self.best[column]
        if not most > 0 or value == best:
            return []
        return [
            f"Loses most by {info_of(metric).label}: {amount(metric, value, beside=best)}, "
            f"where the best has {amount(metric, best, beside=value)}."
        ]

    def _limits(self, place: int) -> list[str]:
        who = int(self.ranking.who[place])
        texts = [
            (verdicts.verdict[who] == UNCERTAIN, limit_text(self.answer.candidates, verdicts, who))
            for verdicts in self.answer.screened.verdicts
        ]
        # What may be broken is said before what is kept.
        return [f"{text}." for _, text in sorted(texts, key=lambda pair: not pair[0])]


def explainer(answer: Answer) -> Explainer | None:
    """The explainer of an answer's alternatives; None where nothing was ranked."""
    ranking = answer.ranking
    if ranking is None:
        return None
    values = ranking.values
    best = np.where(ranking.maximize, values.max(axis=0), values.min(axis=0))
    prices = answer.candidates.value[ranking.who, PLACE[_TOKEN_PRICE]]
    return Explainer(
        answer=answer,
        ranking=ranking,
        best=best.tolist(),
        holders=(values == best).sum(axis=0).tolist(),
        constant=ranking.result.constant.tolist(),
        prices=prices,
        cheapest=float(np.nanmin(prices)) if not np.isnan(prices).all() else float("nan"),
    )
