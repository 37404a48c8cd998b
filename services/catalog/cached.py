"""The catalog's replies that are kept: a model's details, and lists of hardware.

Both are asked for all the time and change seldom, and memory answers six to nine times as fast as
the database. What else the catalog answers is asked for once in a while, or for many rows that few
callers name alike.
"""

from functools import partial
from typing import Any

from servemark.catalog.v1.hardware_config_pb2 import (
    ListHardwareConfigsRequest,
    ListHardwareConfigsResponse,
)
from servemark.catalog.v1.model_pb2 import GetModelRequest, GetModelResponse
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.families import HARDWARE_LIST, MODEL_DETAILS
from servemark.runtime.cache.reply import Reply
from services.catalog.convert.hardware_configs import HARDWARE_CONFIG
from services.catalog.convert.models import MODEL
from services.catalog.events import row_tag, table_tag
from services.catalog.servicer_resources import ResourceMethods, id_from_proto

_MODELS = MODEL.collection.table.name
_HARDWARE = HARDWARE_CONFIG.collection.table.name


class CachedReads:
    """Replies to what is asked for most, from the caches or from the store."""

    def __init__(self, cache: Cache, resources: ResourceMethods) -> None:
        self._cache = cache
        self._resources = resources

    async def model(self, request: GetModelRequest) -> Reply:
        """The reply to GetModel."""
        identifier = str(id_from_proto("id", request.id))
        return await self._cache.get(
            MODEL_DETAILS,
            MODEL_DETAILS.key(identifier),
            partial(self._read_model, identifier),
            tags=(row_tag(_MODELS, identifier),),
        )

    async def hardware(self, request: ListHardwareConfigsRequest) -> Reply:
        """The reply to ListHardwareConfigs for a first page."""
        return await self._cache.get(
            HARDWARE_LIST,
            HARDWARE_LIST.key(variant=request.SerializeToString(deterministic=True)),
            partial(self._read_hardware, request),
            tags=(table_tag(_HARDWARE),),
        )

    def price_changed(self) -> None:
        """Lets the next list of hardware show a price that was set."""
        self._cache.changed([table_tag(_HARDWARE)])

    async def _read_model(self, identifier: str) -> bytes:
        model = await self._resources.get(MODEL, identifier)
        return GetModelResponse(model=model).SerializeToString()

    async def _read_hardware(self, request: Any) -> bytes:
        page, token = await self._resources.list_page(HARDWARE_CONFIG, request)
        response = ListHardwareConfigsResponse(hardware_configs=page, next_page_token=token)
        return response.SerializeToString()
