"""The answers beside a ranking, as messages."""

from collections.abc import Iterator
from dataclasses import dataclass

from servemark.ranking.v1.acceptability_pb2 import Acceptability
from servemark.ranking.v1.confidence_pb2 import Confidence
from servemark.ranking.v1.contributions_pb2 import Contributions, CriterionContribution
from servemark.ranking.v1.dominance_pb2 import Dominance
from servemark.ranking.v1.infeasible_pb2 import (
    Infeasible,
    LimitConflict,
    LimitPass,
    Relaxation,
    RelaxedLimit,
)
from servemark.ranking.v1.replicas_pb2 import Fleet, Replicas
from servemark.ranking.v1.stability_pb2 import WeightStability
from servemark.type.v1.metric_pb2 import Metric
from services.ranking import replicas
from services.ranking.answers import Answers
from services.ranking.contributions import BASELINE
from services.ranking.convert_alternatives import alternative_to_proto, limits_to_proto
from services.ranking.convert_dominance import dominance_to_proto
from services.ranking.recommend import Answer, Ranking
from services.ranking.shortfall import Shortfall
from services.ranking.stability import NOBODY


@dataclass(frozen=True, eq=False, slots=True)
class Explanations:
    """The answers about single alternatives; `at` counts through those that are listed."""

    answer: Answer
    answers: Answers
    ranking: Ranking

    def dominance(self, at: int) -> Dominance | None:
        """Who is better; None for one on the front."""
        found, ranking = self.answers.dominance, self.ranking
        if found is None:
            return None
        place = int(self.answer.shown[at])
        if ranking.pareto_rank[place] == 1:
            return None
        entry = int(found.rows.searchsorted(place))
        worse, better = int(ranking.who[place]), int(ranking.who[found.by[entry]])
        candidates = self.answer.candidates
        message = dominance_to_proto(
            candidates, worse, better, ranking.criteria, found.margins[entry]
        )
        message.alternative.CopyFrom(alternative_to_proto(candidates, better))
        return message

    def contributions(self, at: int) -> Contributions | None:
        """The parts of the score."""
        found = self.answers.contributions
        if found is None:
            return None
        parts = zip(self.ranking.criteria, found[at].tolist(), strict=True)
        return Contributions(
            baseline=BASELINE,
            criteria=[
                CriterionContribution(metric=Metric.ValueType(metric), contribution=part)
                for metric, part in parts
            ],
        )

    def acceptability(self, at: int) -> Acceptability | None:
        """How often it wins under other weights."""
        found = self.answers.acceptability
        if found is None:
            return None
        place = int(self.answer.shown[at])
        return Acceptability(
            acceptability=float(found.share[place, 0]), standard_error=float(found.error[place, 0])
        )

    def confidence(self, at: int) -> Confidence | None:
        """How sure its place is."""
        found = self.answers.confidence
        if found is None:
            return None
        place = int(self.answer.shown[at])
        tied = found.tied_with(at)
        tied[at] = False
        candidates, who = self.answer.candidates, self.ranking.who[self.answer.shown]
        return Confidence(
            best_probability=float(found.p_best[place]),
            standard_error=float(found.error[place]),
            score_low=float(found.low[at]),
            score_high=float(found.high[at]),
            tied_config_ids=[candidates.row(index).config_id for index in who[tied].tolist()],
        )

    def replicas(self, at: int) -> Replicas | None:
        """The instances for the target rate."""
        if not self.answers.replicas:
            return None
        plan = self.answers.replicas[at]
        return Replicas(
            typical=_fleet(plan.typical),
            safe=_fleet(plan.safe),
            rate_converted=plan.converted,
            gaps=[gap.value for gap in plan.gaps],
        )


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
    return Infeasible(
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
        relaxations=[
            Relaxation(
                alternative=alternative_to_proto(answer.candidates, int(shortfall.who[row])),
                limits=[
                    RelaxedLimit(limit=limit, actual=actual, relax_pct=percent)
                    for limit, actual, percent in zip(limits, needed, relax_pct, strict=True)
                    if actual != limit.limit
                ],
            )
            for row, needed, relax_pct in zip(
                found.alternatives.tolist(),
                found.needed.tolist(),
                found.relax_pct.tolist(),
                strict=True,
            )
        ],
    )


def _fleet(fleet: replicas.Fleet | None) -> Fleet | None:
    if fleet is None:
        return None
    return Fleet(
        replica_count=fleet.instances,
        utilization=fleet.utilization,
        total_usd_per_hour=fleet.usd_per_hour,
        usd_per_million_tokens=fleet.usd_per_million_tokens,
    )
