"""The services behind the gateway: connections to each, and whether it says it can serve."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

# A server takes 100 calls on one connection; the next would wait unseen behind them, a short one
# behind a hundred streams that last for hours. So another connection is opened before that.
CALLS_PER_CONNECTION = 90


class _Connection:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0


class Upstream:
    """One service behind the gateway, `name` being its full name in the contract."""

    def __init__(self, name: str, open_channel: Callable[[], grpc.aio.Channel]) -> None:
        self.name = name
        self._open_channel = open_channel
        self._connections = [_Connection(open_channel())]

    @contextmanager
    def channel(self) -> Iterator[grpc.aio.Channel]:
        """A channel with room for one more call, for the time of that call."""
        connection = self._with_room()
        connection.calls += 1
        try:
            yield connection.channel
        finally:
            connection.calls -= 1

    def _with_room(self) -> _Connection:
        for connection in self._connections:
            if connection.calls < CALLS_PER_CONNECTION:
                return connection
        self._connections.append(_Connection(self._open_channel()))
        return self._connections[-1]

    async def serving(self, timeout: float = 1.0) -> bool:
        """Whether the service says SERVING; False where it does not answer within `timeout` s."""
        stub = health_pb2_grpc.HealthStub(self._connections[0].channel)
        try:
            answer = await stub.Check(
                health_pb2.HealthCheckRequest(service=self.name), timeout=timeout
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Closes every connection."""
        for connection in self._connections:
            await connection.channel.close()
