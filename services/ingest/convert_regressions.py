"""DetectRegressions's messages: which runs to compare, and how they changed."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ingest.v1 import regression_pb2 as regression
from servemark.runtime import paging
from servemark.runtime.validation import Violations
from services.ingest import convert
from services.ingest.convert_query import METRIC_OF_COLUMN, columns_from_proto, filter_from_proto
from services.ingest.judging import ConfigChange, MetricChange, Reason, Verdict
from services.ingest.records import RegressionQuery, RunSelection

MAX_PAGE_SIZE: Final = 200
MAX_STREAMS: Final = 100
MAX_RUNS: Final = 50
MAX_EFFECT: Final = 10.0

_DEFAULT: Final = (
    "ttft_p50_ms",
    "ttft_p90_ms",
    "tpot_p50_ms",
    "tpot_p90_ms",
    "throughput_tokens_sec",
    "rps_sustained",
)
_VERDICT: Final = {
    verdict: regression.ChangeVerdict.Value(f"CHANGE_VERDICT_{verdict.name}") for verdict in Verdict
}
_REASON: Final = {
    None: regression.NotJudgedReason.NOT_JUDGED_REASON_UNSPECIFIED,
} | {
    reason: regression.NotJudgedReason.Value(f"NOT_JUDGED_REASON_{reason.name}")
    for reason in Reason
}


def page_size(check: Violations, requested: int) -> int:
    """The configurations to look at: each is dearer than a row of a list."""
    check.number("page_size", requested, low=0, high=MAX_PAGE_SIZE)
    return requested or paging.DEFAULT_PAGE_SIZE


def query_from_proto(
    check: Violations, message: regression.DetectRegressionsRequest
) -> RegressionQuery:
    """What is asked for; wrong fields are noted in `check`, and it means nothing then."""
    wanted = filter_from_proto(check, message.filter)
    if message.filter.HasField("benchmark_time"):
        check.add("filter.benchmark_time", "is said by new_runs and history here")
    if message.filter.limits:
        check.add("filter.limits", "would choose runs by their figures, so none can be given")
    new = _selection(check, "new_runs", message.new_runs)
    history = _selection(check, "history", message.history)
    if not new.stream_ids and not message.new_runs.benchmark_time.HasField("start_time"):
        check.add("new_runs", "needs stream_ids, or benchmark_time with a start_time")
    _check_apart(check, new, history)
    for field, value in (
        ("max_history_runs", message.max_history_runs),
        ("min_new_runs", message.min_new_runs),
        ("min_history_runs", message.min_history_runs),
    ):
        check.number(field, value, low=0, high=MAX_RUNS)
    min_effect = message.min_effect if message.HasField("min_effect") else 0.05
    check.number("min_effect", min_effect, low=0, high=MAX_EFFECT)
    asked = RegressionQuery(
        wanted=wanted,
        new=new,
        history=history,
        columns=columns_from_proto(check, message.metrics) if message.metrics else _DEFAULT,
        most_history=message.max_history_runs or 20,
        min_effect=min_effect,
        min_new=message.min_new_runs or 3,
        min_history=message.min_history_runs or 8,
    )
    if asked.min_history > asked.most_history:
        check.add(
            "min_history_runs",
            f"is {asked.min_history}, and no more than {asked.most_history} runs are compared with",
        )
    return asked


def _selection(check: Violations, path: str, message: regression.RunSelection) -> RunSelection:
    span = message.benchmark_time
    start, end = (
        _time(check, f"{path}.benchmark_time.{name}", getattr(span, name))
        if span.HasField(name)
        else None
        for name in ("start_time", "end_time")
    )
    if start is not None and end is not None and end <= start:
        check.add(f"{path}.benchmark_time.end_time", "has to come after start_time")
    stream_ids = check.uuids(f"{path}.stream_ids", message.stream_ids, most=MAX_STREAMS)
    return RunSelection(start, end, tuple(stream_ids))


def _time(check: Violations, path: str, stamp: Timestamp) -> datetime | None:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        check.add(path, "is not a time from the year 1 to 9999")
        return None


def _check_apart(check: Violations, new: RunSelection, history: RunSelection) -> None:
    """Notes where a run could be on both sides."""
    both = set(new.stream_ids) & set(history.stream_ids)
    if both:
        check.add("history.stream_ids", f"has the stream {min(both)}, which is in new_runs too")
    start = new.start_time
    if start is None:
        return
    if history.end_time is not None and history.end_time > start:
        check.add(
            "history.benchmark_time.end_time",
            f"overlaps with new_runs, which start at {start.isoformat()}",
        )
    if history.start_time is not None and history.start_time >= start:
        check.add(
            "history.benchmark_time.start_time",
            f"has to come before new_runs start, at {start.isoformat()}",
        )


def refuse_unknown(query: RegressionQuery, unknown: Collection[UUID]) -> None:
    """Raises INVALID_FIELD that names each configuration and stream that is not there."""
    check = Violations()
    _note_unknown(check, "filter.config_ids", "configuration", query.wanted.config_ids, unknown)
    _note_unknown(check, "new_runs.stream_ids", "stream", query.new.stream_ids, unknown)
    _note_unknown(check, "history.stream_ids", "stream", query.history.stream_ids, unknown)
    check.raise_if_any()


def _note_unknown(
    check: Violations, path: str, kind: str, ids: Iterable[UUID], unknown: Collection[UUID]
) -> None:
    for index, one in enumerate(ids):
        if one in unknown:
            check.add(f"{path}[{index}]", f"there is no {kind} {one}")


def change_to_proto(change: ConfigChange) -> regression.ConfigChange:
    """How a configuration changed."""
    return regression.ConfigChange(
        config=convert.config_to_proto(change.config),
        verdict=_VERDICT[change.verdict],
        changes=map(_metric_to_proto, change.changes),
    )


def _metric_to_proto(change: MetricChange) -> regression.MetricChange:
    return regression.MetricChange(
        metric=METRIC_OF_COLUMN[change.column],
        verdict=_VERDICT[change.verdict],
        not_judged_reason=_REASON[change.reason],
        history_run_count=change.history_count,
        new_run_count=change.new_count,
        outlier_count=change.outlier_count,
        before=change.before,
        after=change.after,
        change=change.change,
        change_low=change.change_low,
        change_high=change.change_high,
        noise=change.noise,
        z=change.z,
        p_value=change.p_value,
    )
