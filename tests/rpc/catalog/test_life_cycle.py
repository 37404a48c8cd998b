"""What every kind of resource does from its creation to its archiving."""

import uuid

import grpc
import pytest

from tests.rpc.catalog.kinds import HARDWARE, KINDS, MODEL, MODEL_VERSION, Kind, hardware, model
from tests.rpc.catalog.serving import Served
from tests.support.failures import failure

ALL_KINDS = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)


def _without_output(kind: Kind, message: object) -> object:
    """The message with only what a caller writes."""
    plain = type(message)()
    plain.CopyFrom(message)  # type: ignore[attr-defined]
    for field in (
        "id",
        "etag",
        "create_time",
        "update_time",
        "archive_time",
        "model_name",
        "vram_requirement_gb",
        "total_vram_gb",
    ):
        if field in plain.DESCRIPTOR.fields_by_name:  # type: ignore[attr-defined]
            plain.ClearField(field)  # type: ignore[attr-defined]
    return plain


@ALL_KINDS
async def test_what_was_created_is_answered_by_get_as_it_was_sent(
    catalog: Served, kind: Kind
) -> None:
    sent = await kind.example(catalog.stub, 1)
    answer = await kind.call(catalog.stub, "Create", **{kind.field: sent})
    created = getattr(answer, kind.field)
    assert uuid.UUID(created.id).version == 7
    assert created.etag
    assert created.HasField("create_time")
    assert created.update_time == created.create_time
    assert not created.HasField("archive_time")
    assert _without_output(kind, created) == sent
    assert await kind.get(catalog.stub, created.id) == created


@ALL_KINDS
async def test_output_only_fields_that_are_sent_are_ignored(catalog: Served, kind: Kind) -> None:
    sent = await kind.example(catalog.stub, 1)
    sent.id = str(uuid.uuid4())
    sent.etag = "99"
    sent.archive_time.GetCurrentTime()
    sent.create_time.seconds = 5
    if kind is MODEL_VERSION:
        sent.vram_requirement_gb, sent.model_name = 1, "mine"
    if kind is HARDWARE:
        sent.total_vram_gb, sent.cost_per_hour_usd, sent.spot_available = 1, 1.0, True
    created = getattr(await kind.call(catalog.stub, "Create", **{kind.field: sent}), kind.field)
    assert created.id != sent.id
    assert created.etag != "99"
    assert not created.HasField("archive_time")
    assert created.create_time.seconds > 5
    if kind is MODEL_VERSION:
        assert created.vram_requirement_gb == 16.8
        assert created.model_name.startswith("org/Model-")
    if kind is HARDWARE:
        assert created.total_vram_gb == 640
        assert not created.HasField("cost_per_hour_usd")
        assert not created.spot_available


@ALL_KINDS
async def test_a_second_one_with_the_same_key_is_refused_with_the_first_ones_id(
    catalog: Served, kind: Kind
) -> None:
    first = await kind.create(catalog.stub)
    again = _without_output(kind, first)
    for field in kind.key:
        value = getattr(again, field)
        if not field.endswith("_id"):
            setattr(again, field, value.swapcase())
    refused = await failure(kind.call(catalog.stub, "Create", **{kind.field: again}))
    assert refused.code is grpc.StatusCode.ALREADY_EXISTS
    assert refused.reason == "RESOURCE_EXISTS"
    assert refused.metadata["existing_id"] == first.id


@ALL_KINDS
async def test_an_update_changes_the_masked_fields_only(catalog: Served, kind: Kind) -> None:
    before = await kind.create(catalog.stub)
    field, value = kind.change
    wanted = kind.module.__dict__[kind.name](id=before.id, etag=before.etag, **{field: value})
    after = await kind.update(catalog.stub, wanted, field)
    assert getattr(after, field) == value
    assert after.etag != before.etag
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    assert after.create_time == before.create_time
    expected = _without_output(kind, before)
    setattr(expected, field, value)
    assert _without_output(kind, after) == expected
    assert await kind.get(catalog.stub, before.id) == after


@ALL_KINDS
@pytest.mark.parametrize("paths", [(), ("*",)], ids=["no-mask", "star"])
async def test_an_update_without_a_mask_changes_every_field(
    catalog: Served, kind: Kind, paths: tuple[str, ...]
) -> None:
    created = await kind.create(catalog.stub, 1)
    wanted = _without_output(kind, created)
    field, value = kind.change
    setattr(wanted, field, value)
    wanted.id = created.id  # type: ignore[attr-defined]
    for other in ("base_model", "artifact_uri", "suitability_score"):
        if other in created.DESCRIPTOR.fields_by_name and other != field:
            wanted.ClearField(other)  # type: ignore[attr-defined]
    updated = _without_output(kind, await kind.update(catalog.stub, wanted, *paths))
    wanted.ClearField("id")  # type: ignore[attr-defined]
    assert updated == wanted


@ALL_KINDS
async def test_an_update_names_every_path_it_does_not_know(catalog: Served, kind: Kind) -> None:
    created = await kind.create(catalog.stub)
    wanted = kind.module.__dict__[kind.name](id=created.id)
    refused = await failure(kind.update(catalog.stub, wanted, "etag", kind.change[0], "nonsense"))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.reason == "INVALID_FIELD"
    masks = {field: text for field, text in refused.fields.items() if "mask" in field}
    assert list(masks) == ["update_mask.paths[0]", "update_mask.paths[2]"]
    assert "'nonsense'" in masks["update_mask.paths[2]"]


async def test_an_update_to_a_name_that_is_taken_is_refused_with_its_id(catalog: Served) -> None:
    first, second = await MODEL.create(catalog.stub, 1), await MODEL.create(catalog.stub, 2)
    wanted = model(id=second.id, name=first.name.upper())
    refused = await failure(MODEL.update(catalog.stub, wanted, "name"))
    assert refused.reason == "RESOURCE_EXISTS"
    assert refused.metadata["existing_id"] == first.id
    assert await MODEL.get(catalog.stub, second.id) == second


async def test_a_resource_may_change_the_letter_case_of_its_own_name(catalog: Served) -> None:
    created = await HARDWARE.create(catalog.stub)
    wanted = hardware(id=created.id, name=created.name.upper())
    assert (await HARDWARE.update(catalog.stub, wanted, "name")).name == created.name.upper()


@ALL_KINDS
async def test_an_archived_one_is_read_by_id_but_not_listed(catalog: Served, kind: Kind) -> None:
    kept, gone = await kind.create(catalog.stub, 1), await kind.create(catalog.stub, 2)
    archived = await kind.archive(catalog.stub, gone.id, gone.etag)
    assert archived.HasField("archive_time")
    assert archived.etag != gone.etag
    assert await kind.get(catalog.stub, gone.id) == archived
    listed = await kind.ids(catalog.stub)
    assert kept.id in listed
    assert gone.id not in listed
    assert gone.id in await kind.ids(catalog.stub, include_archived=True)


@ALL_KINDS
async def test_archiving_twice_changes_nothing(catalog: Served, kind: Kind) -> None:
    created = await kind.create(catalog.stub)
    first = await kind.archive(catalog.stub, created.id, created.etag)
    assert await kind.archive(catalog.stub, created.id, created.etag) == first
    assert await kind.archive(catalog.stub, created.id) == first


@ALL_KINDS
async def test_an_archived_one_takes_no_changes(catalog: Served, kind: Kind) -> None:
    created = await kind.create(catalog.stub)
    await kind.archive(catalog.stub, created.id)
    field, value = kind.change
    wanted = kind.module.__dict__[kind.name](id=created.id, **{field: value})
    refused = await failure(kind.update(catalog.stub, wanted, field))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "RESOURCE_ARCHIVED"


@ALL_KINDS
async def test_many_are_got_in_the_order_asked_with_the_missing_named(
    catalog: Served, kind: Kind
) -> None:
    first, second = await kind.create(catalog.stub, 1), await kind.create(catalog.stub, 2)
    archived = await kind.archive(catalog.stub, first.id)
    missing = str(uuid.uuid4()).upper()
    answer = await kind.call(
        catalog.stub, "BatchGet", ids=[second.id, missing, first.id, second.id, missing]
    )
    assert list(getattr(answer, kind.plural_field)) == [second, archived]
    assert list(answer.missing_ids) == [missing]


@ALL_KINDS
async def test_an_unknown_id_is_not_found_and_a_malformed_one_is_named(
    catalog: Served, kind: Kind
) -> None:
    message = kind.module.__dict__[kind.name]
    field, value = kind.change
    for identifier, code in (
        (str(uuid.uuid4()), grpc.StatusCode.NOT_FOUND),
        ("chatbot", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        wanted = message(id=identifier, **{field: value})
        for call, path in (
            (kind.get(catalog.stub, identifier), "id"),
            (kind.archive(catalog.stub, identifier), "id"),
            (kind.update(catalog.stub, wanted, field), f"{kind.field}.id"),
        ):
            refused = await failure(call)
            assert refused.code is code
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                assert list(refused.fields) == [path]
            else:
                assert refused.reason == "RESOURCE_NOT_FOUND"
                assert refused.metadata["ref"] == identifier


@ALL_KINDS
async def test_more_ids_than_a_batch_holds_are_refused(catalog: Served, kind: Kind) -> None:
    ids = [str(uuid.uuid4()) for _ in range(1001)]
    refused = await failure(kind.call(catalog.stub, "BatchGet", ids=ids))
    assert refused.fields == {"ids": "has more than 1000 entries"}
    refused = await failure(kind.call(catalog.stub, "BatchGet", ids=[ids[0], "x", "", "y"]))
    assert list(refused.fields) == ["ids[1]", "ids[2]", "ids[3]"]
    answer = await kind.call(catalog.stub, "BatchGet", ids=ids[:1000])
    assert list(answer.missing_ids) == ids[:1000]
