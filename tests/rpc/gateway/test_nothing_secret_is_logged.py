"""A gateway that talks as much as it can tells no secret of a key, no pepper and no token."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from servemark.gateway.v1 import admin_service_pb2_grpc, api_key_pb2
from servemark.gateway.v1.user_pb2 import ROLE_ADMIN, CreateUserRequest
from servemark.ingest.v1.result_query_pb2 import GetBenchmarkResultRequest
from servemark.ingest.v1.result_stream_pb2 import AppendResultsRequest
from services.gateway.keys import new_key
from services.gateway.store import KeyStore
from tests.rpc.gateway.issuer import Issuer
from tests.rpc.gateway.stand import PEPPER, Stand, auth
from tests.rpc.gateway.test_admission import call, code_of
from tests.rpc.gateway.test_process import environment, four_free_ports, start


async def test_no_secret_pepper_or_token_is_in_the_log_of_a_gateway(
    gateway_database: str, stand: Stand
) -> None:
    base = four_free_ports()
    with Issuer().serving() as issuer:
        oidc = {f"SERVEMARK_{name.upper()}": value for name, value in issuer.settings.items()}
        gateway = await start(
            "services.gateway",
            env=environment(
                gateway_database,
                SERVEMARK_PORT_BASE=str(base),
                SERVEMARK_LOG_LEVEL="debug",
                **oidc,
            ),
        )
        try:
            secret = await _everything_that_takes_a_secret(base, stand, issuer)
        finally:
            gateway.send_signal(signal.SIGTERM)
            out, err = await asyncio.wait_for(gateway.communicate(), 30)
    log = out.decode() + err.decode()
    # What was done is told, so the log was read and had what would have given it away.
    for told in ("CreateApiKey", "RotateApiKey", "KEY_INVALID", "user:"):
        assert told in log
    assert len(secret) > 10
    assert [text for text in secret if text in log] == []


async def _everything_that_takes_a_secret(base: int, stand: Stand, issuer: Issuer) -> list[str]:
    """Calls with keys and tokens, good and bad; what of each must stay unsaid."""
    admin = await stand.key("ADMIN")
    expired = await stand.key("READ", expires_at=datetime.now(UTC) - timedelta(days=1))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{base}") as channel:
        service: Any = admin_service_pb2_grpc.AdminServiceStub(channel)
        made = await service.CreateApiKey(
            api_key_pb2.CreateApiKeyRequest(name="x", scopes=[api_key_pb2.SCOPE_READ]),
            metadata=auth(admin),
            wait_for_ready=True,
            timeout=30,
        )
        rotated = await service.RotateApiKey(
            api_key_pb2.RotateApiKeyRequest(id=made.api_key.id), metadata=auth(admin)
        )
        await service.CreateUser(
            CreateUserRequest(email="a@example.org", role=ROLE_ADMIN, subject="a"),
            metadata=auth(admin),
        )
        credentials = [
            admin,
            expired,
            made.secret,
            rotated.secret,
            new_key()[1],
            f"{made.secret}x",
            issuer.token(sub="a"),
            issuer.token(issuer.ed25519, sub="a"),
            issuer.token(sub="a", exp=1),
            issuer.token(sub="nobody"),
        ]
        requests = {
            "/servemark.gateway.v1.AdminService/ListApiKeys": b"\xff",
            "/servemark.ingest.v1.IngestService/GetBenchmarkResult": (
                GetBenchmarkResultRequest(id="x").SerializeToString()
            ),
            "/servemark.ingest.v1.IngestService/AppendResults": (
                AppendResultsRequest().SerializeToString()
            ),
        }
        for credential in credentials:
            for method, body in requests.items():
                await code_of(call(channel, method, auth(credential), body))
    keys = [text for text in credentials if text.startswith("sm_")]
    tokens = [text for text in credentials if text not in keys]
    # The id of a key is no secret, nor is a token's header.
    parts = [text.rpartition("_")[2] for text in keys]
    parts += [part for text in tokens for part in text.split(".")[1:]]
    ids = {text.split("_")[1] for text in keys}
    hashes = await KeyStore(stand.database).find(sorted(ids))
    return [
        PEPPER,
        *parts,
        *(stored.secret_hmac.hex() for stored in hashes.values()),
    ]
