"""Puts the ingest service together, for `python -m services.ingest` and for tests."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime

from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.ingest.v1 import ingest_service_pb2, storage_service_pb2
from servemark.ingest.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from servemark.ingest.v1.storage_service_pb2_grpc import add_StorageServiceServicer_to_server
from servemark.runtime.app import App
from servemark.runtime.cache.bumps import Bumps
from servemark.runtime.cache.wiring import open_cache
from servemark.runtime.channels import call_options, open_channel
from servemark.runtime.database import Database, translate_database_error
from servemark.runtime.events.keeper import OutboxKeeper
from servemark.runtime.events.metrics import RelayMetrics
from servemark.runtime.events.relay import OutboxRelay
from servemark.runtime.ids import uuid7
from servemark.runtime.redis_connections import open_event_redis
from servemark.runtime.server import ServiceServer
from services.ingest import hypertable
from services.ingest.archive.archiver import Archiver
from services.ingest.archive.objects import open_objects
from services.ingest.archive.records import translate_archive_error
from services.ingest.cached import CachedReads
from services.ingest.catalog import CatalogClient
from services.ingest.engine import IngestEngine
from services.ingest.events import TOPIC, results_stored, tags_of
from services.ingest.failpoints import Failpoints
from services.ingest.flow import MemoryGate
from services.ingest.hypertable import Hypertable
from services.ingest.maintenance import StorageKeeper
from services.ingest.partitions import NativePartitions
from services.ingest.recall import Recall
from services.ingest.recorded_profile import RecordedProfile
from services.ingest.rollup import RollUp
from services.ingest.servicer import IngestServicer
from services.ingest.servicer_storage import StorageServicer
from services.ingest.settings import IngestSettings
from services.ingest.store_append import AppendStore
from services.ingest.store_archive import ArchiveStore
from services.ingest.store_daily import DailyStore
from services.ingest.store_days import DayStore
from services.ingest.store_marks import MarkStore
from services.ingest.store_regressions import RegressionStore
from services.ingest.store_rejections import RejectionStore
from services.ingest.store_results import ResultStore
from services.ingest.store_series import SeriesStore
from services.ingest.store_streams import StreamStore
from services.ingest.store_summaries import SummaryStore
from services.ingest.store_summaries_roll_up import SummaryRollUp

SERVICE_NAMES = (
    ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name,
    storage_service_pb2.DESCRIPTOR.services_by_name["StorageService"].full_name,
)


async def create(settings: IngestSettings) -> App:
    """The service on its own pool of connections. Nothing is bound or started yet."""
    database = Database(
        settings.database_url.get_secret_value(), "ingest", pool_size=settings.database_pool_size
    )
    profile = RecordedProfile(
        database,
        [
            NativePartitions(database, _today),
            *(Hypertable(name, database) for name in hypertable.NAMES),
        ],
    )
    failpoints = Failpoints(settings.failpoints)
    channel = open_channel(settings, "catalog")
    streams = StreamStore(database)
    daily = DailyStore(database)
    engine = IngestEngine(
        streams,
        AppendStore(database, profile.targets, results_stored, failpoints),
        profile,
        CatalogClient(CatalogServiceStub(channel), lambda: call_options(settings)),
        MemoryGate(settings.max_bytes_in_flight),
        retention_days=settings.retention_days,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    server = ServiceServer(
        settings,
        "ingest",
        SERVICE_NAMES,
        ready=profile.recorded,
        translators=[translate_archive_error, translate_database_error],
    )
    cache = open_cache(settings, server.registry, outbox_of="ingest")
    add_IngestServiceServicer_to_server(
        IngestServicer(
            engine,
            streams,
            ResultStore(database, _today),
            SummaryStore(database, _today),
            SeriesStore(database),
            RegressionStore(database),
            daily,
            RejectionStore(database),
            CachedReads(cache),
        ),
        server.grpc,
    )
    days, archive = DayStore(database), ArchiveStore(database)
    archiver = None
    if settings.archive_url:
        archiver = Archiver(
            open_objects(settings.archive_url),
            archive,
            days,
            profile,
            now=_now,
            new_id=uuid7,
            failpoints=failpoints,
        )
    keeper = StorageKeeper(
        days,
        archive,
        profile,
        archiver,
        retention_days=settings.retention_days,
        interval=settings.maintenance_seconds,
        now=_now,
        failpoints=failpoints,
    )
    add_StorageServiceServicer_to_server(
        StorageServicer(keeper, Recall(archive, archiver, _now), archive), server.grpc
    )
    background: list[Callable[[], Awaitable[None]]] = [
        profile.run,
        RollUp(
            MarkStore(database).newest,
            daily.roll_up,
            SummaryRollUp(database, _today).roll_up,
            interval=settings.roll_up_seconds,
        ).run,
        keeper.run,
        cache.run,
    ]
    closing: list[Callable[[], Awaitable[object]]] = [
        cache.close,
        channel.close,
        database.close,
    ]
    if archiver is not None:
        closing.append(archiver.close)
    if settings.redis_url is not None:
        redis = open_event_redis(settings.redis_url.get_secret_value())
        metrics = RelayMetrics(server.registry)
        background.append(OutboxRelay(database, redis, metrics, bump=Bumps(redis, tags_of)).run)
        background.append(OutboxKeeper(database, redis, [TOPIC], metrics).run)
        closing.insert(0, redis.aclose)
    return App(server, background, closing)


def _now() -> datetime:
    return datetime.now(UTC)


def _today() -> date:
    return _now().date()
