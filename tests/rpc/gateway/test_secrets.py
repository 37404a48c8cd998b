"""A key's secrets: they rotate with an overlap, and what ended is refused everywhere."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from servemark.gateway.v1 import api_key_pb2, user_pb2
from servemark.gateway.v1.api_key_pb2 import (
    SCOPE_ADMIN,
    CreateApiKeyRequest,
    RotateApiKeyRequest,
)
from servemark.ingest.v1.result_stream_pb2 import AppendResultsRequest, ResultBatch
from tests.rpc.gateway.people import LIST, caller_of, until_refused
from tests.rpc.gateway.stand import Stand, auth, refused, running
from tests.rpc.gateway.test_admission import OK, call, code_of


async def test_the_old_secret_works_a_day_unless_told_otherwise(stand: Stand) -> None:
    admin = auth(await stand.key("ADMIN"))
    key = await stand.key("READ")
    before = datetime.now(UTC)
    rotated = await stand.admin.RotateApiKey(
        RotateApiKeyRequest(id=key.split("_")[1]), metadata=admin
    )
    until = rotated.api_key.old_secret_expire_time.ToDatetime(tzinfo=UTC)
    assert abs(until - before - timedelta(days=1)) < timedelta(minutes=1)
    for secret in (key, rotated.secret):
        await caller_of(stand, secret)
    assert not rotated.api_key.HasField("expire_time")


async def test_a_secret_that_leaked_ends_at_once(stand: Stand) -> None:
    admin = auth(await stand.key("ADMIN"))
    key = await stand.key("ADMIN")
    assert await code_of(call(stand.channel, LIST, auth(key))) is OK
    rotated = await stand.admin.RotateApiKey(
        RotateApiKeyRequest(id=key.split("_")[1], overlap=Duration()), metadata=admin
    )
    # The gateway that was told forgets what it knew, so it is not even a second.
    no = await refused(call(stand.channel, LIST, auth(key)))
    assert no.reason == "KEY_INVALID"
    assert await code_of(call(stand.channel, LIST, auth(rotated.secret))) is OK


async def test_rotating_again_ends_the_oldest_secret(stand: Stand) -> None:
    admin = auth(await stand.key("ADMIN"))
    oldest = await stand.key("READ")
    request = RotateApiKeyRequest(id=oldest.split("_")[1])
    older = (await stand.admin.RotateApiKey(request, metadata=admin)).secret
    newest = (await stand.admin.RotateApiKey(request, metadata=admin)).secret
    for secret in (older, newest):
        await caller_of(stand, secret)
    with pytest.raises(Exception, match="unknown, expired or revoked"):
        await caller_of(stand, oldest)


async def test_a_key_at_its_end_does_not_rotate(stand: Stand) -> None:
    admin = auth(await stand.key("ADMIN"))
    past = datetime.now(UTC) - timedelta(seconds=1)
    revoked, expired = await stand.key("READ"), await stand.key("READ", expires_at=past)
    await stand.admin.RevokeApiKey(
        api_key_pb2.RevokeApiKeyRequest(id=revoked.split("_")[1]), metadata=admin
    )
    for key in (revoked, expired):
        no = await refused(
            stand.admin.RotateApiKey(RotateApiKeyRequest(id=key.split("_")[1]), metadata=admin)
        )
        assert (no.code, no.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


async def test_revoking_ends_the_old_secret_too(stand: Stand) -> None:
    admin = auth(await stand.key("ADMIN"))
    key = await stand.key("READ")
    request = RotateApiKeyRequest(id=key.split("_")[1])
    secrets = [key, (await stand.admin.RotateApiKey(request, metadata=admin)).secret]
    await stand.admin.RevokeApiKey(api_key_pb2.RevokeApiKeyRequest(id=request.id), metadata=admin)
    for secret in secrets:
        with pytest.raises(Exception, match="unknown, expired or revoked"):
            await caller_of(stand, secret)


async def test_an_ended_secret_and_a_disabled_user_are_refused_within_two_seconds_everywhere(
    stand: Stand, gateway_database: str
) -> None:
    """No Redis is configured at all, and the gateways know nothing of each other."""
    admin = auth(await stand.key("ADMIN"))
    user = await stand.admin.CreateUser(
        user_pb2.CreateUserRequest(email=f"{uuid4()}@example.org", role=user_pb2.ROLE_ADMIN),
        metadata=admin,
    )
    of_user = await stand.admin.CreateApiKey(
        CreateApiKeyRequest(name="x", scopes=[SCOPE_ADMIN], user_id=user.user.id), metadata=admin
    )
    rotating = await stand.key("ADMIN")
    rotate = RotateApiKeyRequest(id=rotating.split("_")[1], overlap=Duration())
    disable = user_pb2.DisableUserRequest(id=user.user.id)
    ends: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        (rotating, lambda: stand.admin.RotateApiKey(rotate, metadata=admin)),
        (of_user.secret, lambda: stand.admin.DisableUser(disable, metadata=admin)),
    ]
    async with running(gateway_database) as other:
        for secret, end in ends:
            for place in (stand, other):
                await call(place.channel, LIST, auth(secret))
            await end()
            ended_at = time.monotonic()
            for place in (stand, other):
                await until_refused(place, secret)
                assert time.monotonic() - ended_at < 2.0


async def test_a_stream_ends_with_the_secret_that_opened_it(stand: Stand) -> None:
    admin = auth(await stand.key("ADMIN"))
    key = await stand.key("INGEST")
    stream = stand.ingest.AppendResults(metadata=auth(key))
    await stream.write(AppendResultsRequest(batch=ResultBatch(sequence=7)))
    assert (await stream.read()).ack.sequence == 7
    await stand.admin.RotateApiKey(
        RotateApiKeyRequest(id=key.split("_")[1], overlap=Duration()), metadata=admin
    )
    async with asyncio.timeout(20):
        no = await refused(stream.read())
    assert no.reason == "KEY_INVALID"


@pytest.mark.parametrize("seconds", [-1, 90 * 86_400 + 1, 2**62])
async def test_an_overlap_has_bounds(stand: Stand, seconds: int) -> None:
    request = RotateApiKeyRequest(id="x", overlap=Duration(seconds=seconds))
    no = await refused(stand.admin.RotateApiKey(request, metadata=auth(await stand.key("ADMIN"))))
    assert (no.reason, no.fields) == ("INVALID_FIELD", ("overlap",))
