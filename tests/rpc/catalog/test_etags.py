"""Of two changes made with one etag, exactly one is stored; the other learns it came too late."""

import asyncio

import grpc
import pytest

from tests.rpc.catalog.kinds import KINDS, MODEL, Kind, model
from tests.rpc.catalog.serving import Served
from tests.support.failures import failure

ALL_KINDS = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)


@ALL_KINDS
async def test_a_stale_etag_is_refused_and_nothing_changes(catalog: Served, kind: Kind) -> None:
    created = await kind.create(catalog.stub)
    field, value = kind.change
    message = kind.module.__dict__[kind.name]
    current = await kind.update(catalog.stub, message(id=created.id, **{field: value}), field)
    for etag in (created.etag, "nonsense", '"1"'):
        stale = message(id=created.id, etag=etag, **{field: value})
        for call in (
            kind.update(catalog.stub, stale, field),
            kind.archive(catalog.stub, created.id, etag),
        ):
            refused = await failure(call)
            assert refused.code is grpc.StatusCode.ABORTED
            assert refused.reason == "ETAG_MISMATCH"
    assert await kind.get(catalog.stub, created.id) == current


@ALL_KINDS
async def test_of_concurrent_updates_with_one_etag_exactly_one_wins(
    catalog: Served, kind: Kind
) -> None:
    created = await kind.create(catalog.stub)
    field, value = kind.change
    wanted = kind.module.__dict__[kind.name](id=created.id, etag=created.etag, **{field: value})
    answers = await asyncio.gather(
        *(kind.update(catalog.stub, wanted, field) for _ in range(8)), return_exceptions=True
    )
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    lost = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(won) == 1
    assert [error.code() for error in lost] == [grpc.StatusCode.ABORTED] * 7
    assert await kind.get(catalog.stub, created.id) == won[0]


async def test_an_update_and_an_archive_with_one_etag_do_not_both_win(catalog: Served) -> None:
    for n in range(5):
        created = await MODEL.create(catalog.stub, n)
        wanted = model(id=created.id, etag=created.etag, base_model="b")
        answers = await asyncio.gather(
            MODEL.update(catalog.stub, wanted, "base_model"),
            MODEL.archive(catalog.stub, created.id, created.etag),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, BaseException) for answer in answers) == 1


async def test_concurrent_updates_without_an_etag_lose_no_field(catalog: Served) -> None:
    created = await MODEL.create(catalog.stub)
    await asyncio.gather(
        MODEL.update(catalog.stub, model(id=created.id, base_model="b"), "base_model"),
        MODEL.update(catalog.stub, model(id=created.id, architecture="qwen3"), "architecture"),
        MODEL.update(catalog.stub, model(id=created.id, tags=["new"]), "tags"),
    )
    after = await MODEL.get(catalog.stub, created.id)
    assert (after.base_model, after.architecture, list(after.tags)) == ("b", "qwen3", ["new"])
    assert int(after.etag) == int(created.etag) + 3


async def test_of_concurrent_creations_of_one_name_exactly_one_wins(catalog: Served) -> None:
    answers = await asyncio.gather(
        *(MODEL.create(catalog.stub) for _ in range(8)), return_exceptions=True
    )
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(won) == 1
    refused = await failure(MODEL.create(catalog.stub))
    assert refused.metadata["existing_id"] == won[0].id
