"""To an organization the others are not there, and nobody gives what they lack."""

from typing import Any
from uuid import UUID, uuid4

import grpc

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
from services.gateway.grants import GRANTS, PLATFORM
from services.gateway.tables import DEFAULT_ORGANIZATION_ID
from tests.rpc.gateway.people import caller_of, log_of, organization, tenant
from tests.rpc.gateway.stand import Stand, auth, refused
from tests.rpc.gateway.test_admission import call


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
