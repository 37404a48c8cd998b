"""The gateway and its bootstrap as processes: settings, first key, SIGTERM."""

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import grpc
import pytest

from servemark.gateway.v1 import admin_service_pb2_grpc
from servemark.gateway.v1.api_key_pb2 import SCOPE_ADMIN, SCOPE_READ, ListApiKeysRequest
from services.gateway import bootstrap
from tests.rpc.gateway.stand import PEPPER, auth
from tests.support import servers


def environment(dsn: str, **more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SERVEMARK_")}
    return {
        **clean,
        "SERVEMARK_DATABASE_URL": dsn,
        "SERVEMARK_KEY_PEPPER": PEPPER,
        "SERVEMARK_METRICS_PORT": "0",
        "SERVEMARK_HTTP_PORT": "0",
        **more,
    }


async def start(module: str, *arguments: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(module: str, *arguments: str, env: dict[str, str]) -> tuple[int | None, str, str]:
    process = await start(module, *arguments, env=env)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


def four_free_ports() -> int:
    """The first of four ports in a row that are free now."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base: int = probe.getsockname()[1]
        try:
            for port in range(base, base + 4):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        if base <= 65000:
            return base


async def keys_of(port: int, key: str) -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        return await admin_service_pb2_grpc.AdminServiceStub(channel).ListApiKeys(
            ListApiKeysRequest(), metadata=auth(key), timeout=30, wait_for_ready=True
        )


async def test_the_first_key_comes_from_the_command_line_and_opens_the_gateway(
    gateway_database: str,
) -> None:
    code, out, err = await run(
        "services.gateway.bootstrap",
        "--name",
        "the first",
        "--scopes",
        "admin,Read",
        env=environment(gateway_database),
    )
    assert (code, err) == (0, "")
    key = out.removesuffix("\n")
    assert "\n" not in key
    base = four_free_ports()
    gateway = await start(
        "services.gateway",
        env=environment(gateway_database, SERVEMARK_PORT_BASE=str(base)),
    )
    try:
        listed = await keys_of(base, key)
        (made,) = (shown for shown in listed.api_keys if shown.name == "the first")
        assert list(made.scopes) == [SCOPE_ADMIN, SCOPE_READ]
    finally:
        gateway.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(gateway.communicate(), 30)
    assert gateway.returncode == 0
    text = log.decode()
    assert key.split("_")[1] in text
    assert key.split("_")[2] not in text
    assert PEPPER not in text


async def test_wrong_settings_give_one_sentence_for_each_variable_and_exit_2() -> None:
    code, out, err = await run(
        "services.gateway",
        env=environment("mysql://x", SERVEMARK_KEY_PEPPER="too short", SERVEMARK_PORT_BASE="many"),
    )
    assert (code, out) == (2, "")
    lines = sorted(err.strip().splitlines())
    assert [line.partition(":")[0] for line in lines] == [
        "SERVEMARK_DATABASE_URL",
        "SERVEMARK_KEY_PEPPER",
        "SERVEMARK_PORT_BASE",
    ]
    assert "too short" not in err
    assert "at least 32 characters" in err


async def test_a_port_in_use_is_one_sentence_and_exit_1(gateway_database: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = await run(
            "services.gateway",
            env=environment(gateway_database, SERVEMARK_PORT_BASE=str(min(port, 65000))),
        )
    assert code == 1
    assert err.strip().splitlines()[-1].startswith(f"Port {port} on 127.0.0.1 is in use.")


@pytest.mark.parametrize("scopes", ["root", "", "read,,admin"])
def test_the_command_line_refuses_what_is_no_scope(
    capsys: pytest.CaptureFixture[str], scopes: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        bootstrap.main(["--name", "x", "--scopes", scopes])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert "scopes are READ, INGEST, CATALOG, ADMIN" in said.err


def test_the_command_line_says_so_when_the_database_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEMARK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("SERVEMARK_KEY_PEPPER", PEPPER)
    code = servers.run_apart(_main(["--name", "x", "--scopes", "READ"]))
    said = capsys.readouterr()
    assert (code, said.out) == (1, "")
    assert said.err.startswith("The database does not answer.")


async def _main(arguments: list[str]) -> int:
    # It brings its own event loop, so it runs in a thread without one.
    return await asyncio.to_thread(bootstrap.main, arguments)
