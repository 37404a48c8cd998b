"""A server that answers with prepared messages and keeps what it was asked.

For the command line only: what it asks for, and how it shows an answer. What a service answers is
tested with the service.
"""

from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

Answer = Message | Sequence[Message]


@dataclass
class AnsweringServer:
    """`answers` by method name; a list of them is given out one by one, a tuple of them is the
    answer of a method that streams. `asked` in order.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, bytes, dict[str, Any]]] = field(default_factory=list)
    target: str = ""

    def request(self, method: str, kind: type[Message]) -> Any:
        """The last request of a method."""
        found = [content for name, content, _ in self.asked if name == method]
        return kind.FromString(found[-1])

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """A handler for any method there is an answer for."""
        method = str(details.method).rsplit("/", 1)[-1]
        metadata = dict(details.invocation_metadata)
        if method not in self.answers:
            return None

        prepared: Any = self.answers[method]

        def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self.asked.append((method, request, metadata))
            for answer in prepared:
                yield answer.SerializeToString()

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.append((method, request, metadata))
            answer: Message = prepared.pop(0) if isinstance(prepared, list) else prepared
            return answer.SerializeToString()

        if isinstance(prepared, tuple):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(handle)


@contextmanager
def answering_server(
    credentials: grpc.ServerCredentials | None = None, **answers: Answer
) -> Iterator[AnsweringServer]:
    """A running server with the given answers, on a free port of loopback."""
    made = AnsweringServer(dict(answers))
    handler = type("Handler", (grpc.GenericRpcHandler,), {"service": staticmethod(made.service)})()
    running = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
    address = "127.0.0.1:0"
    port = (
        running.add_insecure_port(address)
        if credentials is None
        else running.add_secure_port(address, credentials)
    )
    made.target = f"127.0.0.1:{port}"
    running.start()
    try:
        yield made
    finally:
        running.stop(None).wait()
