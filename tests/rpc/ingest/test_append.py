"""Batches are acknowledged once they are durable, and each result is stored once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from servemark.ingest.v1.result_stream_pb2 import BatchAck, GetStreamCursorRequest
from servemark.runtime.ids import uuid7
from servemark.type.v1.error_reason_pb2 import ErrorReason
from tests.rpc.ingest.builders import batch, config, header, now_ms, row, rows
from tests.rpc.ingest.serving import AppendCall, Served, append, stream
from tests.support.days import drop_day
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

REUSED = ErrorReason.ERROR_REASON_ID_REUSED


def counts(ack: BatchAck) -> tuple[int, int, int]:
    """What an acknowledgement says: stored, duplicates, refused."""
    return ack.stored_count, ack.duplicate_count, len(ack.rejections)


def changed(original: ResultRow) -> ResultRow:
    """The same row with another figure."""
    copy = ResultRow()
    copy.CopyFrom(original)
    copy.metrics.ttft_p50_ms += 1
    return copy


async def test_each_batch_is_acknowledged_with_what_was_stored(ingest: Served) -> None:
    opened, acks = await append(ingest.stub, header(), batch(0, rows(3)), batch(1, rows(2)))
    assert opened.next_sequence == 0
    assert [outcome.config_index for outcome in opened.configs] == [0]
    assert opened.configs[0].config_id
    assert [(ack.sequence, *counts(ack)) for ack in acks] == [(0, 3, 0, 0), (1, 2, 0, 0)]
    assert not any(ack.replayed for ack in acks)
    assert ingest.stored() == 5


async def test_an_acknowledged_batch_is_in_the_database(ingest: Served) -> None:
    call = AppendCall(ingest.stub)
    await call.open(header())
    await call.append(batch(0, rows(7)))
    # Seen from another connection, while the call goes on.
    assert ingest.stored() == 7
    await call.close()


async def test_a_batch_sent_again_is_acknowledged_as_replayed(ingest: Served) -> None:
    message, first = header(), batch(0, rows(3))
    await append(ingest.stub, message, first, batch(1, rows(2)))
    opened, acks = await append(ingest.stub, message, first)
    assert opened.next_sequence == 2
    assert acks == [BatchAck(sequence=0, duplicate_count=3, replayed=True)]
    assert ingest.stored() == 5


async def test_a_batch_within_one_call_may_be_sent_twice(ingest: Served) -> None:
    first = batch(0, rows(3))
    _, acks = await append(ingest.stub, header(), first, first, batch(1, rows(1)))
    assert [ack.replayed for ack in acks] == [False, True, False]
    assert ingest.stored() == 4


async def test_a_stream_goes_on_where_another_call_left_it(ingest: Served) -> None:
    message = header()
    await append(ingest.stub, message, batch(0, rows(3)))
    opened, acks = await append(ingest.stub, message, batch(1, rows(2)))
    assert opened.next_sequence == 1
    assert counts(acks[0]) == (2, 0, 0)
    assert ingest.stored() == 5


async def test_a_batch_beyond_the_cursor_is_refused_with_what_is_expected(ingest: Served) -> None:
    message = header()
    refused = await failure(append(ingest.stub, message, batch(0, rows(1)), batch(2, rows(1))))
    assert refused.code.name == "OUT_OF_RANGE"
    assert refused.reason == "SEQUENCE_GAP"
    assert refused.metadata == {"expected_sequence": "1"}
    assert ingest.stored() == 1
    await append(ingest.stub, message, batch(1, rows(1)))
    assert ingest.stored() == 2


async def test_rows_stored_by_another_stream_are_duplicates(ingest: Served) -> None:
    known = rows(5)
    await append(ingest.stub, header(), batch(0, known))
    # Another tool and stream, the same measurements: not other content.
    _, acks = await append(
        ingest.stub, header(tool="guidellm"), batch(0, known), batch(1, [*known, *rows(2)])
    )
    assert [counts(ack) for ack in acks] == [(0, 5, 0), (2, 5, 0)]
    assert ingest.stored() == 7


async def test_an_id_with_other_content_is_refused_and_what_is_stored_stays(
    ingest: Served,
) -> None:
    known = rows(3)
    await append(ingest.stub, header(), batch(0, known))
    fresh = row()
    _, acks = await append(ingest.stub, header(), batch(0, [fresh, known[0], changed(known[1])]))
    assert counts(acks[0]) == (1, 1, 1)
    rejection = acks[0].rejections[0]
    assert (rejection.row, rejection.result_id, rejection.reason) == (2, known[1].id, REUSED)
    answer = await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=known[1].id))
    assert answer.benchmark_result.metrics == known[1].metrics


async def test_every_part_of_a_result_counts_as_content(ingest: Served) -> None:
    two = header(config(concurrency=1), config(concurrency=2))
    original = row(
        figures={"ttft_p50_ms": 1.0},
        percentile_source=1,
        detailed_metrics_json='{"a": [1, 2.50]}',
    )
    changes = {
        "config_index": 1,
        "percentile_source": 2,
        "batch_size": 8,
        "request_count": 10,
        "failed_request_count": 0,
        "detailed_metrics_json": '{"a": [2.50, 1]}',
        "source_sha256": b"x" * 32,
    }
    others = []
    for name, value in changes.items():
        other = ResultRow()
        other.CopyFrom(original)
        setattr(other, name, value)
        others.append(other)
    same = ResultRow()
    same.CopyFrom(original)
    same.detailed_metrics_json = '{ "a":[1.0,25e-1] }'
    _, acks = await append(ingest.stub, two, batch(0, [original]), batch(1, [*others, same]))
    assert counts(acks[1]) == (0, 1, len(changes))


async def test_an_id_twice_in_a_batch_is_stored_once_and_compared(ingest: Served) -> None:
    first, second = row(), row()
    _, acks = await append(
        ingest.stub, header(), batch(0, [first, second, first, changed(first), changed(second)])
    )
    assert counts(acks[0]) == (2, 1, 2)
    assert [rejection.row for rejection in acks[0].rejections] == [3, 4]
    assert {rejection.reason for rejection in acks[0].rejections} == {REUSED}
    assert ingest.stored() == 2


async def test_the_first_row_of_an_id_wins_whatever_its_content(ingest: Served) -> None:
    first = row(figures={"ttft_p50_ms": 50.0})
    second = changed(first)
    _, acks = await append(ingest.stub, header(), batch(0, [second, first]))
    assert [rejection.row for rejection in acks[0].rejections] == [1]
    answer = await ingest.stub.GetBenchmarkResult(GetBenchmarkResultRequest(id=first.id))
    assert answer.benchmark_result.metrics.ttft_p50_ms == 51.0


async def test_streamed_results_are_summed_up_once_at_the_end(ingest: Served) -> None:
    message, known = header(), rows(4)
    wrong = row(config_index=9)
    first, second = batch(0, [*known, wrong]), batch(1, known)
    summary = await stream(ingest.stub, message, first, second)
    assert summary.stream_id == message.stream_id
    assert summary.next_sequence == 2
    assert (summary.stored_count, summary.duplicate_count, summary.rejected_count) == (4, 4, 1)
    assert [(r.sequence, r.row) for r in summary.rejections] == [(0, 4)]
    again = await stream(ingest.stub, message, first, second)
    assert (again.stored_count, again.duplicate_count, again.rejected_count) == (0, 9, 0)
    assert again.next_sequence == 2
    assert again.configs == summary.configs
    assert ingest.stored() == 4


async def test_a_stream_without_batches_is_open_and_empty(ingest: Served) -> None:
    message = header()
    summary = await stream(ingest.stub, message)
    assert (summary.next_sequence, summary.stored_count) == (0, 0)
    cursor = await ingest.stub.GetStreamCursor(GetStreamCursorRequest(stream_id=message.stream_id))
    assert cursor.next_sequence == 0


async def test_the_cursor_counts_over_all_calls_of_a_stream(ingest: Served) -> None:
    message, known = header(), rows(2)
    await append(ingest.stub, message, batch(0, known))
    await stream(ingest.stub, message, batch(0, known), batch(1, [known[0], row(config_index=5)]))
    cursor = await ingest.stub.GetStreamCursor(GetStreamCursorRequest(stream_id=message.stream_id))
    assert (cursor.next_sequence, cursor.stored_count) == (2, 2)
    assert (cursor.duplicate_count, cursor.rejected_count) == (1, 1)
    assert cursor.create_time.ToDatetime() < cursor.update_time.ToDatetime()


async def test_a_stream_that_was_never_opened_has_no_cursor(ingest: Served) -> None:
    refused = await failure(
        ingest.stub.GetStreamCursor(GetStreamCursorRequest(stream_id=header().stream_id))
    )
    assert (refused.code.name, refused.reason) == ("NOT_FOUND", "RESOURCE_NOT_FOUND")


async def test_the_last_and_the_first_millisecond_of_a_day_lie_in_their_days(
    ingest: Served,
) -> None:
    midnight = now_ms() // 86_400_000 * 86_400_000
    last, first = row(midnight - 1), row(midnight)
    _, acks = await append(ingest.stub, header(), batch(0, [first, last]))
    assert counts(acks[0]) == (2, 0, 0)
    day = datetime.fromtimestamp(midnight // 1000, UTC).date()
    results = "FROM ingest.benchmark_results"
    dates = ingest.value(f"SELECT array_agg(benchmark_date ORDER BY id) {results}")
    assert dates == [day - timedelta(days=1), day]
    assert ingest.value(f"SELECT count(DISTINCT tableoid) {results}") == 2


async def test_a_day_that_was_dropped_comes_back_with_its_next_result(ingest: Served) -> None:
    noon = now_ms() // 86_400_000 * 86_400_000 - 43_200_000
    message = header()
    await append(ingest.stub, message, batch(0, rows(3, noon)))
    day = datetime.fromtimestamp(noon // 1000, UTC).date()
    # Beside the loop: the service's own transactions have to end before the table can go.
    await asyncio.to_thread(drop_day, ingest.dsn, day)
    _, acks = await append(ingest.stub, message, batch(1, rows(2, noon)))
    assert counts(acks[0]) == (2, 0, 0)
    assert ingest.stored() == 2


async def test_a_day_that_was_dropped_comes_back_among_repeated_rows(ingest: Served) -> None:
    noon = now_ms() // 86_400_000 * 86_400_000 - 43_200_000
    message, known = header(), rows(3, noon - 86_400_000)
    await append(ingest.stub, message, batch(0, [*known, *rows(3, noon)]))
    await asyncio.to_thread(drop_day, ingest.dsn, datetime.fromtimestamp(noon // 1000, UTC).date())
    # The collision is met before the day that is not there.
    _, acks = await append(ingest.stub, message, batch(1, [*known, *rows(2, noon)]))
    assert counts(acks[0]) == (2, 3, 0)
    assert ingest.stored() == 5


async def test_a_time_is_kept_to_the_millisecond_that_the_id_carries(ingest: Served) -> None:
    moment = now_ms()
    exact = row(moment)
    finer = ResultRow()
    finer.CopyFrom(exact)
    finer.benchmark_time.nanos += 999_999
    _, acks = await append(ingest.stub, header(), batch(0, [exact]), batch(1, [finer]))
    # One id is one result, however finely its time is told.
    assert [counts(ack) for ack in acks] == [(1, 0, 0), (0, 1, 0)]


async def test_batches_are_refused_that_are_none(ingest: Served) -> None:
    empty = await failure(append(ingest.stub, header(), batch(0, [])))
    assert (empty.reason, set(empty.fields)) == ("INVALID_FIELD", {"batch.rows"})
    negative = await failure(append(ingest.stub, header(), batch(-1, rows(1))))
    assert (negative.reason, set(negative.fields)) == ("INVALID_FIELD", {"batch.sequence"})
    moment = now_ms()
    tiny = [ResultRow(id=str(uuid7(moment))) for _ in range(10_001)]
    large = await failure(append(ingest.stub, header(), batch(0, tiny)))
    assert large.reason == "BATCH_TOO_LARGE"


async def test_ten_thousand_rows_are_one_batch(ingest: Served) -> None:
    _, acks = await append(ingest.stub, header(), batch(0, rows(10_000)))
    assert counts(acks[0]) == (10_000, 0, 0)


async def test_what_is_wrong_is_told_after_the_batches_before_it(ingest: Served) -> None:
    call = AppendCall(ingest.stub)
    await call.open(header())
    await call.send(batch(0, rows(2)))
    await call.send(batch(1, rows(3)))
    await call.send(batch(7, rows(1)))
    assert (await call.read()).ack.stored_count == 2
    assert (await call.read()).ack.stored_count == 3
    refused = await failure(call.read())
    assert refused.reason == "SEQUENCE_GAP"
