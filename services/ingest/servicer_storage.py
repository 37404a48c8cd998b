"""StorageService: one method for each RPC."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from servemark.ingest.v1 import storage_pb2 as storage
from servemark.ingest.v1.storage_service_pb2_grpc import StorageServiceServicer
from servemark.runtime import tenancy
from servemark.runtime.errors import not_found
from servemark.runtime.paging import encode_token, filter_digest, page_size
from servemark.runtime.validation import Violations
from services.ingest import convert_storage as convert
from services.ingest.maintenance import StorageKeeper
from services.ingest.recall import Recall
from services.ingest.store_archive import ArchiveStore


class StorageServicer(StorageServiceServicer):
    """Answers every method of StorageService; their promises are in the contract's comments.

    What works on whole days acts for all: they hold the results of everybody.
    """

    def __init__(self, keeper: StorageKeeper, recall: Recall, archive: ArchiveStore) -> None:
        self._keeper = keeper
        self._recall = recall
        self._archive = archive

    async def GetStorage(
        self, request: storage.GetStorageRequest, context: Any
    ) -> storage.GetStorageResponse:
        state = await self._keeper.state()
        return storage.GetStorageResponse(storage=convert.storage_to_proto(state))

    async def MaintainStorage(
        self, request: storage.MaintainStorageRequest, context: Any
    ) -> AsyncGenerator[storage.MaintainStorageResponse]:
        tenancy.act_for(tenancy.PLATFORM)
        work = self._keeper.plan() if request.dry_run else self._keeper.maintain()
        async with aclosing(work) as steps:
            async for step in steps:
                yield convert.step_to_proto(step)

    async def ListArchivedDays(
        self, request: storage.ListArchivedDaysRequest, context: Any
    ) -> storage.ListArchivedDaysResponse:
        check = Violations()
        size = page_size(check, request.page_size)
        span = convert.span_from_proto(check, request.start_date, request.end_date)
        check.raise_if_any()
        digest = filter_digest("ListArchivedDays", request.start_date, request.end_date)
        before = convert.day_before(digest, request.page_token)
        found = await self._archive.page(span, before, size + 1)
        days, more = found[:size], len(found) > size
        return storage.ListArchivedDaysResponse(
            archived_days=[convert.archived_day_to_proto(archived) for archived in days],
            next_page_token=encode_token(digest, [str(days[-1].day)]) if more else "",
        )

    async def VerifyArchivedDays(
        self, request: storage.VerifyArchivedDaysRequest, context: Any
    ) -> AsyncGenerator[storage.VerifyArchivedDaysResponse]:
        tenancy.act_for(tenancy.PLATFORM)
        check = Violations()
        span = convert.span_from_proto(check, request.start_date, request.end_date)
        check.raise_if_any()
        async with aclosing(self._recall.verify(span, rows=request.full)) as verified:
            async for archived, problem in verified:
                yield convert.verified_to_proto(archived, problem)

    async def RestoreArchivedDays(
        self, request: storage.RestoreArchivedDaysRequest, context: Any
    ) -> AsyncGenerator[storage.RestoreArchivedDaysResponse]:
        tenancy.act_for(tenancy.PLATFORM)
        check = Violations()
        span, keep = convert.restore_from_proto(check, request)
        check.raise_if_any()
        count = 0
        async with aclosing(self._recall.restore(span, keep)) as recalled:
            async for day in recalled:
                count += 1
                yield convert.recalled_to_proto(day)
        if not count:
            raise not_found("archived day", request.start_date)
