"""The gateway as an operator meets it: with grpcurl, which knows nothing but reflection."""

import asyncio
import json
import sysconfig
from pathlib import Path

import pytest

from services.gateway.grants import GRANTS_OF_SERVICE
from tests.rpc.gateway.stand import Stand

GRPCURL = Path(sysconfig.get_path("scripts")) / "grpcurl"
GET = "servemark.ingest.v1.IngestService/GetBenchmarkResult"


async def grpcurl(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        str(GRPCURL),
        "-plaintext",
        "-max-time",
        "20",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
    return process.returncode or 0, out.decode(), err.decode()


def bearer(key: str) -> tuple[str, str]:
    return "-H", f"authorization: Bearer {key}"


async def test_list_shows_every_service_without_a_key(stand: Stand) -> None:
    code, out, _ = await grpcurl(stand.target, "list")
    assert code == 0
    assert set(out.split()) == {
        *GRANTS_OF_SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("service", sorted(GRANTS_OF_SERVICE))
async def test_describe_shows_a_service_and_each_of_its_methods(stand: Stand, service: str) -> None:
    code, out, _ = await grpcurl(stand.target, "describe", service)
    assert code == 0
    assert f"{service} is a service" in out
    method = next(iter(GRANTS_OF_SERVICE[service]))
    code, out, err = await grpcurl(stand.target, "describe", f"{service}.{method}")
    assert (code, err) == (0, "")
    assert f"{service}.{method} is a method" in out
    code, out, _ = await grpcurl(stand.target, "list", service)
    assert set(out.split()) == {f"{service}.{name}" for name in GRANTS_OF_SERVICE[service]}


async def test_a_call_answers_json(stand: Stand) -> None:
    key = await stand.key("READ")
    code, out, err = await grpcurl(*bearer(key), "-d", '{"id": "plain"}', stand.target, GET)
    assert (code, err) == (0, "")
    assert json.loads(out)["benchmark_result"]["id"] == "plain"


async def test_a_client_stream_is_read_from_stdin(stand: Stand) -> None:
    key = await stand.key("INGEST")
    lines = "\n".join(json.dumps({"batch": {"sequence": n}}) for n in range(25))
    code, out, err = await grpcurl(
        *bearer(key),
        "-d",
        "@",
        stand.target,
        "servemark.ingest.v1.IngestService/StreamResults",
        stdin=lines,
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["stored_count"] == "25"


async def test_the_details_of_an_error_can_be_read(stand: Stand) -> None:
    key = await stand.key("READ")
    code, _, err = await grpcurl(*bearer(key), "-d", '{"id": "error"}', stand.target, GET)
    assert code != 0
    assert "Code: InvalidArgument" in err
    assert "größer als erlaubt" in err
    for word in ("INVALID_FIELD", "servemark", "page_size", "1.500s", "google.rpc.ErrorInfo"):
        assert word in err, word
    assert "unrecognized" not in err


async def test_a_missing_key_is_said_with_its_reason(stand: Stand) -> None:
    code, _, err = await grpcurl("-d", "{}", stand.target, GET)
    assert code != 0
    assert "Code: Unauthenticated" in err
    assert "KEY_INVALID" in err


async def test_an_admin_key_makes_a_key_that_works(stand: Stand) -> None:
    admin = await stand.key("ADMIN")
    code, out, _ = await grpcurl(
        *bearer(admin),
        "-d",
        json.dumps({"name": "from the shell", "scopes": ["SCOPE_READ"]}),
        stand.target,
        "servemark.gateway.v1.AdminService/CreateApiKey",
    )
    assert code == 0
    made = json.loads(out)
    code, out, _ = await grpcurl(
        *bearer(made["secret"]), "-d", '{"id": "plain"}', stand.target, GET
    )
    assert code == 0
