"""Server reflection as grpcurl and buf curl ask for it: v1 and v1alpha, methods included.

grpcio-reflection serves v1alpha only and cannot describe a method (grpc/grpc#34743). The messages
of the two versions are the same on the wire.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from servemark.catalog.v1 import catalog_service_pb2
from servemark.gateway.v1 import admin_service_pb2
from servemark.ingest.v1 import ingest_service_pb2
from servemark.ranking.v1 import ranking_service_pb2

# Reflection reads descriptors from the pool, where importing puts them: the generated gRPC modules
# import their messages only, so a service could serve without being describable.
DESCRIBED = (catalog_service_pb2, ingest_service_pb2, ranking_service_pb2, admin_service_pb2)

_OFFERED_AS = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)


class _MethodAwareServicer(ReflectionServicer):  # type: ignore[misc]
    """Finds the file of a method, too, by looking for the service it belongs to."""

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        answer = super()._file_containing_symbol(request, fully_qualified_name)
        if not answer.HasField("error_response"):
            return answer
        service, _, method = fully_qualified_name.rpartition(".")
        try:
            methods = self._pool.FindServiceByName(service).methods_by_name
        except KeyError:
            return answer
        if method not in methods:
            return answer
        return super()._file_containing_symbol(request, service)


def add_reflection(server: grpc.aio.Server, service_names: Sequence[str]) -> None:
    """Lets clients list and describe `service_names` and everything they use."""
    # Listed are only services whose descriptors are at hand, or `grpcurl describe` would stumble.
    servicer = _MethodAwareServicer((*service_names, reflection.SERVICE_NAME))

    async def info(messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for answer in servicer.ServerReflectionInfo(messages, context):
            yield answer

    handler = grpc.stream_stream_rpc_method_handler(
        info,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            for name in _OFFERED_AS
        )
    )
