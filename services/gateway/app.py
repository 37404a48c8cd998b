"""Puts the gateway together. Read top to bottom, it says what it is made of."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from servemark.catalog.v1 import catalog_service_pb2
from servemark.events.v1 import event_service_pb2
from servemark.gateway.v1 import admin_service_pb2, admin_service_pb2_grpc
from servemark.ingest.v1 import ingest_service_pb2, storage_service_pb2
from servemark.ranking.v1 import ranking_service_pb2
from servemark.runtime.app import App
from servemark.runtime.channels import open_channel
from servemark.runtime.database import Database, translate_database_error
from servemark.runtime.server import ServiceServer
from servemark.runtime.settings import ServiceName
from services.gateway.admission import Admission
from services.gateway.daily_use import DailyUse
from services.gateway.forward import Forwarder
from services.gateway.grants import (
    ADMIN_SERVICE,
    CATALOG_SERVICE,
    EVENT_SERVICE,
    INGEST_SERVICE,
    RANKING_SERVICE,
    STORAGE_SERVICE,
)
from services.gateway.http.anonymous import anonymous_reader
from services.gateway.http.connect import Connect
from services.gateway.http.here import Here
from services.gateway.http.methods import Methods
from services.gateway.http.page import Page
from services.gateway.http.routes import site
from services.gateway.http.server import HttpServer
from services.gateway.http.session import session_routes
from services.gateway.http.status import status_routes
from services.gateway.jwks import KeySet
from services.gateway.keys import KeyChecker
from services.gateway.limits import LimitMetrics, Limits
from services.gateway.lookup import KeyLookup
from services.gateway.motion import StreamTimes
from services.gateway.servicer import AdminServicer
from services.gateway.settings import GatewaySettings
from services.gateway.store import KeyStore
from services.gateway.store_audit import AuditStore
from services.gateway.store_organizations import OrganizationStore
from services.gateway.store_settings import SettingStore
from services.gateway.store_use import UseStore
from services.gateway.store_users import UserStore
from services.gateway.tokens import IssuerTokens
from services.gateway.upstream import Upstream
from services.gateway.usage import UsageRecorder

SERVICES_BEHIND: Mapping[str, ServiceName] = {
    CATALOG_SERVICE: "catalog",
    INGEST_SERVICE: "ingest",
    STORAGE_SERVICE: "ingest",
    RANKING_SERVICE: "ranking",
    EVENT_SERVICE: "ranking",
}
# Their descriptors have to be in the pool: the forwarder and reflection read them there.
_CONTRACT = (
    admin_service_pb2,
    catalog_service_pb2,
    event_service_pb2,
    ingest_service_pb2,
    ranking_service_pb2,
    storage_service_pb2,
)


async def create(settings: GatewaySettings) -> App:
    """The gateway, not yet serving. Neither Postgres nor the services behind need be up."""
    pepper = settings.key_pepper.get_secret_value()
    token = settings.internal_token
    database = Database(
        settings.database_url.get_secret_value(), "gateway", pool_size=settings.database_pool_size
    )
    store = KeyStore(database)
    lookup = KeyLookup(store.find)
    users = UserStore(database)
    user_lookup = KeyLookup(users.find)
    key_set = KeySet(settings.oidc_jwks_url) if settings.oidc_jwks_url else None
    tokens = None
    if key_set is not None:
        tokens = IssuerTokens(settings.oidc_issuer, settings.oidc_audience, key_set, user_lookup)
    keys = KeyChecker(pepper, lookup, tokens)
    usage = UsageRecorder(store.record_use)
    use_store = UseStore(database)
    daily = DailyUse(use_store.load, use_store.add, use_store.forget)
    metrics = LimitMetrics()
    limits = Limits(settings.key_limits, daily, metrics)
    upstreams = [
        Upstream(
            name,
            partial(open_channel, settings, service, shared=False),
            workers=settings.workers_of(service),
        )
        for name, service in SERVICES_BEHIND.items()
    ]
    server = ServiceServer(
        settings,
        "gateway",
        (ADMIN_SERVICE, *SERVICES_BEHIND),
        ready=lambda: readiness(database, upstreams),
        translators=(translate_database_error,),
        admit=Admission(keys, usage, limits),
    )
    metrics.show_in(server.registry)
    admin = AdminServicer(
        store,
        OrganizationStore(database),
        users,
        SettingStore(database),
        AuditStore(database),
        keys,
        pepper,
        settings.key_limits,
    )
    forwarder = Forwarder(
        upstreams,
        still_good=keys.still_good,
        limits=limits,
        times=StreamTimes(settings.stream_idle_seconds, settings.stream_stall_seconds),
        internal_token=None if token is None else token.get_secret_value(),
    )
    methods = Methods()
    ports: tuple[Any, ...] = (server.grpc, methods)
    for port in ports:
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(admin, port)
        port.add_generic_rpc_handlers((forwarder,))
    here = Here(settings.http_hosts, settings.http_cors_origins)
    connect = Connect(server.calls, methods, anonymous_reader(settings, here))
    routes = [*status_routes(lambda: server.serving), *Page().routes(), *session_routes(keys)]
    web = site(connect, routes, settings.http_cors_origins)
    server.beside.append(HttpServer(web, settings.bind_host, settings.http_port, server.tls))
    return App(
        server,
        [usage.run, daily.run, *(upstream.cover for upstream in upstreams if upstream.workers > 1)],
        [
            usage.write,
            daily.write,
            lookup.close,
            user_lookup.close,
            *([key_set.close] if key_set else []),
            *(upstream.close for upstream in upstreams),
            database.close,
        ],
    )


async def readiness(database: Database, upstreams: Sequence[Upstream]) -> dict[str, bool]:
    """Which services can be called through here now; "" is all of them.

    Every call needs Postgres, where the keys are; a forwarded one its service, too.
    """
    postgres, *behind = await asyncio.gather(
        _answers(database), *(upstream.serving() for upstream in upstreams)
    )
    states = {ADMIN_SERVICE: postgres}
    for upstream, serving in zip(upstreams, behind, strict=True):
        states[upstream.name] = postgres and serving
    return {**states, "": all(states.values())}


async def _answers(database: Database) -> bool:
    try:
        async with asyncio.timeout(1.0):
            return await database.ready()
    except Exception:
        return False
