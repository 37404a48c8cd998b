"""What happened while things were killed: who sent what, what was acknowledged, what failed.

The clients write it down as it happens; afterwards the checker compares it with the table.
"""

import time
from collections import Counter
from dataclasses import dataclass, field

import grpc

from servemark.ingest.v1.result_stream_pb2 import BatchAck


@dataclass(frozen=True, slots=True)
class Ack:
    """A batch that a client was told is durable. `call_began` is when its call was made."""

    time: float
    client: int
    call_began: float
    sequence: int
    rows: int
    message: BatchAck


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was killed; `rate` is the rows a second that were acknowledged before."""

    time: float
    what: str
    rate: float


@dataclass(slots=True)
class History:
    """The books of a run. Times are those of `time.perf_counter`.

    sent: how often each batch (client, sequence) went out. ended: the status of each call that
    ended too early, and what the first of each said.
    """

    sent: Counter[tuple[int, int]] = field(default_factory=Counter)
    acks: list[Ack] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ended: Counter[grpc.StatusCode] = field(default_factory=Counter)
    first_details: dict[grpc.StatusCode, str] = field(default_factory=dict)

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """Notes how a call ended that was not done."""
        self.ended[code] += 1
        self.first_details.setdefault(code, details)

    def acknowledged_since(self, moment: float) -> list[Ack]:
        """The acknowledgements from then on."""
        found = []
        for ack in reversed(self.acks):
            if ack.time < moment:
                break
            found.append(ack)
        return found

    def recoveries(self) -> list[float]:
        """For each fault the seconds until a batch of a call made after it was acknowledged."""
        found = []
        for fault in self.faults:
            after = (ack.time for ack in self.acks if ack.call_began > fault.time)
            found.append(next(after, float("inf")) - fault.time)
        return found


def now() -> float:
    """The time as a history has it."""
    return time.perf_counter()
