"""The stand-in for ingest, started and stopped by a test."""

from pathlib import Path

import grpc

from servemark.client.channel import Client, connect
from servemark.client.retry import RetryPolicy
from tests.support.ingest_protocol import IngestProtocol, serve

QUICK = RetryPolicy(first_delay=0.02, max_delay=0.1)


class Faults:
    """Breaks the connection at the named points, each once."""

    def __init__(self, *points: tuple[str, int]) -> None:
        self._points = set(points)

    def __call__(self, point: str, sequence: int) -> None:
        if (point, sequence) in self._points:
            self._points.remove((point, sequence))
            raise ConnectionError


class Served:
    def __init__(self, state: Path, credentials: grpc.ServerCredentials | None = None) -> None:
        self._state = state
        self._credentials = credentials
        self._servers: list[grpc.Server] = []
        self.port = 0

    def start(self, *faults: tuple[str, int]) -> IngestProtocol:
        protocol = IngestProtocol(self._state, Faults(*faults))
        server, self.port = serve(protocol, self.port, self._credentials)
        self._servers.append(server)
        return protocol

    def stop(self) -> None:
        while self._servers:
            self._servers.pop().stop(None).wait()

    def client(self) -> Client:
        return connect(f"127.0.0.1:{self.port}")
