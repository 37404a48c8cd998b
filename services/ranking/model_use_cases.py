"""Keeps the catalog's model use cases as the stored rankings have them.

The table is the catalog's, so it is written by RPC like anybody would. Each round compares and
writes what differs: a round that fails, or that another process does too, does no harm. Entries
that people made are theirs, and are left as they are.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID

import grpc
import structlog
from google.protobuf import json_format

from servemark.catalog.v1.model_use_case_pb2 import (
    CreateModelUseCaseRequest,
    ListModelUseCasesRequest,
    ModelUseCase,
    UpdateModelUseCaseRequest,
)
from servemark.runtime.channels import call_options
from services.ranking.content import UseCase
from services.ranking.refresh import Refresher
from services.ranking.settings import RankingSettings
from services.ranking.store_rankings import RankingStore
from services.ranking.suitability import SOURCE, UNRANKED, Suitability, suitabilities

log = structlog.get_logger()

RESOURCE = "model_use_cases"
"""What the catalog's events call them."""

_PAGE = 1000
_CALL_SECONDS = 10.0
# Somebody else was first, or has archived it: the next round sees what they did.
_REFUSALS = (
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
)


class ModelUseCases:
    """Writes what the current generations say. `catalog` is the catalog's async stub."""

    def __init__(
        self, refresher: Refresher, rankings: RankingStore, catalog: Any, settings: RankingSettings
    ) -> None:
        self._refresher = refresher
        self._rankings = rankings
        self._catalog = catalog
        self._settings = settings
        # The content of the generation that a use case's entries were last seen to agree with.
        self._written: dict[str, bytes] = {}

    async def run(self) -> None:
        """Follows the stored rankings until cancelled. A service that is away is waited for."""
        failures = 0
        while True:
            try:
                matrix = self._refresher.matrix
                if matrix is not None:
                    written = await self.follow(matrix.content.use_cases)
                    if written:
                        log.info("model use cases written", count=written)
                failures = 0
            except asyncio.CancelledError:
                raise
            except Exception as error:
                failures += 1
                if failures == 1:
                    name, text = type(error).__name__, str(error)[:200]
                    log.warning("model use cases wait", error=name, text=text)
            await asyncio.sleep(self._settings.ranking_suitability_seconds)

    async def follow(self, use_cases: Iterable[UseCase]) -> int:
        """Writes what has changed since the last time; how many entries that were."""
        return sum([await self._follow(use_case.id) for use_case in use_cases])

    async def _follow(self, use_case_id: str) -> int:
        current = await self._rankings.current(UUID(use_case_id))
        if current is None or self._written.get(use_case_id) == current.content_digest:
            return 0
        places = await self._rankings.best_of_models(current)
        if places is None:
            return 0
        wanted = suitabilities(places, current.ranked_count)
        done = []
        # All are read before one is changed, for a change moves an entry to another page.
        for entry in [entry async for entry in self._entries(use_case_id)]:
            suitability = wanted.pop(entry.model_id, UNRANKED)
            if _is_ours(entry) and not _says(entry, suitability):
                done.append(await self._update(entry, suitability))
        for model_id, suitability in wanted.items():
            done.append(await self._create(use_case_id, model_id, suitability))
        if all(done):
            self._written[use_case_id] = current.content_digest
        return sum(done)

    async def _entries(self, use_case_id: str) -> AsyncIterator[ModelUseCase]:
        request = ListModelUseCasesRequest(
            page_size=_PAGE, use_case_ids=[use_case_id], include_archived=True
        )
        while True:
            answer = await self._catalog.ListModelUseCases(request, **self._options())
            for entry in answer.model_use_cases:
                yield entry
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def _update(self, entry: ModelUseCase, suitability: Suitability) -> bool:
        changed = _entry(entry.use_case_id, entry.model_id, suitability)
        # With the etag, what somebody changed meanwhile is not lost.
        changed.id, changed.etag = entry.id, entry.etag
        request = UpdateModelUseCaseRequest(model_use_case=changed)
        return await self._write(self._catalog.UpdateModelUseCase, request)

    async def _create(self, use_case_id: str, model_id: str, suitability: Suitability) -> bool:
        added = _entry(use_case_id, model_id, suitability)
        request = CreateModelUseCaseRequest(model_use_case=added)
        return await self._write(self._catalog.CreateModelUseCase, request)

    async def _write(self, method: Any, request: Any) -> bool:
        """Whether the catalog took it."""
        try:
            await method(request, **self._options())
        except grpc.aio.AioRpcError as error:
            if error.code() not in _REFUSALS:
                raise
            return False
        return True

    def _options(self) -> dict[str, Any]:
        return call_options(self._settings, default_timeout=_CALL_SECONDS)


def _entry(use_case_id: str, model_id: str, suitability: Suitability) -> ModelUseCase:
    entry = ModelUseCase(
        model_id=model_id,
        use_case_id=use_case_id,
        suitability_score=suitability.score,
        recommended=suitability.recommended,
        priority=suitability.priority,
    )
    entry.performance_summary.update(suitability.summary)
    return entry


def _is_ours(entry: ModelUseCase) -> bool:
    summary = json_format.MessageToDict(entry.performance_summary)
    return not entry.HasField("archive_time") and summary.get("calculated_from") == SOURCE


def _says(entry: ModelUseCase, suitability: Suitability) -> bool:
    score = entry.suitability_score if entry.HasField("suitability_score") else None
    return (
        score == suitability.score
        and entry.recommended == suitability.recommended
        and entry.priority == suitability.priority
        and json_format.MessageToDict(entry.performance_summary) == suitability.summary
    )
