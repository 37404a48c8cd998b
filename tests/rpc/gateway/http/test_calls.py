"""What a call over HTTP answers: the same as over gRPC, as JSON or as bytes."""

import asyncio
import gzip
import json
import struct
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.rpc import status_pb2

from servemark.gateway.v1.api_key_pb2 import ListApiKeysRequest
from servemark.ingest.v1.result_query_pb2 import (
    GetBenchmarkResultRequest,
    GetBenchmarkResultResponse,
)
from tests.rpc.gateway.behind import BIG_BYTES
from tests.rpc.gateway.http.calling import ADMIN, INGEST, RANKING, bytes_of, http_client, info_of
from tests.rpc.gateway.stand import Stand, auth, refused

GET = f"{INGEST}/GetBenchmarkResult"


async def test_json_goes_in_and_out(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(GET, json={"id": "a"})
    assert (answer.status_code, answer.json()) == (200, {"benchmarkResult": {"id": "a"}})
    assert answer.headers["content-type"] == "application/json"


async def test_bytes_go_in_and_out(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(
            GET,
            content=GetBenchmarkResultRequest(id="a").SerializeToString(),
            headers={"content-type": "application/proto"},
        )
    assert answer.headers["content-type"] == "application/proto"
    assert GetBenchmarkResultResponse.FromString(answer.content).benchmark_result.id == "a"


async def test_the_gateways_own_methods_answer_as_over_grpc(stand: Stand) -> None:
    key = await stand.key("ADMIN")
    over_grpc = await stand.admin.ListApiKeys(ListApiKeysRequest(), metadata=auth(key))
    async with http_client(stand, key) as client:
        over_http = await client.post(f"{ADMIN}/ListApiKeys", json={})
    assert over_http.json() == json_format.MessageToDict(over_grpc)


async def test_an_error_has_the_code_the_text_and_the_details_it_has_over_grpc(
    stand: Stand,
) -> None:
    key = await stand.key("READ")
    no = await refused(
        stand.ingest.GetBenchmarkResult(GetBenchmarkResultRequest(id="error"), metadata=auth(key))
    )
    async with http_client(stand, key) as client:
        answer = await client.post(GET, json={"id": "error"})
    error = answer.json()
    assert (answer.status_code, error["code"]) == (400, "invalid_argument")
    assert error["message"] == no.text
    details = status_pb2.Status.FromString(no.raw).details
    assert [one["type"] for one in error["details"]] == [
        one.type_url.rpartition("/")[2] for one in details
    ]
    # All but the last, which is the request's id.
    assert [bytes_of(one["value"]) for one in error["details"]][:-1] == [
        one.value for one in details
    ][:-1]
    assert info_of(answer)["reason"] == "INVALID_FIELD"


async def test_a_bug_behind_is_500_without_its_text(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(GET, json={"id": "bug"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret of the house" not in answer.text


async def test_metadata_and_trailers_come_as_headers(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(GET, json={"id": "trailers"})
    assert answer.headers["x-head"] == "first"
    assert bytes_of(answer.headers["x-head-bin"]) == b"\x00\xff"
    assert answer.headers.get_list("trailer-x-cost") == ["7", "8"]
    assert bytes_of(answer.headers["trailer-x-raw-bin"]) == b"\x00\x01\xfe"


async def test_the_request_id_is_passed_on_and_answered(stand: Stand) -> None:
    request_id = "01890a5d-ac96-774b-bcce-b302099a8057"
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(GET, json={"id": "a"}, headers={"x-request-id": request_id})
    assert answer.headers["x-request-id"] == request_id
    assert stand.behind.seen.last()["x-request-id"] == request_id


async def test_headers_of_a_browser_and_the_credential_end_at_the_gateway(stand: Stand) -> None:
    sent: dict[str, Any] = {
        "x-tag": "t",
        "x-bytes-bin": "AP8",
        "x-odd": "grüß".encode(),
        "origin": stand.http,
        "cookie": "a=b",
    }
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(
            GET,
            json={"id": "a"},
            headers=list(sent.items()),
        )
    assert answer.status_code == 200
    seen = stand.behind.seen.last()
    assert (seen["x-tag"], seen["x-bytes-bin"]) == ("t", b"\x00\xff")
    assert not {"origin", "cookie", "authorization", "accept", "x-odd", "host"} & set(seen)


async def test_the_time_the_caller_gives_is_the_time_the_call_has(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(GET, json={"id": "slow"}, headers={"connect-timeout-ms": "900"})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    left = stand.behind.seen.time_left[-1]
    assert left is not None
    assert 0 < left <= 0.9


async def test_a_caller_that_goes_away_ends_the_call_behind(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(GET, json={"id": "slow"}, timeout=0.3)
    async with asyncio.timeout(20):
        await stand.behind.seen.cancelled.wait()


async def test_large_answers_come_whole_and_zipped_when_asked_for(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        plain = await client.post(GET, json={"id": "big"}, headers={"accept-encoding": "identity"})
        zipped = await client.post(GET, json={"id": "big"}, headers={"accept-encoding": "br, gzip"})
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < 10_000
    assert plain.json() == zipped.json() == {"benchmarkResult": {"id": "x" * BIG_BYTES}}


async def test_a_zipped_request_is_read(stand: Stand) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    async with http_client(stand, await stand.key("READ")) as client:
        body = gzip.compress(b'{"id": "a"}')
        answer = await client.post(GET, content=body, headers=headers)
        bomb = gzip.compress(b" " * 50_000_000)
        too_much = await client.post(GET, content=bomb, headers=headers)
        cut = await client.post(GET, content=body[:-3], headers=headers)
    assert answer.json() == {"benchmarkResult": {"id": "a"}}
    assert (too_much.status_code, info_of(too_much)["reason"]) == (400, "MALFORMED_MESSAGE")
    assert cut.status_code == 400


def enveloped(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def messages_of(body: bytes) -> list[tuple[int, object]]:
    """Flags and JSON of each message in a stream."""
    found = []
    while body:
        flags, size = struct.unpack_from(">BI", body)
        found.append((flags, json.loads(body[5 : 5 + size])))
        body = body[5 + size :]
    return found


async def test_a_stream_of_answers_comes_in_envelopes(stand: Stand) -> None:
    async with http_client(stand, await stand.key("READ")) as client:
        answer = await client.post(
            f"{INGEST}/QueryTimeSeries",
            content=enveloped(b'{"pageSize": 3}'),
            headers={"content-type": "application/connect+json"},
        )
    assert answer.headers["content-type"] == "application/connect+json"
    *series, (flags, end) = messages_of(answer.content)
    assert series == [(0, {"seriesId": str(number)}) for number in range(3)]
    assert flags == 2
    assert "error" not in end  # type: ignore[operator]


async def test_a_streams_error_comes_at_its_end(stand: Stand) -> None:
    async with http_client(stand, "sm_no_key") as client:
        answer = await client.post(
            f"{INGEST}/QueryTimeSeries",
            content=enveloped(b"{}"),
            headers={"content-type": "application/connect+json"},
        )
    assert answer.status_code == 200
    ((flags, end),) = messages_of(answer.content)
    assert flags == 2
    assert end["error"]["code"] == "unauthenticated"  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "content_type", "says"),
    [
        (f"{INGEST}/AppendResults", "application/json", "over gRPC"),
        (f"{INGEST}/StreamResults", "application/connect+json", "over gRPC"),
        (f"{INGEST}/QueryTimeSeries", "application/json", "application/connect+json"),
        (GET, "application/connect+json", "application/json"),
        (GET, "text/plain", "application/json"),
        (GET, "application/json; charset=latin-1", "application/json"),
    ],
)
async def test_another_kind_of_body_is_415_with_what_to_do(
    stand: Stand, method: str, content_type: str, says: str
) -> None:
    async with http_client(stand, await stand.key("ADMIN")) as client:
        answer = await client.post(method, content="{}", headers={"content-type": content_type})
    assert answer.status_code == 415
    assert says in answer.json()["message"]
    assert stand.behind.seen.calls == []


async def test_an_unknown_method_is_unimplemented(stand: Stand) -> None:
    async with http_client(stand, await stand.key("ADMIN")) as client:
        answer = await client.post(f"{RANKING}/Guess", json={})
        get = await client.get(f"{RANKING}/Recommend")
    assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
    assert (get.status_code, get.headers["allow"]) == (405, "POST")


async def test_the_same_call_shows_in_the_metrics_as_over_grpc(stand: Stand) -> None:
    labels = {
        "grpc_service": "servemark.ingest.v1.IngestService",
        "grpc_method": "GetBenchmarkResult",
        "grpc_code": grpc.StatusCode.OK.name,
    }
    registry = stand.app.server.registry
    before = registry.get_sample_value("servemark_grpc_handled_total", labels) or 0
    async with http_client(stand, await stand.key("READ")) as client:
        await client.post(GET, json={"id": "a"})
    assert registry.get_sample_value("servemark_grpc_handled_total", labels) == before + 1


async def test_calls_over_http_and_grpc_at_once_each_get_their_own_answer(stand: Stand) -> None:
    key = await stand.key("READ")

    async def over_grpc(number: int) -> str:
        request = GetBenchmarkResultRequest(id=f"grpc {number}")
        answer = await stand.ingest.GetBenchmarkResult(request, metadata=auth(key))
        return str(answer.benchmark_result.id)

    async with http_client(stand, key) as client:

        async def over_http(number: int) -> str:
            answer = await client.post(GET, json={"id": f"http {number}"})
            return str(answer.json()["benchmarkResult"]["id"])

        calls = [call(number) for number in range(20) for call in (over_http, over_grpc)]
        answers = await asyncio.gather(*calls)
    assert answers == [f"{port} {number}" for number in range(20) for port in ("http", "grpc")]
