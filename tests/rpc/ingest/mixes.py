"""Any mix of fresh, repeated, changed and wrong rows, and what has to become of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from servemark.ingest.v1.benchmark_result_pb2 import ResultRow
from servemark.ingest.v1.result_stream_pb2 import BatchAck, ResultBatch
from servemark.type.v1.error_reason_pb2 import ErrorReason
from tests.rpc.ingest.builders import as_columns, batch, header, now_ms, row
from tests.rpc.ingest.serving import Served, append
from tests.support import servers

Between = Callable[[], Awaitable[None]]

# What a batch may do next: (which of a few ids, which content), a wrong row, or the batch before
# once more.
ROWS = st.lists(
    st.one_of(
        st.tuples(st.just("row"), st.integers(0, 9), st.integers(0, 2)),
        st.tuples(st.just("wrong"), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=12,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("rows", "columns")), ROWS),
        st.tuples(st.just("repeat"), st.just(())),
    ),
    min_size=1,
    max_size=6,
)


@dataclass
class Model:
    """What has to happen, in plain Python."""

    stored: dict[str, float] = field(default_factory=dict)

    def append(self, content: ResultBatch) -> BatchAck:
        """The acknowledgement of a batch that was not sent before."""
        ack = BatchAck(sequence=content.sequence)
        for index, one in enumerate(content.rows):
            if one.config_index:
                reason = ErrorReason.ERROR_REASON_CONFIG_INDEX_UNKNOWN
            elif one.id not in self.stored:
                self.stored[one.id] = one.metrics.ttft_p50_ms
                ack.stored_count += 1
                continue
            elif self.stored[one.id] == one.metrics.ttft_p50_ms:
                ack.duplicate_count += 1
                continue
            else:
                reason = ErrorReason.ERROR_REASON_ID_REUSED
            ack.rejections.add(
                sequence=content.sequence, row=index, result_id=one.id, reason=reason
            )
        return ack


def without_detail(acks: list[BatchAck]) -> list[BatchAck]:
    """The acknowledgements without their sentences."""
    for ack in acks:
        for rejection in ack.rejections:
            rejection.detail = ""
    return acks


async def check(
    shared: Served, steps: Any, time_ms: int | None = None, between: Between | None = None
) -> None:
    """Sends the steps, and compares every answer and what is stored with the model.

    The rows are of `time_ms`, now if not given. `between` is called in the middle of the steps.
    """
    moment = now_ms() if time_ms is None else time_ms
    pool = [row(moment + index) for index in range(10)]
    message, model, sent = header(), Model(), list[ResultBatch]()
    expected: list[BatchAck] = []
    batches: list[ResultBatch] = []
    for kind, content in steps:
        if kind == "repeat":
            if sent:
                batches.append(sent[-1])
                expected.append(
                    BatchAck(
                        sequence=sent[-1].sequence,
                        duplicate_count=len(sent[-1].rows) or len(sent[-1].columns.ids) // 16,
                        replayed=True,
                    )
                )
            continue
        rows: list[ResultRow] = []
        for what, index, figure in content:
            one = row(moment + index, figures={"ttft_p50_ms": float(figure + 1)})
            one.id = pool[index].id
            one.config_index = 5 if what == "wrong" else 0
            rows.append(one)
        made = batch(len(sent), rows)
        expected.append(model.append(made))
        sent.append(as_columns(made) if kind == "columns" else made)
        batches.append(sent[-1])
    middle = len(batches) // 2
    _, acks = await append(shared.stub, message, *batches[:middle])
    if between is not None:
        await between()
    _, more = await append(shared.stub, message, *batches[middle:])
    assert without_detail([*acks, *more]) == expected
    count = await asyncio.to_thread(
        servers.fetch_value,
        shared.dsn,
        "SELECT count(*) FROM ingest.benchmark_results WHERE stream_id = $1",
        message.stream_id,
    )
    assert count == len(model.stored)
