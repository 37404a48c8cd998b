"""The facts a matrix is made from, in one canonical form: same facts, same bytes, same version.

The facts are read from other services in whatever order those answer. Sorted, and written as JSON
with the shortest digits that give the same floats back, they have one digest, and only another
digest makes another matrix version.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from servemark.ranking.v1.candidate_pb2 import CellMethod
from services.ranking.cells import Figure

ROW = "row"
HARDWARE_PRICES = "hardware_prices"
USE_CASE = "use_case"

Figures = Mapping[str, Figure]
"""By a metric's column name."""

TokenSpan = tuple[int, int]
"""Smallest and largest count; 0 as the largest means no upper end."""


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """One measured configuration with its names and its condensed figures."""

    config_id: str
    model_id: str
    model: str
    model_version_id: str
    """Two versions may have one name and quantization, and differ in their format."""
    model_version: str
    quantization: str
    hardware_config_id: str
    hardware: str
    gpu_type: str
    gpu_count: int
    cloud_provider: str
    framework: str
    framework_version: str
    workload_type: str
    input_tokens: int | None
    output_tokens: int | None
    concurrency: int | None
    request_rate: float | None
    parallelism: tuple[int, int, int, int]
    """Tensor, pipeline, data and expert parallelism. 0: not known; 1: not used."""
    provenance: int
    organization_id: str
    """Who alone sees it; empty: everybody does."""
    run_count: int
    newest_benchmark_us: int
    """When the newest run ended, in microseconds since 1970."""
    tools: tuple[str, ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Price:
    """What an instance costs in one region under one purchase option during one span of time."""

    hardware_config_id: str
    purchase_option: int
    region: str
    valid_from_us: int
    usd_per_hour: float
    source: str
    valid_to_us: int | None


@dataclass(frozen=True, slots=True)
class UseCase:
    """A use case as far as a ranking needs it; pairs are of a `Metric` and a number."""

    id: str
    name: str
    weights: tuple[tuple[int, float], ...]
    limits: tuple[tuple[int, float], ...]
    input_tokens: TokenSpan | None
    output_tokens: TokenSpan | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact as it is stored, under its kind and id, with the digest of its JSON."""

    kind: str
    id: str
    model_id: str | None
    fact: Any
    digest: bytes

    @property
    def json(self) -> bytes:
        """The fact written down; of thousands, few are ever stored anew."""
        return _json(self.fact)


@dataclass(frozen=True, slots=True)
class Content:
    """Everything a matrix is made from, sorted. Make it with `content_of`."""

    rows: tuple[ConfigRow, ...]
    prices: tuple[Price, ...]
    use_cases: tuple[UseCase, ...]
    price_boundary_us: int | None
    """The latest time up to the reading at which a price began or ended: when one passes, the
    prices that are valid change though no fact does."""


def content_of(
    rows: Iterable[ConfigRow],
    prices: Iterable[Price],
    use_cases: Iterable[UseCase],
    now_us: int,
) -> Content:
    """The facts in canonical order, as they hold at `now_us` (microseconds since 1970)."""
    ordered = tuple(sorted(prices, key=_price_key))
    ends = {at for p in ordered for at in (p.valid_from_us, p.valid_to_us) if at is not None}
    return Content(
        rows=tuple(sorted(rows, key=lambda row: row.config_id)),
        prices=ordered,
        use_cases=tuple(sorted(use_cases, key=lambda use_case: use_case.id)),
        price_boundary_us=max((at for at in ends if at <= now_us), default=None),
    )


def with_rows(
    before: Content, config_ids: Collection[str], rows: Iterable[ConfigRow], now_us: int
) -> Content:
    """The content with only these configurations read anew: those without a row are gone."""
    kept = (row for row in before.rows if row.config_id not in config_ids)
    return content_of((*kept, *rows), before.prices, before.use_cases, now_us)


def entries(content: Content, before: Mapping[str, Entry] | None = None) -> list[Entry]:
    """The content as entries, in canonical order.

    `before` are rows' entries by id: those whose row is the very same object are taken over.
    """
    known, found = before or {}, []
    for row in content.rows:
        entry = known.get(row.config_id)
        if entry is None or entry.fact is not row:
            entry = _entry(ROW, row.config_id, row, row.model_id)
        found.append(entry)
    for hardware, group in groupby(content.prices, key=lambda price: price.hardware_config_id):
        found.append(_entry(HARDWARE_PRICES, hardware, list(group)))
    found += [_entry(USE_CASE, use_case.id, use_case) for use_case in content.use_cases]
    return found


def digest_of(found: Iterable[Entry], price_boundary_us: int | None) -> bytes:
    """The digest of a whole content from its entries in canonical order."""
    digest = hashlib.sha256(str(price_boundary_us).encode())
    for entry in found:
        digest.update(f"\x00{entry.kind}\x00{entry.id}\x00".encode())
        digest.update(entry.digest)
    return digest.digest()


def content_from(found: Iterable[tuple[str, str]], price_boundary_us: int | None) -> Content:
    """The content that was stored as (kind, JSON) pairs, in any order.

    Raises KeyError, TypeError or ValueError for JSON that another version of the code wrote.
    """
    rows: list[ConfigRow] = []
    prices: list[Price] = []
    use_cases: list[UseCase] = []
    for kind, text in found:
        fact = orjson.loads(text)
        if kind == ROW:
            rows.append(_row(fact))
        elif kind == HARDWARE_PRICES:
            prices += [Price(**{**p, "usd_per_hour": float(p["usd_per_hour"])}) for p in fact]
        else:
            use_cases.append(_use_case(fact))
    # The boundary is the stored one, not today's: a restart must not change the version.
    ordered = content_of(rows, prices, use_cases, now_us=0)
    return Content(ordered.rows, ordered.prices, ordered.use_cases, price_boundary_us)


def _price_key(price: Price) -> tuple[Any, ...]:
    ends = price.valid_to_us is None, price.valid_to_us or 0
    return (
        price.hardware_config_id,
        price.purchase_option,
        price.region,
        price.valid_from_us,
        price.usd_per_hour,
        price.source,
        ends,
    )


def _entry(kind: str, identifier: str, fact: Any, model_id: str | None = None) -> Entry:
    return Entry(kind, identifier, model_id, fact, hashlib.sha256(_json(fact)).digest())


def _json(fact: Any) -> bytes:
    # Figures are tuples with names, which are written as lists.
    return orjson.dumps(fact, default=tuple, option=orjson.OPT_SORT_KEYS)


def _row(fact: dict[str, Any]) -> ConfigRow:
    rate = fact["request_rate"]
    fact["request_rate"] = None if rate is None else float(rate)
    tensor, pipeline, data, expert = fact["parallelism"]
    fact["parallelism"] = (tensor, pipeline, data, expert)
    fact["tools"] = tuple(fact["tools"])
    fact["figures"] = {column: _figure(*figure) for column, figure in fact["figures"].items()}
    return ConfigRow(**fact)


def _figure(
    value: float,
    low: float,
    high: float,
    runs: int,
    method: int,
    requests: int,
    newest_us: int | None,
    span: Sequence[float] | None,
) -> Figure:
    return Figure(
        float(value),
        float(low),
        float(high),
        runs,
        CellMethod.ValueType(method),
        requests,
        newest_us,
        None if span is None else (float(span[0]), float(span[1])),
    )


def _use_case(fact: dict[str, Any]) -> UseCase:
    def pairs(name: str) -> tuple[tuple[int, float], ...]:
        return tuple((int(metric), float(number)) for metric, number in fact[name])

    def span(name: str) -> TokenSpan | None:
        return None if fact[name] is None else (int(fact[name][0]), int(fact[name][1]))

    return UseCase(
        id=fact["id"],
        name=fact["name"],
        weights=pairs("weights"),
        limits=pairs("limits"),
        input_tokens=span("input_tokens"),
        output_tokens=span("output_tokens"),
    )
