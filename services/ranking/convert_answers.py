"""Answers of the ranking into messages."""

from collections.abc import Iterable, Sequence

import numpy as np
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

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
    limits_to_proto,
    write_alternative,
)
from services.ranking.convert_cells import write_cells
from services.ranking.convert_dominance import write_dominance
from services.ranking.convert_explanations import (
    Explanations,
    add_contributions,
    infeasible_to_proto,
    stability_to_proto,
)
from services.ranking.convert_kept import merge_facts
from services.ranking.convert_options import options_to_proto
from services.ranking.convert_packed import add_each
from services.ranking.convert_time import time_to_proto
from services.ranking.explain import explainer
from services.ranking.limits import UNKNOWN
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
    response = RecommendResponse(
        matrix_version=answer.matrix.version,
        matrix_time=time_to_proto(answer.matrix.made_at_us),
        use_case=request.use_case.name if request.use_case else "",
        weights=weights_to_proto(answer.weights),
        limits=limits_to_proto(answer.limits),
        normalization=NORMALIZATION_TO_PROTO[request.normalization],
        candidate_count=len(answer.candidates),
        ranked_count=0 if ranking is None else ranking.who.size,
        exclusion_counts=exclusion_counts_to_proto(answer.screened),
        notices=notices_to_proto(sorted((*answer.notices, *answers.notices), key=_by_kind)),
        infeasible=infeasible_to_proto(answer, answers.shortfall) if answers.shortfall else None,
        stability=stability_to_proto(answer, answers),
        answers=options_to_proto(request.options),
    )
    _write_recommendations(response.recommendations, answer, answers)
    for index in answer.screened.excluded()[: request.max_excluded].tolist():
        _write_excluded(response.excluded.add(), answer.screened, index)
    return response


def _by_kind(notice: Message) -> tuple[int, int]:
    return notice.kind, notice.metric


def recommendations_to_proto(answer: Answer, answers: Answers) -> Sequence[Recommendation]:
    """The recommendations, best first, at most as many as asked for."""
    response = RecommendResponse()
    _write_recommendations(response.recommendations, answer, answers)
    return response.recommendations


def _write_recommendations(
    into: RepeatedCompositeFieldContainer[Recommendation], answer: Answer, answers: Answers
) -> None:
    explain = explainer(answer)
    if explain is None:
        return
    ranking, candidates = explain.ranking, answer.candidates
    explanations = Explanations(answer, answers, ranking)
    limited = (limit.metric for limit in answer.limits)
    metrics = tuple(sorted({*ranking.criteria, *limited, *PRICES}))
    for at, place in enumerate(ranking.shown.tolist()):
        index = int(ranking.who[place])
        message = into.add(
            rank=int(ranking.rank[at]),
            score=float(ranking.result.score[place]),
            pareto_rank=int(ranking.pareto_rank[place]),
            reasons=explain.reasons(at),
        )
        merge_facts(message, candidates, index, metrics, explain=answer.request.explain_cells)
        _write_limit_checks(message.limit_checks, answer.screened, index)
        explanations.write(message, at)
    _add_breakdowns(into, ranking)
    if answers.contributions is not None:
        add_contributions(into, ranking, answers.contributions)


def _add_breakdowns(into: Sequence[Recommendation], ranking: Ranking) -> None:
    """What each criterion does to the score of each alternative that is listed."""
    result, shown = ranking.result, ranking.shown
    parts = (ranking.values[shown], result.normalized_of(shown), *result.parts_of(shown))
    same = [
        CriterionScore(metric=Metric.ValueType(metric), weight=weight)
        for metric, weight in zip(ranking.criteria, result.weights.tolist(), strict=True)
    ]
    doubles = ("value", "normalized", "ideal_distance_sq", "anti_ideal_distance_sq")
    add_each(into, "breakdown", same, doubles, np.stack(parts, axis=-1))


def front_to_proto(front: Front) -> GetParetoFrontResponse:
    """The whole answer to GetParetoFront."""
    response = GetParetoFrontResponse(
        matrix_version=front.matrix.version,
        matrix_time=time_to_proto(front.matrix.made_at_us),
        front_count=front.front_count,
        dominated_count=front.dominated_count,
        exclusion_counts=exclusion_counts_to_proto(front.screened),
        notices=notices_to_proto(front.notices),
    )
    for place in range(front.points.size):
        _write_point(response.points.add(), front, place)
    return response


def _write_point(message: ParetoPoint, front: Front, place: int) -> None:
    request, candidates, index = front.request, front.candidates, int(front.points[place])
    write_alternative(message.alternative, candidates, index)
    write_cells(message.cells, candidates, index, request.metrics, explain=request.explain_cells)
    message.pareto_rank = int(front.pareto_rank[place])
    by = int(front.dominated_by[place])
    if by >= 0:
        margins = front.margins[place]
        write_dominance(message.dominance, candidates, index, by, request.metrics, margins)


def _write_limit_checks(
    into: RepeatedCompositeFieldContainer[LimitCheck], screened: Screened, index: int
) -> None:
    for verdicts in screened.verdicts:
        place, verdict = int(verdicts.decided_by[index]), int(verdicts.verdict[index])
        check = into.add(verdict=LimitVerdict.ValueType(verdict), decided_by=METRICS[place].metric)
        check.limit.metric = Metric.ValueType(verdicts.limit.metric)
        check.limit.limit = verdicts.limit.bound
        if verdict != UNKNOWN:
            check.value = screened.candidates.value_of(index, place)


def _write_excluded(message: ExcludedAlternative, screened: Screened, index: int) -> None:
    write_alternative(message.alternative, screened.candidates, index)
    for reason, text in screened.why(index):
        message.reasons.append(reason)
        message.details.append(text)


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
