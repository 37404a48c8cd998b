"""Cells of the matrix into messages, and where each comes from."""

from collections.abc import Iterable
from datetime import UTC, datetime
from math import isnan

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

# By its name in the module: to look it up in the enum takes longer than the rest of a cell.
from servemark.ranking.v1.candidate_pb2 import CELL_METHOD_FROM_PRICE, Cell, CellMethod
from servemark.ranking.v1.cell_source_pb2 import CellSource
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance, PurchaseOption
from services.ranking.candidates import Candidates
from services.ranking.cells import WILSON_LEVEL, Figure
from services.ranking.convert_time import write_time
from services.ranking.metrics import PLACE, info_of

_THROUGHPUT = PLACE[Metric.METRIC_THROUGHPUT_TOKENS_SEC]
_LEVEL = {
    CellMethod.CELL_METHOD_MERGED_SKETCHES: 1.0,
    CellMethod.CELL_METHOD_POOLED_SAMPLES: WILSON_LEVEL,
}


def write_cells(
    into: RepeatedCompositeFieldContainer[Cell],
    candidates: Candidates,
    index: int,
    metrics: Iterable[int],
    *,
    explain: bool,
) -> None:
    """Adds the cells that have a figure, in the order of `metrics`, with sources if `explain`."""
    figures = candidates.row(index).figures
    for metric in metrics:
        figure = figures.get(info_of(metric).column)
        cell = (
            _add_price(into, candidates, index, metric)
            if figure is None
            else _add_figure(into, metric, figure)
        )
        if explain and cell is not None:
            _write_source(cell.source, candidates, index, metric, figure)


def _add_figure(into: RepeatedCompositeFieldContainer[Cell], metric: int, figure: Figure) -> Cell:
    cell: Cell = into.add(
        metric=Metric.ValueType(metric),
        value=figure.value,
        min=figure.low,
        max=figure.high,
        run_count=figure.runs,
        method=figure.method,
    )
    if figure.span is not None and figure.method in _LEVEL:
        cell.interval.low, cell.interval.high = figure.span
        cell.interval.level = _LEVEL[figure.method]
    return cell


def _add_price(
    into: RepeatedCompositeFieldContainer[Cell], candidates: Candidates, index: int, metric: int
) -> Cell | None:
    """The cell of a price; None where no figure is known of the metric."""
    place = PLACE[metric]
    value = candidates.value_of(index, place)
    if isnan(value):
        return None
    least, most = candidates.span_of(index, place)
    cell: Cell = into.add(
        metric=Metric.ValueType(metric),
        value=value,
        min=least,
        max=most,
        run_count=candidates.runs_of(index, place),
        method=CELL_METHOD_FROM_PRICE,
    )
    return cell


def _write_source(
    message: CellSource, candidates: Candidates, index: int, metric: int, figure: Figure | None
) -> None:
    if figure is not None:
        _write_measured(message, candidates, index, figure, _text(metric, figure))
        return
    text, speed = _price_text(candidates, index), candidates.figure(index, _THROUGHPUT)
    if metric == Metric.METRIC_USD_PER_HOUR or speed is None:
        message.text = text
        return
    over = _text(Metric.METRIC_THROUGHPUT_TOKENS_SEC, speed)
    _write_measured(message, candidates, index, speed, f"{text}, over the throughput: {over}")


def _write_measured(
    message: CellSource, candidates: Candidates, index: int, figure: Figure, text: str
) -> None:
    row = candidates.row(index)
    message.text = text
    message.request_count = figure.requests
    newest_us = row.newest_benchmark_us if figure.newest_us is None else figure.newest_us
    write_time(message.newest_benchmark_time, newest_us)
    message.provenance = Provenance.ValueType(row.provenance)
    message.tools.extend(row.tools)


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
