"""Puts the ingest service together, for `python -m services.ingest` and for tests."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field, field_validator
from redis.asyncio import Redis

from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.ingest.v1 import ingest_service_pb2
from servemark.ingest.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from servemark.runtime.channels import call_options, open_channel
from servemark.runtime.database import Database, translate_database_error
from servemark.runtime.events.relay import OutboxRelay
from servemark.runtime.server import ServiceServer
from servemark.runtime.settings import ServiceSettings
from services.ingest.catalog import CatalogClient
from services.ingest.engine import IngestEngine
from services.ingest.events import results_stored
from services.ingest.failpoints import Failpoints
from services.ingest.flow import MemoryGate
from services.ingest.partitions import NativePartitions
from services.ingest.rollup import RollUp
from services.ingest.servicer import IngestServicer
from services.ingest.store_append import AppendStore
from services.ingest.store_daily import DailyStore
from services.ingest.store_rejections import RejectionStore
from services.ingest.store_results import ResultStore
from services.ingest.store_streams import StreamStore

SERVICE_NAME = ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name


class IngestSettings(ServiceSettings):
    """The ingest service's settings.

    Results older than `retention_days` are refused. Not more than about `max_bytes_in_flight` of
    batches wait in the process. `failpoints` is for tests of faults.
    """

    retention_days: int = Field(default=3650, ge=1, le=36_500)
    max_bytes_in_flight: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    roll_up_seconds: float = Field(default=1.0, gt=0, le=3600)
    failpoints: str = ""

    @field_validator("failpoints")
    @classmethod
    def _known_failpoints(cls, value: str) -> str:
        Failpoints(value)
        return value


@dataclass(frozen=True)
class App:
    """The service: `server`, the `background` loops to run beside it, `close` for the end."""

    server: ServiceServer
    background: list[Callable[[], Awaitable[None]]]
    close: Callable[[], Awaitable[None]]


async def create(settings: IngestSettings) -> App:
    """The service on its own pool of connections. Nothing is bound or started yet."""
    database = Database(
        settings.database_url.get_secret_value(), "ingest", pool_size=settings.database_pool_size
    )
    partitions = NativePartitions(database, lambda: datetime.now(UTC).date())
    channel = open_channel(settings, "catalog")
    streams = StreamStore(database)
    daily = DailyStore(database)
    engine = IngestEngine(
        streams,
        AppendStore(database, results_stored, Failpoints(settings.failpoints)),
        partitions,
        CatalogClient(CatalogServiceStub(channel), lambda: call_options(settings)),
        MemoryGate(settings.max_bytes_in_flight),
        retention_days=settings.retention_days,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    server = ServiceServer(
        settings,
        "ingest",
        [SERVICE_NAME],
        ready=partitions.recorded,
        translators=[translate_database_error],
    )
    add_IngestServiceServicer_to_server(
        IngestServicer(engine, streams, ResultStore(database), daily, RejectionStore(database)),
        server.grpc,
    )
    background: list[Callable[[], Awaitable[None]]] = [
        partitions.run,
        RollUp(daily, interval=settings.roll_up_seconds).run,
    ]
    redis = None
    if settings.redis_url is not None:
        redis = Redis.from_url(settings.redis_url.get_secret_value())
        background.append(OutboxRelay(database, redis).run)

    async def close() -> None:
        if redis is not None:
            await redis.aclose()
        await channel.close()
        await database.close()

    return App(server, background, close)
