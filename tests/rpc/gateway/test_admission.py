"""Nobody gets in without a good key with the scope: every method, every way to be wrong."""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemark.gateway.v1.api_key_pb2 import ListApiKeysRequest, RevokeApiKeyRequest
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from services.gateway.app import create
from services.gateway.ending import Ending
from services.gateway.grants import GRANTS, SCOPES
from services.gateway.keys import new_key
from tests.rpc.gateway.stand import Stand, auth, refused, running, settings_for

OK = grpc.StatusCode.OK
Metadata = tuple[tuple[str, Any], ...]


def call(channel: grpc.aio.Channel, method: str, metadata: Metadata = (), body: bytes = b"") -> Any:
    """A call of any method, whatever its kind: on the wire one message is one message."""

    async def run() -> Any:
        stream: Any = channel.stream_stream(method)
        live = stream(metadata=metadata, timeout=10)
        # A write that is under way when the call is refused hides the status in this client, too.
        ending = Ending(live)
        try:
            await live.write(body)
            await live.done_writing()
            return await live.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            status = await ending.status()
            trailers = grpc.aio.Metadata(*status.trailers)
            raise grpc.aio.AioRpcError(
                status.code, grpc.aio.Metadata(), trailers, status.text
            ) from None

    return run()


async def code_of(running_call: Any) -> grpc.StatusCode:
    """How a call ended."""
    try:
        await running_call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def bad_credentials(stand: Stand) -> dict[str, Metadata]:
    """Everything that is not a good key."""
    good = await stand.key("ADMIN")
    _, unknown = new_key()
    revoked, expired = (
        await stand.key("ADMIN"),
        await stand.key("ADMIN", expires_at=datetime.now(UTC) - timedelta(seconds=1)),
    )
    await stand.admin.RevokeApiKey(
        RevokeApiKeyRequest(id=revoked.split("_")[1]), metadata=auth(good)
    )
    flipped = good[:-2] + ("a" if good[-2] != "a" else "b") + good[-1]
    return {
        "none": (),
        "empty": (("authorization", ""),),
        "no credential": (("authorization", "Bearer"),),
        "empty credential": (("authorization", "Bearer "),),
        "garbage": auth("garbage"),
        "other scheme": (("authorization", f"Basic {good}"),),
        "no scheme": (("authorization", good),),
        "other header": (("x-api-key", good),),
        "two at once": (*auth(good), *auth(good)),
        "unknown": auth(unknown),
        "wrong secret": auth(flipped),
        "id of one, secret of another": auth(f"{good[:19]}_{unknown.split('_')[2]}"),
        "upper case": auth(good.upper()),
        "more after it": auth(f"{good} x"),
        "cut short": auth(good[:-1]),
        "8 KiB": auth("k" * 7000),
        "revoked": auth(revoked),
        "expired": auth(expired),
        "the internal header": (("x-servemark-internal-token", good),),
        "a caller's name": (("x-servemark-caller", good.split("_")[1]),),
    }


async def test_no_method_answers_bad_credentials(stand: Stand) -> None:
    bad = await bad_credentials(stand)
    tried = 0
    for method in GRANTS:
        for name, metadata in bad.items():
            no = await refused(call(stand.channel, method, metadata))
            assert no.code is grpc.StatusCode.UNAUTHENTICATED, (method, name)
            assert no.reason == "KEY_INVALID", (method, name)
            tried += 1
    assert tried == len(GRANTS) * len(bad) >= 55 * 10
    assert stand.behind.seen.calls == []


async def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(stand: Stand) -> None:
    answers = set()
    for metadata in (await bad_credentials(stand)).values():
        no = await refused(stand.admin.ListApiKeys(ListApiKeysRequest(), metadata=metadata))
        answers.add((no.code, no.text, no.reason, tuple(no.metadata), no.fields, no.retry_seconds))
    assert len(answers) == 1


async def test_the_time_of_a_refusal_does_not_tell_which_keys_exist(stand: Stand) -> None:
    good = await stand.key("ADMIN")
    revoked = await stand.key("ADMIN")
    await stand.admin.RevokeApiKey(
        RevokeApiKeyRequest(id=revoked.split("_")[1]), metadata=auth(good)
    )
    kinds = {
        "unknown": auth(new_key()[1]),
        "wrong secret": auth(good[:-2] + ("a" if good[-2] != "a" else "b") + good[-1]),
        "revoked": auth(revoked),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(100):
        for name, metadata in kinds.items():
            begun = time.perf_counter()
            await refused(stand.admin.ListApiKeys(ListApiKeysRequest(), metadata=metadata))
            times[name].append(time.perf_counter() - begun)
    medians = [statistics.median(times[name]) for name in kinds]
    assert max(medians) < 2 * min(medians)


@pytest.mark.parametrize("held", SCOPES)
async def test_a_scope_opens_its_methods_and_no_others(stand: Stand, held: str) -> None:
    key = auth(await stand.key(held))
    for method, scope in GRANTS.items():
        stand.behind.forget()
        if held in (scope, "ADMIN"):
            # The gateway's own methods look at the empty request; that they did is enough.
            own = "AdminService" in method
            code = await code_of(call(stand.channel, method, key))
            assert code is grpc.StatusCode.OK or (
                own and code is grpc.StatusCode.INVALID_ARGUMENT
            ), method
            assert own or stand.behind.seen.calls, method
        else:
            no = await refused(call(stand.channel, method, key))
            assert no.code is grpc.StatusCode.PERMISSION_DENIED, method
            assert (no.reason, no.metadata) == ("SCOPE_MISSING", {"required_scope": scope})
            assert stand.behind.seen.calls == []


@pytest.mark.parametrize(
    "method",
    [
        "/servemark.ingest.v1.IngestService/DropEverything",
        "/servemark.ingest.v1.IngestService/getbenchmarkresult",
        "/servemark.gateway.v1.AdminService/",
        "/servemark.unknown.v1.Service/Get",
        "/nothing",
        "/grpc.health.v1.HealthX/Check",
    ],
)
async def test_a_method_not_in_the_table_is_not_offered_to_those_with_a_key(
    stand: Stand, method: str
) -> None:
    no = await refused(call(stand.channel, method))
    assert (no.code, no.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_INVALID")
    no = await refused(call(stand.channel, method, auth(await stand.key("ADMIN"))))
    assert (no.code, no.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_OFFERED")
    assert stand.behind.seen.calls == []


async def test_a_stranger_learns_nothing_from_a_malformed_request(stand: Stand) -> None:
    for method in (
        "/servemark.gateway.v1.AdminService/CreateApiKey",
        "/servemark.ingest.v1.IngestService/GetBenchmarkResult",
    ):
        no = await refused(call(stand.channel, method, (), b"\xff\xff"))
        assert no.reason == "KEY_INVALID"


async def test_health_needs_no_key(stand: Stand) -> None:
    answer = await health_pb2_grpc.HealthStub(stand.channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status in (1, 2)


async def test_a_revoked_key_is_refused_within_two_seconds_by_every_gateway(
    stand: Stand, gateway_database: str
) -> None:
    """No Redis is configured at all, and the gateways know nothing of each other."""
    other = await create(settings_for(gateway_database))
    await other.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{other.server.port}") as channel:
        method = "/servemark.gateway.v1.AdminService/ListApiKeys"
        key = await stand.key("ADMIN")
        admin = auth(await stand.key("ADMIN"))
        for _ in range(20):
            # Remembered by both, right up to the moment it is revoked.
            await call(stand.channel, method, auth(key))
            await call(channel, method, auth(key))
        await stand.admin.RevokeApiKey(RevokeApiKeyRequest(id=key.split("_")[1]), metadata=admin)
        revoked_at = time.monotonic()
        for place in (stand.channel, channel):
            async with asyncio.timeout(20):
                while (code := await code_of(call(place, method, auth(key)))) is OK:
                    await asyncio.sleep(0.02)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert time.monotonic() - revoked_at < 2.0
    await other.server.stop(0)
    await other.close()


async def test_a_key_stops_at_its_expiry(stand: Stand) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    key = auth(await stand.key("ADMIN", expires_at=soon))
    method = "/servemark.gateway.v1.AdminService/ListApiKeys"
    await call(stand.channel, method, key)
    await asyncio.sleep(2.1)
    no = await refused(call(stand.channel, method, key))
    assert no.reason == "KEY_INVALID"


async def test_without_postgres_calls_are_unavailable_at_once(gateway_database: str) -> None:
    unreachable = "postgresql://nobody@127.0.0.1:1/none"
    async with running(gateway_database) as stand:
        key = await stand.key("READ")
        stand_without = await create(settings_for(unreachable))
        await stand_without.server.start()
        target = f"127.0.0.1:{stand_without.server.port}"
        async with grpc.aio.insecure_channel(target) as channel:
            begun = time.monotonic()
            no = await refused(
                call(channel, "/servemark.ranking.v1.RankingService/Recommend", auth(key))
            )
            took = time.monotonic() - begun
        await stand_without.server.stop(0)
        await stand_without.close()
    assert (no.code, no.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert no.retry_seconds == 1.0
    assert took < 1.0


async def test_more_calls_than_the_limit_are_refused_with_a_time_to_come_back(
    gateway_database: str,
) -> None:
    async with running(gateway_database, max_concurrent_calls=5) as stand:
        key = auth(await stand.key("READ"))
        slow = [
            stand.ingest.GetBenchmarkResult(GetBenchmarkResultRequest(id="slow"), metadata=key)
            for _ in range(5)
        ]
        async with asyncio.timeout(20):
            while len(stand.behind.seen.calls) < 5:
                await asyncio.sleep(0.01)
        times = []
        for _ in range(9):
            begun = time.monotonic()
            no = await refused(stand.admin.ListApiKeys(ListApiKeysRequest(), metadata=key))
            times.append(time.monotonic() - begun)
        assert statistics.median(times) < 0.1
        assert (no.code, no.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert no.retry_seconds == 1.0
        health = health_pb2_grpc.HealthStub(stand.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status
        for live in slow:
            live.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
