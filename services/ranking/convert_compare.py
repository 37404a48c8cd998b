"""CompareConfigurations' messages."""

import math
from bisect import bisect_left

from servemark.ranking.v1.compare_pb2 import (
    CompareConfigurationsRequest,
    CompareConfigurationsResponse,
    Difference,
    MetricComparison,
)
from servemark.runtime.errors import ServemarkError
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason
from servemark.type.v1.metric_pb2 import Metric
from services.ranking.compare import CompareRequest, Comparison
from services.ranking.convert import metrics_from_proto
from services.ranking.convert_alternatives import write_alternative
from services.ranking.convert_answers import notices_to_proto
from services.ranking.convert_cells import write_cells
from services.ranking.convert_prices import price_basis_from_proto
from services.ranking.convert_time import time_to_proto
from services.ranking.matrix import Matrix

MAX_CONFIGURATIONS = 16


def compare_request_from_proto(
    message: CompareConfigurationsRequest, matrix: Matrix
) -> CompareRequest:
    """The request. Raises INVALID_FIELD, or RESOURCE_NOT_FOUND for what is not in the matrix."""
    wrong = Violations()
    count = len(message.config_ids)
    if not 2 <= count <= MAX_CONFIGURATIONS:
        text = f"has {count} entries; it must have 2 to {MAX_CONFIGURATIONS}"
        wrong.add("config_ids", text)
    ids: list[str] = []
    for index, text in enumerate(message.config_ids[:MAX_CONFIGURATIONS]):
        parsed = wrong.uuid(f"config_ids[{index}]", text)
        if parsed is not None and str(parsed) in ids:
            wrong.add(f"config_ids[{index}]", f"repeats {parsed}")
        elif parsed is not None:
            ids.append(str(parsed))
    metrics = metrics_from_proto(wrong, "metrics", message.metrics)
    basis = price_basis_from_proto(wrong, message.price_basis, matrix)
    wrong.raise_if_any()
    return CompareRequest(
        rows=_rows_of(ids, matrix),
        metrics=metrics,
        price_basis=basis,
        explain_cells=message.explain_cells,
    )


def _rows_of(ids: list[str], matrix: Matrix) -> tuple[int, ...]:
    """The rows of the configurations. Raises RESOURCE_NOT_FOUND, naming those there are not."""
    rows = [bisect_left(matrix.rows, name, key=lambda row: row.config_id) for name in ids]
    missing = [
        name
        for name, row in zip(ids, rows, strict=True)
        if row == len(matrix.rows) or matrix.rows[row].config_id != name
    ]
    if missing:
        raise ServemarkError(
            ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
            f"The matrix has no configuration {', '.join(missing)}: it has no results yet, or "
            "something it consists of is archived.",
            metadata={"config_ids": ",".join(missing)},
        )
    return tuple(rows)


def comparison_to_proto(found: Comparison) -> CompareConfigurationsResponse:
    """The whole answer."""
    response = CompareConfigurationsResponse(
        matrix_version=found.matrix.version,
        matrix_time=time_to_proto(found.matrix.made_at_us),
        comparisons=[_comparison(found, column) for column in range(len(found.metrics))],
        notices=notices_to_proto(found.notices),
    )
    candidates, explain = found.candidates, found.request.explain_cells
    for index in found.who.tolist():
        message = response.configurations.add()
        write_alternative(message.alternative, candidates, index)
        write_cells(message.cells, candidates, index, found.metrics, explain=explain)
    return response


def _comparison(found: Comparison, column: int) -> MetricComparison:
    ids = [found.candidates.row(int(index)).config_id for index in found.who]
    return MetricComparison(
        metric=Metric.ValueType(found.metrics[column]),
        best_config_ids=[
            name for name, is_best in zip(ids, found.best(column), strict=True) if is_best
        ],
        differences=[
            _difference(found, column, place, ids)
            for place, pair in enumerate(found.pairs)
            if not any(math.isnan(found.values[index, column]) for index in pair)
        ],
    )


def _difference(found: Comparison, column: int, place: int, ids: list[str]) -> Difference:
    first, other = found.pairs[place]
    told = found.differences[place]
    message = Difference(
        config_id=ids[first],
        other_config_id=ids[other],
        difference=float(found.values[other, column] - found.values[first, column]),
        above_noise=bool(told.above_noise[column]),
    )
    if not math.isnan(told.change[column]):
        message.relative_difference = float(told.change[column])
    if told.known[column]:
        message.relative_low = float(told.low[column])
        message.relative_high = float(told.high[column])
    return message
