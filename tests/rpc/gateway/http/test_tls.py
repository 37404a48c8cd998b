"""TLS at the front and between services, with certificates of a CA made for the test."""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servemark.runtime.channels import open_channel
from servemark.runtime.settings import ServiceSettings
from servemark.runtime.tls import Tls, TlsFiles, TlsFilesError
from services.gateway.app import create
from tests.rpc.gateway.stand import settings_for
from tests.support.certificates import Certificates

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def ours(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "theirs")


@asynccontextmanager
async def gateway(**settings: Any) -> AsyncIterator[tuple[str, str]]:
    """The addresses of a running gateway, gRPC and HTTP. It needs nothing behind it."""
    app = await create(settings_for(NOWHERE, **settings))
    await app.server.start()
    (web,) = app.server.beside
    try:
        yield f"127.0.0.1:{app.server.port}", f"https://127.0.0.1:{web.port}"  # type: ignore[attr-defined]
    finally:
        await app.server.stop(0)
        await app.close()


async def health(channel: grpc.aio.Channel) -> bool:
    """Whether a server answers at all."""
    async with channel:
        try:
            await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=5
            )
        except grpc.aio.AioRpcError:
            return False
    return True


async def live(url: str, context: ssl.SSLContext | bool = True) -> bool:
    """Whether the HTTP port answers."""
    async with httpx.AsyncClient(verify=context) as client:
        try:
            return (await client.get(f"{url}/healthz")).status_code == 200
        except httpx.TransportError:
            return False


async def test_the_front_speaks_tls_and_nothing_else(
    ours: Certificates, theirs: Certificates
) -> None:
    cert, key = ours.issue("front")
    async with gateway(tls_cert=cert, tls_key=key) as (target, url):
        assert await health(grpc.aio.secure_channel(target, ours.credentials()))
        assert not await health(grpc.aio.insecure_channel(target))
        assert not await health(grpc.aio.secure_channel(target, theirs.credentials()))
        assert await live(url, ours.context())
        assert not await live(url.replace("https", "http"))
        assert not await live(url, theirs.context())
        async with httpx.AsyncClient(verify=ours.context()) as client:
            answer = await client.get(f"{url}/healthz")
        assert "strict-transport-security" in answer.headers


async def test_where_a_client_ca_is_set_callers_need_a_certificate_of_it(
    ours: Certificates, theirs: Certificates
) -> None:
    cert, key = ours.issue("front")
    ours.issue("caller")
    theirs.issue("caller")
    foreign = ours.context()
    foreign.load_cert_chain(theirs.folder / "caller.pem", theirs.folder / "caller.key")
    async with gateway(tls_cert=cert, tls_key=key, tls_client_ca=ours.ca_file) as (target, url):
        assert await health(grpc.aio.secure_channel(target, ours.credentials("caller")))
        assert not await health(grpc.aio.secure_channel(target, ours.credentials()))
        assert await live(url, ours.context("caller"))
        assert not await live(url, ours.context())
        assert not await live(url, foreign)


async def test_a_renewed_certificate_is_served_without_a_restart(
    ours: Certificates, theirs: Certificates
) -> None:
    cert, key = ours.issue("front")
    new_cert, new_key = theirs.issue("front")
    async with gateway(tls_cert=cert, tls_key=key) as (target, url):
        assert await live(url, ours.context())
        # Half of it in place: the one before stays.
        os.replace(new_cert, cert)
        assert await live(url, ours.context())
        assert await health(grpc.aio.secure_channel(target, ours.credentials()))
        os.replace(new_key, key)
        assert await live(url, theirs.context())
        assert not await live(url, ours.context())
        assert await health(grpc.aio.secure_channel(target, theirs.credentials()))
        assert not await health(grpc.aio.secure_channel(target, ours.credentials()))


async def test_services_call_each_other_over_mutual_tls_with_renewed_certificates(
    ours: Certificates, theirs: Certificates
) -> None:
    cert, key = ours.issue("server")
    peer_cert, peer_key = theirs.issue("peer")
    async with gateway(tls_cert=cert, tls_key=key, tls_client_ca=ours.ca_file) as (target, _):
        settings = ServiceSettings(
            database_url=NOWHERE,  # type: ignore[arg-type]
            catalog_target=target,
            peer_tls_ca=ours.ca_file,
            peer_tls_cert=peer_cert,
            peer_tls_key=peer_key,
        )
        channel = open_channel(settings, "catalog")
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Check(request, timeout=5)
        for made, path in zip(ours.issue("peer"), (peer_cert, peer_key), strict=True):
            os.replace(made, path)
        assert (await stub.Check(request, timeout=5)).status
        await channel.close()
        bare = settings.model_copy(update={"peer_tls_cert": None, "peer_tls_key": None})
        assert not await health(open_channel(bare, "catalog"))


def test_files_that_do_not_fit_are_named_at_the_start(
    ours: Certificates, theirs: Certificates
) -> None:
    cert, _ = ours.issue("a")
    _, key = theirs.issue("a")
    for files in (TlsFiles(cert, key, None), TlsFiles(cert, ours.folder / "none", None)):
        with pytest.raises(TlsFilesError, match="TLS files cannot be used"):
            Tls(files, server=True)


@pytest.mark.parametrize(
    "half", [{"tls_cert": "a"}, {"tls_client_ca": "a"}, {"peer_tls_cert": "a", "peer_tls_key": "b"}]
)
def test_half_of_the_tls_settings_is_a_sentence(half: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"SERVEMARK_(PEER_)?TLS_"):
        settings_for(NOWHERE, **half)


async def test_beyond_loopback_a_port_without_tls_is_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "i" * 32
    async with gateway(bind_host="0.0.0.0", internal_token=secret):
        pass
    said = capsys.readouterr().out
    assert "SERVEMARK_TLS_CERT" in said
    assert secret not in said
