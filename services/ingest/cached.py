"""Ingest's replies that are kept: the latest results of one thing, and the days of one model.

Only what is asked for by one configuration, by a model on one machine, or of one model: an event
says of which configurations and models it is, so that results of others leave these replies alone.

Each organization has replies of its own: what it sees besides what is public, no other may be told.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from servemark.ingest.v1.result_query_pb2 import (
    ListBenchmarkResultsRequest,
    ListDailyModelStatsRequest,
    ResultFilter,
)
from servemark.runtime import tenancy
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.families import BENCHMARK_RESULTS, MODEL_METRICS
from servemark.runtime.cache.reply import Reply
from services.ingest.events import ANY_RESULTS, config_tag, model_tag

R = TypeVar("R", bound=Message)
Read = Callable[[R], Awaitable[Message]]


class CachedReads:
    """Replies from the caches, or by `read`, which answers from the database."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def results(
        self, request: ListBenchmarkResultsRequest, read: Read[ListBenchmarkResultsRequest]
    ) -> Reply | None:
        """The reply to ListBenchmarkResults; None where it is none of those that are kept."""
        asked = request.filter
        config, model, hardware = (
            _only(ids) for ids in (asked.config_ids, asked.model_ids, asked.hardware_config_ids)
        )
        if request.page_token:
            return None
        if config is not None:
            plain = ResultFilter(config_ids=asked.config_ids)
            parts, tag = ("config", config), config_tag(config)
        elif model is not None and hardware is not None and not asked.config_ids:
            plain = ResultFilter(
                model_ids=asked.model_ids, hardware_config_ids=asked.hardware_config_ids
            )
            parts, tag = (model, hardware), model_tag(model)
        else:
            return None
        variant = _variant(request, request == ListBenchmarkResultsRequest(filter=plain))
        return await self._cache.get(
            BENCHMARK_RESULTS,
            BENCHMARK_RESULTS.key(*parts, variant=variant),
            partial(_read, read, request),
            tags=(tag, ANY_RESULTS),
        )

    async def days(
        self, request: ListDailyModelStatsRequest, read: Read[ListDailyModelStatsRequest]
    ) -> Reply | None:
        """The reply to ListDailyModelStats; None where it is none of those that are kept."""
        model = _only(request.model_ids)
        if request.page_token or model is None:
            return None
        plain = ListDailyModelStatsRequest(model_ids=request.model_ids)
        return await self._cache.get(
            MODEL_METRICS,
            MODEL_METRICS.key(model, variant=_variant(request, request == plain)),
            partial(_read, read, request),
            tags=(model_tag(model), ANY_RESULTS),
        )


def _only(ids: Sequence[str]) -> str | None:
    """The one id, as events write it; None for none, several or no id at all."""
    try:
        return str(UUID(ids[0])) if len(ids) == 1 else None
    except ValueError:
        return None


def _variant(request: Message, is_plain: bool) -> bytes:
    """What else was asked than the plain question, and by whom if not by a service of ours."""
    tenant = tenancy.current()
    if is_plain and tenant.sees_all:
        return b""
    return f"{tenant.scope} ".encode() + request.SerializeToString(deterministic=True)


async def _read(read: Read[R], request: R) -> bytes:
    return (await read(request)).SerializeToString()
