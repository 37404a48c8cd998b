"""Puts the catalog service together, for `python -m services.catalog` and for tests."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from servemark.catalog.v1 import catalog_service_pb2
from servemark.catalog.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from servemark.runtime.app import App
from servemark.runtime.cache.bumps import Bumps
from servemark.runtime.cache.wiring import open_cache
from servemark.runtime.database import Database, translate_database_error
from servemark.runtime.events.keeper import OutboxKeeper
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.relay import OutboxRelay
from servemark.runtime.redis_connections import open_event_redis
from servemark.runtime.server import ServiceServer
from services.catalog.events import TOPIC, tags_of
from services.catalog.servicer import CatalogServicer
from services.catalog.settings import CatalogSettings
from services.catalog.store import CatalogStore
from services.catalog.store_prices import PriceStore
from services.catalog.store_resolve import ResolveStore

log = structlog.get_logger()

SERVICE_NAME = catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"].full_name


async def create(settings: CatalogSettings) -> App:
    """The service on its own pool of connections. Nothing is bound or started yet."""
    database = Database(
        settings.database_url.get_secret_value(), "catalog", pool_size=settings.database_pool_size
    )
    prices = PriceStore(database)
    server = ServiceServer(
        settings,
        "catalog",
        [SERVICE_NAME],
        ready=database.ready,
        translators=[translate_database_error],
    )
    cache = open_cache(settings, server.registry, outbox_of="catalog")
    add_CatalogServiceServicer_to_server(
        CatalogServicer(CatalogStore(database), prices, ResolveStore(database), cache), server.grpc
    )

    async def refresh_prices() -> None:
        await _refresh_prices(prices, settings.price_refresh_seconds)

    background: list[Callable[[], Awaitable[None]]] = [refresh_prices, cache.run]
    closing: list[Callable[[], Awaitable[object]]] = [cache.close, database.close]
    if settings.redis_url is not None:
        redis = open_event_redis(settings.redis_url.get_secret_value())
        metrics = RelayMetrics(server.registry)
        background.append(OutboxRelay(database, redis, metrics, bump=Bumps(redis, tags_of)).run)
        background.append(OutboxKeeper(database, redis, [TOPIC], metrics).run)
        closing.insert(0, redis.aclose)
    return App(server, background, closing)


async def _refresh_prices(prices: PriceStore, interval: float) -> None:
    """Shows prices when their time comes, until cancelled. Waits for a database that is away."""
    while True:
        try:
            changed = await prices.refresh_due()
            if changed:
                log.info("current prices changed", hardware_configs=changed)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.warning("prices wait", error=type(error).__name__)
        await asyncio.sleep(interval)
