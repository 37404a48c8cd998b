"""Which configurations take part, at which price, and the figures that come from prices."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance, PurchaseOption
from services.ranking.cells import Figure
from services.ranking.content import ConfigRow, Price, TokenSpan, UseCase
from services.ranking.matrix import Bools, Floats, Ints, Matrix
from services.ranking.metrics import MEASURED, METRICS, PLACE, PRICES

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
    """The k configurations that passed the filter, in order of id, with all 15 metrics."""

    matrix: Matrix
    rows: Ints  # [k] their rows in the matrix
    price_of: dict[str, Price]  # by hardware configuration; absent where none is known
    value: Floats  # [k, 15] NaN where there is no figure
    low: Floats  # [k, 15] the smallest run
    high: Floats  # [k, 15]
    runs: Ints  # [k, 15]

    def __len__(self) -> int:
        return int(self.rows.size)

    def sure(self, place: int) -> tuple[Floats, Floats]:
        """The least and the most[k] that the figure in column `place` may be; NaN: no figure."""
        if place < len(MEASURED):
            return self.matrix.sure_low[self.rows, place], self.matrix.sure_high[self.rows, place]
        return self.low[:, place], self.high[:, place]

    def sure_of(self, index: int, place: int) -> tuple[float, float]:
        """The least and the most that candidate `index`'s figure in column `place` may be."""
        low, high, row = self.low, self.high, index
        if place < len(MEASURED):
            low, high, row = self.matrix.sure_low, self.matrix.sure_high, int(self.rows[index])
        return float(low[row, place]), float(high[row, place])

    def figure(self, index: int, place: int) -> Figure | None:
        """What is known of candidate `index`'s measured figure in column `place`, if it has one."""
        return self.row(index).figures.get(METRICS[place].column)

    def row(self, index: int) -> ConfigRow:
        """The configuration of candidate `index`."""
        return self.matrix.rows[int(self.rows[index])]

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
    usd = hourly[hardware.codes[rows]]
    return _with_prices(matrix, rows, price_of, usd)


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
    keep = np.isin(matrix.provenance, chosen.provenances or (Provenance.PROVENANCE_MEASURED,))
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


def _with_room(measured: npt.NDArray[Number], rows: Ints) -> npt.NDArray[Number]:
    """These rows of what was measured[n, 12], with columns for the prices that are yet to be set.

    Copied once: of ten thousand rows, every copy takes as long as the arithmetic with prices.
    """
    room = np.empty((rows.size, len(METRICS)), dtype=measured.dtype)
    # Rows are those of the matrix, so none is clipped; only so are they not copied before.
    np.take(measured, rows, axis=0, out=room[:, : len(MEASURED)], mode="clip")
    return room


def _with_prices(matrix: Matrix, rows: Ints, price_of: dict[str, Price], usd: Floats) -> Candidates:
    """The candidates with price columns: at the best throughput a token costs least."""
    hour, tokens, total = (PLACE[metric] for metric in PRICES)
    throughput = PLACE[Metric.METRIC_THROUGHPUT_TOKENS_SEC]
    cells = [_with_room(of, rows) for of in (matrix.value, matrix.low, matrix.high)]
    for cell in cells:
        cell[:, hour] = usd
    value, low, high = cells
    runs = _with_room(matrix.runs, rows)
    runs[:, hour] = 0
    with np.errstate(divide="ignore"):
        for cell, speed in ((value, value), (low, high), (high, low)):
            cell[:, tokens] = usd / (speed[:, throughput] * 3600.0) * 1e6
    # At no throughput a token has no price.
    for cell in (low, high, value):
        cell[np.isinf(value[:, tokens]), tokens] = np.nan
    # Throughput counts output tokens; each of them comes with its share of the input.
    ours, theirs = matrix.output_tokens[rows], matrix.input_tokens[rows]
    share = np.where((ours > 0) & (theirs >= 0), ours / np.maximum(ours + theirs, 1), np.nan)
    for cell in cells:
        cell[:, total] = cell[:, tokens] * share
    for place in (tokens, total):
        runs[:, place] = np.where(np.isnan(value[:, place]), 0, runs[:, throughput])
    return Candidates(matrix, rows, price_of, value, low, high, runs)
