"""What is asked for most is answered from the caches, and never with what was before a change."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from servemark.catalog.v1.hardware_config_pb2 import ListHardwareConfigsRequest
from servemark.catalog.v1.hardware_price_pb2 import HardwarePrice, SetHardwarePriceRequest
from servemark.catalog.v1.model_pb2 import GetModelRequest, Model, UpdateModelRequest
from servemark.type.v1.provenance_pb2 import PurchaseOption
from tests.rpc.catalog.kinds import HARDWARE, MODEL
from tests.rpc.catalog.serving import Served, serving
from tests.support.failures import failure


@pytest.fixture
async def cached(catalog_dsn: str, valkey: str) -> AsyncIterator[Served]:
    """The service with a Redis."""
    async with serving(catalog_dsn, redis_url=valkey) as served:
        yield served


async def _ask(method: Any, request: Any) -> tuple[Any, str, float]:
    """The answer, the level it comes from, and its age."""
    call = method(request)
    answer = await call
    told = dict(await call.trailing_metadata())["x-servemark-cache"]
    level, age = (part.partition("=")[2] for part in told.split("; "))
    return answer, level, float(age)


async def _from_memory(method: Any, request: Any) -> Any:
    """The answer, once it comes from memory: not before the relay has told of what came before."""
    async with asyncio.timeout(10):
        while (found := await _ask(method, request))[1] != "L1":
            await asyncio.sleep(0.02)
    return found[0]


async def test_a_model_is_answered_from_memory_until_it_changes(cached: Served) -> None:
    created = await MODEL.create(cached.stub)
    asked = GetModelRequest(id=created.id)
    assert (await _from_memory(cached.stub.GetModel, asked)).model == created
    changed = Model(id=created.id, architecture="other")
    request = UpdateModelRequest(model=changed, update_mask=FieldMask(paths=["architecture"]))
    updated = (await cached.stub.UpdateModel(request)).model
    # At once: who changes something, and asks the same process, finds it changed.
    assert (await cached.stub.GetModel(asked)).model == updated
    assert (await _from_memory(cached.stub.GetModel, asked)).model == updated


async def test_an_id_in_other_letters_is_the_same_model(cached: Served) -> None:
    created = await MODEL.create(cached.stub)
    await _from_memory(cached.stub.GetModel, GetModelRequest(id=created.id))
    _, level, age = await _ask(cached.stub.GetModel, GetModelRequest(id=created.id.upper()))
    assert level == "L1"
    assert 0 <= age < 60


async def test_a_model_that_is_made_later_is_found_at_once(cached: Served) -> None:
    missing = GetModelRequest(id="0198c1d2-7f00-7abc-8def-0123456789ab")
    for _ in range(2):
        found = await failure(cached.stub.GetModel(missing))
        assert found.reason == "RESOURCE_NOT_FOUND"


async def test_lists_of_hardware_are_answered_from_memory_until_any_of_it_changes(
    cached: Served,
) -> None:
    first = await HARDWARE.create(cached.stub)
    plain = ListHardwareConfigsRequest()
    small = ListHardwareConfigsRequest(max_total_vram_gb=1)
    for request, count in ((plain, 1), (small, 0)):
        answer = await _from_memory(cached.stub.ListHardwareConfigs, request)
        assert len(answer.hardware_configs) == count
    await HARDWARE.archive(cached.stub, first.id)
    assert not (await cached.stub.ListHardwareConfigs(plain)).hardware_configs


async def test_a_price_shows_in_the_list_of_hardware(cached: Served) -> None:
    created = await HARDWARE.create(cached.stub)
    plain = ListHardwareConfigsRequest()
    await _from_memory(cached.stub.ListHardwareConfigs, plain)
    price = HardwarePrice(
        hardware_config_id=created.id,
        region="us-east",
        purchase_option=PurchaseOption.PURCHASE_OPTION_ON_DEMAND,
        usd_per_hour=4.25,
        source="https://example.com",
    )
    price.valid_from_time.FromSeconds(1_700_000_000)
    await cached.stub.SetHardwarePrice(SetHardwarePriceRequest(hardware_price=price))
    (found,) = (await cached.stub.ListHardwareConfigs(plain)).hardware_configs
    assert found.cost_per_hour_usd == 4.25


async def test_another_process_sees_a_change_within_two_seconds(
    cached: Served, valkey: str
) -> None:
    created = await MODEL.create(cached.stub)
    asked = GetModelRequest(id=created.id)
    async with serving(cached.dsn, redis_url=valkey) as other:
        await _from_memory(other.stub.GetModel, asked)
        changed = Model(id=created.id, architecture="other")
        request = UpdateModelRequest(model=changed, update_mask=FieldMask(paths=["architecture"]))
        updated = (await cached.stub.UpdateModel(request)).model
        async with asyncio.timeout(2):
            while (await other.stub.GetModel(asked)).model != updated:
                await asyncio.sleep(0.02)
        assert (await _from_memory(other.stub.GetModel, asked)).model == updated


async def test_without_redis_every_reply_is_from_the_database(catalog: Served) -> None:
    created = await MODEL.create(catalog.stub)
    for _ in range(3):
        _, level, _ = await _ask(catalog.stub.GetModel, GetModelRequest(id=created.id))
        assert level == "DB"
