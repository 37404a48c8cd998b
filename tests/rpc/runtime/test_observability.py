"""What an operator sees of calls: a line each, counters by code, and never a secret."""

import asyncio
import io
import json
import logging
import socket
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemark.runtime.telemetry import configure_logging
from tests.rpc.gateway.stand import refused
from tests.rpc.runtime.fixture_server import KINDS, SERVICE, Running, serving

Lines = list[dict[str, Any]]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What was logged since the last time it was asked, one dictionary a line."""
    before, handlers = structlog.get_config(), list(logging.root.handlers)
    page = io.StringIO()
    configure_logging("info", "json", "catalog")
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(page), cache_logger_on_first_use=False
    )
    # A new one, because the module's own remembers how it was set up when it was first used.
    monkeypatch.setattr("servemark.runtime.interceptor.log", structlog.get_logger())

    def read() -> Lines:
        lines = page.getvalue().splitlines()
        page.truncate(0)
        page.seek(0)
        return [json.loads(line) for line in lines]

    yield read
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


@pytest_asyncio.fixture
async def running(logged: Any) -> AsyncIterator[Running]:
    async with serving() as server:
        yield server


async def lines_of(logged: Any, event: str, at_least: int = 1) -> Lines:
    found: Lines = []
    for _ in range(100):
        found += [line for line in logged() if line["event"] == event]
        if len(found) >= at_least:
            break
        await asyncio.sleep(0.02)
    return found


async def test_a_call_is_one_line_with_method_code_and_request_id(
    running: Running, logged: Any
) -> None:
    request_id = str(uuid4())
    await running.call("UnaryUnary", metadata=(("x-request-id", request_id),))
    (line,) = await lines_of(logged, "call")
    assert line["method"] == f"/{SERVICE}/UnaryUnary"
    assert (line["code"], line["reason"]) == ("OK", None)
    assert line["request_id"] == request_id
    assert line["milliseconds"] >= 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_call_says_why_in_its_line(running: Running, logged: Any, kind: str) -> None:
    await refused(running.call(kind, "error"))
    (line,) = await lines_of(logged, "call")
    assert (line["code"], line["reason"]) == ("INVALID_ARGUMENT", "INVALID_FIELD")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_call_is_logged_as_one(running: Running, logged: Any, kind: str) -> None:
    call = asyncio.create_task(running.call(kind, "wait"))
    await asyncio.wait_for(running.kinds.started.wait(), 5)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    (line,) = await lines_of(logged, "call")
    assert line["code"] == "CANCELLED"
    assert line["request_id"]


async def test_an_unexpected_exception_is_logged_whole_under_the_callers_request_id(
    running: Running, logged: Any
) -> None:
    no = await refused(running.call("UnaryUnary", "bug"))
    (line,) = await lines_of(logged, "unexpected")
    text = json.dumps(line)
    assert "ZeroDivisionError" in text
    assert line["request_id"].encode() in no.raw
    # The exception's own words are there; the local variables around it are not.
    assert "secret_row" not in text
    assert "locals" not in text


async def test_secrets_are_masked_whatever_they_are_logged_with(
    running: Running, logged: Any
) -> None:
    await running.call("UnaryUnary", "log", metadata=(("authorization", "Bearer sm_a_b"),))
    (line,) = await lines_of(logged, "inside")
    assert (line["api_token"], line["password"]) == ("***", "***")
    assert "sm_a_b" not in json.dumps([line, *logged()])


async def test_health_checks_are_not_logged(running: Running, logged: Any) -> None:
    await health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest())
    await running.call("UnaryUnary")
    lines = await lines_of(logged, "call")
    assert [line["method"] for line in lines] == [f"/{SERVICE}/UnaryUnary"]


async def test_the_metrics_page_counts_calls_by_method_and_code() -> None:
    async with serving(metrics_port=_free_port() - 1) as running:
        for _ in range(3):
            await running.call("UnaryUnary")
        await refused(running.call("StreamStream", "error"))
        for n in range(50):
            await refused(running.call(f"/made.up.Service{n}/Method{n}"))
        port = running.server._settings.metrics_port_of("catalog")
        page = await asyncio.to_thread(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        )
    labels = f'grpc_method="UnaryUnary",grpc_service="{SERVICE}"'
    assert f"servemark_grpc_started_total{{{labels}}} 3.0" in page
    assert f'servemark_grpc_handled_total{{grpc_code="OK",{labels}}} 3.0' in page
    assert 'grpc_code="INVALID_ARGUMENT",grpc_method="StreamStream"' in page
    assert f"servemark_grpc_latency_seconds_count{{{labels}}} 3.0" in page
    assert "servemark_grpc_in_flight 0.0" in page
    # A name that callers make up is no label: each would stay in memory for ever.
    assert "made.up" not in page
    assert 'grpc_method="unknown",grpc_service="unknown"} 50.0' in page


async def test_a_stopped_server_gives_its_metrics_port_back() -> None:
    port = _free_port()
    for _ in range(2):
        async with serving(metrics_port=port - 1):
            pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
