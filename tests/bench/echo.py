"""A service of one unary method that answers with what it was asked: `python -m tests.bench.echo`.

It stands on the same server as every other, at ranking's place in the block of ports, so that what
differs from a cached read is the read alone.
"""

import sys
from typing import Any

import grpc

from servemark.catalog.v1.model_pb2 import GetModelRequest
from servemark.runtime.app import App, run_service
from servemark.runtime.server import ServiceServer
from servemark.runtime.settings import ServiceSettings

SERVICE = "tests.bench.v1.Echo"


async def create(settings: ServiceSettings) -> App:
    """The service, not yet serving."""
    server = ServiceServer(settings, "ranking", [SERVICE], ready=_ready)
    method = grpc.unary_unary_rpc_method_handler(
        _echo, GetModelRequest.FromString, GetModelRequest.SerializeToString
    )
    handler = grpc.method_handlers_generic_handler(SERVICE, {"Echo": method})
    server.grpc.add_generic_rpc_handlers((handler,))
    return App(server, [], [])


async def _ready() -> bool:
    return True


async def _echo(request: GetModelRequest, _: Any) -> GetModelRequest:
    return request


if __name__ == "__main__":
    sys.exit(run_service("ranking", ServiceSettings, create))
