"""Whatever a body holds, the answer is a clear refusal: never a 500, never a crash."""

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servemark.ranking.v1 import ranking_service_pb2
from servemark.runtime.errors import ServemarkError
from services.gateway.http.messages import _from_json
from tests.rpc.gateway.http.calling import INGEST, RANKING, http_client, info_of
from tests.rpc.gateway.stand import Stand

GET = f"{INGEST}/GetBenchmarkResult"
MATRIX = f"{RANKING}/RankMatrix"
JSON = {"content-type": "application/json"}
_METHODS = ranking_service_pb2.DESCRIPTOR.services_by_name["RankingService"].methods_by_name


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"null", "a JSON object"),
        (b"[]", "a JSON object"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"id": "\xc3\x28"}', "not UTF-8"),
        (b'{"id": "\\ud800"}', "GetBenchmarkResultRequest"),
        (b'{"id": 7}', "id"),
        (b'{"id": "a", "id": "b"}', "'id' is there twice"),
        (b'{"idd": "a"}', '"idd"'),
        (b'{"id": NaN}', "NaN"),
        (b'{"id": -Infinity}', "-Infinity"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"id":' * 50_000, "nested too deep"),
    ],
)
async def test_a_wrong_body_is_refused_with_what_is_wrong(
    stand: Stand, body: bytes, says: str
) -> None:
    async with http_client(stand) as client:
        answer = await client.post(GET, content=body, headers=JSON)
    assert (answer.status_code, info_of(answer)["reason"]) == (400, "MALFORMED_MESSAGE")
    assert says in answer.json()["message"]
    assert len(answer.json()["message"]) <= 400
    assert stand.behind.seen.calls == []


@pytest.mark.parametrize(
    "criterion",
    [
        {"weight": 1e400},
        {"weight": "1e400x"},
        {"weight": [1]},
        {"weight": {"a": 1}},
        {"objective": "OBJECTIVE_UNHEARD_OF"},
        {"objective": 1e99},
        {"name": ["x"]},
    ],
)
async def test_a_wrong_value_is_refused_with_its_field(
    stand: Stand, criterion: dict[str, Any]
) -> None:
    body = json.dumps({"criteria": [criterion]}).replace("Infinity", "1e400")
    async with http_client(stand) as client:
        answer = await client.post(MATRIX, content=body, headers=JSON)
    assert (answer.status_code, info_of(answer)["reason"]) == (400, "MALFORMED_MESSAGE")
    assert next(iter(criterion)) in answer.json()["message"]


async def test_a_body_over_four_mebibytes_is_refused(stand: Stand) -> None:
    most = 4 * 1024 * 1024
    async with http_client(stand) as client:
        over = await client.post(GET, content=b"{" + b" " * (most - 1) + b"}", headers=JSON)
        just = await client.post(GET, content=b"{" + b" " * (most - 2) + b"}", headers=JSON)
    assert (over.status_code, info_of(over)["reason"]) == (400, "MALFORMED_MESSAGE")
    assert "4194304 bytes" in over.json()["message"]
    assert just.status_code == 200


@pytest.mark.parametrize("headers", [JSON, {"content-type": "text/plain"}])
async def test_a_body_without_end_is_not_read_on(stand: Stand, headers: dict[str, str]) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 1024**3:
            sent += 65536
            yield b" " * 65536

    async with http_client(stand) as client:
        with suppress(httpx.TransportError):
            answer = await client.post(GET, content=endless(), headers=headers)
            assert answer.status_code in (400, 415)
    assert sent < 64 * 1024 * 1024


async def test_malformed_bytes_are_refused_as_over_grpc(stand: Stand) -> None:
    proto = {"content-type": "application/proto"}
    async with http_client(stand, await stand.key("ADMIN")) as client:
        for method in (GET, "/servemark.gateway.v1.AdminService/CreateApiKey"):
            answer = await client.post(method, content=b"\xff\xff", headers=proto)
            assert (answer.status_code, info_of(answer)["reason"]) == (400, "MALFORMED_MESSAGE")


@pytest.mark.parametrize(
    "headers",
    [
        {"connect-timeout-ms": "soon"},
        {"connect-timeout-ms": "-1"},
        {"connect-timeout-ms": "99999999999"},
        {"content-encoding": "br"},
        {"connect-protocol-version": "2"},
    ],
)
async def test_a_wrong_header_is_refused_in_words(stand: Stand, headers: dict[str, str]) -> None:
    async with http_client(stand) as client:
        answer = await client.post(GET, json={}, headers=headers)
    assert answer.status_code in (400, 501)
    assert answer.json()["message"]


async def test_a_head_that_is_too_long_is_refused(stand: Stand) -> None:
    async with http_client(stand) as client:
        answer = await client.post(GET, json={}, headers={"x-long": "x" * 9_000})
        far_too_long = await client.post(GET, json={}, headers={"x-long": "x" * 900_000})
    assert (answer.status_code, far_too_long.status_code) == (431, 400)
    assert stand.behind.seen.calls == []


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["NaN", "-Infinity", "1e400", "2026-01-01T00:00:00Z", "3.5s", "AP8="])
)
_FIELDS = "use_case useCase criteria weight weights name alternatives values objective filter id"
_NAMES = st.sampled_from(_FIELDS.split()) | st.text(max_size=8)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(_METHODS)),
    body=st.dictionaries(_NAMES, _VALUES, max_size=6).map(json.dumps) | st.text(),
    cut=st.integers(0, 60),
)
def test_any_text_is_a_message_or_refused(name: str, body: str, cut: int) -> None:
    message = _METHODS[name].input_type
    for text in (body, body[:cut], body.replace('"', "", 1)):
        with suppress(ServemarkError):
            assert isinstance(_from_json(text.encode("utf-8", "surrogatepass"), message), bytes)
