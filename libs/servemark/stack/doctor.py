"""What `servemark doctor` finds: the servers, the schemas, the services, and what is missing."""

import asyncio
import json
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis

from servemark.runtime.probe import is_serving
from servemark.runtime.settings import SERVICES, ServiceSettings
from servemark.stack.doctor_storage import storage, timescaledb
from servemark.stack.files import DataDir

OLDEST_POSTGRES = 160_000


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, what was found, whether it is right."""

    subject: str
    state: str  # ok | missing | wrong
    text: str


def addresses(data: DataDir) -> tuple[str, str, str]:
    """Database and Redis address, "" where there is none, and where they come from."""
    database = os.environ.get("SERVEMARK_DATABASE_URL", "")
    redis = os.environ.get("SERVEMARK_REDIS_URL", "")
    if database or redis:
        return database, redis, "environment"
    try:
        running = json.loads(data.pid_file.read_text())
        os.kill(running["pid"], 0)
    except (OSError, ValueError, KeyError):
        return "", "", "nothing runs"
    return running["database_url"], running["redis_url"], f"servemark up, process {running['pid']}"


async def _postgres(url: str) -> list[Finding]:
    try:
        connection = await asyncpg.connect(url, timeout=3)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Finding("PostgreSQL", "wrong", f"does not answer: {type(error).__name__}")]
    try:
        number = int(await connection.fetchval("SHOW server_version_num"))
        version = await connection.fetchval("SHOW server_version")
        where = f"port {await connection.fetchval('SELECT inet_server_port()')}"
        found = [
            Finding("PostgreSQL", "ok", f"{version} on {where}")
            if number >= OLDEST_POSTGRES
            else Finding("PostgreSQL", "wrong", f"{version} is too old; 16 or newer is needed")
        ]
        found.append(Finding("TimescaleDB", "ok", await timescaledb(connection)))
        found += await _schemas(connection)
        stored = await storage(connection)
        if stored is not None:
            found.append(Finding("storage", *stored))
        return found
    finally:
        await connection.close()


async def _schemas(connection: Any) -> list[Finding]:
    from migrations.runner import SCHEMAS, head

    found = []
    for schema in SCHEMAS:
        if await connection.fetchval("SELECT to_regclass($1)", f"{schema}.alembic_version") is None:
            found.append(
                Finding(f"schema {schema}", "missing", "not there: run `servemark migrate`")
            )
            continue
        at = await connection.fetchval(f"SELECT version_num FROM {schema}.alembic_version")  # noqa: S608
        newest = head(schema)
        found.append(
            Finding(f"schema {schema}", "ok", f"at {at}, the newest")
            if at == newest
            else Finding(f"schema {schema}", "wrong", f"at {at}, not {newest}: `servemark migrate`")
        )
    return found


async def _redis(url: str) -> list[Finding]:
    client = Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        info: Any = await client.info()
    except Exception as error:
        return [Finding("Redis", "wrong", f"does not answer: {type(error).__name__}")]
    finally:
        await client.aclose()
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info.get("redis_version"))
    policy = info.get("maxmemory_policy", "unknown")
    if policy not in ("volatile-lru", "noeviction"):
        text = f"{version}, but maxmemory-policy {policy} would evict events: set volatile-lru"
        return [Finding(name, "wrong", text)]
    return [Finding(name, "ok", f"{version}, {policy}")]


def _http(settings: ServiceSettings) -> Finding:
    """Whether the gateway answers over HTTP, and with what."""
    url = f"{settings.http_url}/readyz"
    try:
        tls = _tls(settings)
        with urllib.request.urlopen(url, timeout=1.0, context=tls) as answer:  # noqa: S310  (our own address)
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        return Finding("HTTP", "missing", f"does not answer on {settings.http_url}")
    ready = "ready" if status == 200 else f"answers, but is not ready (status {status})"
    return Finding("HTTP", "ok" if status == 200 else "missing", f"{ready} on {settings.http_url}")


def _tls(settings: ServiceSettings) -> ssl.SSLContext | None:
    """What it takes to be answered where a service asks for TLS, and maybe for a certificate."""
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(cafile=settings.peer_tls_ca)
    if settings.peer_tls_cert is not None:
        context.load_cert_chain(settings.peer_tls_cert, settings.peer_tls_key)
    return context


def examine(root: Path, settings: ServiceSettings) -> list[Finding]:
    """Everything found, in the order a reader wants it."""
    database, redis, origin = addresses(DataDir(root.resolve()))
    found = [Finding("servers", "ok" if database else "missing", origin)]
    if database:
        found += asyncio.run(_postgres(database))
    else:
        text = "no address: run `servemark up`, or set SERVEMARK_DATABASE_URL"
        found.append(Finding("PostgreSQL", "missing", text))
    if redis:
        found += asyncio.run(_redis(redis))
    else:
        text = "no address: events wait in the database; set SERVEMARK_REDIS_URL"
        found.append(Finding("Redis", "missing", text))
    for service in SERVICES:
        target = settings.target(service)
        serving = is_serving(target, timeout=1.0)
        found.append(
            Finding(service, "ok", f"serving on {target}")
            if serving
            else Finding(service, "missing", f"does not serve on {target}")
        )
    found.append(_http(settings))
    return found
