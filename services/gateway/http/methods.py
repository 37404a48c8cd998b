"""The methods offered over HTTP: those of the gRPC server, found by their path."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pool


@dataclass(frozen=True)
class CallDetails(grpc.HandlerCallDetails):
    """What a handler is looked up by."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its handler, and its descriptor, which names its messages and its kind."""

    handler: Any
    descriptor: Any


class Methods:
    """Takes handlers as a gRPC server does, so that both are given the same."""

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Takes handlers that are asked for each method."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Generated code offers the same handlers in this way as well; once is enough."""

    @staticmethod
    def descriptor(path: str) -> Any:
        """The descriptor of the method called by a path; None where no contract has it."""
        service, _, name = path.removeprefix("/").rpartition("/")
        try:
            return descriptor_pool.Default().FindMethodByName(f"{service}.{name}")
        except KeyError:
            return None

    def find(self, path: str) -> Method | None:
        """The method called by `/package.Service/Method`; None where it is not offered."""
        descriptor = self.descriptor(path)
        if descriptor is None:
            return None
        for handlers in self._handlers:
            handler = handlers.service(CallDetails(path))
            if handler is not None:
                return Method(handler, descriptor)
        return None
