"""The life of a key: made, shown once, used, listed, revoked, and each change written down."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import insert, text
from sqlalchemy.exc import ProgrammingError

from servemark.gateway.v1 import api_key_pb2 as pb
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from servemark.runtime import paging
from services.gateway.tables import DEFAULT_ORGANIZATION_ID, organizations
from tests.rpc.gateway.stand import Stand, auth, refused


def in_a_day() -> Timestamp:
    at = Timestamp()
    at.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    return at


async def fetch(dsn: str, query: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def create(stand: Stand, admin: str, **fields: Any) -> pb.CreateApiKeyResponse:
    request = pb.CreateApiKeyRequest(**{"name": "runner", "scopes": [pb.SCOPE_READ], **fields})
    answer: pb.CreateApiKeyResponse = await stand.admin.CreateApiKey(request, metadata=auth(admin))
    return answer


async def test_a_created_key_works_and_is_shown_as_it_was_asked_for(stand: Stand) -> None:
    admin = await stand.key("ADMIN")
    expires = in_a_day()
    made = await create(
        stand,
        admin,
        name=" nightly runs ",
        scopes=[pb.SCOPE_READ, pb.SCOPE_INGEST, pb.SCOPE_READ],
        expire_time=expires,
    )
    assert made.secret.startswith(f"sm_{made.api_key.id}_")
    assert made.api_key.name == "nightly runs"
    assert list(made.api_key.scopes) == [pb.SCOPE_READ, pb.SCOPE_INGEST]
    assert made.api_key.expire_time.ToMicroseconds() == expires.ToMicroseconds()
    assert not made.api_key.HasField("revoke_time")
    answer = await stand.ingest.GetBenchmarkResult(
        GetBenchmarkResultRequest(id="plain"), metadata=auth(made.secret)
    )
    assert answer.benchmark_result.id == "plain"


async def test_the_secret_is_in_no_table_and_no_list(stand: Stand, gateway_database: str) -> None:
    admin = await stand.key("ADMIN")
    made = await create(stand, admin)
    listed = await stand.admin.ListApiKeys(pb.ListApiKeysRequest(), metadata=auth(admin))
    secret = made.secret.split("_")[2]
    assert secret not in str(listed)
    for table in ("api_keys", "audit_log"):
        rows = await fetch(gateway_database, f"SELECT t::text AS line FROM gateway.{table} t")
        assert rows
        assert not [row for row in rows if secret in row["line"]]


async def test_every_wrong_field_is_named_at_once(stand: Stand) -> None:
    past = Timestamp(seconds=1)
    request = pb.CreateApiKeyRequest(name="n" * 129, scopes=[0, 9], expire_time=past)  # type: ignore[list-item]
    no = await refused(stand.admin.CreateApiKey(request, metadata=auth(await stand.key("ADMIN"))))
    assert no.code is grpc.StatusCode.INVALID_ARGUMENT
    assert no.fields == ("name", "scopes[0]", "scopes[1]", "expire_time")


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.CreateApiKeyRequest(), ("name", "scopes")),
        (pb.CreateApiKeyRequest(name="a\x00b", scopes=[pb.SCOPE_READ]), ("name",)),
        (
            pb.CreateApiKeyRequest(
                name="a", scopes=[pb.SCOPE_READ], expire_time=Timestamp(seconds=2**60)
            ),
            ("expire_time",),
        ),
        (
            pb.CreateApiKeyRequest(
                name="a", scopes=[pb.SCOPE_READ], expire_time=Timestamp(nanos=-5)
            ),
            ("expire_time",),
        ),
    ],
)
async def test_a_wish_that_cannot_be_is_refused(
    stand: Stand, request_: pb.CreateApiKeyRequest, fields: tuple[str, ...]
) -> None:
    admin = auth(await stand.key("ADMIN"))
    no = await refused(stand.admin.CreateApiKey(request_, metadata=admin))
    assert (no.reason, no.fields) == ("INVALID_FIELD", fields)


async def test_pages_go_through_all_keys_the_newest_first_each_once(stand: Stand) -> None:
    organization = uuid4()
    await _found(stand, organization)
    admin = await stand.key("ADMIN", organization_id=organization)
    made = [(await create(stand, admin, name=f"key {n}")).api_key.id for n in range(7)]
    seen: list[str] = []
    token = ""
    while True:
        page = await stand.admin.ListApiKeys(
            pb.ListApiKeysRequest(page_size=3, page_token=token), metadata=auth(admin)
        )
        seen += [key.id for key in page.api_keys]
        token = page.next_page_token
        if not token:
            break
    assert seen == [*reversed(made), admin.split("_")[1]]


async def test_inactive_keys_are_listed_only_when_asked_for(stand: Stand) -> None:
    organization = uuid4()
    await _found(stand, organization)
    admin = await stand.key("ADMIN", organization_id=organization)
    revoked = (await create(stand, admin)).api_key.id
    await stand.admin.RevokeApiKey(pb.RevokeApiKeyRequest(id=revoked), metadata=auth(admin))
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = await stand.key("READ", organization_id=organization, expires_at=past)
    own = admin.split("_")[1]

    async def ids(include: bool) -> set[str]:
        answer = await stand.admin.ListApiKeys(
            pb.ListApiKeysRequest(include_inactive=include), metadata=auth(admin)
        )
        return {key.id for key in answer.api_keys}

    assert await ids(False) == {own}
    assert await ids(True) == {own, revoked, expired.split("_")[1]}


@pytest.mark.parametrize("token", ["!", "WyJ4IixbMSwyXV0", "AAAA", "W10"])
async def test_a_made_up_page_token_is_refused(stand: Stand, token: str) -> None:
    no = await refused(
        stand.admin.ListApiKeys(
            pb.ListApiKeysRequest(page_token=token), metadata=auth(await stand.key("ADMIN"))
        )
    )
    assert (no.code, no.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


@pytest.mark.parametrize(
    "key", [["now", "id"], ["2026-01-01", "a"], [1, 2], ["2026-01-01T00:00Z", "\x00"]]
)
async def test_a_well_made_token_with_a_wrong_place_in_it_is_refused(
    stand: Stand, key: list[Any]
) -> None:
    digest = paging.filter_digest("ListApiKeys", str(DEFAULT_ORGANIZATION_ID), "False")
    token = paging.encode_token(digest, key)
    no = await refused(
        stand.admin.ListApiKeys(
            pb.ListApiKeysRequest(page_token=token), metadata=auth(await stand.key("ADMIN"))
        )
    )
    assert no.reason == "PAGE_TOKEN_INVALID"


async def test_revoking_twice_changes_nothing_the_second_time(
    stand: Stand, gateway_database: str
) -> None:
    admin = auth(await stand.key("ADMIN"))
    made = await create(stand, admin[0][1].split()[1])
    request = pb.RevokeApiKeyRequest(id=made.api_key.id)
    first = await stand.admin.RevokeApiKey(request, metadata=admin)
    again = await stand.admin.RevokeApiKey(request, metadata=admin)
    assert first == again
    assert first.api_key.HasField("revoke_time")
    logged = await fetch(
        gateway_database,
        "SELECT actor, action FROM gateway.audit_log WHERE target = $1 ORDER BY id",
        made.api_key.id,
    )
    by = admin[0][1].split("_")[1]
    assert [tuple(row) for row in logged] == [(by, "api_key.create"), (by, "api_key.revoke")]


async def test_a_key_of_another_organization_is_not_there(stand: Stand) -> None:
    organization = uuid4()
    await _found(stand, organization)
    theirs = await stand.key("ADMIN", organization_id=organization)
    mine = await stand.key("ADMIN")
    no = await refused(
        stand.admin.RevokeApiKey(
            pb.RevokeApiKeyRequest(id=theirs.split("_")[1]), metadata=auth(mine)
        )
    )
    assert (no.code, no.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    listed = await stand.admin.ListApiKeys(pb.ListApiKeysRequest(), metadata=auth(theirs))
    assert [key.id for key in listed.api_keys] == [theirs.split("_")[1]]


async def test_the_last_admin_key_may_go_and_the_command_line_makes_another(
    stand: Stand,
) -> None:
    organization = uuid4()
    await _found(stand, organization)
    only = await stand.key("ADMIN", organization_id=organization)
    await stand.admin.RevokeApiKey(
        pb.RevokeApiKeyRequest(id=only.split("_")[1]), metadata=auth(only)
    )
    no = await refused(stand.admin.ListApiKeys(pb.ListApiKeysRequest(), metadata=auth(only)))
    assert no.reason == "KEY_INVALID"


async def test_the_last_use_is_written_down_to_the_minute(stand: Stand) -> None:
    admin = await stand.key("ADMIN")
    before = datetime.now(UTC)
    own = admin.split("_")[1]
    for _ in range(100):
        listed = await stand.admin.ListApiKeys(
            pb.ListApiKeysRequest(page_size=1000), metadata=auth(admin)
        )
        (key,) = (key for key in listed.api_keys if key.id == own)
        if key.HasField("last_use_time"):
            break
        await asyncio.sleep(0.1)
    used = key.last_use_time.ToDatetime(tzinfo=UTC)
    assert used.second == 0
    assert abs(used - before) < timedelta(minutes=2)


async def test_the_log_cannot_be_changed_by_the_gateway(stand: Stand) -> None:
    await stand.key("READ")
    for statement in ("UPDATE gateway.audit_log SET actor = 'x'", "DELETE FROM gateway.audit_log"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with stand.database.transaction() as connection:
                await connection.execute(text(statement))


async def _found(stand: Stand, organization: UUID) -> None:
    async with stand.database.transaction() as connection:
        await connection.execute(
            insert(organizations).values(id=organization, name=str(organization))
        )
