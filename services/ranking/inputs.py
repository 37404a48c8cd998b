"""Reads what a matrix is made from: results from ingest; names, prices, use cases from catalog."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from servemark.catalog.v1 import (
    hardware_config_pb2,
    hardware_price_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.ingest.v1 import result_query_pb2
from servemark.runtime.channels import call_options
from servemark.runtime.errors import unavailable
from servemark.runtime.settings import ServiceSettings
from servemark.type.v1.range_pb2 import TokenRange
from services.ranking.cells import Figure, Pool, Runs, figure_of
from services.ranking.content import (
    ConfigRow,
    Content,
    Figures,
    Price,
    TokenSpan,
    UseCase,
    content_of,
    with_rows,
)
from services.ranking.convert_time import micros_from_proto
from services.ranking.metrics import MEASURED

PAGE = 1000
_COLUMN = {info.metric: info.column for info in MEASURED}
_TRY_AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Names:
    """Catalog entries by id; archived ones are not in it."""

    models: dict[str, model_pb2.Model]
    versions: dict[str, model_version_pb2.ModelVersion]
    hardware: dict[str, hardware_config_pb2.HardwareConfig]
    frameworks: dict[str, inference_framework_pb2.InferenceFramework]


class InputReader:
    """Reads all facts, page by page. `catalog` and `ingest` are the services' async stubs."""

    def __init__(self, catalog: Any, ingest: Any, settings: ServiceSettings) -> None:
        self._catalog = catalog
        self._ingest = ingest
        self._settings = settings
        # What was read before, for mostly nothing has changed: a row for each digest of a summary.
        self._names: _Names | None = None
        self._rows: dict[str, tuple[bytes, ConfigRow | None]] = {}

    async def read(self, now_us: int, before: Content | None = None) -> Content:
        """The facts as they are now. Raises DEPENDENCY_UNAVAILABLE if a service does not answer.

        Rows that are equal to those of `before` are these themselves, and take no memory again.
        """
        summaries = [summary async for summary in self._summaries()]
        names = await self._named(summaries)
        prices = [price async for price in self._prices(names.hardware)]
        use_cases = [use_case async for use_case in self._use_cases()]
        # Thousands of rows take a while, which calls should not have to wait for.
        rows = await asyncio.to_thread(self._rows_of, summaries, names, before)
        return await asyncio.to_thread(content_of, rows, prices, use_cases, now_us)

    async def read_changed(
        self, before: Content, config_ids: Collection[str], now_us: int
    ) -> Content | None:
        """`before` with these configurations as they are now; None where that is not all it takes.

        Prices of hardware that nothing was measured on are not in it. Raises as `read` does.
        """
        summaries = [
            summary
            for chunk in _chunks(sorted(config_ids))
            async for summary in self._summaries(chunk)
        ]
        names = await self._named(summaries)
        if names.hardware.keys() - {row.hardware_config_id for row in before.rows}:
            return None
        found = (_row(summary, names) for summary in summaries)
        rows = [row for row in found if row is not None]
        return await asyncio.to_thread(with_rows, before, config_ids, rows, now_us)

    def _rows_of(
        self,
        summaries: Iterable[result_query_pb2.ConfigSummary],
        names: _Names,
        before: Content | None,
    ) -> list[ConfigRow]:
        """The rows of these summaries, made anew only where a summary or a name has changed."""
        known = self._rows if names == self._names else {}
        same = {row.config_id: row for row in before.rows} if before is not None else {}
        found: dict[str, tuple[bytes, ConfigRow | None]] = {}
        for summary in summaries:
            identifier = summary.config.id
            digest = hashlib.blake2b(summary.SerializeToString(), digest_size=16).digest()
            seen = known.get(identifier)
            if seen is None or seen[0] != digest:
                row, old = _row(summary, names), same.get(identifier)
                seen = digest, old if old == row else row
            found[identifier] = seen
        self._names, self._rows = names, found
        return [row for _, row in found.values() if row is not None]

    async def _named(self, summaries: Iterable[result_query_pb2.ConfigSummary]) -> _Names:
        """The catalog entries that the configurations consist of."""
        configs = [summary.config for summary in summaries]
        return _Names(
            models=await self._by_id(
                self._catalog.BatchGetModels,
                model_pb2.BatchGetModelsRequest,
                "models",
                {config.model_id for config in configs},
            ),
            versions=await self._by_id(
                self._catalog.BatchGetModelVersions,
                model_version_pb2.BatchGetModelVersionsRequest,
                "model_versions",
                {config.model_version_id for config in configs},
            ),
            hardware=await self._by_id(
                self._catalog.BatchGetHardwareConfigs,
                hardware_config_pb2.BatchGetHardwareConfigsRequest,
                "hardware_configs",
                {config.hardware_config_id for config in configs},
            ),
            frameworks=await self._by_id(
                self._catalog.BatchGetInferenceFrameworks,
                inference_framework_pb2.BatchGetInferenceFrameworksRequest,
                "inference_frameworks",
                {config.framework_id for config in configs},
            ),
        )

    async def _summaries(
        self, config_ids: Sequence[str] = ()
    ) -> AsyncIterator[result_query_pb2.ConfigSummary]:
        """The summaries of these configurations; of all for none."""
        request = result_query_pb2.ListConfigSummariesRequest(
            page_size=PAGE, filter=result_query_pb2.ResultFilter(config_ids=config_ids)
        )
        while True:
            answer = await self._call("ingest", self._ingest.ListConfigSummaries, request)
            for summary in answer.config_summaries:
                yield summary
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def _prices(self, hardware: Iterable[str]) -> AsyncIterator[Price]:
        for ids in _chunks(sorted(hardware)):
            request = hardware_price_pb2.ListHardwarePricesRequest(
                page_size=PAGE, hardware_config_ids=ids
            )
            while True:
                answer = await self._call("catalog", self._catalog.ListHardwarePrices, request)
                for price in answer.hardware_prices:
                    yield _price(price)
                request.page_token = answer.next_page_token
                if not request.page_token:
                    break

    async def _use_cases(self) -> AsyncIterator[UseCase]:
        request = use_case_pb2.ListUseCasesRequest(page_size=PAGE)
        while True:
            answer = await self._call("catalog", self._catalog.ListUseCases, request)
            for use_case in answer.use_cases:
                yield _use_case(use_case)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def _by_id(
        self, method: Any, request: Any, field: str, ids: Iterable[str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for chunk in _chunks(sorted(ids)):
            answer = await self._call("catalog", method, request(ids=chunk))
            found |= {
                entry.id: entry
                for entry in getattr(answer, field)
                if not entry.HasField("archive_time")
            }
        return found

    async def _call(self, service: str, method: Callable[..., Awaitable[T]], request: Any) -> T:
        try:
            return await method(request, **call_options(self._settings, default_timeout=10.0))
        except grpc.aio.AioRpcError as error:
            if error.code() in _TRY_AGAIN:
                raise unavailable(f"The {service} service") from error
            raise


def _chunks(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))


def _row(summary: result_query_pb2.ConfigSummary, names: _Names) -> ConfigRow | None:
    """The configuration, or None where what it refers to is archived: it cannot be chosen."""
    config, workload = summary.config, summary.config.workload
    model = names.models.get(config.model_id)
    version = names.versions.get(config.model_version_id)
    hardware = names.hardware.get(config.hardware_config_id)
    framework = names.frameworks.get(config.framework_id)
    if model is None or version is None or hardware is None or framework is None:
        return None
    return ConfigRow(
        config_id=config.id,
        model_id=config.model_id,
        model=model.name,
        model_version_id=config.model_version_id,
        model_version=version.version,
        quantization=version.quantization,
        hardware_config_id=config.hardware_config_id,
        hardware=hardware.name,
        gpu_type=hardware.gpu_type,
        gpu_count=hardware.gpu_count,
        cloud_provider=hardware.cloud_provider,
        framework=framework.name,
        framework_version=framework.version,
        workload_type=workload.workload_type,
        input_tokens=workload.input_tokens if workload.HasField("input_tokens") else None,
        output_tokens=workload.output_tokens if workload.HasField("output_tokens") else None,
        concurrency=workload.concurrency if workload.HasField("concurrency") else None,
        request_rate=workload.request_rate if workload.HasField("request_rate") else None,
        parallelism=(
            config.parallelism.tensor,
            config.parallelism.pipeline,
            config.parallelism.data,
            config.parallelism.expert,
        ),
        provenance=config.provenance,
        organization_id=config.organization_id,
        run_count=summary.run_count,
        newest_benchmark_us=micros_from_proto(summary.newest_benchmark_time),
        tools=tuple(sorted(summary.tools)),
        figures=_figures(summary),
    )


def _figures(summary: result_query_pb2.ConfigSummary) -> Figures:
    runs: dict[int, Runs] = {}
    for metric in summary.metrics:
        of_runs = Runs(
            metric.median,
            metric.min,
            metric.max,
            metric.run_count,
            metric.request_count,
            micros_from_proto(metric.newest_benchmark_time)
            if metric.HasField("newest_benchmark_time")
            else None,
        )
        if of_runs.run_count > 0 and all(map(math.isfinite, of_runs[:3])):
            runs[metric.metric] = of_runs
    pools = {
        pooled.metric: Pool(pooled.value, pooled.request_count, pooled.run_count)
        for pooled in summary.pooled_metrics
        if pooled.run_count > 0 and pooled.request_count > 0 and math.isfinite(pooled.value)
    }
    figures: dict[str, Figure] = {}
    # A metric that a later ingest knows cannot be ranked by here.
    for number in _COLUMN.keys() & (runs.keys() | pools.keys()):
        figure = figure_of(number, runs.get(number), pools.get(number))
        if figure is not None:
            figures[_COLUMN[number]] = figure
    return figures


def _price(price: hardware_price_pb2.HardwarePrice) -> Price:
    return Price(
        hardware_config_id=price.hardware_config_id,
        purchase_option=price.purchase_option,
        region=price.region,
        valid_from_us=micros_from_proto(price.valid_from_time),
        usd_per_hour=price.usd_per_hour,
        source=price.source,
        valid_to_us=micros_from_proto(price.valid_to_time)
        if price.HasField("valid_to_time")
        else None,
    )


def _use_case(use_case: use_case_pb2.UseCase) -> UseCase:
    typical = use_case.characteristics
    return UseCase(
        id=use_case.id,
        name=use_case.subcategory,
        weights=tuple((weight.metric, weight.weight) for weight in use_case.default_weights),
        limits=tuple((limit.metric, limit.limit) for limit in typical.default_limits),
        input_tokens=_span(typical.input_tokens) if typical.HasField("input_tokens") else None,
        output_tokens=_span(typical.output_tokens) if typical.HasField("output_tokens") else None,
    )


def _span(span: TokenRange) -> TokenSpan:
    return span.min, span.max
