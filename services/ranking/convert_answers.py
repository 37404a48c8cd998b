"""Answers of the ranking into messages."""

from collections.abc import Iterable

import numpy as np

from servemark.ranking.v1.candidate_pb2 import (
    ExcludedAlternative,
    ExclusionCount,
    Notice,
)
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontResponse, ParetoPoint
from servemark.ranking.v1.recommend_pb2 import (
    CriterionScore,
    LimitCheck,
    LimitVerdict,
    Recommendation,
    RecommendResponse,
)
from servemark.ranking.v1.recommend_pb2 import Normalization as NormalizationMessage
from servemark.type.v1.metric_pb2 import Metric, MetricWeight
from services.ranking.answers import Answers
from services.ranking.convert_alternatives import (
    alternative_to_proto,
    limit_to_proto,
    limits_to_proto,
)
from services.ranking.convert_cells import cells_to_proto
from services.ranking.convert_dominance import dominance_to_proto
from services.ranking.convert_explanations import (
    Explanations,
    infeasible_to_proto,
    stability_to_proto,
)
from services.ranking.convert_options import options_to_proto
from services.ranking.convert_time import time_to_proto
from services.ranking.explain import Explainer, explainer
from services.ranking.limits import UNKNOWN
from services.ranking.matrix import Ints
from services.ranking.metrics import METRICS, PRICES
from services.ranking.notices import Message
from services.ranking.pareto_front import Front
from services.ranking.recommend import Answer, Ranking
from services.ranking.screening import Screened
from services.ranking.topsis import Normalization

NORMALIZATION_TO_PROTO = {
    Normalization.VECTOR: NormalizationMessage.NORMALIZATION_VECTOR,
    Normalization.MIN_MAX: NormalizationMessage.NORMALIZATION_MIN_MAX,
    Normalization.FIXED_BOUNDS: NormalizationMessage.NORMALIZATION_FIXED_BOUNDS,
}


def recommend_response_to_proto(answer: Answer, answers: Answers) -> RecommendResponse:
    """The whole answer to Recommend."""
    request, ranking = answer.request, answer.ranking
    excluded = answer.screened.excluded()[: request.max_excluded]
    return RecommendResponse(
        matrix_version=answer.matrix.version,
        matrix_time=time_to_proto(answer.matrix.made_at_us),
        use_case=request.use_case.name if request.use_case else "",
        weights=weights_to_proto(answer.weights),
        limits=limits_to_proto(answer.limits),
        normalization=NORMALIZATION_TO_PROTO[request.normalization],
        recommendations=recommendations_to_proto(answer, answers),
        candidate_count=len(answer.candidates),
        ranked_count=0 if ranking is None else ranking.who.size,
        exclusion_counts=exclusion_counts_to_proto(answer.screened),
        excluded=[_excluded(answer.screened, int(index)) for index in excluded],
        notices=notices_to_proto(sorted((*answer.notices, *answers.notices), key=_by_kind)),
        infeasible=infeasible_to_proto(answer, answers.shortfall) if answers.shortfall else None,
        stability=stability_to_proto(answer, answers),
        answers=options_to_proto(request.options),
    )


def _by_kind(notice: Message) -> tuple[int, int]:
    return notice.kind, notice.metric


def recommendations_to_proto(answer: Answer, answers: Answers) -> list[Recommendation]:
    """The recommendations, best first, at most as many as asked for."""
    explain = explainer(answer)
    if explain is None:
        return []
    explanations = Explanations(answer, answers, explain.ranking)
    breakdowns = _breakdowns(explain.ranking, answer.shown)
    metrics = sorted(
        {*explain.ranking.criteria, *(limit.metric for limit in answer.limits), *PRICES}
    )
    return [
        _recommendation(explain, explanations, at, place, breakdown, metrics)
        for at, (place, breakdown) in enumerate(zip(answer.shown.tolist(), breakdowns, strict=True))
    ]


def _breakdowns(ranking: Ranking, shown: Ints) -> list[list[CriterionScore]]:
    """How much each criterion has to do with the score, of the shown[s] alternatives."""
    result = ranking.result
    parts = (ranking.values, result.normalized, result.ideal_sq, result.anti_ideal_sq)
    criteria = list(zip(ranking.criteria, result.weights.tolist(), strict=True))
    return [
        [
            CriterionScore(
                metric=Metric.ValueType(metric),
                weight=weight,
                value=value,
                normalized=normalized,
                ideal_distance_sq=ideal_sq,
                anti_ideal_distance_sq=anti_ideal_sq,
            )
            for (metric, weight), (value, normalized, ideal_sq, anti_ideal_sq) in zip(
                criteria, row, strict=True
            )
        ]
        for row in np.stack([part[shown] for part in parts], axis=-1).tolist()
    ]


def front_to_proto(front: Front) -> GetParetoFrontResponse:
    """The whole answer to GetParetoFront."""
    return GetParetoFrontResponse(
        matrix_version=front.matrix.version,
        matrix_time=time_to_proto(front.matrix.made_at_us),
        points=[_point(front, place) for place in range(front.points.size)],
        front_count=front.front_count,
        dominated_count=front.dominated_count,
        exclusion_counts=exclusion_counts_to_proto(front.screened),
        notices=notices_to_proto(front.notices),
    )


def _point(front: Front, place: int) -> ParetoPoint:
    request, index = front.request, int(front.points[place])
    by = int(front.dominated_by[place])
    return ParetoPoint(
        alternative=alternative_to_proto(front.candidates, index),
        cells=cells_to_proto(
            front.candidates, index, request.metrics, explain=request.explain_cells
        ),
        pareto_rank=int(front.pareto_rank[place]),
        dominance=dominance_to_proto(
            front.candidates, index, by, request.metrics, front.margins[place]
        )
        if by >= 0
        else None,
    )


def _recommendation(
    explain: Explainer,
    explanations: Explanations,
    at: int,
    place: int,
    breakdown: Iterable[CriterionScore],
    metrics: Iterable[int],
) -> Recommendation:
    answer, ranking = explain.answer, explain.ranking
    candidates, index = answer.candidates, int(ranking.who[place])
    return Recommendation(
        rank=int(ranking.result.rank[place]),
        score=float(ranking.result.score[place]),
        pareto_rank=int(ranking.pareto_rank[place]),
        alternative=alternative_to_proto(candidates, index),
        cells=cells_to_proto(candidates, index, metrics, explain=answer.request.explain_cells),
        breakdown=breakdown,
        limit_checks=_limit_checks(answer.screened, index),
        reasons=explain.reasons(place),
        dominance=explanations.dominance(at),
        contributions=explanations.contributions(at),
        acceptability=explanations.acceptability(at),
        confidence=explanations.confidence(at),
        replicas=explanations.replicas(at),
    )


def _limit_checks(screened: Screened, index: int) -> list[LimitCheck]:
    checks = []
    for verdicts in screened.verdicts:
        place, verdict = int(verdicts.decided_by[index]), int(verdicts.verdict[index])
        check = LimitCheck(
            limit=limit_to_proto(verdicts.limit),
            verdict=LimitVerdict.ValueType(verdict),
            decided_by=METRICS[place].metric,
        )
        if verdict != UNKNOWN:
            check.value = float(screened.candidates.value[index, place])
        checks.append(check)
    return checks


def _excluded(screened: Screened, index: int) -> ExcludedAlternative:
    why = screened.why(index)
    return ExcludedAlternative(
        alternative=alternative_to_proto(screened.candidates, index),
        reasons=[reason for reason, _ in why],
        details=[text for _, text in why],
    )


def exclusion_counts_to_proto(screened: Screened) -> list[ExclusionCount]:
    """How many each reason leaves out, by reason, then metric."""
    return [
        ExclusionCount(
            reason=exclusion.reason,
            metric=Metric.ValueType(exclusion.metric),
            count=int(exclusion.who.sum()),
        )
        for exclusion in screened.exclusions
    ]


def notices_to_proto(notices: Iterable[Message]) -> list[Notice]:
    """The notices in their order."""
    return [
        Notice(kind=notice.kind, metric=Metric.ValueType(notice.metric), text=notice.text)
        for notice in notices
    ]


def weights_to_proto(weights: Iterable[tuple[int, float]]) -> list[MetricWeight]:
    """(metric, weight) pairs as messages."""
    return [
        MetricWeight(metric=Metric.ValueType(metric), weight=weight) for metric, weight in weights
    ]
