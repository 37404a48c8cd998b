"""Which configurations take part, at which price, and the figures that come from prices."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance, PurchaseOption
from services.ranking.cells import Figure
from services.ranking.content import ConfigRow, Price, TokenSpan, UseCase
from services.ranking.matrix import Bools, Floats, Ints, Matrix
from services.ranking.metrics import MEASURED, METRICS, PLACE

_THROUGHPUT = PLACE[Metric.METRIC_THROUGHPUT_TOKENS_SEC]
_USD_PER_HOUR = PLACE[Metric.METRIC_USD_PER_HOUR]
_USD_PER_TOKEN = PLACE[Metric.METRIC_USD_PER_MILLION_TOKENS]

Number = TypeVar("Number", bound=np.generic)

_MEMORY_SIZE = re.compile(r"-\d+gb$")

DEFAULT_OPTIONS: Final = (
    PurchaseOption.PURCHASE_OPTION_ON_DEMAND,
    PurchaseOption.PURCHASE_OPTION_RESERVED,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a configuration has to be; empty keeps all. Texts are compared without letter case."""

    models: tuple[str, ...] = ()
    quantizations: tuple[str, ...] = ()
    gpu_types: tuple[str, ...] = ()
    cloud_providers: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    workload_types: tuple[str, ...] = ()
    max_gpu_count: int = 0
    input_tokens: TokenSpan | None = None
    output_tokens: TokenSpan | None = None
    provenances: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceBasis:
    """Which prices count, see the contract's message; `at_us` None: the matrix's own time."""

    purchase_options: tuple[int, ...] = DEFAULT_OPTIONS
    region: str = ""
    at_us: int | None = None
    overrides: tuple[tuple[str, float], ...] = ()
    """The caller's own prices, by hardware configuration."""


@dataclass(frozen=True, eq=False, slots=True)
class Candidates:
    """The k configurations that passed the filter, in order of id, with all 15 metrics.

    What is asked of all of them is looked up column by column, and what of one only in its row:
    to copy everything for thousands of candidates takes longer than to rank them.
    """

    matrix: Matrix
    rows: Ints  # [k] their rows in the matrix
    price_of: dict[str, Price]  # by hardware configuration; absent where none is known
    usd_per_hour: Floats  # [k] NaN where no price is known
    _values: dict[int, Floats] = field(default_factory=dict)
    _spans: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.rows.size)

    def of(self, column: NDArray[Number]) -> NDArray[Number]:
        """The candidates' part[k] of a column[n] of the matrix."""
        return column if self.rows.size == column.size else column[self.rows]

    def value(self, place: int) -> Floats:
        """The figures[k] in column `place`; NaN where there is none."""
        found = self._values.get(place)
        if found is None:
            if place < len(MEASURED):
                found = self.of(self.matrix.value[:, place])
            else:
                found = self._price(place, self.matrix.value)
                # At no throughput a token has no price.
                found[np.isinf(found)] = np.nan
            self._values[place] = found
        return found

    def has_any(self, place: int) -> bool:
        """Whether any candidate has a figure in column `place`."""
        values = self.value(place)
        return bool(values.size) and not (isnan(values[0]) and np.isnan(values).all())

    def value_of(self, index: int, place: int) -> float:
        """The figure of candidate `index` in column `place`; NaN if there is none."""
        return float(self.value(place)[index])

    def sure(self, place: int) -> tuple[Floats, Floats]:
        """The least and the most[k] that the figure in column `place` may be; NaN: no figure."""
        if place < len(MEASURED):
            low, high = self.matrix.sure_low, self.matrix.sure_high
            return self.of(low[:, place]), self.of(high[:, place])
        return self.span(place)

    def span(self, place: int) -> tuple[Floats, Floats]:
        """The smallest and the largest run[k] in column `place`; NaN: no figure."""
        low, high = self.matrix.low, self.matrix.high
        if place < len(MEASURED):
            return self.of(low[:, place]), self.of(high[:, place])
        found = self._spans.get(place)
        if found is None:
            # At the best throughput a token costs least.
            found = self._price(place, high), self._price(place, low)
            unknown = np.isnan(self.value(place))
            for end in found:
                end[unknown] = np.nan
            self._spans[place] = found
        return found

    def span_of(self, index: int, place: int) -> tuple[float, float]:
        """The smallest and the largest run of candidate `index` in column `place`."""
        if place < len(MEASURED):
            figure = self.figure(index, place)
            return (nan, nan) if figure is None else (figure.low, figure.high)
        low, high = self.span(place)
        return float(low[index]), float(high[index])

    def runs(self, place: int) -> Ints:
        """The number of runs[k] behind column `place`; 0 for a price per hour, which has none."""
        if place < len(MEASURED):
            return self.of(self.matrix.runs[:, place])
        known: Bools = ~np.isnan(self.value(place))
        known &= place != _USD_PER_HOUR
        return np.where(known, self.of(self.matrix.runs[:, _THROUGHPUT]), 0)

    def runs_of(self, index: int, place: int) -> int:
        """The number of runs behind candidate `index`'s figure in column `place`."""
        if place >= len(MEASURED):
            if place == _USD_PER_HOUR or np.isnan(self.value_of(index, place)):
                return 0
            place = _THROUGHPUT
        figure = self.figure(index, place)
        return 0 if figure is None else figure.runs

    def columns(self, places: Sequence[int]) -> tuple[Floats, Floats, Floats, Ints]:
        """Value, smallest and largest run, and runs[k, m] of some columns."""
        low, high = zip(*(self.span(place) for place in places), strict=True)
        return (
            np.column_stack([self.value(place) for place in places]),
            np.column_stack(low),
            np.column_stack(high),
            np.column_stack([self.runs(place) for place in places]),
        )

    def values_of(self, who: Ints, metrics: Sequence[int]) -> Floats:
        """The values[r, m] of some candidates; each column lies together in memory."""
        chosen = np.empty((len(metrics), who.size))
        for column, metric in zip(chosen, metrics, strict=True):
            # None is clipped; only so are they not copied before.
            np.take(self.value(PLACE[metric]), who, out=column, mode="clip")
        return chosen.T

    def _price(self, place: int, figures: Floats) -> Floats:
        """The price[k] in column `place` at the throughput in figures[n, 12] of the matrix."""
        if place == _USD_PER_HOUR:
            return self.usd_per_hour.copy()
        speed = self.of(figures[:, _THROUGHPUT])
        with np.errstate(divide="ignore"):
            price: Floats = self.usd_per_hour / (speed * 3600.0)
        price *= 1e6
        if place != _USD_PER_TOKEN:
            # Throughput counts output tokens; each of them comes with its share of the input.
            ours, theirs = (
                self.of(column) for column in (self.matrix.output_tokens, self.matrix.input_tokens)
            )
            fixed = (ours > 0) & (theirs >= 0)
            price *= np.where(fixed, ours / np.maximum(ours + theirs, 1), np.nan)
        return price

    def figure(self, index: int, place: int) -> Figure | None:
        """What is known of candidate `index`'s measured figure in column `place`, if it has one."""
        return self.row(index).figures.get(METRICS[place].column)

    def row(self, index: int) -> ConfigRow:
        """The configuration of candidate `index`."""
        row: ConfigRow = self.matrix.content.rows[self.rows[index]]
        return row

    def price(self, index: int) -> Price | None:
        """The price candidate `index` was counted with."""
        return self.price_of.get(self.row(index).hardware_config_id)


def select(
    matrix: Matrix,
    chosen: Filter,
    basis: PriceBasis,
    use_case: UseCase | None = None,
) -> Candidates:
    """The candidates of a request; the use case's lengths hold where the filter has none."""
    return candidates_of(matrix, np.flatnonzero(passes(matrix, chosen, use_case)), basis)


def candidates_of(matrix: Matrix, rows: Ints, basis: PriceBasis) -> Candidates:
    """Rows of the matrix, rising, as candidates at the prices that count."""
    at_us = matrix.made_at_us if basis.at_us is None else basis.at_us
    hardware = matrix.names["hardware_config_id"]
    own = {identifier: _own_price(identifier, usd) for identifier, usd in basis.overrides}
    price_of: dict[str, Price] = {}
    hourly = np.full(len(hardware.names), np.nan)
    for code, identifier in enumerate(hardware.names):
        price = own.get(identifier) or choose_price(matrix.prices.get(identifier, ()), basis, at_us)
        if price is not None:
            price_of[identifier] = price
            hourly[code] = price.usd_per_hour
    return Candidates(matrix, rows, price_of, hourly[hardware.codes[rows]])


def choose_price(prices: Iterable[Price], basis: PriceBasis, at_us: int) -> Price | None:
    """The lowest price valid at `at_us` under the first purchase option that has one.

    Of equal ones the latest counts, then the first region and source by name.
    """
    region = basis.region.casefold()
    valid = [
        price
        for price in prices
        if price.valid_from_us <= at_us
        and (price.valid_to_us is None or at_us < price.valid_to_us)
        and (not region or price.region.casefold() in (region, ""))
    ]
    for option in basis.purchase_options:
        offered = [price for price in valid if price.purchase_option == option]
        if offered:
            return min(
                offered, key=lambda p: (p.usd_per_hour, -p.valid_from_us, p.region, p.source)
            )
    return None


def _own_price(hardware_config_id: str, usd_per_hour: float) -> Price:
    return Price(
        hardware_config_id=hardware_config_id,
        purchase_option=PurchaseOption.PURCHASE_OPTION_UNSPECIFIED,
        region="",
        valid_from_us=0,
        usd_per_hour=usd_per_hour,
        source="the request",
        valid_to_us=None,
    )


def passes(matrix: Matrix, chosen: Filter, use_case: UseCase | None) -> Bools:
    """Which rows[n] pass the filter; the use case's lengths hold where it has none."""
    keep: Bools = np.zeros(matrix.provenance.shape, dtype=np.bool_)
    for provenance in chosen.provenances or (Provenance.PROVENANCE_MEASURED,):
        keep |= matrix.provenance == provenance
    for column, wanted in (
        ("quantization", chosen.quantizations),
        ("cloud_provider", chosen.cloud_providers),
        ("framework", chosen.frameworks),
        ("workload_type", chosen.workload_types),
    ):
        if wanted:
            keep &= _one_of(matrix, column, wanted)
    if chosen.models:
        keep &= _one_of(matrix, "model", chosen.models) | _one_of(matrix, "model_id", chosen.models)
    if chosen.gpu_types:
        types = [text.casefold() for text in chosen.gpu_types]
        keep &= matrix.names["gpu_type"].where(lambda name: _is_gpu(name.casefold(), types))
    if chosen.max_gpu_count:
        keep &= matrix.gpu_count <= chosen.max_gpu_count
    default = (None, None) if use_case is None else (use_case.input_tokens, use_case.output_tokens)
    for tokens, span in (
        (matrix.input_tokens, chosen.input_tokens or default[0]),
        (matrix.output_tokens, chosen.output_tokens or default[1]),
    ):
        keep &= _within(tokens, span)
    return keep


def _one_of(matrix: Matrix, column: str, wanted: Iterable[str]) -> Bools:
    known = {text.casefold() for text in wanted}
    return matrix.names[column].where(lambda name: name.casefold() in known)


def _is_gpu(name: str, wanted: Iterable[str]) -> bool:
    without_memory = _MEMORY_SIZE.sub("", name)
    return any(text in (name, without_memory) for text in wanted)


def _within(tokens: Ints, span: TokenSpan | None) -> Bools:
    # A span from 0 without an end asks for every length, so also for one that is not fixed.
    if span is None or span == (0, 0):
        return np.ones(tokens.shape, dtype=np.bool_)
    least, most = span
    # A length that is not fixed is -1, below every span.
    keep: Bools = tokens >= least
    if most:
        keep &= tokens <= most
    return keep
