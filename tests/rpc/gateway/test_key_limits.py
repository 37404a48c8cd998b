"""Limits of one key: given with it or later, shown, logged; more than all have, by the platform."""

import asyncio
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from servemark.gateway.v1 import api_key_pb2 as pb
from servemark.gateway.v1.audit_pb2 import ListAuditLogRequest
from servemark.gateway.v1.organization_pb2 import CreateOrganizationRequest
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from tests.rpc.gateway.stand import Stand, auth, refused


async def create(stand: Stand, admin: str, **limits: Any) -> pb.CreateApiKeyResponse:
    request = pb.CreateApiKeyRequest(
        name="a test", scopes=[pb.SCOPE_READ], limits=pb.ApiKeyLimits(**limits)
    )
    made: pb.CreateApiKeyResponse = await stand.admin.CreateApiKey(request, metadata=auth(admin))
    return made


async def change(stand: Stand, admin: str, key_id: str, *mask: str, **limits: Any) -> pb.ApiKey:
    request = pb.UpdateApiKeyLimitsRequest(
        id=key_id, limits=pb.ApiKeyLimits(**limits), update_mask=FieldMask(paths=mask)
    )
    answer = await stand.admin.UpdateApiKeyLimits(request, metadata=auth(admin))
    changed: pb.ApiKey = answer.api_key
    return changed


async def organization_admin(stand: Stand, name: str) -> str:
    """A key with ADMIN in an organization of its own."""
    made = await stand.admin.CreateOrganization(
        CreateOrganizationRequest(name=name), metadata=auth(await stand.key("ADMIN"))
    )
    return await stand.key("ADMIN", organization_id=UUID(made.organization.id))


def read(stand: Stand, key: str) -> Any:
    return stand.ingest.GetBenchmarkResult(GetBenchmarkResultRequest(id="x"), metadata=auth(key))


async def test_a_key_is_made_with_limits_and_they_are_shown(stand: Stand) -> None:
    admin = await stand.key("ADMIN")
    own: dict[str, Any] = {"calls_per_second": 0.01, "rows_per_day": 2**40, "concurrent_streams": 3}
    made = await create(stand, admin, **own)
    wanted = pb.ApiKeyLimits(**own)
    assert made.api_key.limits == wanted
    request = pb.GetApiKeyRequest(id=made.api_key.id)
    got = await stand.admin.GetApiKey(request, metadata=auth(admin))
    assert got.api_key.limits == wanted
    listed = await stand.admin.ListApiKeys(pb.ListApiKeysRequest(), metadata=auth(admin))
    assert {key.id: key.limits for key in listed.api_keys}[made.api_key.id] == wanted
    await read(stand, made.secret)
    assert (await refused(read(stand, made.secret))).metadata["limit"] == "calls_per_second"


async def test_changed_limits_hold_and_the_change_is_in_the_log(stand: Stand) -> None:
    admin = await stand.key("ADMIN")
    made = await create(stand, admin, calls_per_second=0.01, rows_per_second=5)
    await read(stand, made.secret)
    assert (await refused(read(stand, made.secret))).reason == "RATE_LIMITED"
    changed = await change(
        stand, admin, made.api_key.id, "calls_per_second", "calls_per_day", calls_per_day=70
    )
    # What the mask does not name stays, and what it names and is not there is everyone's again.
    assert changed.limits == pb.ApiKeyLimits(rows_per_second=5, calls_per_day=70)
    async with asyncio.timeout(2):
        while await read(stand, made.secret).code() is not grpc.StatusCode.OK:
            await asyncio.sleep(0.02)
    assert (await change(stand, admin, made.api_key.id)).limits == pb.ApiKeyLimits()
    log = await stand.admin.ListAuditLog(
        ListAuditLogRequest(target=made.api_key.id), metadata=auth(admin)
    )
    assert [entry.action for entry in log.entries] == [
        "api_key.set_limits",
        "api_key.set_limits",
        "api_key.create",
    ]
    assert dict(log.entries[1].detail) == {"calls_per_second": None, "calls_per_day": 70}
    assert dict(log.entries[2].detail["limits"]) == {"calls_per_second": 0.01, "rows_per_second": 5}


async def test_an_organization_lowers_its_keys_limits_and_only_the_platform_raises_them(
    stand: Stand,
) -> None:
    admin = await organization_admin(stand, "lowering")
    everyones = stand.settings.key_limits
    made = await create(stand, admin, concurrent_calls=everyones.concurrent_calls)
    for name in ("calls_per_second", "concurrent_calls", "rows_per_day"):
        more = {name: getattr(everyones, name) + 1}
        for call in (
            create(stand, admin, **more),
            change(stand, admin, made.api_key.id, name, **more),
        ):
            assert (await refused(call)).reason == "SCOPE_MISSING"
    lower = await change(stand, admin, made.api_key.id, "rows_per_day", rows_per_day=9)
    assert lower.limits.rows_per_day == 9
    raised = await create(stand, await stand.key("ADMIN"), rows_per_day=everyones.rows_per_day + 1)
    assert raised.api_key.limits.rows_per_day == everyones.rows_per_day + 1


async def test_a_key_of_another_organization_has_no_limits_to_change(stand: Stand) -> None:
    theirs = await create(stand, await stand.key("ADMIN"))
    admin = await organization_admin(stand, "curious")
    no = await refused(change(stand, admin, theirs.api_key.id, calls_per_day=1))
    assert (no.code, no.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize(
    ("limits", "mask", "field"),
    [
        ({"calls_per_second": 0.0}, (), "limits.calls_per_second"),
        ({"calls_per_second": float("nan")}, (), "limits.calls_per_second"),
        ({"rows_per_second": float("inf")}, (), "limits.rows_per_second"),
        ({"concurrent_calls": 0}, (), "limits.concurrent_calls"),
        ({"concurrent_streams": -1}, (), "limits.concurrent_streams"),
        ({"calls_per_day": 2**62}, (), "limits.calls_per_day"),
        ({"rows_per_day": -(2**63)}, (), "limits.rows_per_day"),
        ({}, ("secret_hmac",), "update_mask.paths[0]"),
    ],
)
async def test_a_limit_that_cannot_be_is_named(
    stand: Stand, limits: dict[str, Any], mask: tuple[str, ...], field: str
) -> None:
    admin = await stand.key("ADMIN")
    no = await refused(change(stand, admin, "x", *mask, **limits))
    assert (no.reason, no.fields) == ("INVALID_FIELD", (field,))
    if limits:
        assert (await refused(create(stand, admin, **limits))).fields == (field,)
