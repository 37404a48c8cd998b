"""Puts the ranking service together. Read top to bottom, it says what it is made of."""

import os
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.events.v1 import event_service_pb2, event_service_pb2_grpc
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ranking.v1 import ranking_service_pb2, ranking_service_pb2_grpc
from servemark.runtime.app import App
from servemark.runtime.cache.wiring import open_cache
from servemark.runtime.channels import open_channel
from servemark.runtime.database import Database, translate_database_error
from servemark.runtime.events.consumer import BLOCK_SECONDS, EventConsumer
from servemark.runtime.events.inbox import Inbox
from servemark.runtime.events.metrics import ConsumerMetrics
from servemark.runtime.process import keep_freed_memory, take_short_turns
from servemark.runtime.redis_connections import open_event_redis
from servemark.runtime.server import ServiceServer
from services.ranking.cached import CachedRecommendations
from services.ranking.consumer import TOPICS, Follower
from services.ranking.generations import Generations
from services.ranking.inputs import InputReader
from services.ranking.model_use_cases import ModelUseCases
from services.ranking.refresh import Refresher
from services.ranking.servicer import RankingServicer
from services.ranking.servicer_events import EventServicer
from services.ranking.settings import RankingSettings
from services.ranking.store_changes import ChangeStore
from services.ranking.store_matrix import MatrixStore
from services.ranking.store_rankings import RankingStore

SERVICE = ranking_service_pb2.DESCRIPTOR.services_by_name["RankingService"].full_name
EVENT_SERVICE = event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name
GROUP = "ranking"


async def create(settings: RankingSettings) -> App:
    """The service, not yet serving. Neither Postgres, Redis nor the other services need be up."""
    keep_freed_memory()
    take_short_turns()
    database = Database(
        settings.database_url.get_secret_value(), "ranking", pool_size=settings.database_pool_size
    )
    catalog, ingest = open_channel(settings, "catalog"), open_channel(settings, "ingest")
    catalog_stub = CatalogServiceStub(catalog)
    refresher = Refresher(
        MatrixStore(database),
        InputReader(catalog_stub, IngestServiceStub(ingest), settings),
        now_us=lambda: time.time_ns() // 1000,
        minimum_candidates=settings.ranking_reference_candidates,
    )
    rankings = RankingStore(database)
    generations = Generations(
        rankings,
        ttl=timedelta(seconds=settings.ranking_ttl_seconds),
        now=lambda: datetime.now(UTC),
    )
    server = ServiceServer(
        settings,
        "ranking",
        (SERVICE, EVENT_SERVICE),
        ready=database.ready,
        translators=(translate_database_error,),
    )
    cache = open_cache(settings, server.registry)
    ranking_service_pb2_grpc.add_RankingServiceServicer_to_server(
        RankingServicer(refresher, generations, CachedRecommendations(cache)), server.grpc
    )
    inbox = Inbox(database)
    redis = None
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        redis = open_event_redis(url, blocking_seconds=BLOCK_SECONDS)
    follower = Follower(refresher, generations, ChangeStore(database), inbox, redis, settings)
    event_service_pb2_grpc.add_EventServiceServicer_to_server(
        EventServicer(inbox, follower.handle, redis, TOPICS, committed=follower.wake), server.grpc
    )
    model_use_cases = ModelUseCases(refresher, rankings, catalog_stub, settings)
    background: list[Callable[[], Awaitable[None]]] = [
        follower.run,
        follower.watch,
        model_use_cases.run,
        cache.run,
    ]
    closing: list[Callable[[], Awaitable[object]]] = [cache.close, refresher.close]
    if redis is not None:
        member = f"{socket.gethostname()}-{os.getpid()}"
        metrics = ConsumerMetrics(server.registry)
        consumer = EventConsumer(
            redis,
            GROUP,
            member,
            TOPICS,
            inbox,
            follower.handle,
            metrics,
            committed=follower.wake,
        )
        background.append(consumer.run)
        closing.append(redis.aclose)
    return App(server, background, [*closing, catalog.close, ingest.close, database.close])
