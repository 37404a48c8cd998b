"""The lists of AdminService, page by page, and the log by what was done."""

from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.gateway.v1 import api_key_pb2, audit_pb2, organization_pb2, user_pb2
from servemark.gateway.v1.api_key_pb2 import (
    SCOPE_READ,
    CreateApiKeyRequest,
)
from tests.rpc.gateway.people import log_of, organization, tenant
from tests.rpc.gateway.stand import Stand, auth, refused


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
