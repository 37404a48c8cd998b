"""What refers to another resource: the other must be there, and active."""

import uuid
from typing import Any

import grpc
import pytest

from servemark.catalog.v1.model_use_case_pb2 import ModelUseCase
from tests.rpc.catalog.kinds import MODEL, MODEL_USE_CASE, MODEL_VERSION, USE_CASE, model_version
from tests.rpc.catalog.serving import Served, waits_for
from tests.support.failures import failure


async def _new_version(catalog: Served, model_id: str, n: int = 1) -> Any:
    return await MODEL_VERSION.call(
        catalog.stub, "Create", model_version=model_version(model_id, n)
    )


async def test_an_archived_model_takes_no_new_version(catalog: Served) -> None:
    parent = await MODEL.create(catalog.stub)
    await MODEL.archive(catalog.stub, parent.id)
    refused = await failure(_new_version(catalog, parent.id))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "RESOURCE_ARCHIVED"
    assert refused.metadata["ref"] == parent.id


async def test_an_unknown_model_takes_no_version(catalog: Served) -> None:
    unknown = str(uuid.uuid4())
    refused = await failure(_new_version(catalog, unknown))
    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert refused.reason == "RESOURCE_NOT_FOUND"
    assert refused.metadata == {"resource": "model", "ref": unknown}


@pytest.mark.parametrize("archived", ["model", "use_case"])
async def test_neither_side_of_a_model_use_case_may_be_archived(
    catalog: Served, archived: str
) -> None:
    parent, fit = await MODEL.create(catalog.stub), await USE_CASE.create(catalog.stub)
    if archived == "model":
        await MODEL.archive(catalog.stub, parent.id)
    else:
        await USE_CASE.archive(catalog.stub, fit.id)
    entry = ModelUseCase(model_id=parent.id, use_case_id=fit.id)
    refused = await failure(MODEL_USE_CASE.call(catalog.stub, "Create", model_use_case=entry))
    assert refused.reason == "RESOURCE_ARCHIVED"
    assert refused.metadata["ref"] == (parent.id if archived == "model" else fit.id)


async def test_no_version_slips_in_while_its_model_is_archived(catalog: Served) -> None:
    parent = await MODEL.create(catalog.stub)
    archiving = "UPDATE catalog.models SET archived_at = now()"
    async with waits_for(catalog.dsn, archiving, _new_version(catalog, parent.id)) as creation:
        assert (await failure(creation)).reason == "RESOURCE_ARCHIVED"


async def test_a_version_of_an_archived_model_can_still_be_corrected(catalog: Served) -> None:
    created = await MODEL_VERSION.create(catalog.stub)
    await MODEL.archive(catalog.stub, created.model_id)
    wanted = model_version("", id=created.id, artifact_uri="hf://org/model")
    after = await MODEL_VERSION.update(catalog.stub, wanted, "artifact_uri")
    assert after.artifact_uri == "hf://org/model"
    assert after.model_id == created.model_id


@pytest.mark.parametrize("path", ["model_id", "model_name", "vram_requirement_gb", "id"])
async def test_what_a_version_belongs_to_cannot_be_changed(catalog: Served, path: str) -> None:
    created = await MODEL_VERSION.create(catalog.stub)
    wanted = model_version(str(uuid.uuid4()), id=created.id)
    refused = await failure(MODEL_VERSION.update(catalog.stub, wanted, path))
    assert list(refused.fields) == ["update_mask.paths[0]"]
    assert path in refused.fields["update_mask.paths[0]"]
