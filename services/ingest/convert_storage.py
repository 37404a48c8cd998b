"""Messages of StorageService from and to what the service works with."""

from datetime import date, datetime, timedelta
from typing import Any, Final

from servemark.ingest.v1 import storage_pb2 as storage
from servemark.runtime.paging import decode_token, token_invalid
from servemark.runtime.validation import Violations
from services.ingest.archive.records import ArchivedDay, DaySpan
from services.ingest.convert_query import day_from_text
from services.ingest.maintenance import Step, StorageState
from services.ingest.recall import Recalled

MAX_KEEP_DAYS: Final = 3650
DEFAULT_KEEP_DAYS: Final = 7


def span_from_proto(check: Violations, start_date: str, end_date: str) -> DaySpan:
    """The days that a request names; what is wrong with them is noted."""
    return DaySpan(
        day_from_text(check, "start_date", start_date), day_from_text(check, "end_date", end_date)
    )


def restore_from_proto(
    check: Violations, request: storage.RestoreArchivedDaysRequest
) -> tuple[DaySpan, timedelta]:
    """The days to restore, and for how long; what is wrong with them is noted."""
    if not request.start_date:
        check.add("start_date", "is required")
    span = span_from_proto(check, request.start_date, request.end_date)
    if span.start is not None and span.end is None:
        span = DaySpan.one(span.start)
    check.number("keep_days", request.keep_days, low=0, high=MAX_KEEP_DAYS)
    return span, timedelta(days=request.keep_days or DEFAULT_KEEP_DAYS)


def day_before(digest: str, token: str) -> date | None:
    """The day that a page continues before; None for the first page."""
    key = decode_token(digest, token, 1)
    if key is None:
        return None
    try:
        return date.fromisoformat(key[0])
    except (TypeError, ValueError):
        raise token_invalid() from None


def storage_to_proto(state: StorageState) -> storage.Storage:
    """How results are stored."""
    extent = state.extent
    return storage.Storage(
        profile=extent.profile,
        timescaledb_version=extent.timescaledb_version,
        days=[
            storage.StoredDay(
                day=str(stored.day),
                byte_size=stored.byte_size,
                is_compressed=stored.is_compressed,
            )
            for stored in extent.days
        ],
        oldest_result_day=_day(extent.oldest_day),
        newest_result_day=_day(extent.newest_day),
        row_count=extent.row_count,
        row_count_is_estimate=extent.is_estimate,
        retention_days=state.retention_days,
        overdue_day_count=state.overdue_day_count,
        archive_location=state.archive_location,
        archived_day_count=state.archived_day_count,
        dropped_day_count=state.dropped_day_count,
    )


def step_to_proto(step: Step) -> storage.MaintainStorageResponse:
    """One step of a maintenance."""
    return storage.MaintainStorageResponse(
        step=storage.MaintenanceStep.Value(f"MAINTENANCE_STEP_{step.kind.value}"),
        day=_day(step.day),
        row_count=step.row_count,
        byte_size=step.byte_size,
        detail=step.detail,
    )


def archived_day_to_proto(archived: ArchivedDay) -> storage.ArchivedDay:
    """A day in the archive."""
    written = archived.written
    message = storage.ArchivedDay(
        day=str(archived.day),
        object_name=written.object_name,
        row_count=written.fingerprint.row_count,
        byte_size=written.byte_size,
        sha256=written.sha256.hex(),
        content_checksum=written.fingerprint.checksum.hex(),
    )
    message.archive_time.FromDatetime(written.archived_at)
    message.verify_time.FromDatetime(archived.verified_at)
    _set_time(message.drop_time, archived.dropped_at)
    _set_time(message.restore_time, archived.restored_at)
    _set_time(message.keep_until_time, archived.keep_until)
    return message


def verified_to_proto(archived: ArchivedDay, problem: str) -> storage.VerifyArchivedDaysResponse:
    """What was found of a day's file."""
    return storage.VerifyArchivedDaysResponse(
        day=str(archived.day),
        problem=problem,
        row_count=archived.written.fingerprint.row_count,
        byte_size=archived.written.byte_size,
    )


def recalled_to_proto(recalled: Recalled) -> storage.RestoreArchivedDaysResponse:
    """What became of a day that was to be restored."""
    message = storage.RestoreArchivedDaysResponse(
        day=str(recalled.day),
        restored_count=recalled.restored_count,
        present_count=recalled.present_count,
        problem=recalled.problem,
    )
    _set_time(message.keep_until_time, recalled.keep_until)
    return message


def _day(day: date | None) -> str:
    return "" if day is None else str(day)


def _set_time(field: Any, value: datetime | None) -> None:
    if value is not None:
        field.FromDatetime(value)
