"""A server that answers with prepared messages and keeps what it was asked.

For the command line only: what it asks for, and how it shows an answer. What a service answers is
tested with the service.
"""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

Answer = Message | list[Message] | tuple[Message, ...]


@dataclass
class AnsweringServer:
    """`answers` by method name; a list of them is given out one by one, a tuple is a stream.

    `asked` in order.
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

        if isinstance(self.answers[method], tuple):
            return grpc.unary_stream_rpc_method_handler(self._stream(method, metadata))

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.asked.append((method, request, metadata))
            answer = self.answers[method]
            if isinstance(answer, list):
                answer = answer.pop(0)
            assert isinstance(answer, Message)
            return answer.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle)

    def _stream(self, method: str, metadata: dict[str, Any]) -> Any:
        def handle(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self.asked.append((method, request, metadata))
            for message in self.answers[method]:  # type: ignore[union-attr]
                yield message.SerializeToString()

        return handle


@contextmanager
def answering_server(**answers: Answer) -> Iterator[AnsweringServer]:
    """A running server with the given answers, on a free port of loopback."""
    made = AnsweringServer(dict(answers))
    handler = type("Handler", (grpc.GenericRpcHandler,), {"service": staticmethod(made.service)})()
    running = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
    made.target = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    try:
        yield made
    finally:
        running.stop(None).wait()
