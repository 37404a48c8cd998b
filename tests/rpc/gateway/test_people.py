"""Organizations, users, keys that rotate, settings, and the log that has every change."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.gateway.v1 import api_key_pb2, audit_pb2, organization_pb2, setting_pb2, user_pb2
from servemark.gateway.v1.api_key_pb2 import (
    SCOPE_ADMIN,
    SCOPE_CATALOG,
    SCOPE_INGEST,
    SCOPE_READ,
    CreateApiKeyRequest,
    ListApiKeysRequest,
    RotateApiKeyRequest,
)
from servemark.gateway.v1.setting_pb2 import (
    RESULT_VISIBILITY_PRIVATE,
    RESULT_VISIBILITY_PUBLIC,
)
from servemark.ingest.v1.result_stream_pb2 import AppendResultsRequest, ResultBatch
from services.gateway.grants import GRANTS, PLATFORM
from services.gateway.keys import Caller, KeyChecker
from services.gateway.lookup import KeyLookup
from services.gateway.store import KeyStore
from services.gateway.tables import DEFAULT_ORGANIZATION_ID
from tests.rpc.gateway.stand import PEPPER, Stand, auth, refused, running
from tests.rpc.gateway.test_admission import OK, call, code_of

LIST = "/servemark.gateway.v1.AdminService/ListApiKeys"


async def organization(
    stand: Stand, name: str = "", by: Any = None
) -> organization_pb2.Organization:
    """A new organization."""
    request = organization_pb2.CreateOrganizationRequest(name=name or str(uuid4()))
    credential = by or auth(await stand.key("ADMIN"))
    made = await stand.admin.CreateOrganization(request, metadata=credential)
    found: organization_pb2.Organization = made.organization
    return found


async def tenant(stand: Stand) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The id of a new organization, and the credential of its administrator."""
    made = await organization(stand)
    return made.id, auth(await stand.key("ADMIN", organization_id=UUID(made.id)))


async def caller_of(stand: Stand, secret: str) -> Caller:
    """What the gateway knows of whoever sends this secret, read anew."""
    return await KeyChecker(PEPPER, KeyLookup(KeyStore(stand.database).find)).check(secret)


async def log_of(stand: Stand, credential: Any, **wanted: Any) -> list[audit_pb2.AuditEntry]:
    """The log, the newest line first."""
    request = audit_pb2.ListAuditLogRequest(page_size=1000, **wanted)
    answer = await stand.admin.ListAuditLog(request, metadata=credential)
    return list(answer.entries)


async def until_refused(stand: Stand, secret: str) -> None:
    """Waits until a secret that was good is refused."""
    async with asyncio.timeout(20):
        while (code := await code_of(call(stand.channel, LIST, auth(secret)))) is OK:
            await asyncio.sleep(0.02)
    assert code is grpc.StatusCode.UNAUTHENTICATED


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
    no = await refused(stream.read())
    assert no.reason == "KEY_INVALID"


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


@pytest.mark.parametrize("seconds", [-1, 90 * 86_400 + 1, 2**62])
async def test_an_overlap_has_bounds(stand: Stand, seconds: int) -> None:
    request = RotateApiKeyRequest(id="x", overlap=Duration(seconds=seconds))
    no = await refused(stand.admin.RotateApiKey(request, metadata=auth(await stand.key("ADMIN"))))
    assert (no.reason, no.fields) == ("INVALID_FIELD", ("overlap",))


async def test_the_default_organization_publishes_and_others_do_as_they_set(stand: Stand) -> None:
    organization_id, admin = await tenant(stand)
    key = await stand.key("INGEST", organization_id=UUID(organization_id))
    own_word = await stand.admin.CreateApiKey(
        CreateApiKeyRequest(
            name="x", scopes=[SCOPE_INGEST], result_visibility=RESULT_VISIBILITY_PRIVATE
        ),
        metadata=admin,
    )
    assert (await caller_of(stand, await stand.key("INGEST"))).publishes
    for visibility in (RESULT_VISIBILITY_PRIVATE, RESULT_VISIBILITY_PUBLIC) * 2:
        settings = setting_pb2.Settings(result_visibility=visibility)
        if visibility == RESULT_VISIBILITY_PUBLIC:
            request = setting_pb2.UpdateSettingsRequest(settings=settings)
            assert (await stand.admin.UpdateSettings(request, metadata=admin)).settings == settings
        is_public = visibility == RESULT_VISIBILITY_PUBLIC
        got = await stand.admin.GetSettings(setting_pb2.GetSettingsRequest(), metadata=admin)
        assert got.settings == settings
        assert (await caller_of(stand, key)).publishes is is_public
        assert not (await caller_of(stand, own_word.secret)).publishes
        private = setting_pb2.Settings(result_visibility=RESULT_VISIBILITY_PRIVATE)
        await stand.admin.UpdateSettings(
            setting_pb2.UpdateSettingsRequest(settings=private), metadata=admin
        )
    log = await log_of(stand, admin, action="settings.update")
    assert [line.detail["publishes"] for line in log[:2]] == [False, True]
    assert (await caller_of(stand, await stand.key("INGEST"))).publishes


def about(organization_id: str) -> dict[str, Any]:
    """A request of every method, about an organization."""
    own: dict[str, Any] = {"organization_id": organization_id}
    return {
        "GetOrganization": organization_pb2.GetOrganizationRequest(id=organization_id),
        "RenameOrganization": organization_pb2.RenameOrganizationRequest(
            id=organization_id, name="taken over"
        ),
        "CreateUser": user_pb2.CreateUserRequest(
            email=f"{uuid4()}@example.org", role=user_pb2.ROLE_VIEWER, **own
        ),
        "ListUsers": user_pb2.ListUsersRequest(**own),
        "DisableUser": user_pb2.DisableUserRequest(id=str(uuid4()), **own),
        "CreateApiKey": CreateApiKeyRequest(name="x", scopes=[SCOPE_READ], **own),
        "GetApiKey": api_key_pb2.GetApiKeyRequest(id="x", **own),
        "ListApiKeys": ListApiKeysRequest(**own),
        "UpdateApiKeyLimits": api_key_pb2.UpdateApiKeyLimitsRequest(id="x", **own),
        "RotateApiKey": RotateApiKeyRequest(id="x", **own),
        "RevokeApiKey": api_key_pb2.RevokeApiKeyRequest(id="x", **own),
        "GetSettings": setting_pb2.GetSettingsRequest(**own),
        "UpdateSettings": setting_pb2.UpdateSettingsRequest(
            settings=setting_pb2.Settings(result_visibility=RESULT_VISIBILITY_PUBLIC), **own
        ),
        "ListAuditLog": audit_pb2.ListAuditLogRequest(**own),
    }


async def test_another_organization_is_not_there_whatever_is_asked_of_it(stand: Stand) -> None:
    own_id, admin = await tenant(stand)
    other = await organization(stand)
    asked = about(other.id)
    service = "/servemark.gateway.v1.AdminService/"
    offered = {
        name.removeprefix(service)
        for name, scope in GRANTS.items()
        if name.startswith(service) and scope != PLATFORM
    }
    assert set(asked) == offered
    for place in (other.id, str(DEFAULT_ORGANIZATION_ID), str(uuid4())):
        for method, request in about(place).items():
            no = await refused(getattr(stand.admin, method)(request, metadata=admin))
            assert (no.code, no.reason) == (
                grpc.StatusCode.NOT_FOUND,
                "RESOURCE_NOT_FOUND",
            ), method
            assert no.metadata == {"resource": "organization", "ref": place}, method
    by_name = organization_pb2.GetOrganizationRequest(name=other.name)
    no = await refused(stand.admin.GetOrganization(by_name, metadata=admin))
    assert no.reason == "RESOURCE_NOT_FOUND"
    own = await stand.admin.GetOrganization(
        organization_pb2.GetOrganizationRequest(), metadata=admin
    )
    assert own.organization.id == own_id


async def test_what_is_anothers_is_not_there_in_ones_own_organization(stand: Stand) -> None:
    _, admin = await tenant(stand)
    _, others = await tenant(stand)
    user = await stand.admin.CreateUser(
        user_pb2.CreateUserRequest(email=f"{uuid4()}@example.org", role=user_pb2.ROLE_ADMIN),
        metadata=others,
    )
    key_id = others[0][1].split("_")[1]
    for no in [
        await refused(
            stand.admin.GetApiKey(api_key_pb2.GetApiKeyRequest(id=key_id), metadata=admin)
        ),
        await refused(stand.admin.RotateApiKey(RotateApiKeyRequest(id=key_id), metadata=admin)),
        await refused(
            stand.admin.RevokeApiKey(api_key_pb2.RevokeApiKeyRequest(id=key_id), metadata=admin)
        ),
        await refused(
            stand.admin.DisableUser(user_pb2.DisableUserRequest(id=user.user.id), metadata=admin)
        ),
        await refused(
            stand.admin.CreateApiKey(
                CreateApiKeyRequest(name="x", scopes=[SCOPE_READ], user_id=user.user.id),
                metadata=admin,
            )
        ),
    ]:
        assert (no.code, no.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    taken = user_pb2.CreateUserRequest(email=user.user.email, role=user_pb2.ROLE_VIEWER)
    no = await refused(stand.admin.CreateUser(taken, metadata=admin))
    assert (no.reason, "existing_id" in no.metadata) == ("RESOURCE_EXISTS", False)
    no = await refused(stand.admin.CreateUser(taken, metadata=others))
    assert no.metadata["existing_id"] == user.user.id
    assert key_id not in str(await log_of(stand, admin))


async def test_what_all_share_is_for_the_default_organization(stand: Stand) -> None:
    _, admin = await tenant(stand)
    for method, scope in GRANTS.items():
        if scope in (PLATFORM, "CATALOG"):
            no = await refused(call(stand.channel, method, admin))
            assert (no.code, no.metadata) == (
                grpc.StatusCode.PERMISSION_DENIED,
                {"required_scope": scope},
            ), method
    assert stand.behind.seen.calls == []
    everything = audit_pb2.ListAuditLogRequest(organization_id="-")
    no = await refused(stand.admin.ListAuditLog(everything, metadata=admin))
    assert no.metadata == {"required_scope": PLATFORM}
    platform = auth(await stand.key("ADMIN"))
    seen = {line.organization_id for line in await log_of(stand, platform, organization_id="-")}
    assert len(seen) > 1


async def test_nobody_gives_what_they_lack(stand: Stand) -> None:
    organization_id, admin = await tenant(stand)
    key = CreateApiKeyRequest(name="x", scopes=[SCOPE_READ, SCOPE_CATALOG])
    editor = user_pb2.CreateUserRequest(email=f"{uuid4()}@example.org", role=user_pb2.ROLE_EDITOR)
    for request in (
        stand.admin.CreateApiKey(key, metadata=admin),
        stand.admin.CreateUser(editor, metadata=admin),
    ):
        no = await refused(request)
        assert (no.code, no.metadata) == (
            grpc.StatusCode.PERMISSION_DENIED,
            {"required_scope": "CATALOG"},
        )
    # Given by the default organization, it can be passed on.
    trusted = auth(await stand.key("ADMIN", "CATALOG", organization_id=UUID(organization_id)))
    await stand.admin.CreateApiKey(key, metadata=trusted)
    made = await stand.admin.CreateUser(editor, metadata=trusted)
    beyond = CreateApiKeyRequest(name="x", scopes=[SCOPE_INGEST, SCOPE_ADMIN], user_id=made.user.id)
    no = await refused(stand.admin.CreateApiKey(beyond, metadata=trusted))
    assert (no.reason, no.fields) == ("INVALID_FIELD", ("scopes[1]",))


async def test_a_name_is_one_organizations_only(stand: Stand) -> None:
    platform = auth(await stand.key("ADMIN"))
    first, second = await organization(stand), await organization(stand)
    again = organization_pb2.CreateOrganizationRequest(name=f" {first.name} ")
    rename = organization_pb2.RenameOrganizationRequest(id=second.id, name=first.name)
    for no in (
        await refused(stand.admin.CreateOrganization(again, metadata=platform)),
        await refused(stand.admin.RenameOrganization(rename, metadata=platform)),
    ):
        assert (no.code, no.reason) == (grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS")
        assert no.metadata["existing_id"] == first.id
    rename.name = f"new {uuid4()}"
    for _ in range(2):
        done = await stand.admin.RenameOrganization(rename, metadata=platform)
        assert done.organization.name == rename.name
    log = await log_of(stand, platform, organization_id=second.id, action="organization.rename")
    assert [line.detail["before"] for line in log] == [second.name]


async def test_pages_go_through_organizations_users_and_the_log_each_once(stand: Stand) -> None:
    platform = auth(await stand.key("ADMIN"))
    _, admin = await tenant(stand)
    for number in range(5):
        await organization(stand, f"{number} {uuid4()}")
        await stand.admin.CreateUser(
            user_pb2.CreateUserRequest(email=f"{uuid4()}@example.org", role=user_pb2.ROLE_VIEWER),
            metadata=admin,
        )

    async def all_of(method: Any, request: Any, field: str, credential: Any) -> list[Any]:
        found: list[Any] = []
        while True:
            page = await method(request, metadata=credential)
            found += getattr(page, field)
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    lists = organization_pb2.ListOrganizationsRequest(page_size=2)
    names = [
        item.name
        for item in await all_of(stand.admin.ListOrganizations, lists, "organizations", platform)
    ]
    assert names == sorted(set(names))
    assert len(names) > 5
    users = user_pb2.ListUsersRequest(page_size=2)
    times = [
        user.create_time.ToNanoseconds()
        for user in await all_of(stand.admin.ListUsers, users, "users", admin)
    ]
    assert times == sorted(set(times), reverse=True)
    assert len(times) == 5
    log = audit_pb2.ListAuditLogRequest(page_size=2, action="user.")
    ids = [line.id for line in await all_of(stand.admin.ListAuditLog, log, "entries", admin)]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == 5


async def test_the_log_is_read_by_actor_action_target_and_time(stand: Stand) -> None:
    _, admin = await tenant(stand)
    by = admin[0][1].split("_")[1]
    begun = Timestamp()
    begun.GetCurrentTime()
    made = await stand.admin.CreateApiKey(
        CreateApiKeyRequest(name="x", scopes=[SCOPE_READ]), metadata=admin
    )
    target = made.api_key.id
    await stand.admin.RevokeApiKey(api_key_pb2.RevokeApiKeyRequest(id=target), metadata=admin)
    both = ["api_key.revoke", "api_key.create"]
    first, everything = both[1:], [*both, "api_key.create", "organization.create"]
    for wanted, actions in [
        ({}, everything),
        ({"actor": by}, both),
        ({"actor": by, "action": "api_key.create"}, first),
        ({"action": "api_key."}, [*both, "api_key.create"]),
        ({"action": "api_key"}, []),
        ({"action": "api%."}, []),
        ({"target": target}, both),
        ({"start_time": begun}, both),
        ({"end_time": begun}, everything[2:]),
    ]:
        lines = await log_of(stand, admin, **wanted)
        assert [line.action for line in lines] == actions, wanted


@pytest.mark.parametrize("token", ["!", "W10", "AAAA"])
@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("ListOrganizations", organization_pb2.ListOrganizationsRequest()),
        ("ListUsers", user_pb2.ListUsersRequest()),
        ("ListAuditLog", audit_pb2.ListAuditLogRequest()),
    ],
)
async def test_a_made_up_page_token_is_refused(
    stand: Stand, method: str, request_: Any, token: str
) -> None:
    request_.page_token = token
    admin = auth(await stand.key("ADMIN"))
    no = await refused(getattr(stand.admin, method)(request_, metadata=admin))
    assert no.reason == "PAGE_TOKEN_INVALID"


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
