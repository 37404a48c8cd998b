"""Sends simulated results, as many streams at once as one has runners, through the ingest RPC."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import grpc

from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ingest.v1.result_stream_pb2 import ResultBatch
from tests.rpc.ingest.serving import AppendCall
from tests.support.simulation.figures import Simulator
from tests.support.simulation.fleet import Model, configurations
from tests.support.simulation.messages import as_columns, header

# Batches of one sender that are on their way: the next is made while one is stored.
_AHEAD: Final = 2
_SEED: Final = 1
MILLION: Final = 1_000_000
_CHANNEL_OPTIONS: Final = [("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send: `rows` results of the fleet, `rows_a_day` on each day up to now.

    Time goes on from batch to batch as it does for those who measure: the models take turns, and
    when each had one, the next days begin.
    """

    fleet: Sequence[Model]
    rows: int
    batch_rows: int
    rows_a_day: int
    end_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    @property
    def batches(self) -> int:
        """How many batches that are."""
        return self.rows // self.batch_rows

    def place(self, number: int) -> tuple[int, int]:
        """The model and the sequence, in that model's stream, of a batch."""
        sequence, model = divmod(number, len(self.fleet))
        return model, sequence

    def span(self, sequence: int) -> tuple[int, int]:
        """From when to when the results of a batch are."""
        turns = -(-self.batches // len(self.fleet))
        length = len(self.fleet) * self.batch_rows * 86_400_000 // self.rows_a_day
        begin = self.end_ms - (turns - sequence) * length
        return begin, begin + length


@dataclass(frozen=True, slots=True)
class Lap:
    """A part of the load: its rows, the seconds it took, and the rate of each million of it."""

    rows: int
    seconds: float
    rates: Sequence[float]

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


class Load:
    """The open streams of a plan, one for each model, and how far it has come."""

    def __init__(self, plan: Plan, calls: Sequence[AppendCall], streams: int) -> None:
        self._plan = plan
        self._calls = calls
        self._streams = streams
        self._simulators = [Simulator(model, configurations(model), _SEED) for model in plan.fleet]
        self._next = 0
        self._stored = 0
        self._rates: list[float] = []
        self._milestone = 0.0

    async def send(self, rows: int) -> Lap:
        """Sends so many of the rows that are left, and returns once they are durable.

        A model's batches always come from the same sender, so that they stay in order.
        """
        first, self._next = self._next, self._next + rows // self._plan.batch_rows
        self._stored, self._rates = 0, []
        began = self._milestone = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for sender in range(self._streams):
                group.create_task(self._send_share(range(first, self._next), sender))
        return Lap(self._stored, time.perf_counter() - began, self._rates)

    async def _send_share(self, numbers: range, sender: int) -> None:
        # Room for one less: what was taken out of it is awaited, too.
        sent: asyncio.Queue[AppendCall | None] = asyncio.Queue(_AHEAD - 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_answers(sent))
            for number in numbers:
                model, sequence = self._plan.place(number)
                if model % self._streams == sender:
                    await self._calls[model].send(self._batch(model, sequence))
                    await sent.put(self._calls[model])
            await sent.put(None)

    async def _read_answers(self, sent: "asyncio.Queue[AppendCall | None]") -> None:
        """Reads the acknowledgements in the order of the batches, whichever comes first."""
        while (call := await sent.get()) is not None:
            ack = (await call.read()).ack
            if ack.stored_count != self._plan.batch_rows:
                raise AssertionError(f"of a batch {ack.stored_count} rows were stored: {ack}")
            self._count(ack.stored_count)

    def _batch(self, model: int, sequence: int) -> ResultBatch:
        span = self._plan.span(sequence)
        rows = self._simulators[model].rows(sequence, self._plan.batch_rows, *span)
        return ResultBatch(sequence=sequence, columns=as_columns(rows))

    def _count(self, rows: int) -> None:
        """Counts rows that are stored, and says how fast each million was."""
        self._stored += rows
        if self._stored // MILLION > len(self._rates):
            now = time.perf_counter()
            self._rates.append(MILLION / (now - self._milestone))
            self._milestone = now
            print(f"  {self._stored:>19,} rows  {self._rates[-1]:>8,.0f} rows/s", flush=True)


@asynccontextmanager
async def loading(target: str, plan: Plan, streams: int) -> AsyncIterator[Load]:
    """Opens the streams, and ends them after the block. Each sender has a connection of its own."""
    async with AsyncExitStack() as stack:
        calls = {}

        async def open_share(sender: int) -> None:
            channel = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
            stub = IngestServiceStub(await stack.enter_async_context(channel))
            for number in range(sender, len(plan.fleet), streams):
                model = plan.fleet[number]
                calls[number] = AppendCall(stub)
                await calls[number].open(header(model, configurations(model), str(uuid4())))

        async with asyncio.TaskGroup() as group:
            for sender in range(streams):
                group.create_task(open_share(sender))
        yield Load(plan, [calls[number] for number in range(len(plan.fleet))], streams)
        for call in calls.values():
            await call.close()
