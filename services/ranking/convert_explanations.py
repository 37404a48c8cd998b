"""The answers beside a ranking, as messages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from servemark.ranking.v1.confidence_pb2 import Confidence
from servemark.ranking.v1.contributions_pb2 import CriterionContribution
from servemark.ranking.v1.dominance_pb2 import Dominance
from servemark.ranking.v1.infeasible_pb2 import (
    Infeasible,
    LimitConflict,
    LimitPass,
    RelaxedLimit,
)
from servemark.ranking.v1.recommend_pb2 import Recommendation
from servemark.ranking.v1.replicas_pb2 import Fleet, Replicas
from servemark.ranking.v1.stability_pb2 import WeightStability
from servemark.type.v1.metric_pb2 import Metric
from services.ranking import confidence, dominance, replicas
from services.ranking.answers import Answers
from services.ranking.contributions import BASELINE
from services.ranking.convert_alternatives import limits_to_proto, write_alternative
from services.ranking.convert_dominance import write_dominance
from services.ranking.convert_kept import merge_alternative
from services.ranking.convert_packed import add_each
from services.ranking.matrix import Floats
from services.ranking.recommend import Answer, Ranking
from services.ranking.shortfall import Shortfall
from services.ranking.stability import NOBODY


@dataclass(frozen=True, eq=False, slots=True)
class Explanations:
    """The answers about single alternatives; `at` counts through those that are listed."""

    answer: Answer
    answers: Answers
    ranking: Ranking

    def write(self, message: Recommendation, at: int) -> None:
        """Writes those that were asked for."""
        answers, place = self.answers, int(self.ranking.shown[at])
        if answers.dominance is not None and self.ranking.pareto_rank[place] > 1:
            self._write_dominance(message.dominance, answers.dominance, place)
        if answers.acceptability is not None:
            share, error = answers.acceptability.share, answers.acceptability.error
            message.acceptability.acceptability = float(share[place, 0])
            message.acceptability.standard_error = float(error[place, 0])
        if answers.confidence is not None:
            self._write_confidence(message.confidence, answers.confidence, at)
        if answers.replicas:
            _write_replicas(message.replicas, answers.replicas[at])

    def _write_dominance(self, message: Dominance, found: dominance.Dominance, place: int) -> None:
        """Who is better than one that is behind the front."""
        entry = int(found.rows.searchsorted(place))
        who, candidates = self.ranking.who, self.answer.candidates
        worse, better = int(who[place]), int(who[found.by[entry]])
        margins = found.margins[entry]
        write_dominance(message, candidates, worse, better, self.ranking.criteria, margins)
        merge_alternative(message.alternative, candidates, better)

    def _write_confidence(self, message: Confidence, found: confidence.Confidence, at: int) -> None:
        """How sure its place is."""
        place = int(self.ranking.shown[at])
        tied = found.tied_with(at)
        tied[at] = False
        candidates, who = self.answer.candidates, self.ranking.who[self.ranking.shown]
        message.best_probability = float(found.p_best[place])
        message.standard_error = float(found.error[place])
        message.score_low = float(found.low[at])
        message.score_high = float(found.high[at])
        message.tied_config_ids.extend(candidates.row(i).config_id for i in who[tied].tolist())


def _write_replicas(message: Replicas, plan: replicas.Plan) -> None:
    """The instances for the target rate."""
    message.rate_converted = plan.converted
    message.gaps.extend(gap.value for gap in plan.gaps)
    for fleet, found in ((message.typical, plan.typical), (message.safe, plan.safe)):
        if found is not None:
            fleet.CopyFrom(_fleet(found))


def add_contributions(
    into: Sequence[Recommendation], ranking: Ranking, contributions: Floats
) -> None:
    """What the criteria add to the scores; contributions[s, m] of the alternatives in into[s]."""
    messages = [message.contributions for message in into]
    for message in messages:
        message.baseline = BASELINE
    same = [CriterionContribution(metric=Metric.ValueType(metric)) for metric in ranking.criteria]
    add_each(messages, "criteria", same, ("contribution",), contributions[..., None])


def stability_to_proto(answer: Answer, answers: Answers) -> Iterator[WeightStability]:
    """How far each weight may move."""
    found, ranking = answers.stability, answer.ranking
    if found is None or ranking is None:
        return

    def name(row: int) -> str:
        if row == NOBODY:
            return ""
        return answer.candidates.row(int(ranking.who[row])).config_id

    for column, metric in enumerate(ranking.criteria):
        yield WeightStability(
            metric=Metric.ValueType(metric),
            weight=float(found.weights[column]),
            min_weight=float(found.low[column]),
            max_weight=float(found.high[column]),
            winner_below_config_id=name(int(found.below[column])),
            winner_above_config_id=name(int(found.above[column])),
        )


def infeasible_to_proto(answer: Answer, shortfall: Shortfall) -> Infeasible:
    """Why nothing fits, and what to relax."""
    limits, found = limits_to_proto(shortfall.limits), shortfall.found
    message = Infeasible(
        pass_counts=[
            LimitPass(limit=limit, pass_count=count, candidate_count=shortfall.who.size)
            for limit, count in zip(limits, found.pass_count.tolist(), strict=True)
        ],
        conflicts=[
            LimitConflict(
                limits=[
                    limit for limit, is_dropped in zip(limits, drop, strict=True) if is_dropped
                ],
                remaining_count=freed,
            )
            for drop, freed in zip(found.drops.tolist(), found.freed.tolist(), strict=True)
        ],
    )
    relaxed = (found.alternatives.tolist(), found.needed.tolist(), found.relax_pct.tolist())
    for row, needed, relax_pct in zip(*relaxed, strict=True):
        relaxation = message.relaxations.add(
            limits=[
                RelaxedLimit(limit=limit, actual=actual, relax_pct=percent)
                for limit, actual, percent in zip(limits, needed, relax_pct, strict=True)
                if actual != limit.limit
            ]
        )
        write_alternative(relaxation.alternative, answer.candidates, int(shortfall.who[row]))
    return message


def _fleet(fleet: replicas.Fleet) -> Fleet:
    return Fleet(
        replica_count=fleet.instances,
        utilization=fleet.utilization,
        total_usd_per_hour=fleet.usd_per_hour,
        usd_per_million_tokens=fleet.usd_per_million_tokens,
    )
