"""Organizations, callers and the log, as the tests of AdminService need them."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc

from servemark.gateway.v1 import audit_pb2, organization_pb2
from services.gateway.keys import Caller, KeyChecker
from services.gateway.lookup import KeyLookup
from services.gateway.store import KeyStore
from tests.rpc.gateway.stand import PEPPER, Stand, auth
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
