"""A wrong row is refused by itself, with its reason, and the refusal is kept."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from servemark.ingest.v1.benchmark_result_pb2 import ResultMetrics, ResultRow
from servemark.ingest.v1.latency_sketch_pb2 import LatencySketch
from servemark.ingest.v1.result_stream_pb2 import ListRejectionsRequest, ResultBatch
from servemark.runtime.ids import uuid7
from servemark.type.v1.error_reason_pb2 import ErrorReason
from tests.rpc.ingest.builders import as_columns, batch, config, header, now_ms, row, rows
from tests.rpc.ingest.serving import Served, append, serving
from tests.support.failures import failure

pytestmark = pytest.mark.every_profile

DAY = 86_400_000


def late_id() -> ResultRow:
    """A row whose id carries the millisecond after its time."""
    moment = now_ms()
    return row(moment, id=str(uuid7(moment + 1)))


def with_id(change: Callable[[str], str]) -> ResultRow:
    """A row whose id is written differently."""
    message = row()
    message.id = change(message.id)
    return message


def with_nanos(nanos: int) -> ResultRow:
    """A row whose time has impossible nanoseconds."""
    message = row()
    message.benchmark_time.nanos = nanos
    return message


def deep(levels: int) -> str:
    """A JSON object of so many levels."""
    return '{"a":' * levels + "1" + "}" * levels


def figures(**values: Any) -> ResultRow:
    """A row with these figures only."""
    return row(figures=values)


WRONG: dict[str, list[Callable[[], ResultRow]]] = {
    "CONFIG_INDEX_UNKNOWN": [lambda: row(config_index=2), lambda: row(config_index=-1)],
    "CONFIG_UNRESOLVED": [lambda: row(config_index=1)],
    "ID_TIME_MISMATCH": [
        late_id,
        lambda: with_id(lambda _: ""),
        lambda: with_id(lambda _: str(uuid4())),
        lambda: with_id(lambda text: text.replace("-", "")),
        lambda: with_id(lambda text: "{" + text + "}"),
        lambda: with_id(lambda text: text[:-1]),
        lambda: with_id(lambda text: text[:-1] + " "),
        lambda: with_id(lambda text: text[:-2] + "\x00" + "0"),
        lambda: with_id(lambda text: text[:19] + "0" + text[20:]),
        lambda: with_id(lambda _: "n" * 4000),
        lambda: with_nanos(-1),
        lambda: with_nanos(2_000_000_000),
        lambda: row(benchmark_time=None),
    ],
    "TIME_IN_FUTURE": [lambda: row(now_ms() + DAY + 60_000)],
    "TIME_BEFORE_RETENTION": [lambda: row(now_ms() - 3650 * DAY - 60_000), lambda: row(0)],
    "NO_METRICS": [lambda: row(metrics=ResultMetrics()), lambda: row(metrics=None)],
    "METRIC_OUT_OF_RANGE": [
        lambda: figures(ttft_p50_ms=float("nan")),
        lambda: figures(ttft_p50_ms=-0.001),
        lambda: figures(tpot_p99_ms=1.1e9),
        lambda: figures(throughput_tokens_sec=float("inf")),
        lambda: figures(rps_sustained=2e12),
        lambda: figures(accuracy_score=1.0001),
        lambda: figures(gpu_utilization_pct=100.5),
        lambda: figures(memory_used_gb=-1),
        lambda: row(batch_size=0),
        lambda: row(batch_size=-1),
        lambda: row(request_count=-1),
        lambda: row(failed_request_count=-1),
    ],
    "PERCENTILES_NOT_MONOTONE": [
        lambda: figures(ttft_p50_ms=2, ttft_p90_ms=1),
        lambda: figures(ttft_p50_ms=2, ttft_p99_ms=1),
        lambda: figures(tpot_p95_ms=5, tpot_p99_ms=4.9),
        lambda: figures(tpot_p90_ms=1, tpot_p95_ms=0),
    ],
    "INVALID_FIELD": [
        lambda: row(percentile_source=9),
        lambda: row(source_sha256=b"short"),
    ],
    "DETAILED_METRICS_INVALID": [
        partial(row, detailed_metrics_json=text)
        for text in (
            "[]",
            "1",
            "{",
            '{"a": NaN}',
            '{"a": 1e999}',
            '{"a": "\\u0000"}',
            '{"\\u0000": 1}',
            '{"a": "' + "x" * 16_384 + '"}',
            deep(9),
            deep(5000),
            "{" + ",".join(f'"k{index}":1' for index in range(201)) + "}",
        )
    ],
}

WRONG["SKETCH_INVALID"] = [
    partial(row, ttft_sketch=LatencySketch(first_bucket=first, counts=counts, zero_count=zeros))
    for first, counts, zeros in (
        (-1101, [1], 0),
        (1101, [1], 0),
        (1100, [1, 1], 0),
        (0, [1, -1], 0),
        (0, [2**31], 0),
        (0, [0, 0], 0),
        (0, [1], -1),
        (0, [1], 2**31),
    )
] + [lambda: row(tpot_sketch=LatencySketch(first_bucket=-2000, counts=[1]))]

RIGHT: list[Callable[[], ResultRow]] = [
    lambda: row(now_ms() + DAY - 60_000),
    lambda: row(now_ms() - 3649 * DAY),
    lambda: figures(ttft_p50_ms=0),
    lambda: figures(ttft_p50_ms=1e9, throughput_tokens_sec=1e12),
    lambda: figures(accuracy_score=1, gpu_utilization_pct=100),
    lambda: figures(accuracy_score=-0.0),
    lambda: figures(ttft_p50_ms=3, ttft_p99_ms=3, tpot_p50_ms=1),
    lambda: row(request_count=0, failed_request_count=0, batch_size=1),
    lambda: row(ttft_sketch=LatencySketch(first_bucket=-1100, counts=[1] * 2201)),
    lambda: row(tpot_sketch=LatencySketch(first_bucket=1100, counts=[2**31 - 1])),
    lambda: row(ttft_sketch=LatencySketch(zero_count=2**31 - 1)),
    lambda: row(detailed_metrics_json=deep(8)),
    lambda: row(detailed_metrics_json='{"a": 1e300, "b": 123456789012345678901234567890}'),
    lambda: with_id(str.upper),
]


@pytest.mark.parametrize("reason", WRONG)
async def test_a_wrong_row_is_refused_with_its_reason_and_the_others_stored(
    ingest: Served, reason: str
) -> None:
    wrong = [make() for make in WRONG[reason]]
    message = header(config(), config(hardware="nowhere/tpu"))
    _, acks = await append(ingest.stub, message, batch(0, [row(), *wrong, row()]))
    assert acks[0].stored_count == 2
    refused = [(r.row, ErrorReason.Name(r.reason)) for r in acks[0].rejections]
    assert refused == [(index + 1, f"ERROR_REASON_{reason}") for index in range(len(wrong))]
    assert all(rejection.detail.endswith(".") for rejection in acks[0].rejections)


def can_be_columns(message: ResultRow) -> bool:
    """Whether columns can say the same: the id is some UUID, the time some time."""
    try:
        is_uuid = str(UUID(message.id)) == message.id
    except ValueError:
        return False
    has_figures = bool(message.metrics.ListFields())
    is_time = message.HasField("benchmark_time") and 0 <= message.benchmark_time.nanos < 10**9
    return is_uuid and is_time and message.HasField("metrics") == has_figures


@pytest.mark.parametrize("reason", WRONG)
async def test_columns_are_refused_as_rows_are_word_for_word(ingest: Served, reason: str) -> None:
    wrong = [one for make in WRONG[reason] if can_be_columns(one := make())]
    content = batch(0, [row(), *wrong, row()])
    answers = [
        (await append(ingest.stub, header(config(), config(hardware="nowhere/tpu")), sent))[1][0]
        for sent in (content, as_columns(content))
    ]
    assert len(wrong) > 0
    assert answers[1].rejections == answers[0].rejections
    assert (answers[0].stored_count, answers[1].duplicate_count) == (2, 2)
    kept = await ingest.stub.ListRejections(ListRejectionsRequest(page_size=1000))
    hashes = [entry.payload_sha256 for entry in kept.rejections]
    assert hashes[: len(wrong)] == hashes[len(wrong) :]


@pytest.mark.parametrize("encode", [lambda content: content, as_columns])
async def test_values_at_the_ends_of_their_ranges_are_stored(
    ingest: Served, encode: Callable[[ResultBatch], ResultBatch]
) -> None:
    right = [make() for make in RIGHT]
    _, acks = await append(ingest.stub, header(), encode(batch(0, right)))
    assert not acks[0].rejections
    assert acks[0].stored_count == len(right)


def test_every_reason_a_row_can_have_is_tried() -> None:
    row_reasons = {
        name.removeprefix("ERROR_REASON_")
        for name, number in ErrorReason.items()
        if 20 <= number < 40
    }
    # ID_REUSED takes a second batch: test_append has it.
    assert row_reasons - {"ID_REUSED"} <= set(WRONG)


async def test_refused_rows_are_kept_and_listed_newest_first(ingest: Served) -> None:
    message, other = header(), header()
    wrong = [row(config_index=7), figures(ttft_p50_ms=-1), figures(ttft_p50_ms=-2)]
    await append(ingest.stub, message, batch(0, [row(), wrong[0]]), batch(1, wrong[1:]))
    await append(ingest.stub, other, batch(0, [row(config_index=8)]))
    everything = await ingest.stub.ListRejections(ListRejectionsRequest())
    assert [kept.stream_id for kept in everything.rejections][:1] == [other.stream_id]
    answer = await ingest.stub.ListRejections(ListRejectionsRequest(stream_id=message.stream_id))
    kept = answer.rejections
    assert [(k.rejection.sequence, k.rejection.row) for k in kept] == [(1, 1), (1, 0), (0, 1)]
    assert [k.rejection.result_id for k in kept] == [sent.id for sent in reversed(wrong)]
    assert [k.payload_sha256 for k in kept] == [
        hashlib.sha256(sent.SerializeToString(deterministic=True)).digest()
        for sent in reversed(wrong)
    ]
    assert all(k.HasField("create_time") for k in kept)
    only = await ingest.stub.ListRejections(
        ListRejectionsRequest(reasons=[ErrorReason.ERROR_REASON_CONFIG_INDEX_UNKNOWN])
    )
    assert {k.rejection.result_id for k in only.rejections} == {
        wrong[0].id,
        everything.rejections[0].rejection.result_id,
    }


async def test_rejections_come_in_pages(ingest: Served) -> None:
    message = header()
    await append(ingest.stub, message, batch(0, [row(config_index=9) for _ in range(7)]))
    seen: list[int] = []
    token = ""
    while True:
        page = await ingest.stub.ListRejections(
            ListRejectionsRequest(stream_id=message.stream_id, page_size=3, page_token=token)
        )
        seen += [kept.rejection.row for kept in page.rejections]
        token = page.next_page_token
        if not token:
            break
    assert seen == [6, 5, 4, 3, 2, 1, 0]


async def test_rejections_of_a_replayed_batch_are_kept_once(ingest: Served) -> None:
    message, content = header(), batch(0, [row(), row(config_index=9)])
    await append(ingest.stub, message, content)
    _, acks = await append(ingest.stub, message, content)
    assert (acks[0].replayed, len(acks[0].rejections)) == (True, 0)
    assert ingest.value("SELECT count(*) FROM ingest.result_rejections") == 1


async def test_an_unknown_reason_cannot_be_listed(ingest: Served) -> None:
    request = ListRejectionsRequest(reasons=[999, 0], stream_id="x")  # type: ignore[list-item]
    refused = await failure(ingest.stub.ListRejections(request))
    assert set(refused.fields) == {"reasons[0]", "reasons[1]", "stream_id"}


async def test_retention_is_a_setting(ingest_dsn: str) -> None:
    async with serving(ingest_dsn, retention_days=30) as served:
        _, acks = await append(
            served.stub,
            header(),
            batch(0, [row(now_ms() - 29 * DAY), row(now_ms() - 31 * DAY), *rows(1)]),
        )
        assert [rejection.row for rejection in acks[0].rejections] == [1]
