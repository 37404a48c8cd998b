"""Current prices, by a clock that the test holds."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from servemark.runtime.database import Database
from services.catalog.store import CatalogStore
from services.catalog.store_collections import HARDWARE_CONFIGS
from services.catalog.store_prices import NewPrice, PriceStore

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A time that moves when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


async def _hardware(store: CatalogStore, name: str = "aws/p5") -> UUID:
    values = {
        "name": name,
        "gpu_type": "H100-80GB",
        "gpu_count": 8,
        "vram_per_gpu_gb": 80,
        "cloud_provider": "aws",
        "instance_type": "p5",
    }
    return (await store.create(HARDWARE_CONFIGS, values)).id


def _price(hardware_id: UUID, usd: float, day: int, option: str = "on_demand") -> NewPrice:
    return NewPrice(
        hardware_config_id=hardware_id,
        region="",
        purchase_option=option,
        usd_per_hour=usd,
        valid_from=START + timedelta(days=day),
        source="list",
    )


async def test_prices_become_current_as_time_goes_by(database: Database) -> None:
    clock, catalog = Clock(), CatalogStore(database)
    prices = PriceStore(database, now=clock)
    hardware = await _hardware(catalog)
    for usd, day in ((50, 0), (40, 10), (30, 20)):
        await prices.set_price(_price(hardware, usd, day))
    await prices.set_price(_price(hardware, 5, 15, "spot"))

    shown = []
    for day in (0, 9, 10, 15, 20):
        clock.now = START + timedelta(days=day)
        changed = await prices.refresh_due()
        row = await catalog.get(HARDWARE_CONFIGS, hardware)
        shown.append((changed, row.cost_per_hour_usd, row.spot_available))
    assert shown == [
        (0, 50, False),
        (0, 50, False),
        (1, 40, False),
        (1, 40, True),
        (1, 30, True),
    ]


async def test_a_start_missed_while_the_service_was_down_is_made_up_for(
    database: Database,
) -> None:
    clock, catalog = Clock(), CatalogStore(database)
    hardware = await _hardware(catalog)
    await PriceStore(database, now=clock).set_price(_price(hardware, 50, 1))
    assert (await catalog.get(HARDWARE_CONFIGS, hardware)).cost_per_hour_usd is None
    clock.now = START + timedelta(days=300)
    assert await PriceStore(database, now=clock).refresh_due() == 1
    assert (await catalog.get(HARDWARE_CONFIGS, hardware)).cost_per_hour_usd == 50


async def test_two_services_that_refresh_at_once_change_each_row_once(database: Database) -> None:
    clock, catalog = Clock(), CatalogStore(database)
    first, second = PriceStore(database, now=clock), PriceStore(database, now=clock)
    for n in range(5):
        await first.set_price(_price(await _hardware(catalog, f"aws/{n}"), 50, 1))
    clock.now = START + timedelta(days=2)
    assert sum(await asyncio.gather(first.refresh_due(), second.refresh_due())) == 5
