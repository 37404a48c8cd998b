"""Every change is told to the other services, in the transaction that makes it."""

import asyncio
from collections import Counter

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from redis.asyncio import Redis

from servemark.catalog.v1.hardware_price_pb2 import HardwarePrice, SetHardwarePriceRequest
from servemark.events.v1.event_pb2 import Event
from servemark.type.v1.provenance_pb2 import PurchaseOption
from tests.rpc.catalog.kinds import HARDWARE, KINDS, MODEL, MODEL_VERSION, Kind, model
from tests.rpc.catalog.serving import Served, serving
from tests.support import servers
from tests.support.failures import failure


async def _waiting(catalog: Served) -> Counter[tuple[str, str]]:
    """How often each resource is told of in the outbox."""
    rows = servers.run_apart(_payloads(catalog.dsn))
    changes = [Event.FromString(row).catalog_changed for row in rows]
    return Counter((change.resource, change.id) for change in changes)


async def _payloads(dsn: str) -> list[bytes]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT payload FROM catalog.outbox WHERE topic = 'catalog'")
        return [row["payload"] for row in rows]
    finally:
        await connection.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)
async def test_creation_update_and_archiving_are_told(catalog: Served, kind: Kind) -> None:
    created = await kind.create(catalog.stub)
    told = (kind.table, created.id)
    assert (await _waiting(catalog))[told] == 1
    field, value = kind.change
    wanted = kind.module.__dict__[kind.name](id=created.id, **{field: value})
    await kind.update(catalog.stub, wanted, field)
    assert (await _waiting(catalog))[told] == 2
    await kind.archive(catalog.stub, created.id)
    await kind.archive(catalog.stub, created.id)
    assert (await _waiting(catalog))[told] == 3


async def test_a_refused_change_is_not_told(catalog: Served) -> None:
    created = await MODEL.create(catalog.stub)
    before = await _waiting(catalog)
    await failure(MODEL.create(catalog.stub))
    await failure(MODEL.archive(catalog.stub, created.id, "stale"))
    wanted = model(id=created.id, active_parameters=10**12)
    await failure(MODEL.update(catalog.stub, wanted, "active_parameters"))
    assert await _waiting(catalog) == before


async def test_a_change_of_versions_that_follows_from_their_model_is_told(catalog: Served) -> None:
    version = await MODEL_VERSION.create(catalog.stub)
    told = ("model_versions", version.id)
    wanted = model(id=version.model_id, parameters=1, base_model="b")
    await MODEL.update(catalog.stub, wanted, "base_model")
    assert (await _waiting(catalog))[told] == 1
    await MODEL.update(catalog.stub, wanted, "parameters")
    assert (await _waiting(catalog))[told] == 2


async def test_a_price_is_told_with_the_one_it_ends_and_the_hardware_it_is_for(
    catalog: Served,
) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    ids = []
    for years, usd in ((50, 10.0), (51, 20.0)):
        price = HardwarePrice(
            hardware_config_id=hardware.id,
            purchase_option=PurchaseOption.PURCHASE_OPTION_ON_DEMAND,
            usd_per_hour=usd,
            valid_from_time=Timestamp(seconds=years * 31_556_952),
            source="list",
        )
        request = SetHardwarePriceRequest(hardware_price=price)
        ids.append((await catalog.stub.SetHardwarePrice(request)).hardware_price.id)
    told = await _waiting(catalog)
    assert told[("hardware_prices", ids[0])] == 2
    assert told[("hardware_prices", ids[1])] == 1
    assert told[("hardware_configs", hardware.id)] == 3


async def test_the_relay_carries_events_to_the_stream(catalog_dsn: str, valkey: str) -> None:
    async with serving(catalog_dsn, redis_url=valkey) as catalog, Redis.from_url(valkey) as redis:
        created = await MODEL.create(catalog.stub)
        async with asyncio.timeout(10):
            while not (entries := await redis.xrange("servemark:events:catalog")):
                await asyncio.sleep(0.02)
        [(_, fields)] = entries
        assert fields is not None
        event = Event.FromString(bytes(fields[b"event"]))  # type: ignore[arg-type]
        assert event.id
        assert event.catalog_changed.resource == "models"
        assert event.catalog_changed.id == created.id
        async with asyncio.timeout(10):
            waiting = "SELECT count(*) FROM catalog.outbox WHERE published_at IS NULL"
            while catalog.value(waiting):
                await asyncio.sleep(0.02)
