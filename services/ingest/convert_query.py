"""Filters and page tokens of the listing methods."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final, cast
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ingest.v1.result_query_pb2 import ResultFilter as ResultFilterMessage
from servemark.runtime.errors import ServemarkError
from servemark.runtime.ids import uuid7_time_ms
from servemark.runtime.paging import decode_token
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.provenance_pb2 import Provenance
from services.ingest.metrics import SUMMARY_COLUMNS, Limit
from services.ingest.records import PROVENANCES, ResultFilter

MAX_FILTER_VALUES: Final = 1000

# `Metric` numbers its values as the columns go, and ends with two prices that are not known here.
COLUMN_OF_METRIC: Final = {
    int(Metric.Value(f"METRIC_{name.upper()}")): name for name in SUMMARY_COLUMNS
}
METRIC_OF_COLUMN: Final = {
    column: cast("Metric.ValueType", metric) for metric, column in COLUMN_OF_METRIC.items()
}
MAX_RECENT_DAYS: Final = 3650


def filter_from_proto(check: Violations, message: ResultFilterMessage) -> ResultFilter:
    """The filter; its wrong fields are noted in `check`, and it means nothing then."""
    check_list = check.uuids
    return ResultFilter(
        model_ids=tuple(check_list("filter.model_ids", message.model_ids)),
        model_version_ids=tuple(check_list("filter.model_version_ids", message.model_version_ids)),
        hardware_config_ids=tuple(
            check_list("filter.hardware_config_ids", message.hardware_config_ids)
        ),
        framework_ids=tuple(check_list("filter.framework_ids", message.framework_ids)),
        config_ids=tuple(check_list("filter.config_ids", message.config_ids)),
        workload_types=_workload_types(check, message.workload_types),
        start_time=_time(check, "filter.benchmark_time.start_time", message, "start_time"),
        end_time=_time(check, "filter.benchmark_time.end_time", message, "end_time"),
        provenances=_provenances(check, message.provenances),
        limits=tuple(
            _limit(check, f"filter.limits[{index}]", limit)
            for index, limit in enumerate(message.limits)
        ),
    )


def _workload_types(check: Violations, values: Sequence[str]) -> tuple[str, ...]:
    if len(values) > MAX_FILTER_VALUES:
        check.add("filter.workload_types", f"has more than {MAX_FILTER_VALUES} entries")
    return tuple(
        check.text(f"filter.workload_types[{index}]", value, max_len=64, lower=True)
        for index, value in enumerate(values[:MAX_FILTER_VALUES])
    )


def _provenances(check: Violations, values: Sequence[int]) -> tuple[str, ...]:
    known = set(Provenance.values())
    for index, value in enumerate(values):
        check.enum(f"filter.provenances[{index}]", value, list(known))
    return tuple({PROVENANCES[value - 1] for value in values if value in known and value})


def _time(
    check: Violations, path: str, message: ResultFilterMessage, field: str
) -> datetime | None:
    span = message.benchmark_time
    if not span.HasField(field):  # type: ignore[arg-type]
        return None
    stamp: Timestamp = getattr(span, field)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        check.add(path, "is not a time from the year 1 to 9999")
        return None


def columns_from_proto(check: Violations, metrics: Sequence[int]) -> tuple[str, ...]:
    """The columns of the metrics asked for, each once, in the order of all; all for none."""
    for index, metric in enumerate(metrics):
        if metric not in COLUMN_OF_METRIC:
            check.add(f"metrics[{index}]", _unknown_metric(metric))
    wanted = {COLUMN_OF_METRIC.get(metric) for metric in metrics}
    return tuple(name for name in SUMMARY_COLUMNS if not metrics or name in wanted)


def _unknown_metric(metric: int) -> str:
    if metric in Metric.values() and metric:
        return "is a price, and prices are not known here"
    return "is required and has to exist"


def _limit(check: Violations, path: str, message: MetricLimit) -> Limit:
    column = COLUMN_OF_METRIC.get(message.metric)
    if column is None:
        check.add(f"{path}.metric", _unknown_metric(message.metric))
    if not 0 < message.limit < float("inf"):
        check.add(f"{path}.limit", f"is {message.limit:g}; it must be above 0 and finite")
    return Limit(column or SUMMARY_COLUMNS[0], message.limit)


def day_from_text(check: Violations, field: str, text: str) -> date | None:
    """The day in `YYYY-MM-DD`; None where it is empty or, noted, wrong."""
    if not text:
        return None
    try:
        if len(text) == len("YYYY-MM-DD"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    check.add(field, "is not a day such as 2026-02-28")
    return None


def result_time(result_id: UUID) -> datetime | None:
    """The time that a result's id carries; None for an id that no result can have."""
    milliseconds = uuid7_time_ms(result_id)
    if milliseconds is None:
        return None
    try:
        seconds, rest = divmod(milliseconds, 1000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
    except (ValueError, OverflowError):
        return None


def results_after(digest: str, token: str) -> tuple[UUID, datetime] | None:
    """The result that a page of results continues after, with its time."""
    after = uuid_after(digest, token)
    if after is None:
        return None
    moment = result_time(after)
    if moment is None:
        raise _wrong_token()
    return after, moment


def uuid_after(digest: str, token: str) -> UUID | None:
    """The id that a page continues after; None for the first page."""
    key = decode_token(digest, token, 1)
    return None if key is None else _uuid(key[0])


def number_after(digest: str, token: str) -> int | None:
    """The number that a page continues after; None for the first page."""
    key = decode_token(digest, token, 1)
    if key is None:
        return None
    if type(key[0]) is not int or not 0 <= key[0] < 2**63:
        raise _wrong_token()
    return key[0]


def day_and_uuid_after(digest: str, token: str) -> tuple[date, UUID] | None:
    """The day and the id that a page continues after; None for the first page."""
    key = decode_token(digest, token, 2)
    if key is None:
        return None
    try:
        return date.fromisoformat(key[0]), _uuid(key[1])
    except (TypeError, ValueError):
        raise _wrong_token() from None


def _uuid(value: object) -> UUID:
    try:
        if isinstance(value, str):
            return UUID(value)
    except ValueError:
        pass
    raise _wrong_token()


def _wrong_token() -> ServemarkError:
    return ServemarkError(
        ErrorReason.ERROR_REASON_PAGE_TOKEN_INVALID,
        "The page token was not made by this method for these filters. Start again without one.",
    )
