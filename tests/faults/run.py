"""A run of clients under faults, from the first row to the verdict."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.faults.checker import Verdict
from tests.faults.clients import Client, Source
from tests.faults.history import Fault, History, now

# How long faults go on. Twelve seconds suit every run of the suite; `make faults` takes its time.
SECONDS: Final = float(os.environ.get("SERVEMARK_FAULT_SECONDS", "12"))
# Rows a second that have to be acknowledged before a fault, and the span they are counted over.
LEAST_RATE: Final = 2000
_RATE_SECONDS: Final = 0.25
# What was sent has to be acknowledged so soon after the last fault.
_DRAIN_TIMEOUT: Final = 60.0


def faults_wanted(in_45_seconds: int) -> int:
    """The share of faults that belongs to SECONDS."""
    return max(2, round(in_45_seconds * SECONDS / 45))


@dataclass
class Run:
    """Clients that stream, their history, and the faults that befall them."""

    dsn: str
    clients: Sequence[Client]
    running: Sequence[asyncio.Future[None]]
    history: History
    began: float

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return now() - self.began

    async def until_rows_flow(self, timeout: float = 20.0) -> float:
        """The rows a second that flow, once all clients stream again and fast enough.

        Fails where that does not come about: a fault among idle clients would prove nothing.
        """
        since = max([self.began, *(fault.time for fault in self.history.faults)])
        deadline = now() + timeout
        rate = 0.0
        while now() < deadline:
            await asyncio.sleep(0.01)
            for client in self.running:
                if client.done():
                    await client
            streaming = {
                ack.client
                for ack in self.history.acknowledged_since(since)
                if ack.call_began > since
            }
            recent = self.history.acknowledged_since(now() - _RATE_SECONDS)
            rate = sum(ack.rows for ack in recent) / _RATE_SECONDS
            if len(streaming) == len(self.clients) and rate >= LEAST_RATE:
                return rate
        raise AssertionError(
            f"rows did not flow: {rate:.0f} rows/s, {len(streaming)} of {len(self.clients)} "
            f"clients stream; calls ended with {self.history.first_details}"
        )

    def note(self, what: str, rate: float) -> None:
        """Writes down a fault that is about to happen."""
        self.history.faults.append(Fault(now(), what, rate))


@asynccontextmanager
async def streaming(target: str, dsn: str, sources: Sequence[Source]) -> AsyncIterator[Run]:
    """Runs a client of the service for each source; at the end they finish what they began.

    Every other client looks at the cursor before it sends again.
    """
    history = History()
    clients = [
        Client(source, target, history, looks=bool(number % 2))
        for number, source in enumerate(sources)
    ]
    began = now()
    with ThreadPoolExecutor(len(clients)) as threads:
        loop = asyncio.get_running_loop()
        running = [loop.run_in_executor(threads, client.run) for client in clients]
        try:
            yield Run(dsn, clients, running, history, began)
            for client in clients:
                client.stop()
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                await asyncio.gather(*running)
        finally:
            for client in clients:
                client.abandon()


def summary(run: Run, title: str, found: Verdict) -> list[str]:
    """What happened, in a few lines."""
    history = run.history
    recoveries: dict[str, list[float]] = {}
    for fault, seconds in zip(history.faults, history.recoveries(), strict=True):
        recoveries.setdefault(fault.what, []).append(seconds)
    durable = sum(ack.rows for ack in history.acks if ack.message.replayed)
    last = max(fault.time for fault in history.faults)
    lowest = min(fault.rate for fault in history.faults)
    ended = ", ".join(f"{code.name} {count}" for code, count in history.ended.items())
    return [
        f"{title}: {len(history.faults)} faults in {last - run.began:.1f} s, at least "
        f"{lowest:,.0f} rows/s acknowledged before each",
        f"  rows      {found.sent:,} sent, {found.stored:,} stored",
        f"  replayed  {found.replayed:,}, of them {durable:,} already durable",
        f"  wrong     {found.lost} lost, {found.duplicated} duplicated, {found.foreign} foreign, "
        f"{found.altered} altered, {found.wrong_cursors} cursors, {found.wrong_events} events",
        *(
            f"  recovery  {what}: {len(times)} times, {max(times):.2f} s at most, "
            f"{median(times):.2f} s in the middle"
            for what, times in recoveries.items()
        ),
        f"  calls     ended by {ended or 'nothing'}",
    ]
