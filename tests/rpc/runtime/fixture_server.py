"""A server of the shared runtime with one method of each kind, and errors on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from servemark.gateway.v1.api_key_pb2 import ListApiKeysRequest
from servemark.runtime import deadline
from servemark.runtime.errors import FieldViolation, ServemarkError
from servemark.runtime.server import ServiceServer
from servemark.runtime.settings import ServiceSettings
from servemark.type.v1.error_reason_pb2 import ErrorReason

SERVICE = "tests.v1.Kinds"
KINDS = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream", "Written")
# Any message with a text field will do: `page_token` says what to do.
Message = ListApiKeysRequest


def wrong() -> ServemarkError:
    """An error with every kind of detail."""
    return ServemarkError(
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "Something is wrong.",
        metadata={"a": "b"},
        violations=[FieldViolation("x", "is wrong"), FieldViolation("y", "too")],
        retry_after=2.0,
    )


class Kinds:
    """Handlers of all four kinds, and of a stream written by hand."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.finished: list[str] = []
        self.left: float | None = None

    async def act(self, message: Any, context: Any) -> Any:
        """Answers the message, or does what it says."""
        self.left = deadline.remaining()
        match message.page_token:
            case "error":
                raise wrong()
            case "bug":
                secret_row = "a row nobody may see"
                raise ZeroDivisionError(f"internals: {secret_row}")
            case "abort":
                await context.abort(grpc.StatusCode.DATA_LOSS, "aborted by hand")
            case "upstream":
                raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, details="10.0.0.1: refused")
            case "late":
                raise TimeoutError
            case "wait":
                self.started.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "log":
                structlog.get_logger().info("inside", api_token="sm_secret", password="hunter2")
        return message

    async def UnaryUnary(self, message: Any, context: Any) -> Any:
        return await self.act(message, context)

    async def UnaryStream(self, message: Any, context: Any) -> AsyncIterator[Any]:
        yield await self.act(message, context)

    async def StreamUnary(self, messages: AsyncIterator[Any], context: Any) -> Any:
        last = Message()
        async for message in messages:
            last = await self.act(message, context)
        self.finished.append("StreamUnary")
        return last

    async def StreamStream(self, messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for message in messages:
            yield await self.act(message, context)
        self.finished.append("StreamStream")

    async def Written(self, messages: AsyncIterator[Any], context: Any) -> None:
        async for message in messages:
            await context.write(await self.act(message, context))
        self.finished.append("Written")

    def handlers(self) -> grpc.GenericRpcHandler:
        """All of it, under `SERVICE`."""
        make = {
            "UnaryUnary": grpc.unary_unary_rpc_method_handler,
            "UnaryStream": grpc.unary_stream_rpc_method_handler,
            "StreamUnary": grpc.stream_unary_rpc_method_handler,
            "StreamStream": grpc.stream_stream_rpc_method_handler,
            "Written": grpc.stream_stream_rpc_method_handler,
        }
        methods: dict[str, Any] = {
            kind: make[kind](
                getattr(self, kind),
                request_deserializer=Message.FromString,
                response_serializer=Message.SerializeToString,
            )
            for kind in KINDS
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)


@dataclass
class Running:
    """A served `Kinds` and a channel to it."""

    server: ServiceServer
    kinds: Kinds
    channel: grpc.aio.Channel
    ready: dict[str, bool]

    async def call(self, kind: str, word: str = "", **options: Any) -> list[Any]:
        """All answers to one message that says `word`, whatever the kind of the method."""
        return await self.call_raw(kind, Message(page_token=word).SerializeToString(), **options)

    async def call_raw(self, kind: str, data: bytes, **options: Any) -> list[Any]:
        """The same with bytes."""
        method: Any = self.channel.stream_stream(
            kind if kind.startswith("/") else f"/{SERVICE}/{kind}",
            response_deserializer=Message.FromString,
        )
        live = method(**options)
        await live.write(data)
        await live.done_writing()
        return [answer async for answer in live]


def settings_for(**more: Any) -> ServiceSettings:
    """Settings for free ports and no metrics."""
    values: dict[str, Any] = {
        "database_url": "postgresql://nobody@127.0.0.1:1/none",
        "port_base": 0,
        "metrics_port": 0,
        **more,
    }
    return ServiceSettings(**values)


@asynccontextmanager
async def serving(
    *, admit: Any = None, translators: Any = (), **more: Any
) -> AsyncIterator[Running]:
    """A running server; `more` are settings."""
    kinds, ready = Kinds(), {"": True, SERVICE: True}

    async def is_ready() -> dict[str, bool]:
        return dict(ready)

    server = ServiceServer(
        settings_for(**more),
        "catalog",
        (SERVICE,),
        ready=is_ready,
        admit=admit,
        translators=translators,
    )
    server.grpc.add_generic_rpc_handlers((kinds.handlers(),))
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
    try:
        yield Running(server, kinds, channel, ready)
    finally:
        kinds.release.set()
        await channel.close()
        await server.stop(0)
