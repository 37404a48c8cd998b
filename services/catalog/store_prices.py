"""Dated prices of hardware, and the current price that hardware_configs shows.

A hardware row is locked before its prices are read or written, so that calls about the same
hardware take turns. A price that starts in the future is stored at once and shows as current from
its start on: `refresh_due` is called every minute, the bound on how late it shows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database
from servemark.runtime.errors import not_found
from servemark.runtime.ids import uuid7
from services.catalog.errors import archived
from services.catalog.events import catalog_changed
from services.catalog.records import HardwarePriceRow
from services.catalog.store_paging import Order, Page, id_key, time_key, write_key
from services.catalog.tables import hardware_configs, hardware_prices

_p = hardware_prices.c
_COLUMNS = (
    _p.id,
    _p.hardware_config_id,
    _p.region,
    _p.purchase_option,
    _p.usd_per_hour,
    _p.valid_from,
    _p.valid_to,
    _p.source,
)
NEWEST_FIRST = Order(
    (id_key(_p.hardware_config_id), time_key(_p.valid_from, newest_first=True), id_key(_p.id))
)
_REFRESH = text("SELECT catalog.refresh_current_prices(:ids, :at)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceQuery:
    """What a list of prices is asked for; empty and None keep all."""

    hardware_config_ids: Sequence[UUID] = ()
    region: str = ""
    purchase_options: Sequence[str] = ()
    valid_at: datetime | None = None
    after: Sequence[Any] | None = None
    size: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrice:
    """A price to set. `purchase_option` is on_demand, spot or reserved."""

    hardware_config_id: UUID
    region: str
    purchase_option: str
    usd_per_hour: float
    valid_from: datetime
    source: str


class PriceStore:
    """The prices. `now` is the time at which a price is current or not."""

    def __init__(
        self,
        database: Database,
        new_id: Callable[[], UUID] = uuid7,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._new_id = new_id
        self._now = now
        self._refreshed_until: datetime | None = None

    async def list_page(self, query: PriceQuery) -> Page[HardwarePriceRow]:
        """One page by hardware, newest first. Raises PAGE_TOKEN_INVALID."""
        statement = select(*_COLUMNS)
        if query.hardware_config_ids:
            statement = statement.where(_p.hardware_config_id.in_(query.hardware_config_ids))
        if query.region:
            statement = statement.where(_p.region.in_(["", query.region]))
        if query.purchase_options:
            statement = statement.where(_p.purchase_option.in_(query.purchase_options))
        if query.valid_at is not None:
            statement = statement.where(_p.valid_from <= query.valid_at).where(
                or_(_p.valid_to.is_(None), _p.valid_to > query.valid_at)
            )
        if query.after is not None:
            statement = statement.where(NEWEST_FIRST.after(query.after, descending=False))
        statement = statement.order_by(*NEWEST_FIRST.order_by(descending=False))
        async with self._database.transaction() as connection:
            found = (await connection.execute(statement.limit(query.size + 1))).mappings().all()
        rows = tuple(HardwarePriceRow(**row) for row in found[: query.size])
        keys = tuple(
            tuple(map(write_key, (row.hardware_config_id, row.valid_from, row.id))) for row in rows
        )
        return Page(rows, keys, len(found) > query.size)

    async def set_price(self, price: NewPrice) -> HardwarePriceRow:
        """The price as stored, and the hardware's current price brought up to date with it.

        The price of the same region and option that was valid at its start ends there; it ends
        itself where the next one starts. One with the same start is replaced, and keeps its id.
        Raises RESOURCE_NOT_FOUND, RESOURCE_ARCHIVED of the hardware.
        """
        async with self._database.transaction() as connection:
            await _lock_hardware(connection, price.hardware_config_id)
            history = await _history(connection, price)
            same = next((row for row in history if row.valid_from == price.valid_from), None)
            if same is not None:
                changed = await _replace(connection, same, price)
                stored_id = same.id
            else:
                stored_id = self._new_id()
                changed = await _insert(connection, stored_id, history, price)
            await catalog_changed(connection, "hardware_prices", changed)
            await self._refresh(connection, [price.hardware_config_id])
            statement = select(*_COLUMNS).where(_p.id == stored_id)
            return HardwarePriceRow(**(await connection.execute(statement)).mappings().one())

    async def refresh_due(self) -> int:
        """Shows prices that began or ended since the last call; returns how many rows changed."""
        now = self._now()
        due = select(_p.hardware_config_id).where(_p.valid_from <= now)
        if self._refreshed_until is not None:
            due = due.where(
                or_(
                    _p.valid_from > self._refreshed_until,
                    _p.valid_to.between(self._refreshed_until, now),
                )
            )
        async with self._database.transaction() as connection:
            ids = await connection.execute(
                select(hardware_configs.c.id)
                .where(hardware_configs.c.id.in_(due))
                .order_by(hardware_configs.c.id)
                .with_for_update(key_share=True)
            )
            changed = await self._refresh(connection, ids.scalars().all())
        self._refreshed_until = now
        return changed

    async def _refresh(self, connection: AsyncConnection, ids: Sequence[UUID]) -> int:
        """Brings the current price of locked hardware up to date."""
        answer = await connection.execute(_REFRESH, {"ids": list(ids), "at": self._now()})
        changed = answer.scalars().all()
        await catalog_changed(connection, "hardware_configs", changed)
        return len(changed)


async def _lock_hardware(connection: AsyncConnection, identifier: UUID) -> None:
    statement = (
        select(hardware_configs.c.archived_at)
        .where(hardware_configs.c.id == identifier)
        .with_for_update(key_share=True)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise not_found("hardware configuration", str(identifier))
    if row.archived_at is not None:
        raise archived("hardware configuration", identifier)


async def _history(connection: AsyncConnection, price: NewPrice) -> Sequence[HardwarePriceRow]:
    """The neighbours of a price of its kind: the one at or before its start, and the next."""
    of_kind = select(*_COLUMNS).where(
        _p.hardware_config_id == price.hardware_config_id,
        _p.region == price.region,
        _p.purchase_option == price.purchase_option,
    )
    before = of_kind.where(_p.valid_from <= price.valid_from).order_by(_p.valid_from.desc())
    after = of_kind.where(_p.valid_from > price.valid_from).order_by(_p.valid_from)
    found: list[HardwarePriceRow] = []
    for statement in (before.limit(1), after.limit(1)):
        found += [
            HardwarePriceRow(**row) for row in (await connection.execute(statement)).mappings()
        ]
    return found


async def _replace(
    connection: AsyncConnection, old: HardwarePriceRow, price: NewPrice
) -> Iterable[UUID]:
    if (old.usd_per_hour, old.source) == (price.usd_per_hour, price.source):
        return []
    await connection.execute(
        hardware_prices.update()
        .where(_p.id == old.id)
        .values(usd_per_hour=price.usd_per_hour, source=price.source)
    )
    return [old.id]


async def _insert(
    connection: AsyncConnection,
    identifier: UUID,
    history: Sequence[HardwarePriceRow],
    price: NewPrice,
) -> Iterable[UUID]:
    previous = next((row for row in history if row.valid_from < price.valid_from), None)
    following = next((row for row in history if row.valid_from > price.valid_from), None)
    changed = [identifier]
    # The previous one ends first: at no moment may two be valid at once.
    if previous is not None and (previous.valid_to is None or previous.valid_to > price.valid_from):
        await connection.execute(
            hardware_prices.update().where(_p.id == previous.id).values(valid_to=price.valid_from)
        )
        changed.append(previous.id)
    await connection.execute(
        hardware_prices.insert().values(
            id=identifier,
            hardware_config_id=price.hardware_config_id,
            region=price.region,
            purchase_option=price.purchase_option,
            usd_per_hour=price.usd_per_hour,
            valid_from=price.valid_from,
            valid_to=None if following is None else following.valid_from,
            source=price.source,
        )
    )
    return changed
