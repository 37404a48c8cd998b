"""Reflection answers both of its versions the same, describes methods, and can be turned off."""

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from servemark.runtime.server import ServiceServer
from tests.rpc.gateway.stand import refused
from tests.rpc.runtime.fixture_server import settings_for

INGEST = "servemark.ingest.v1.IngestService"
VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


async def _ready() -> bool:
    return True


async def ask(
    version: str, request: reflection_pb2.ServerReflectionRequest, **settings: object
) -> reflection_pb2.ServerReflectionResponse:
    server = ServiceServer(settings_for(**settings), "ingest", (INGEST,), ready=_ready)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call = channel.stream_stream(
                f"/{version}/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )()
            await call.write(request)
            return await call.read()
    finally:
        await server.stop(0)


@pytest.mark.parametrize("version", VERSIONS)
async def test_services_are_listed(version: str) -> None:
    answer = await ask(version, reflection_pb2.ServerReflectionRequest(list_services="*"))
    names = {service.name for service in answer.list_services_response.service}
    assert {INGEST, "grpc.health.v1.Health"} <= names


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        (INGEST, "servemark/ingest/v1/ingest_service.proto"),
        (f"{INGEST}.AppendResults", "servemark/ingest/v1/ingest_service.proto"),
        ("servemark.ingest.v1.ResultBatch", "servemark/ingest/v1/result_stream.proto"),
        ("google.rpc.BadRequest", "google/rpc/error_details.proto"),
    ],
)
async def test_a_service_a_method_a_message_and_an_errors_detail_are_described(
    version: str, symbol: str, file: str
) -> None:
    answer = await ask(
        version, reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    )
    files = {
        FileDescriptorProto.FromString(data).name
        for data in answer.file_descriptor_response.file_descriptor_proto
    }
    assert file in files


@pytest.mark.parametrize("symbol", [f"{INGEST}.Missing", "no.such.Thing", "", "."])
async def test_what_is_not_there_is_not_found(symbol: str) -> None:
    answer = await ask(
        VERSIONS[0], reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    )
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_reflection_that_is_off_is_not_offered() -> None:
    no = await refused(
        ask(
            VERSIONS[0],
            reflection_pb2.ServerReflectionRequest(list_services="*"),
            reflection=False,
        )
    )
    assert no.code is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_is_on_by_default_where_only_this_machine_can_ask() -> None:
    assert settings_for().reflection_enabled
    assert not settings_for(bind_host="0.0.0.0", internal_token="t").reflection_enabled
    assert settings_for(bind_host="0.0.0.0", internal_token="t", reflection=True).reflection_enabled
