"""A gateway as in production, in this process: real Postgres, real sockets, a server behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import grpc
from google.rpc import error_details_pb2, status_pb2

from servemark.gateway.v1 import admin_service_pb2_grpc
from servemark.ingest.v1 import ingest_service_pb2_grpc
from servemark.runtime.app import App
from servemark.runtime.database import Database
from servemark.runtime.ending import end_tasks
from servemark.runtime.settings import ServiceSettings
from services.gateway.app import create
from services.gateway.http.server import HttpServer
from services.gateway.key_limits import OwnLimits
from services.gateway.keys import create_key_row
from services.gateway.settings import GatewaySettings
from services.gateway.store import KeyStore
from services.gateway.tables import DEFAULT_ORGANIZATION_ID
from tests.rpc.gateway.behind import Behind

PEPPER = "a pepper for tests, long enough to be one"
Pairs = tuple[tuple[str, str], ...]


def settings_for(dsn: str, **more: Any) -> GatewaySettings:
    """Settings for free ports and no metrics."""
    values: dict[str, Any] = {
        "database_url": dsn,
        "key_pepper": PEPPER,
        "port_base": 0,
        "metrics_port": 0,
        "http_port": 0,
        "shutdown_grace_seconds": 1.0,
        **more,
    }
    return GatewaySettings(**values)


def auth(key: str) -> Pairs:
    """The metadata a caller sends."""
    return (("authorization", f"Bearer {key}"),)


@dataclass
class Stand:
    """A running gateway and what a test needs of it."""

    app: App
    behind: Behind
    store: KeyStore
    database: Database
    settings: GatewaySettings
    channel: grpc.aio.Channel

    @property
    def target(self) -> str:
        """Address of the gateway."""
        return f"127.0.0.1:{self.app.server.port}"

    @property
    def http(self) -> str:
        """Address of the gateway's HTTP port."""
        (web,) = self.app.server.beside
        assert isinstance(web, HttpServer)
        return f"http://127.0.0.1:{web.port}"

    @property
    def ingest(self) -> Any:
        """A stub of the service behind, through the gateway."""
        return ingest_service_pb2_grpc.IngestServiceStub(self.channel)

    @property
    def admin(self) -> Any:
        """A stub of the gateway's own service."""
        return admin_service_pb2_grpc.AdminServiceStub(self.channel)

    async def key(
        self,
        *scopes: str,
        name: str = "a test",
        expires_at: datetime | None = None,
        organization_id: UUID = DEFAULT_ORGANIZATION_ID,
        publishes: bool | None = None,
        **limits: float,
    ) -> str:
        """A new key, straight from the database; `limits` are those it has of its own."""
        _, text = await create_key_row(
            self.store,
            PEPPER,
            organization_id=organization_id,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            created_by="tests",
            publishes=publishes,
            limits=OwnLimits(**limits),  # type: ignore[arg-type]
        )
        return text


@asynccontextmanager
async def running(dsn: str, **more: Any) -> AsyncIterator[Stand]:
    """A gateway over one server behind it; `more` are settings of the gateway."""
    plain = ServiceSettings(database_url=dsn, port_base=0, metrics_port=0)  # type: ignore[arg-type]
    behind = Behind(plain)
    await behind.server.start()
    address = f"127.0.0.1:{behind.server.port}"
    targets = {f"{name}_target": address for name in ("catalog", "ingest", "ranking")}
    settings = settings_for(dsn, **{**targets, **more})
    app = await create(settings)
    await app.server.start()
    tasks = [asyncio.ensure_future(work()) for work in app.background]
    database = Database(dsn, "gateway", pool_size=2)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}", options=options)
    try:
        yield Stand(app, behind, KeyStore(database), database, settings, channel)
    finally:
        await channel.close()
        await end_tasks(tasks)
        await app.server.stop(0)
        await app.close()
        await behind.server.stop(0)
        await database.close()


@dataclass(frozen=True)
class Refusal:
    """An error as a caller sees it."""

    code: grpc.StatusCode
    text: str
    reason: str
    metadata: dict[str, str]
    fields: tuple[str, ...]
    retry_seconds: float | None
    quota: tuple[tuple[str, str], ...]
    raw: bytes


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """The error's status and details."""
    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(raw, bytes)
    status = status_pb2.Status.FromString(raw)
    info, bad, retry, quota = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.QuotaFailure(),
    )
    seconds = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        detail.Unpack(quota)
        if detail.Unpack(retry):
            seconds = retry.retry_delay.ToTimedelta().total_seconds()
    return Refusal(
        error.code(),
        error.details() or "",
        info.reason,
        dict(info.metadata),
        tuple(violation.field for violation in bad.field_violations),
        seconds,
        tuple((violation.subject, violation.description) for violation in quota.violations),
        raw,
    )


async def refused(call: Any) -> Refusal:
    """The refusal a call must end with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    raise AssertionError(f"the call was answered: {answer!r}")
