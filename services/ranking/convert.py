"""Requests into the words of the ranking, every wrong field named at once."""

import math
from collections.abc import Iterable, Sequence

from servemark.ranking.v1.candidate_pb2 import CandidateFilter
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontRequest
from servemark.ranking.v1.recommend_pb2 import Normalization as NormalizationMessage
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.runtime.errors import FieldViolation, ServemarkError
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason
from servemark.type.v1.metric_pb2 import Metric, MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import Provenance
from servemark.type.v1.range_pb2 import TokenRange
from services.ranking.candidates import Filter
from services.ranking.content import TokenSpan, UseCase
from services.ranking.convert_options import (
    operating_point_from_proto,
    options_from_proto,
    target_from_proto,
)
from services.ranking.convert_prices import MAX_USD, price_basis_from_proto
from services.ranking.limits import Limit
from services.ranking.matrix import Matrix
from services.ranking.pareto_front import FrontRequest
from services.ranking.recommend import DEFAULT_RESULTS, Request
from services.ranking.topsis import Normalization

MAX_RESULTS = 1000
_METRICS = frozenset(Metric.values())
_NORMALIZATIONS = frozenset(NormalizationMessage.values())
_PROVENANCES = frozenset(Provenance.values())
_MAX_KNOWN = 2000

NORMALIZATIONS = {
    NormalizationMessage.NORMALIZATION_UNSPECIFIED: Normalization.VECTOR,
    NormalizationMessage.NORMALIZATION_VECTOR: Normalization.VECTOR,
    NormalizationMessage.NORMALIZATION_MIN_MAX: Normalization.MIN_MAX,
    NormalizationMessage.NORMALIZATION_FIXED_BOUNDS: Normalization.FIXED_BOUNDS,
}


def use_case_named(matrix: Matrix, name_or_id: str, field: str = "use_case") -> UseCase:
    """The use case with this short name or id. Raises USE_CASE_UNKNOWN, with those there are.

    `field` is where the request names it.
    """
    found = matrix.use_case(name_or_id)
    if found is not None:
        return found
    known = ", ".join(sorted(use_case.name for use_case in matrix.content.use_cases))
    text = f"Known are: {known}." if known else "None is known yet."
    raise ServemarkError(
        ErrorReason.ERROR_REASON_USE_CASE_UNKNOWN,
        f"There is no use case {name_or_id[:100]!r}. {text[:_MAX_KNOWN]}",
        metadata={"known": known[:_MAX_KNOWN]},
        violations=[FieldViolation(field, f"is {name_or_id[:100]!r}, which is no use case")],
    )


def recommend_request_from_proto(message: RecommendRequest, matrix: Matrix) -> Request:
    """The request, with its use case looked up. Raises INVALID_FIELD or USE_CASE_UNKNOWN."""
    wrong = Violations()
    weights = _weights(wrong, message.weights)
    if not message.use_case and not message.weights:
        wrong.add("weights", "are required where no use_case is named")
    limits = limits_from_proto(wrong, message.limits)
    budget = _budget(wrong, message)
    chosen = _filter(wrong, message.filter)
    basis = price_basis_from_proto(wrong, message.price_basis, matrix)
    options = options_from_proto(wrong, message.answers)
    target = target_from_proto(wrong, message)
    point = operating_point_from_proto(wrong, message)
    normalization = normalization_from_proto(wrong, message.normalization)
    wrong.number("max_results", message.max_results, low=0, high=MAX_RESULTS)
    wrong.number("max_excluded", message.max_excluded, low=0, high=MAX_RESULTS)
    wrong.raise_if_any()
    return Request(
        use_case=use_case_named(matrix, message.use_case) if message.use_case else None,
        weights=weights,
        limits=limits,
        no_default_limits=message.no_default_limits,
        max_usd_per_hour=budget,
        filter=chosen,
        price_basis=basis,
        normalization=normalization,
        accept_uncertain=message.accept_uncertain,
        max_results=message.max_results or DEFAULT_RESULTS,
        max_excluded=message.max_excluded,
        options=options,
        target=target,
        operating_point=point,
        explain_cells=message.explain_cells,
    )


def pareto_request_from_proto(message: GetParetoFrontRequest, matrix: Matrix) -> FrontRequest:
    """The request, with its use case looked up. Raises INVALID_FIELD or USE_CASE_UNKNOWN."""
    wrong = Violations()
    metrics = metrics_from_proto(wrong, "metrics", message.metrics)
    if not 2 <= len(metrics) <= 6:
        wrong.add("metrics", f"has {len(metrics)} entries; it must have 2 to 6")
    limits = limits_from_proto(wrong, message.limits)
    budget = _budget(wrong, message)
    chosen = _filter(wrong, message.filter)
    basis = price_basis_from_proto(wrong, message.price_basis, matrix)
    wrong.raise_if_any()
    return FrontRequest(
        metrics=metrics,
        use_case=use_case_named(matrix, message.use_case) if message.use_case else None,
        filter=chosen,
        limits=limits,
        price_basis=basis,
        max_usd_per_hour=budget,
        include_dominated=message.include_dominated,
        explain_cells=message.explain_cells,
    )


def metrics_from_proto(wrong: Violations, field: str, metrics: Sequence[int]) -> tuple[int, ...]:
    """The metrics, each once."""
    _each_once(wrong, field, "", metrics)
    return tuple(metrics)


def normalization_from_proto(wrong: Violations, value: int) -> Normalization:
    """The normalization; VECTOR where none is set."""
    wrong.enum("normalization", value, _NORMALIZATIONS, required=False)
    return NORMALIZATIONS.get(NormalizationMessage.ValueType(value), Normalization.VECTOR)


def limits_from_proto(wrong: Violations, limits: Sequence[MetricLimit]) -> tuple[Limit, ...]:
    """The limits, each metric once, each above 0."""
    _each_once(wrong, "limits", ".metric", [limit.metric for limit in limits])
    for index, limit in enumerate(limits):
        if not (math.isfinite(limit.limit) and limit.limit > 0):
            wrong.add(
                f"limits[{index}].limit", f"is {limit.limit:g}; it must be finite and above 0"
            )
        elif limit.metric == Metric.METRIC_ACCURACY_SCORE and limit.limit > 1:
            text = f"is {limit.limit:g}, but no accuracy is above 1"
            wrong.add(f"limits[{index}].limit", text)
    return tuple(Limit(limit.metric, limit.limit) for limit in limits)


def _weights(wrong: Violations, weights: Sequence[MetricWeight]) -> tuple[tuple[int, float], ...]:
    _each_once(wrong, "weights", ".metric", [weight.metric for weight in weights])
    for index, weight in enumerate(weights):
        check_weight(wrong, f"weights[{index}].weight", weight.weight)
    if weights and not any(weight.weight > 0 for weight in weights):
        wrong.add("weights", "need at least one weight above 0")
    return tuple((weight.metric, weight.weight) for weight in weights)


def check_weight(wrong: Violations, field: str, weight: float) -> None:
    """Notes `field` unless the weight is finite and 0 or more."""
    if not (math.isfinite(weight) and weight >= 0):
        wrong.add(field, f"is {weight:g}; a weight must be 0 or more and finite")


def _each_once(wrong: Violations, field: str, suffix: str, metrics: Sequence[int]) -> None:
    seen: set[int] = set()
    for index, metric in enumerate(metrics):
        path = f"{field}[{index}]{suffix}"
        wrong.enum(path, metric, _METRICS)
        if metric in seen:
            wrong.add(path, f"repeats {Metric.Name(Metric.ValueType(metric))}")
        elif metric in _METRICS:
            seen.add(metric)


def _budget(wrong: Violations, message: RecommendRequest | GetParetoFrontRequest) -> float | None:
    if not message.HasField("max_usd_per_hour"):
        return None
    wrong.number("max_usd_per_hour", message.max_usd_per_hour, low=0, high=MAX_USD)
    for index, limit in enumerate(message.limits):
        if limit.metric == Metric.METRIC_USD_PER_HOUR:
            text = f"is given twice: limits[{index}] is one of the price per hour too"
            wrong.add("max_usd_per_hour", text)
    return message.max_usd_per_hour


def _filter(wrong: Violations, message: CandidateFilter) -> Filter:
    if message.max_gpu_count < 0:
        wrong.add("filter.max_gpu_count", f"is {message.max_gpu_count}; it must be 0 or more")
    for index, provenance in enumerate(message.provenances):
        wrong.enum(f"filter.provenances[{index}]", provenance, _PROVENANCES)
    return Filter(
        models=_texts(message.models),
        quantizations=_texts(message.quantizations),
        gpu_types=_texts(message.gpu_types),
        cloud_providers=_texts(message.cloud_providers),
        frameworks=_texts(message.frameworks),
        workload_types=_texts(message.workload_types),
        max_gpu_count=message.max_gpu_count,
        input_tokens=_span(wrong, "filter.input_tokens", message.input_tokens)
        if message.HasField("input_tokens")
        else None,
        output_tokens=_span(wrong, "filter.output_tokens", message.output_tokens)
        if message.HasField("output_tokens")
        else None,
        provenances=tuple(message.provenances),
    )


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(value.strip() for value in values)


def _span(wrong: Violations, field: str, span: TokenRange) -> TokenSpan:
    for end, count in (("min", span.min), ("max", span.max)):
        if count < 0:
            wrong.add(f"{field}.{end}", f"is {count}; it must be 0 or more")
    if 0 < span.max < span.min:
        wrong.add(f"{field}.max", f"is {span.max}, below min, which is {span.min}")
    return span.min, span.max
