"""CatalogService: one method for each RPC.

A method names the kind of resource (convert/<kind>.py describes it) and picks the request's fields;
servicer_resources.py has what the kinds share, store.py what happens in the database.
"""

from typing import Any

from servemark.catalog.v1 import (
    config_reference_pb2,
    hardware_config_pb2,
    hardware_price_pb2,
    inference_framework_pb2,
    model_pb2,
    model_use_case_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.reply import send
from servemark.runtime.paging import decode_token
from servemark.runtime.validation import Violations
from services.catalog.cached import CachedReads
from services.catalog.convert.config_references import references_from_proto, resolution_to_proto
from services.catalog.convert.hardware_configs import HARDWARE_CONFIG
from services.catalog.convert.hardware_prices import (
    hardware_price_from_proto,
    hardware_price_to_proto,
    price_query_from_proto,
)
from services.catalog.convert.inference_frameworks import INFERENCE_FRAMEWORK
from services.catalog.convert.model_use_cases import MODEL_USE_CASE
from services.catalog.convert.model_versions import MODEL_VERSION
from services.catalog.convert.models import MODEL
from services.catalog.convert.use_cases import USE_CASE
from services.catalog.resolve import decide, wanted
from services.catalog.servicer_resources import ResourceMethods, fit_page, list_digest
from services.catalog.store import CatalogStore
from services.catalog.store_prices import PriceStore
from services.catalog.store_resolve import ResolveStore

MAX_REFERENCES = 1000
_PRICE_KEYS = 3


class CatalogServicer(CatalogServiceServicer):
    """Answers every method of CatalogService; their promises are in the contract's comments."""

    def __init__(
        self, store: CatalogStore, prices: PriceStore, resolve: ResolveStore, cache: Cache
    ) -> None:
        self._resources = ResourceMethods(store, cache)
        self._cached = CachedReads(cache, self._resources)
        self._prices = prices
        self._resolve = resolve

    async def CreateModel(
        self, request: model_pb2.CreateModelRequest, context: Any
    ) -> model_pb2.CreateModelResponse:
        created = await self._resources.create(MODEL, request.model)
        return model_pb2.CreateModelResponse(model=created)

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: Any
    ) -> model_pb2.GetModelResponse:
        reply: model_pb2.GetModelResponse = send(await self._cached.model(request), context)
        return reply

    async def BatchGetModels(
        self, request: model_pb2.BatchGetModelsRequest, context: Any
    ) -> model_pb2.BatchGetModelsResponse:
        found, missing = await self._resources.batch_get(MODEL, request.ids)
        return model_pb2.BatchGetModelsResponse(models=found, missing_ids=missing)

    async def ListModels(
        self, request: model_pb2.ListModelsRequest, context: Any
    ) -> model_pb2.ListModelsResponse:
        page, token = await self._resources.list_page(MODEL, request)
        return model_pb2.ListModelsResponse(models=page, next_page_token=token)

    async def UpdateModel(
        self, request: model_pb2.UpdateModelRequest, context: Any
    ) -> model_pb2.UpdateModelResponse:
        updated = await self._resources.update(MODEL, request.model, request.update_mask)
        return model_pb2.UpdateModelResponse(model=updated)

    async def ArchiveModel(
        self, request: model_pb2.ArchiveModelRequest, context: Any
    ) -> model_pb2.ArchiveModelResponse:
        archived = await self._resources.archive(MODEL, request)
        return model_pb2.ArchiveModelResponse(model=archived)

    async def CreateModelVersion(
        self, request: model_version_pb2.CreateModelVersionRequest, context: Any
    ) -> model_version_pb2.CreateModelVersionResponse:
        created = await self._resources.create(MODEL_VERSION, request.model_version)
        return model_version_pb2.CreateModelVersionResponse(model_version=created)

    async def GetModelVersion(
        self, request: model_version_pb2.GetModelVersionRequest, context: Any
    ) -> model_version_pb2.GetModelVersionResponse:
        found = await self._resources.get(MODEL_VERSION, request.id)
        return model_version_pb2.GetModelVersionResponse(model_version=found)

    async def BatchGetModelVersions(
        self, request: model_version_pb2.BatchGetModelVersionsRequest, context: Any
    ) -> model_version_pb2.BatchGetModelVersionsResponse:
        found, missing = await self._resources.batch_get(MODEL_VERSION, request.ids)
        return model_version_pb2.BatchGetModelVersionsResponse(
            model_versions=found, missing_ids=missing
        )

    async def ListModelVersions(
        self, request: model_version_pb2.ListModelVersionsRequest, context: Any
    ) -> model_version_pb2.ListModelVersionsResponse:
        page, token = await self._resources.list_page(MODEL_VERSION, request)
        return model_version_pb2.ListModelVersionsResponse(
            model_versions=page, next_page_token=token
        )

    async def UpdateModelVersion(
        self, request: model_version_pb2.UpdateModelVersionRequest, context: Any
    ) -> model_version_pb2.UpdateModelVersionResponse:
        updated = await self._resources.update(
            MODEL_VERSION, request.model_version, request.update_mask
        )
        return model_version_pb2.UpdateModelVersionResponse(model_version=updated)

    async def ArchiveModelVersion(
        self, request: model_version_pb2.ArchiveModelVersionRequest, context: Any
    ) -> model_version_pb2.ArchiveModelVersionResponse:
        archived = await self._resources.archive(MODEL_VERSION, request)
        return model_version_pb2.ArchiveModelVersionResponse(model_version=archived)

    async def CreateHardwareConfig(
        self, request: hardware_config_pb2.CreateHardwareConfigRequest, context: Any
    ) -> hardware_config_pb2.CreateHardwareConfigResponse:
        created = await self._resources.create(HARDWARE_CONFIG, request.hardware_config)
        return hardware_config_pb2.CreateHardwareConfigResponse(hardware_config=created)

    async def GetHardwareConfig(
        self, request: hardware_config_pb2.GetHardwareConfigRequest, context: Any
    ) -> hardware_config_pb2.GetHardwareConfigResponse:
        found = await self._resources.get(HARDWARE_CONFIG, request.id)
        return hardware_config_pb2.GetHardwareConfigResponse(hardware_config=found)

    async def BatchGetHardwareConfigs(
        self, request: hardware_config_pb2.BatchGetHardwareConfigsRequest, context: Any
    ) -> hardware_config_pb2.BatchGetHardwareConfigsResponse:
        found, missing = await self._resources.batch_get(HARDWARE_CONFIG, request.ids)
        return hardware_config_pb2.BatchGetHardwareConfigsResponse(
            hardware_configs=found, missing_ids=missing
        )

    async def ListHardwareConfigs(
        self, request: hardware_config_pb2.ListHardwareConfigsRequest, context: Any
    ) -> hardware_config_pb2.ListHardwareConfigsResponse:
        if not request.page_token:
            first: hardware_config_pb2.ListHardwareConfigsResponse = send(
                await self._cached.hardware(request), context
            )
            return first
        page, token = await self._resources.list_page(HARDWARE_CONFIG, request)
        return hardware_config_pb2.ListHardwareConfigsResponse(
            hardware_configs=page, next_page_token=token
        )

    async def UpdateHardwareConfig(
        self, request: hardware_config_pb2.UpdateHardwareConfigRequest, context: Any
    ) -> hardware_config_pb2.UpdateHardwareConfigResponse:
        updated = await self._resources.update(
            HARDWARE_CONFIG, request.hardware_config, request.update_mask
        )
        return hardware_config_pb2.UpdateHardwareConfigResponse(hardware_config=updated)

    async def ArchiveHardwareConfig(
        self, request: hardware_config_pb2.ArchiveHardwareConfigRequest, context: Any
    ) -> hardware_config_pb2.ArchiveHardwareConfigResponse:
        archived = await self._resources.archive(HARDWARE_CONFIG, request)
        return hardware_config_pb2.ArchiveHardwareConfigResponse(hardware_config=archived)

    async def CreateInferenceFramework(
        self, request: inference_framework_pb2.CreateInferenceFrameworkRequest, context: Any
    ) -> inference_framework_pb2.CreateInferenceFrameworkResponse:
        created = await self._resources.create(INFERENCE_FRAMEWORK, request.inference_framework)
        return inference_framework_pb2.CreateInferenceFrameworkResponse(inference_framework=created)

    async def GetInferenceFramework(
        self, request: inference_framework_pb2.GetInferenceFrameworkRequest, context: Any
    ) -> inference_framework_pb2.GetInferenceFrameworkResponse:
        found = await self._resources.get(INFERENCE_FRAMEWORK, request.id)
        return inference_framework_pb2.GetInferenceFrameworkResponse(inference_framework=found)

    async def BatchGetInferenceFrameworks(
        self, request: inference_framework_pb2.BatchGetInferenceFrameworksRequest, context: Any
    ) -> inference_framework_pb2.BatchGetInferenceFrameworksResponse:
        found, missing = await self._resources.batch_get(INFERENCE_FRAMEWORK, request.ids)
        return inference_framework_pb2.BatchGetInferenceFrameworksResponse(
            inference_frameworks=found, missing_ids=missing
        )

    async def ListInferenceFrameworks(
        self, request: inference_framework_pb2.ListInferenceFrameworksRequest, context: Any
    ) -> inference_framework_pb2.ListInferenceFrameworksResponse:
        page, token = await self._resources.list_page(INFERENCE_FRAMEWORK, request)
        return inference_framework_pb2.ListInferenceFrameworksResponse(
            inference_frameworks=page, next_page_token=token
        )

    async def UpdateInferenceFramework(
        self, request: inference_framework_pb2.UpdateInferenceFrameworkRequest, context: Any
    ) -> inference_framework_pb2.UpdateInferenceFrameworkResponse:
        updated = await self._resources.update(
            INFERENCE_FRAMEWORK, request.inference_framework, request.update_mask
        )
        return inference_framework_pb2.UpdateInferenceFrameworkResponse(inference_framework=updated)

    async def ArchiveInferenceFramework(
        self, request: inference_framework_pb2.ArchiveInferenceFrameworkRequest, context: Any
    ) -> inference_framework_pb2.ArchiveInferenceFrameworkResponse:
        archived = await self._resources.archive(INFERENCE_FRAMEWORK, request)
        return inference_framework_pb2.ArchiveInferenceFrameworkResponse(
            inference_framework=archived
        )

    async def CreateUseCase(
        self, request: use_case_pb2.CreateUseCaseRequest, context: Any
    ) -> use_case_pb2.CreateUseCaseResponse:
        created = await self._resources.create(USE_CASE, request.use_case)
        return use_case_pb2.CreateUseCaseResponse(use_case=created)

    async def GetUseCase(
        self, request: use_case_pb2.GetUseCaseRequest, context: Any
    ) -> use_case_pb2.GetUseCaseResponse:
        found = await self._resources.get(USE_CASE, request.id)
        return use_case_pb2.GetUseCaseResponse(use_case=found)

    async def BatchGetUseCases(
        self, request: use_case_pb2.BatchGetUseCasesRequest, context: Any
    ) -> use_case_pb2.BatchGetUseCasesResponse:
        found, missing = await self._resources.batch_get(USE_CASE, request.ids)
        return use_case_pb2.BatchGetUseCasesResponse(use_cases=found, missing_ids=missing)

    async def ListUseCases(
        self, request: use_case_pb2.ListUseCasesRequest, context: Any
    ) -> use_case_pb2.ListUseCasesResponse:
        page, token = await self._resources.list_page(USE_CASE, request)
        return use_case_pb2.ListUseCasesResponse(use_cases=page, next_page_token=token)

    async def UpdateUseCase(
        self, request: use_case_pb2.UpdateUseCaseRequest, context: Any
    ) -> use_case_pb2.UpdateUseCaseResponse:
        updated = await self._resources.update(USE_CASE, request.use_case, request.update_mask)
        return use_case_pb2.UpdateUseCaseResponse(use_case=updated)

    async def ArchiveUseCase(
        self, request: use_case_pb2.ArchiveUseCaseRequest, context: Any
    ) -> use_case_pb2.ArchiveUseCaseResponse:
        archived = await self._resources.archive(USE_CASE, request)
        return use_case_pb2.ArchiveUseCaseResponse(use_case=archived)

    async def CreateModelUseCase(
        self, request: model_use_case_pb2.CreateModelUseCaseRequest, context: Any
    ) -> model_use_case_pb2.CreateModelUseCaseResponse:
        created = await self._resources.create(MODEL_USE_CASE, request.model_use_case)
        return model_use_case_pb2.CreateModelUseCaseResponse(model_use_case=created)

    async def GetModelUseCase(
        self, request: model_use_case_pb2.GetModelUseCaseRequest, context: Any
    ) -> model_use_case_pb2.GetModelUseCaseResponse:
        found = await self._resources.get(MODEL_USE_CASE, request.id)
        return model_use_case_pb2.GetModelUseCaseResponse(model_use_case=found)

    async def BatchGetModelUseCases(
        self, request: model_use_case_pb2.BatchGetModelUseCasesRequest, context: Any
    ) -> model_use_case_pb2.BatchGetModelUseCasesResponse:
        found, missing = await self._resources.batch_get(MODEL_USE_CASE, request.ids)
        return model_use_case_pb2.BatchGetModelUseCasesResponse(
            model_use_cases=found, missing_ids=missing
        )

    async def ListModelUseCases(
        self, request: model_use_case_pb2.ListModelUseCasesRequest, context: Any
    ) -> model_use_case_pb2.ListModelUseCasesResponse:
        page, token = await self._resources.list_page(MODEL_USE_CASE, request)
        return model_use_case_pb2.ListModelUseCasesResponse(
            model_use_cases=page, next_page_token=token
        )

    async def UpdateModelUseCase(
        self, request: model_use_case_pb2.UpdateModelUseCaseRequest, context: Any
    ) -> model_use_case_pb2.UpdateModelUseCaseResponse:
        updated = await self._resources.update(
            MODEL_USE_CASE, request.model_use_case, request.update_mask
        )
        return model_use_case_pb2.UpdateModelUseCaseResponse(model_use_case=updated)

    async def ArchiveModelUseCase(
        self, request: model_use_case_pb2.ArchiveModelUseCaseRequest, context: Any
    ) -> model_use_case_pb2.ArchiveModelUseCaseResponse:
        archived = await self._resources.archive(MODEL_USE_CASE, request)
        return model_use_case_pb2.ArchiveModelUseCaseResponse(model_use_case=archived)

    async def ListHardwarePrices(
        self, request: hardware_price_pb2.ListHardwarePricesRequest, context: Any
    ) -> hardware_price_pb2.ListHardwarePricesResponse:
        digest = list_digest(request)
        after = decode_token(digest, request.page_token, _PRICE_KEYS)
        page = await self._prices.list_page(price_query_from_proto(request, after))
        prices, token = fit_page([hardware_price_to_proto(row) for row in page.rows], page, digest)
        return hardware_price_pb2.ListHardwarePricesResponse(
            hardware_prices=prices, next_page_token=token
        )

    async def SetHardwarePrice(
        self, request: hardware_price_pb2.SetHardwarePriceRequest, context: Any
    ) -> hardware_price_pb2.SetHardwarePriceResponse:
        price = hardware_price_from_proto(request.hardware_price)
        stored = await self._prices.set_price(price)
        self._cached.price_changed()
        return hardware_price_pb2.SetHardwarePriceResponse(
            hardware_price=hardware_price_to_proto(stored)
        )

    async def ResolveConfigs(
        self, request: config_reference_pb2.ResolveConfigsRequest, context: Any
    ) -> config_reference_pb2.ResolveConfigsResponse:
        violations = Violations()
        if not 1 <= len(request.references) <= MAX_REFERENCES:
            violations.add("references", f"must have from 1 to {MAX_REFERENCES} entries")
        violations.raise_if_any()
        configs = [references_from_proto(reference) for reference in request.references]
        found = await self._resolve.find(wanted(part for parts in configs for part in parts))
        return config_reference_pb2.ResolveConfigsResponse(
            resolutions=[
                resolution_to_proto([decide(part, found[part.kind.field]) for part in parts])
                for parts in configs
            ]
        )
