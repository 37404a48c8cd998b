"""A real Envoy with the shipped configuration in front of a gateway."""

import asyncio
import re
import struct
import subprocess
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest
import pytest_asyncio

from servemark.ingest.v1 import ingest_service_pb2_grpc
from servemark.ingest.v1.result_query_pb2 import (
    GetBenchmarkResultRequest,
    GetBenchmarkResultResponse,
)
from tests.rpc.gateway.http.calling import INGEST
from tests.rpc.gateway.stand import Stand, auth
from tests.support.stack import free_block

CONFIG = Path(__file__).resolve().parents[4] / "deploy/envoy/envoy.yaml"
ENVOY = Path(sysconfig.get_path("scripts")) / "envoy"
GET = f"{INGEST}/GetBenchmarkResult"


@pytest_asyncio.fixture(scope="module")
async def envoy(
    module_stand: Stand, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The address of an Envoy in front of the module's gateway."""
    ports = {
        "8081": str(free_block(1)),
        "50050": module_stand.target.rpartition(":")[2],
        "8080": module_stand.http.rpartition(":")[2],
    }
    text = CONFIG.read_text()
    for shipped, ours in ports.items():
        text, changed = re.subn(rf"port_value: {shipped}\b", f"port_value: {ours}", text)
        assert changed == 1
    folder = tmp_path_factory.mktemp("envoy")
    (folder / "envoy.yaml").write_text(text)
    command = [
        str(ENVOY),
        "-c",
        str(folder / "envoy.yaml"),
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"127.0.0.1:{ports['8081']}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    if (await client.get(f"http://{address}/healthz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(30)


async def test_grpc_and_its_streams_go_through(stand: Stand, envoy: str) -> None:
    key = auth(await stand.key("READ"))
    async with grpc.aio.insecure_channel(envoy) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        answer = await stub.GetBenchmarkResult(GetBenchmarkResultRequest(id="a"), metadata=key)
    assert answer.benchmark_result.id == "a"


async def test_a_browser_calls_with_grpc_web(stand: Stand, envoy: str) -> None:
    message = GetBenchmarkResultRequest(id="a").SerializeToString()
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    async with httpx.AsyncClient(base_url=f"http://{envoy}") as client:
        answer = await client.post(
            GET,
            content=struct.pack(">BI", 0, len(message)) + message,
            headers={**headers, "authorization": f"Bearer {await stand.key('READ')}"},
        )
        refused = await client.post(GET, content=bytes(5), headers=headers)
    flags, size = struct.unpack_from(">BI", answer.content)
    body, trailers = answer.content[5 : 5 + size], answer.content[5 + size :]
    assert flags == 0
    assert GetBenchmarkResultResponse.FromString(body).benchmark_result.id == "a"
    assert b"grpc-status:0" in trailers
    assert refused.headers["grpc-status"] == str(grpc.StatusCode.UNAUTHENTICATED.value[0])


async def test_short_paths_are_the_methods(stand: Stand, envoy: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://{envoy}") as client:
        key = {"authorization": f"Bearer {await stand.key('READ')}"}
        for path in re.findall(r"path: (/v1/\S+)", CONFIG.read_text()):
            stand.behind.forget()
            answer = await client.post(path, json={}, headers=key)
            assert (answer.status_code, answer.json()) == (200, {}), path
            assert len(stand.behind.seen.calls) == 1
        by_name = await client.post(GET, json={"id": "a"}, headers=key)
        unknown = await client.post("/v1/nothing", json={}, headers=key)
    assert by_name.json() == {"benchmarkResult": {"id": "a"}}
    assert unknown.status_code == 404


async def test_nobody_reads_without_a_key_through_a_proxy(stand: Stand, envoy: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://{envoy}") as client:
        answer = await client.post("/v1/recommend", json={}, headers={"host": "localhost"})
    assert answer.status_code == 401
    assert stand.behind.seen.calls == []


async def test_a_body_that_is_too_large_ends_at_envoy(stand: Stand, envoy: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://{envoy}") as client:
        answer = await client.post(GET, content=b" " * (5 * 1024 * 1024))
    assert answer.status_code == 413
