"""Cells of the matrix into messages, and where each comes from."""

from collections.abc import Iterable
from datetime import UTC, datetime
from math import isnan

# By its name in the module: to look it up in the enum takes longer than the rest of a cell.
from servemark.ranking.v1.candidate_pb2 import CELL_METHOD_FROM_PRICE, Cell, CellMethod
from servemark.ranking.v1.cell_source_pb2 import CellInterval, CellSource
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance, PurchaseOption
from services.ranking.candidates import Candidates
from services.ranking.cells import WILSON_LEVEL, Figure
from services.ranking.convert_time import time_to_proto
from services.ranking.metrics import PLACE, info_of

_THROUGHPUT = PLACE[Metric.METRIC_THROUGHPUT_TOKENS_SEC]
_LEVEL = {
    CellMethod.CELL_METHOD_MERGED_SKETCHES: 1.0,
    CellMethod.CELL_METHOD_POOLED_SAMPLES: WILSON_LEVEL,
}


def cells_to_proto(
    candidates: Candidates, index: int, metrics: Iterable[int], *, explain: bool
) -> list[Cell]:
    """The cells that have a figure, in the order of `metrics`; `explain`: with their sources."""
    figures, cells = candidates.row(index).figures, []
    for metric in metrics:
        figure = figures.get(info_of(metric).column)
        if figure is not None:
            cell = _measured_cell(metric, figure)
        elif (priced := _priced_cell(candidates, index, metric)) is not None:
            cell = priced
        else:
            continue
        if explain:
            cell.source.CopyFrom(_source(candidates, index, metric, figure))
        cells.append(cell)
    return cells


def _measured_cell(metric: int, figure: Figure) -> Cell:
    level = None if figure.span is None else _LEVEL.get(figure.method)
    return Cell(
        metric=Metric.ValueType(metric),
        value=figure.value,
        min=figure.low,
        max=figure.high,
        run_count=figure.runs,
        method=figure.method,
        interval=None
        if figure.span is None or level is None
        else CellInterval(low=figure.span[0], high=figure.span[1], level=level),
    )


def _priced_cell(candidates: Candidates, index: int, metric: int) -> Cell | None:
    """The cell of a price; None where no figure is known of the metric."""
    place = PLACE[metric]
    value = float(candidates.value[index, place])
    if isnan(value):
        return None
    least, most = candidates.span_of(index, place)
    return Cell(
        metric=Metric.ValueType(metric),
        value=value,
        min=least,
        max=most,
        run_count=candidates.runs_of(index, place),
        method=CELL_METHOD_FROM_PRICE,
    )


def _source(candidates: Candidates, index: int, metric: int, figure: Figure | None) -> CellSource:
    if figure is not None:
        return _measured(candidates, index, figure, _text(metric, figure))
    speed = candidates.figure(index, _THROUGHPUT)
    if metric == Metric.METRIC_USD_PER_HOUR or speed is None:
        return CellSource(text=_price_text(candidates, index))
    text = f"{_price_text(candidates, index)}, over the throughput: "
    return _measured(
        candidates, index, speed, text + _text(Metric.METRIC_THROUGHPUT_TOKENS_SEC, speed)
    )


def _measured(candidates: Candidates, index: int, figure: Figure, text: str) -> CellSource:
    row = candidates.row(index)
    newest_us = row.newest_benchmark_us if figure.newest_us is None else figure.newest_us
    return CellSource(
        text=text,
        request_count=figure.requests,
        newest_benchmark_time=time_to_proto(newest_us),
        provenance=Provenance.ValueType(row.provenance),
        tools=row.tools,
    )


def _text(metric: int, figure: Figure) -> str:
    runs = f"{figure.runs} run{'s' * (figure.runs != 1)}"
    if figure.method == CellMethod.CELL_METHOD_SINGLE_RUN:
        return "figure of a single run"
    if figure.method == CellMethod.CELL_METHOD_MERGED_SKETCHES:
        return f"percentile of all {figure.requests:,} requests of {runs}, from merged sketches"
    if figure.method == CellMethod.CELL_METHOD_POOLED_TOTALS:
        what = "requests" if metric == Metric.METRIC_RPS_SUSTAINED else "tokens"
        return f"all {what} of {runs} over all their time"
    if figure.method == CellMethod.CELL_METHOD_POOLED_SAMPLES:
        return f"share of all {figure.requests:,} samples of {runs}"
    if figure.method == CellMethod.CELL_METHOD_MAX_OF_RUNS:
        return f"largest of {runs}"
    if figure.method == CellMethod.CELL_METHOD_INTERPOLATED:
        return "interpolated between measured configurations"
    return f"median of {runs}"


def _price_text(candidates: Candidates, index: int) -> str:
    price = candidates.price(index)
    assert price is not None  # noqa: S101  (without one there is no cell)
    if price.purchase_option == PurchaseOption.PURCHASE_OPTION_UNSPECIFIED:
        return "price of the whole instance as given in the request"
    option = PurchaseOption.Name(PurchaseOption.ValueType(price.purchase_option))
    kind = option.removeprefix("PURCHASE_OPTION_").replace("_", "-").lower()
    day = datetime.fromtimestamp(price.valid_from_us // 1_000_000, UTC).date()
    return f"{kind} price of the whole instance from {day} on ({price.source or 'no source'})"
