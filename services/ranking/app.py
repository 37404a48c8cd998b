"""Puts the ranking service together. Read top to bottom, it says what it is made of."""

import os
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from servemark.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from servemark.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from servemark.ranking.v1 import ranking_service_pb2, ranking_service_pb2_grpc
from servemark.runtime.app import App
from servemark.runtime.cache.wiring import open_cache
from servemark.runtime.channels import open_channel
from servemark.runtime.database import Database, translate_database_error
from servemark.runtime.events.consumer import EventConsumer
from servemark.runtime.process import keep_freed_memory, take_short_turns
from servemark.runtime.server import ServiceServer
from services.ranking.cached import CachedRecommendations
from services.ranking.consumer import TOPICS, Follower
from services.ranking.generations import Generations
from services.ranking.inputs import InputReader
from services.ranking.model_use_cases import ModelUseCases
from services.ranking.refresh import Refresher
from services.ranking.servicer import RankingServicer
from services.ranking.settings import RankingSettings
from services.ranking.store_events import EventStore
from services.ranking.store_matrix import MatrixStore
from services.ranking.store_rankings import RankingStore

SERVICE = ranking_service_pb2.DESCRIPTOR.services_by_name["RankingService"].full_name
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
        (SERVICE,),
        ready=database.ready,
        translators=(translate_database_error,),
    )
    cache = open_cache(settings, server.registry)
    ranking_service_pb2_grpc.add_RankingServiceServicer_to_server(
        RankingServicer(refresher, generations, CachedRecommendations(cache)), server.grpc
    )
    redis = _redis(settings)
    follower = Follower(refresher, generations, EventStore(database), redis, settings)
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
        background.append(EventConsumer(redis, GROUP, member, TOPICS, follower.handle).run)
        closing.append(redis.aclose)
    return App(server, background, [*closing, catalog.close, ingest.close, database.close])


def _redis(settings: RankingSettings) -> Redis | None:
    """The connection events come through; a Redis that hangs is given up on, and tried again."""
    if settings.redis_url is None:
        return None
    return Redis.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=5.0, socket_connect_timeout=1.0
    )
