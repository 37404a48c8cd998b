"""Who gets in over HTTP: those with a good key, and on loopback readers without one."""

import asyncio
import http.client
import itertools
import json
from contextlib import closing
from typing import Any

import httpx
import pytest

from services.gateway.grants import GRANTS, READ
from services.gateway.http.methods import Methods
from tests.rpc.gateway.http.calling import ADMIN, INGEST, RANKING, http_client, info_of
from tests.rpc.gateway.stand import Stand, running
from tests.rpc.gateway.test_admission import Metadata, bad_credentials

GET = f"{INGEST}/GetBenchmarkResult"
RECOMMEND = f"{RANKING}/Recommend"


def over_http() -> list[str]:
    """Every method that answers once, to one request."""
    found = []
    for path in GRANTS:
        descriptor = Methods.descriptor(path)
        assert descriptor is not None, path
        if not descriptor.client_streaming and not descriptor.server_streaming:
            found.append(path)
    assert len(found) >= 55
    return found


async def test_no_method_answers_bad_credentials(stand: Stand) -> None:
    bad = await bad_credentials(stand)
    # These send no authorization at all: they are the anonymous reader's affair, below.
    for name in ("none", "other header", "the internal header", "a caller's name"):
        del bad[name]
    stand.behind.forget()
    answers = await asyncio.to_thread(_answers, stand.http, over_http(), bad)
    assert len(bad) >= 15
    assert len(answers) == len(bad) * len(over_http())
    assert set(answers.values()) == {(401, "unauthenticated")}, answers
    assert stand.behind.seen.calls == []


def _answers(
    address: str, methods: list[str], credentials: dict[str, Metadata]
) -> dict[tuple[str, str], tuple[int, str]]:
    """Status and code of every method with every credential, over one connection."""
    found = {}
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    with closing(connection):
        for method, (name, metadata) in itertools.product(methods, credentials.items()):
            connection.putrequest("POST", method)
            for key, value in (("content-type", "application/json"), ("content-length", "2")):
                connection.putheader(key, value)
            for key, value in metadata:
                connection.putheader(key, value)
            connection.endheaders(b"{}")
            answer = connection.getresponse()
            found[method, name] = answer.status, json.loads(answer.read())["code"]
    return found


async def test_without_a_key_reading_is_open_on_loopback_and_nothing_else(stand: Stand) -> None:
    async with http_client(stand) as client:
        for method in over_http():
            stand.behind.forget()
            answer = await client.post(method, json={})
            if GRANTS[method] == READ:
                assert answer.status_code == 200, method
                assert stand.behind.seen.last()["x-servemark-caller"] == "anonymous"
            else:
                assert (answer.status_code, info_of(answer)["reason"]) == (401, "KEY_INVALID")
                assert stand.behind.seen.calls == [], method


async def test_grpc_stays_closed_to_who_sends_no_key(stand: Stand) -> None:
    for name in ("x-servemark-caller", "x-anonymous", "host", "cookie"):
        call: Any = stand.channel.unary_unary(RECOMMEND)
        with pytest.raises(Exception, match="No key was sent"):
            await call(b"", metadata=((name, "anonymous"),))


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({"host": "127.0.0.1:9"}, True),
        ({"host": "localhost"}, True),
        ({"host": "[::1]:8080"}, True),
        ({"host": "LOCALHOST:8080", "origin": "http://localhost:8080"}, True),
        ({"host": "bench.example:8080"}, True),
        ({"host": "evil.example"}, False),
        ({"host": "evil.example", "origin": "http://evil.example"}, False),
        ({"host": "localhost.evil.example"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "localhost@evil.example"}, False),
        ({"host": "192.0.2.1"}, False),
        ({"host": ""}, False),
        ({"host": "[::1"}, False),
        ({"host": "localhost", "origin": "http://evil.example"}, False),
        ({"host": "localhost:8080", "origin": "http://localhost:3000"}, False),
        ({"host": "localhost", "origin": "null"}, False),
        ({"host": "localhost", "origin": "http://[x"}, False),
        ({"host": "localhost", "origin": "https://pages.example"}, True),
    ],
)
async def test_without_a_key_the_host_and_the_origin_have_to_be_ours(
    open_stand: Stand, headers: dict[str, str], answered: bool
) -> None:
    key = await open_stand.key("READ")
    async with http_client(open_stand) as client:
        answer = await client.post(RECOMMEND, json={}, headers=headers)
        with_key = await client.post(
            RECOMMEND, json={}, headers={**headers, "authorization": f"Bearer {key}"}
        )
    assert answer.status_code == (200 if answered else 401)
    assert answered or "own names" in answer.json()["message"]
    assert with_key.status_code == 200


@pytest.fixture(scope="module")
async def open_stand(gateway_database: str) -> Any:
    """A gateway that knows another name of itself, and another page."""
    async with running(
        gateway_database,
        http_hosts="bench.example, other.example",
        http_cors_origins="https://pages.example",
    ) as stand:
        yield stand


async def test_only_named_pages_may_read_answers_of_another_origin(open_stand: Stand) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-key"}
    async with http_client(open_stand, await open_stand.key("READ")) as client:
        named = await client.post(RECOMMEND, json={}, headers={"origin": "https://pages.example"})
        other = await client.post(RECOMMEND, json={}, headers={"origin": "https://evil.example"})
        asked = await client.options(RECOMMEND, headers={"origin": "https://evil.example", **asks})
    assert named.headers["access-control-allow-origin"] == "https://pages.example"
    assert "access-control-allow-origin" not in other.headers
    assert asked.status_code == 400


async def test_nothing_is_said_to_other_origins_by_default(stand: Stand) -> None:
    async with http_client(stand) as client:
        answer = await client.options(
            RECOMMEND,
            headers={"origin": "https://a.example", "access-control-request-method": "POST"},
        )
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


async def test_a_setting_closes_reading_without_a_key(gateway_database: str) -> None:
    async with (
        running(gateway_database, http_anonymous_read=False) as stand,
        http_client(stand) as client,
    ):
        answer = await client.post(RECOMMEND, json={})
    assert (answer.status_code, info_of(answer)["reason"]) == (401, "KEY_INVALID")


async def test_a_form_is_json_unless_a_browser_sent_it(stand: Stand) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with http_client(stand) as client:
        answer = await client.post(GET, content='{"id": "a"}', headers=form)
        assert answer.json() == {"benchmarkResult": {"id": "a"}}
        for name, value in (
            ("origin", stand.http),
            ("sec-fetch-site", "same-origin"),
            ("cookie", "session=x"),
        ):
            answer = await client.post(GET, content="{}", headers={**form, name: value})
            assert answer.status_code == 415, name


async def test_a_stranger_learns_nothing_from_a_malformed_body(stand: Stand) -> None:
    async with http_client(stand, "sm_no_key") as client:
        answer = await client.post(
            GET, content=b"\xff", headers={"content-type": "application/json"}
        )
    assert (answer.status_code, info_of(answer)["reason"]) == (401, "KEY_INVALID")


async def test_probes_and_the_version_need_no_key(stand: Stand) -> None:
    async with http_client(stand) as client:
        live, version = await client.get("/healthz"), await client.get("/version")
        ready = await _until_ready(client)
        nothing = await client.get("/etc/passwd")
    assert live.json() == {"status": "live"}
    assert ready.json()["services"]["servemark.ranking.v1.RankingService"] == "SERVING"
    assert version.json()["contracts"][0] == "servemark.catalog.v1"
    assert nothing.status_code == 404


async def test_readiness_follows_the_health_check(gateway_database: str) -> None:
    async with running(gateway_database) as stand, http_client(stand) as client:
        await _until_ready(client)
        await stand.app.server._health.shut_down()
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "NOT_SERVING")


async def _until_ready(client: httpx.AsyncClient) -> httpx.Response:
    while (answer := await client.get("/readyz")).status_code != 200:
        assert answer.status_code == 503
    return answer


async def test_every_answer_has_the_security_headers(stand: Stand) -> None:
    async with http_client(stand) as client:
        answers = [
            await client.get("/healthz"),
            await client.get("/nothing"),
            await client.post(RECOMMEND, json={}),
            await client.post(f"{ADMIN}/ListApiKeys", json={}),
            await client.get(RECOMMEND),
        ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers
