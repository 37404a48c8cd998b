"""Users and their keys, from the organization to the end of the old secret."""

from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration

from servemark.gateway.v1 import api_key_pb2, user_pb2
from servemark.gateway.v1.api_key_pb2 import (
    SCOPE_ADMIN,
    SCOPE_INGEST,
    SCOPE_READ,
    CreateApiKeyRequest,
    RotateApiKeyRequest,
)
from servemark.gateway.v1.setting_pb2 import (
    RESULT_VISIBILITY_PUBLIC,
)
from tests.rpc.gateway.people import LIST, caller_of, log_of, organization, tenant, until_refused
from tests.rpc.gateway.stand import Stand, auth, refused
from tests.rpc.gateway.test_admission import OK, call, code_of


async def test_a_whole_life_from_the_organization_to_the_end_of_the_old_secret(
    stand: Stand,
) -> None:
    platform = auth(await stand.key("ADMIN"))
    acme = await organization(stand, f"acme {uuid4()}", platform)
    where: dict[str, Any] = {"organization_id": acme.id}
    boss = await stand.admin.CreateUser(
        user_pb2.CreateUserRequest(
            email=f"Boss-{uuid4()}@Example.org", role=user_pb2.ROLE_ADMIN, **where
        ),
        metadata=platform,
    )
    assert boss.user.email == boss.user.email.lower() == boss.user.display_name
    first = await stand.admin.CreateApiKey(
        CreateApiKeyRequest(name="the first", scopes=[SCOPE_ADMIN], user_id=boss.user.id, **where),
        metadata=platform,
    )
    assert await code_of(call(stand.channel, LIST, auth(first.secret))) is OK

    rotated = await stand.admin.RotateApiKey(
        RotateApiKeyRequest(id=first.api_key.id, overlap=Duration(seconds=1)),
        metadata=auth(first.secret),
    )
    assert rotated.api_key.id == first.api_key.id
    assert rotated.secret != first.secret
    for secret in (first.secret, rotated.secret):
        assert await code_of(call(stand.channel, LIST, auth(secret))) is OK
    await until_refused(stand, first.secret)
    assert await code_of(call(stand.channel, LIST, auth(rotated.secret))) is OK

    await stand.admin.DisableUser(
        user_pb2.DisableUserRequest(id=boss.user.id, **where), metadata=platform
    )
    await until_refused(stand, rotated.secret)
    by = platform[0][1].split("_")[1]
    log = await log_of(stand, platform, **where)
    assert [(line.action, line.target, line.actor) for line in reversed(log)] == [
        ("organization.create", acme.id, by),
        ("user.create", boss.user.id, by),
        ("api_key.create", first.api_key.id, by),
        ("api_key.rotate", first.api_key.id, first.api_key.id),
        ("user.disable", boss.user.id, by),
    ]
    assert {line.organization_id for line in log} == {acme.id}
    told = str(log)
    for secret in (first.secret, rotated.secret):
        assert secret.split("_")[2] not in told


async def test_a_key_carries_its_hardware_user_and_visibility(stand: Stand) -> None:
    organization_id, admin = await tenant(stand)
    user = await stand.admin.CreateUser(
        user_pb2.CreateUserRequest(email=f"{uuid4()}@example.org", role=user_pb2.ROLE_RUNNER),
        metadata=admin,
    )
    made = await stand.admin.CreateApiKey(
        CreateApiKeyRequest(
            name="bound",
            scopes=[SCOPE_INGEST],
            hardware=["aws/p5.48xlarge", " rental/h200-141gb-8 ", "aws/p5.48xlarge"],
            user_id=user.user.id,
            result_visibility=RESULT_VISIBILITY_PUBLIC,
        ),
        metadata=admin,
    )
    got = await stand.admin.GetApiKey(
        api_key_pb2.GetApiKeyRequest(id=made.api_key.id), metadata=admin
    )
    assert got.api_key == made.api_key
    assert list(got.api_key.hardware) == ["aws/p5.48xlarge", "rental/h200-141gb-8"]
    caller = await caller_of(stand, made.secret)
    assert caller.key_id == made.api_key.id
    assert str(caller.organization_id) == organization_id == made.api_key.organization_id
    assert caller.hardware == {"aws/p5.48xlarge", "rental/h200-141gb-8"}
    assert str(caller.user_id) == user.user.id
    assert caller.publishes
    assert made.secret.split("_")[2] not in repr(caller)


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"hardware": ["a,b"]}, ("hardware[0]",)),
        ({"hardware": ["größe"]}, ("hardware[0]",)),
        ({"hardware": [""]}, ("hardware[0]",)),
        ({"hardware": ["x" * 257]}, ("hardware[0]",)),
        ({"hardware": [f"{n}{'x' * 200}" for n in range(30)]}, ("hardware",)),
        ({"hardware": [str(n) for n in range(65)]}, ("hardware",)),
        ({"hardware": ["a"], "scopes": [SCOPE_READ]}, ("hardware",)),
        ({"hardware": ["a"], "scopes": [SCOPE_INGEST, SCOPE_ADMIN]}, ("hardware",)),
        ({"user_id": "me"}, ("user_id",)),
        ({"organization_id": "ours"}, ("organization_id",)),
        ({"result_visibility": 9}, ("result_visibility",)),
    ],
)
async def test_a_key_that_cannot_be_is_refused(
    stand: Stand, wrong: dict[str, Any], fields: tuple[str, ...]
) -> None:
    request = CreateApiKeyRequest(**{"name": "x", "scopes": [SCOPE_INGEST], **wrong})
    no = await refused(stand.admin.CreateApiKey(request, metadata=auth(await stand.key("ADMIN"))))
    assert (no.reason, no.fields) == ("INVALID_FIELD", fields)


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"email": "somebody"}, ("email",)),
        ({"email": "a@b c"}, ("email",)),
        ({"email": f"{'a' * 250}@example.org"}, ("email",)),
        ({"role": 0}, ("role",)),
        ({"role": 9}, ("role",)),
        ({"subject": "a\x00"}, ("subject",)),
        ({"display_name": "n" * 129}, ("display_name",)),
    ],
)
async def test_a_user_who_cannot_be_is_refused(
    stand: Stand, wrong: dict[str, Any], fields: tuple[str, ...]
) -> None:
    right = {"email": "a@example.org", "role": user_pb2.ROLE_VIEWER}
    request = user_pb2.CreateUserRequest(**{**right, **wrong})
    no = await refused(stand.admin.CreateUser(request, metadata=auth(await stand.key("ADMIN"))))
    assert (no.reason, no.fields) == ("INVALID_FIELD", fields)
