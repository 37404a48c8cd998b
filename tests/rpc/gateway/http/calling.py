"""Calls over HTTP as scripts make them."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.rpc.gateway.stand import Stand

INGEST = "/servemark.ingest.v1.IngestService"
ADMIN = "/servemark.gateway.v1.AdminService"
RANKING = "/servemark.ranking.v1.RankingService"


@asynccontextmanager
async def http_client(stand: Stand, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the stand's HTTP port, with a key or without one."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=stand.http, headers=headers, timeout=20) as client:
        yield client


def info_of(answer: httpx.Response) -> dict[str, Any]:
    """The ErrorInfo in an error."""
    return next(
        detail["debug"]
        for detail in answer.json()["details"]
        if detail["type"] == "google.rpc.ErrorInfo"
    )


def bytes_of(value: str) -> bytes:
    """What Connect wrote in base64 without padding."""
    return base64.b64decode(value + "=" * (-len(value) % 4))
