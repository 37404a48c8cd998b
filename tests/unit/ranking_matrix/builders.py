"""Small matrices by hand: a test says what matters to it, these fill in the rest."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance, PurchaseOption
from services.ranking import content, matrix
from services.ranking.cells import Figure, Runs, figure_of
from services.ranking.content import ConfigRow, Price, UseCase
from services.ranking.matrix import Matrix
from services.ranking.metrics import METRICS

TTFT = Metric.METRIC_TTFT_P50_MS
TTFT_P90 = Metric.METRIC_TTFT_P90_MS
TTFT_P99 = Metric.METRIC_TTFT_P99_MS
TPOT = Metric.METRIC_TPOT_P50_MS
THROUGHPUT = Metric.METRIC_THROUGHPUT_TOKENS_SEC
ACCURACY = Metric.METRIC_ACCURACY_SCORE
USD_HOUR = Metric.METRIC_USD_PER_HOUR
USD_TOKENS = Metric.METRIC_USD_PER_MILLION_TOKENS

ON_DEMAND = PurchaseOption.PURCHASE_OPTION_ON_DEMAND
SPOT = PurchaseOption.PURCHASE_OPTION_SPOT
RESERVED = PurchaseOption.PURCHASE_OPTION_RESERVED

MADE_AT_US = 1_780_000_000_000_000
DAY_US = 86_400_000_000


def identifier(number: int) -> str:
    """The id with this number: ids are in the order of their numbers."""
    return str(UUID(int=number))


def config(number: int, **given: Any) -> ConfigRow:
    """A configuration; a metric is given by its column's name as a figure or its runs' figures."""
    columns = {name: given.pop(name) for name in list(given) if name in _COLUMNS}
    figures = {name: _figure(runs) for name, runs in columns.items()}
    defaults: dict[str, Any] = {
        "config_id": identifier(number),
        "model_id": identifier(1000),
        "model": "acme/Model-8B",
        "model_version_id": identifier(1500),
        "model_version": "base",
        "quantization": "fp8",
        "hardware_config_id": identifier(2000),
        "hardware": "acme/h100x1",
        "gpu_type": "H100-80GB",
        "gpu_count": 1,
        "cloud_provider": "acme",
        "framework": "vllm",
        "framework_version": "0.11.0",
        "workload_type": "random",
        "input_tokens": 512,
        "output_tokens": 256,
        "concurrency": 8,
        "request_rate": None,
        "parallelism": (1, 1, 1, 1),
        "provenance": Provenance.PROVENANCE_MEASURED,
        "organization_id": "",
        "run_count": max((figure.runs for figure in figures.values()), default=1),
        "newest_benchmark_us": MADE_AT_US - DAY_US,
        "tools": ("vllm-bench",),
    }
    return ConfigRow(**{**defaults, **given}, figures=figures)


def price(usd: float, **given: Any) -> Price:
    """A price of the default hardware, on demand, everywhere, valid for a year."""
    defaults: dict[str, Any] = {
        "hardware_config_id": identifier(2000),
        "purchase_option": ON_DEMAND,
        "region": "",
        "valid_from_us": MADE_AT_US - 365 * DAY_US,
        "source": "list price",
        "valid_to_us": None,
    }
    return Price(**{**defaults, **given}, usd_per_hour=usd)


def use_case(name: str = "chatbot", number: int = 3000, **given: Any) -> UseCase:
    """A use case that weighs TTFT and throughput alike, without limits or lengths."""
    defaults: dict[str, Any] = {
        "weights": ((TTFT, 1.0), (THROUGHPUT, 1.0)),
        "limits": (),
        "input_tokens": None,
        "output_tokens": None,
    }
    return UseCase(**{**defaults, **given}, id=identifier(number), name=name)


def matrix_of(
    rows: Iterable[ConfigRow],
    prices: Iterable[Price] = (),
    use_cases: Iterable[UseCase] = (),
    *,
    version: int = 7,
) -> Matrix:
    """The matrix of these facts, without reference bounds."""
    found = content.content_of(rows, prices, use_cases, MADE_AT_US)
    digest = content.digest_of(content.entries(found), found.price_boundary_us)
    return matrix.build(found, version=version, made_at_us=MADE_AT_US, digest=digest)


_COLUMNS = {info.column for info in METRICS}


def _figure(runs: Any) -> Figure:
    if isinstance(runs, Figure):
        return runs
    values = sorted(runs) if isinstance(runs, tuple) else [float(runs)]
    middle = len(values) // 2
    median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
    # By the plain rule whatever the metric: most tests are of what is done with cells.
    found = figure_of(
        TTFT, Runs(float(median), float(values[0]), float(values[-1]), len(values)), None
    )
    assert found is not None
    return found
