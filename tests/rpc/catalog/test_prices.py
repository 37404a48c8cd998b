"""Dated prices: what was valid when, and what hardware costs now."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.catalog.v1.hardware_price_pb2 import (
    HardwarePrice,
    ListHardwarePricesRequest,
    SetHardwarePriceRequest,
)
from servemark.type.v1.provenance_pb2 import PurchaseOption
from tests.rpc.catalog.kinds import HARDWARE
from tests.rpc.catalog.serving import Served, serving
from tests.support import servers
from tests.support.failures import failure

ON_DEMAND = PurchaseOption.PURCHASE_OPTION_ON_DEMAND
SPOT = PurchaseOption.PURCHASE_OPTION_SPOT
RESERVED = PurchaseOption.PURCHASE_OPTION_RESERVED
NOW = datetime.now(UTC).replace(microsecond=0)


def _day(days: int) -> datetime:
    """A day so many days from now."""
    return NOW + timedelta(days=days)


def _price(hardware_id: str, usd: float, start: datetime, **fields: Any) -> HardwarePrice:
    values: dict[str, Any] = {
        "hardware_config_id": hardware_id,
        "purchase_option": ON_DEMAND,
        "usd_per_hour": usd,
        "valid_from_time": start,
        "source": "price list",
    }
    return HardwarePrice(**(values | fields))


async def _set(catalog: Served, price: HardwarePrice) -> HardwarePrice:
    request = SetHardwarePriceRequest(hardware_price=price)
    answer = await catalog.stub.SetHardwarePrice(request, timeout=10)
    stored: HardwarePrice = answer.hardware_price
    return stored


async def _list(catalog: Served, **filters: Any) -> list[HardwarePrice]:
    request = ListHardwarePricesRequest(**filters)
    answer = await catalog.stub.ListHardwarePrices(request, timeout=10)
    return list(answer.hardware_prices)


async def _spans(catalog: Served, **filters: Any) -> list[tuple[float, int, int | None]]:
    """Price, start and end in days from now, oldest first."""

    def day(stamp: Timestamp) -> int:
        return round((stamp.ToDatetime(tzinfo=UTC) - NOW) / timedelta(days=1))

    return [
        (
            price.usd_per_hour,
            day(price.valid_from_time),
            day(price.valid_to_time) if price.HasField("valid_to_time") else None,
        )
        for price in reversed(await _list(catalog, **filters))
    ]


async def _current(catalog: Served, hardware_id: str) -> tuple[float | None, bool]:
    found = await HARDWARE.get(catalog.stub, hardware_id)
    cost = found.cost_per_hour_usd if found.HasField("cost_per_hour_usd") else None
    return cost, found.spot_available


async def test_a_new_price_ends_the_one_before(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    first = await _set(catalog, _price(hardware.id, 55, _day(-20)))
    assert uuid.UUID(first.id).version == 7
    assert not first.HasField("valid_to_time")
    second = await _set(catalog, _price(hardware.id, 44, _day(-10)))
    assert await _spans(catalog) == [(55, -20, -10), (44, -10, None)]
    assert [price.id for price in await _list(catalog)] == [second.id, first.id]
    assert await _current(catalog, hardware.id) == (44, False)


async def test_a_price_in_the_middle_of_history_splits_it(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    for usd, day in ((10, -30), (30, -10), (20, -20)):
        await _set(catalog, _price(hardware.id, usd, _day(day)))
    assert await _spans(catalog) == [(10, -30, -20), (20, -20, -10), (30, -10, None)]
    assert await _current(catalog, hardware.id) == (30, False)


async def test_a_price_before_all_history_ends_where_history_begins(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    await _set(catalog, _price(hardware.id, 30, _day(-10)))
    stored = await _set(catalog, _price(hardware.id, 99, _day(-20)))
    assert stored.valid_to_time.ToDatetime(tzinfo=UTC) == _day(-10)
    assert await _spans(catalog) == [(99, -20, -10), (30, -10, None)]


async def test_the_same_start_replaces_and_keeps_id_and_end(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    first = await _set(catalog, _price(hardware.id, 10, _day(-30)))
    await _set(catalog, _price(hardware.id, 20, _day(-20)))
    again = await _set(catalog, _price(hardware.id, 11, _day(-30), source="corrected"))
    assert again.id == first.id
    assert again.source == "corrected"
    assert await _spans(catalog) == [(11, -30, -20), (20, -20, None)]


async def test_setting_a_price_twice_changes_nothing(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    price = _price(hardware.id, 10, _day(-30))
    first = await _set(catalog, price)
    before = await HARDWARE.get(catalog.stub, hardware.id)
    events = catalog.value("SELECT count(*) FROM catalog.outbox")
    assert await _set(catalog, price) == first
    assert await HARDWARE.get(catalog.stub, hardware.id) == before
    assert catalog.value("SELECT count(*) FROM catalog.outbox") == events


async def test_regions_and_purchase_options_have_histories_of_their_own(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    await _set(catalog, _price(hardware.id, 50, _day(-30)))
    await _set(catalog, _price(hardware.id, 40, _day(-20), region="us-east-1"))
    await _set(catalog, _price(hardware.id, 20, _day(-10), purchase_option=SPOT))
    assert [end for _, _, end in await _spans(catalog)] == [None, None, None]


async def test_the_current_price_is_the_lowest_on_demand_one(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    assert await _current(catalog, hardware.id) == (None, False)
    await _set(catalog, _price(hardware.id, 30, _day(-9), purchase_option=RESERVED))
    assert await _current(catalog, hardware.id) == (30, False)
    await _set(catalog, _price(hardware.id, 20, _day(-9), purchase_option=SPOT))
    assert await _current(catalog, hardware.id) == (20, True)
    await _set(catalog, _price(hardware.id, 55, _day(-9), region="eu-north-1"))
    assert await _current(catalog, hardware.id) == (55, True)
    await _set(catalog, _price(hardware.id, 50, _day(-9), region="us-east-1"))
    assert await _current(catalog, hardware.id) == (50, True)


async def test_a_new_current_price_is_a_change_of_the_hardware(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    await _set(catalog, _price(hardware.id, 50, _day(-30)))
    priced = await HARDWARE.get(catalog.stub, hardware.id)
    assert priced.etag != hardware.etag
    # What was paid long ago changes nothing today.
    await _set(catalog, _price(hardware.id, 60, _day(-40)))
    assert await HARDWARE.get(catalog.stub, hardware.id) == priced


async def test_a_price_of_the_future_shows_when_its_time_has_come(catalog_dsn: str) -> None:
    async with serving(catalog_dsn, price_refresh_seconds=0.05) as catalog:
        hardware = await HARDWARE.create(catalog.stub)
        await _set(catalog, _price(hardware.id, 50, _day(-30)))
        start = datetime.now(UTC) + timedelta(seconds=0.6)
        await _set(catalog, _price(hardware.id, 40, start))
        assert await _current(catalog, hardware.id) == (50, False)
        async with asyncio.timeout(10):
            while (await _current(catalog, hardware.id))[0] != 40:
                await asyncio.sleep(0.02)
        assert datetime.now(UTC) >= start
        changed = "SELECT count(*) FROM catalog.outbox WHERE payload::text LIKE $1"
        events = catalog.value(changed, f"%{b'hardware_configs'.hex()}%")
        assert events == 3  # created, first price, second price


async def test_prices_are_listed_by_hardware_then_newest_first(catalog: Served) -> None:
    ids = [(await HARDWARE.create(catalog.stub, n)).id for n in (1, 2)]
    for usd, hardware_id, day in (
        (1, ids[1], -5),
        (2, ids[0], -9),
        (3, ids[1], -3),
        (4, ids[0], -1),
    ):
        await _set(catalog, _price(hardware_id, usd, _day(day)))
    listed = await _list(catalog)
    assert [price.usd_per_hour for price in listed] == [4, 2, 3, 1]
    assert [price.usd_per_hour for price in await _list(catalog, hardware_config_ids=ids[1:])] == [
        3,
        1,
    ]
    paged: list[HardwarePrice] = []
    token = ""
    while True:
        request = ListHardwarePricesRequest(page_size=1, page_token=token)
        answer = await catalog.stub.ListHardwarePrices(request)
        paged += answer.hardware_prices
        token = answer.next_page_token
        if not token:
            break
    assert paged == listed


async def test_prices_are_filtered_by_region_option_and_time(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    await _set(catalog, _price(hardware.id, 1, _day(-30)))
    await _set(catalog, _price(hardware.id, 2, _day(-20)))
    await _set(catalog, _price(hardware.id, 3, _day(-25), region="eu-north-1"))
    await _set(catalog, _price(hardware.id, 4, _day(-24), region="us-east-1"))
    await _set(catalog, _price(hardware.id, 5, _day(-23), purchase_option=SPOT))

    async def found(**filters: Any) -> set[float]:
        return {price.usd_per_hour for price in await _list(catalog, **filters)}

    assert await found(region="eu-north-1") == {1, 2, 3, 5}
    assert await found(purchase_options=[SPOT]) == {5}
    assert await found(purchase_options=[0]) == {1, 2, 3, 4}
    assert await found(valid_at_time=_day(-21)) == {1, 3, 4, 5}
    # A span has its start and not its end.
    assert await found(valid_at_time=_day(-20)) == {2, 3, 4, 5}
    assert await found(valid_at_time=_day(-30)) == {1}
    assert await found(valid_at_time=_day(-31)) == set()


async def test_every_wrong_field_of_a_price_is_named(catalog: Served) -> None:
    wrong = HardwarePrice(region="r" * 65, usd_per_hour=float("nan"))
    refused = await failure(_set(catalog, wrong))
    assert refused.reason == "INVALID_FIELD"
    assert list(refused.fields) == [
        f"hardware_price.{field}"
        for field in (
            "hardware_config_id",
            "region",
            "purchase_option",
            "usd_per_hour",
            "valid_from_time",
            "source",
        )
    ]
    hardware = await HARDWARE.create(catalog.stub)
    for usd in (0, -1, 1_000_000.01, float("inf")):
        refused = await failure(_set(catalog, _price(hardware.id, usd, NOW)))
        assert list(refused.fields) == ["hardware_price.usd_per_hour"]
    nonsense = _price(hardware.id, 1, NOW)
    nonsense.valid_from_time.seconds = 2**62
    refused = await failure(_set(catalog, nonsense))
    assert list(refused.fields) == ["hardware_price.valid_from_time"]
    for start in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)):
        refused = await failure(_set(catalog, _price(hardware.id, 1, start)))
        assert list(refused.fields) == ["hardware_price.valid_from_time"]
    for start in (datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)):
        await _set(catalog, _price(hardware.id, 1_000_000, start))
    filters = ListHardwarePricesRequest(
        page_size=1001,
        hardware_config_ids=["x"],
        region="r" * 65,
        purchase_options=[9],  # type: ignore[list-item]
    )
    refused = await failure(catalog.stub.ListHardwarePrices(filters))
    assert list(refused.fields) == [
        "page_size",
        "hardware_config_ids[0]",
        "region",
        "purchase_options[0]",
    ]


async def test_hardware_that_is_unknown_or_archived_takes_no_price(catalog: Served) -> None:
    refused = await failure(_set(catalog, _price(str(uuid.uuid4()), 1, NOW)))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "RESOURCE_NOT_FOUND",
    )
    hardware = await HARDWARE.create(catalog.stub)
    await HARDWARE.archive(catalog.stub, hardware.id)
    refused = await failure(_set(catalog, _price(hardware.id, 1, NOW)))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "RESOURCE_ARCHIVED",
    )


async def test_prices_set_at_once_in_any_order_leave_one_seamless_history(
    catalog: Served,
) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    days = [(-7 * n) % 20 - 20 for n in range(20)]
    await asyncio.gather(*(_set(catalog, _price(hardware.id, -day + 1, _day(day))) for day in days))
    expected = [(1 - day, day, day + 1) for day in range(-20, -1)] + [(2, -1, None)]
    assert await _spans(catalog, page_size=100) == expected
    assert await _current(catalog, hardware.id) == (2, False)


async def test_the_database_refuses_two_prices_valid_at_once(catalog: Served) -> None:
    hardware = await HARDWARE.create(catalog.stub)
    await _set(catalog, _price(hardware.id, 1, _day(-1)))
    with pytest.raises(Exception, match="ex_hardware_prices_one_at_a_time"):
        servers.execute(
            catalog.dsn,
            "INSERT INTO catalog.hardware_prices (id, hardware_config_id, region, "
            "purchase_option, usd_per_hour, valid_from, source) "
            f"VALUES (uuidv7(), '{hardware.id}', '', 'on_demand', 2, now(), 's')",
        )
