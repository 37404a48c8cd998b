"""Walks every method of the contract: each has a comment, one grant, and a health entry."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import grpc_tools
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_tools import protoc

from protos.generate import PROTOS, proto_files
from services.gateway.app import SERVICES_BEHIND, create
from services.gateway.grants import ADMIN_SERVICE, GRANTS, GRANTS_OF_SERVICE, PLATFORM, SCOPES
from services.gateway.settings import GatewaySettings

# Field numbers of google/protobuf/descriptor.proto, of which source paths are made.
_SERVICES_OF_FILE = 6
_METHODS_OF_SERVICE = 2


@cache
def files() -> tuple[FileDescriptorProto, ...]:
    """The descriptors of the protos as they are now, with the comment of each part."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "contract.binpb"
        arguments = [
            "protoc",
            f"-I{PROTOS}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            "--include_source_info",
            f"--descriptor_set_out={out}",
            *proto_files(),
        ]
        assert protoc.main(arguments) == 0
        return tuple(FileDescriptorSet.FromString(out.read_bytes()).file)


def methods() -> Iterator[tuple[str, str, str]]:
    """Full service name, method name and comment of every method."""
    for file in files():
        comments = {
            tuple(location.path): location.leading_comments.strip()
            for location in file.source_code_info.location
        }
        for at, service in enumerate(file.service):
            for index, method in enumerate(service.method):
                path = (_SERVICES_OF_FILE, at, _METHODS_OF_SERVICE, index)
                yield f"{file.package}.{service.name}", method.name, comments.get(path, "")


def services() -> set[str]:
    return {service for service, _, _ in methods()}


def test_the_contract_is_six_services_and_all_their_methods() -> None:
    assert services() == {ADMIN_SERVICE, *SERVICES_BEHIND}
    assert len(list(methods())) > 50


def test_every_method_has_a_comment_that_says_something() -> None:
    bare = [
        f"{service}/{method}" for service, method, comment in methods() if len(comment.split()) < 4
    ]
    assert not bare


def test_every_method_has_exactly_one_grant_and_there_are_no_others() -> None:
    expected = [f"/{service}/{method}" for service, method, _ in methods()]
    granted = [f"/{service}/{name}" for service, of in GRANTS_OF_SERVICE.items() for name in of]
    assert sorted(granted) == sorted(expected)
    assert len(set(expected)) == len(expected)
    assert set(GRANTS.values()) <= {*SCOPES, PLATFORM}


def test_the_generated_code_has_every_method_of_the_protos() -> None:
    pool = descriptor_pool.Default()
    for name in proto_files():
        import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    for service, method, _ in methods():
        assert method in pool.FindServiceByName(service).methods_by_name


@pytest.mark.parametrize("name", ["", *sorted([ADMIN_SERVICE, *SERVICES_BEHIND])])
async def test_every_service_has_a_health_entry_on_the_gateway(name: str) -> None:
    settings = GatewaySettings(
        database_url="postgresql://nobody@127.0.0.1:1/none",  # type: ignore[arg-type]
        key_pepper="p" * 32,  # type: ignore[arg-type]
        port_base=0,
        metrics_port=0,
        http_port=0,
    )
    app = await create(settings)
    await app.server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=name), timeout=5
            )
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        await app.server.stop(0)
        await app.close()
