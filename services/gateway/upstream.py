"""The services behind the gateway: connections to each, and whether it says it can serve.

Where several processes of a service share its port, the kernel gives each connection to one of
them, and all calls on a connection go there. Every answer says which one it was. So connections are
opened until each of them has one, and a call goes to the one that has the fewest.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.gateway.metadata import WORKER

# A server takes 100 calls on one connection; the next would wait unseen behind them, a short one
# behind a hundred streams that last for hours. So another connection is opened before that.
CALLS_PER_CONNECTION: Final = 90
COVER_SECONDS: Final = 0.25
# Connections tried at once for each worker that has none. One of two workers is missed by chance
# by four in 6 % of the rounds, and by those of one second in 0.002 %.
_TRIES: Final = 4
_MOST_TRIES: Final = 32


class Connection:
    """A connection, the calls on it now, and the worker that it led to when it was last asked.

    Enter it for the time of a call: meanwhile its channel is not closed.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._unary: dict[str, Any] = {}
        self.calls = 0
        self.worker: str | None = None

    def __enter__(self) -> "Connection":
        self.calls += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.calls -= 1

    def unary(self, path: str) -> Any:
        """What opens a call of a method with one message each way, as bytes; made once."""
        opener = self._unary.get(path)
        if opener is None:
            opener = self._unary[path] = self.channel.unary_unary(path)
        return opener


class Upstream:
    """One service behind the gateway, `name` being its full name in the contract.

    `workers` is how many processes share its port. Where it is more than one, run `cover` beside.
    """

    def __init__(
        self, name: str, open_channel: Callable[[], grpc.aio.Channel], workers: int = 1
    ) -> None:
        self.name = name
        self._open_channel = open_channel
        self.workers = workers
        self._connections = [Connection(open_channel())]

    def connection(self) -> Connection:
        """A connection with room for one more call; enter it for the time of that call.

        It is the one with the fewest calls of the worker with the fewest. One that did not answer
        when it was asked comes last.
        """
        if len(self._connections) == 1 and self._connections[0].calls < CALLS_PER_CONNECTION:
            return self._connections[0]
        calls_of: Counter[str | None] = Counter()
        for connection in self._connections:
            calls_of[connection.worker] += connection.calls
        roomy = [
            connection
            for connection in self._connections
            if connection.calls < CALLS_PER_CONNECTION
        ]
        if not roomy:
            self._connections.append(Connection(self._open_channel()))
            return self._connections[-1]
        return min(roomy, key=lambda one: (one.worker is None, calls_of[one.worker], one.calls))

    async def serving(self, timeout: float = 1.0) -> bool:
        """Whether a process of the service says SERVING; False where none does in `timeout` s."""
        return any(await self._ask(self._connections, timeout))

    async def cover(self) -> None:
        """Keeps a connection to every worker until cancelled."""
        while True:
            await self.cover_once()
            await asyncio.sleep(COVER_SECONDS)

    async def cover_once(self) -> None:
        """Tries new connections where workers have none, and keeps those that add one."""
        await self._ask([one for one in self._connections if one.worker is None])
        known = {one.worker for one in self._connections} - {None}
        # While nobody answers, or nobody says which worker it is, there is nothing to look for.
        tries = _TRIES * (self.workers - len(known)) if known else 0
        fresh = [Connection(self._open_channel()) for _ in range(min(tries, _MOST_TRIES))]
        await self._ask(fresh)
        self._connections += [one for one in fresh if one.worker is not None]
        needless = [one for one in fresh if one.worker is None] + self._take_out_repeats()
        for one in needless:
            await one.channel.close()

    def _take_out_repeats(self) -> list[Connection]:
        """Takes out connections without calls whose workers others before them lead to."""
        kept: list[Connection] = []
        repeats: list[Connection] = []
        led_to: set[str | None] = set()
        for one in self._connections:
            repeated = one.worker is not None and one.worker in led_to
            (repeats if repeated and not one.calls else kept).append(one)
            led_to.add(one.worker)
        self._connections = kept
        return repeats

    async def _ask(self, connections: Iterable[Connection], timeout: float = 1.0) -> list[bool]:
        """Which of the connections lead to a process that serves; notes which worker it is."""
        return await asyncio.gather(*(self._ask_one(one, timeout) for one in connections))

    async def _ask_one(self, connection: Connection, timeout: float) -> bool:
        request = health_pb2.HealthCheckRequest(service=self.name)
        with connection:
            check = health_pb2_grpc.HealthStub(connection.channel).Check(request, timeout=timeout)
            try:
                answer = await check
            except grpc.aio.AioRpcError:
                connection.worker = None
                return False
            connection.worker = dict(await check.initial_metadata()).get(WORKER)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Closes every connection."""
        for connection in self._connections:
            await connection.channel.close()
