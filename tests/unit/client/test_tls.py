"""A key and results go to the server that they are meant for, and nobody between reads them."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from servemark.catalog.v1.use_case_pb2 import ListUseCasesResponse
from servemark.client.address import AddressError, PlaintextKeyError
from servemark.client.async_channel import connect_async
from servemark.client.channel import connect
from servemark.client.errors import ServemarkCallError
from servemark.client.push import push
from servemark.client.spool import Spool
from tests.support.answering_server import AnsweringServer, answering_server
from tests.support.certificates import Certificates
from tests.unit.client.serving import Served
from tests.unit.client.test_runner_stream import CONFIG


@pytest.fixture
def ours(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "theirs")


@pytest.fixture
def server(ours: Certificates) -> Iterator[AnsweringServer]:
    answer = ListUseCasesResponse()
    with answering_server(ours.server_credentials(), ListUseCases=answer) as made:
        yield made


@pytest.fixture
def secured(ours: Certificates, tmp_path: Path) -> Iterator[Served]:
    """The stand-in for ingest behind TLS, not started."""
    made = Served(tmp_path / "state", ours.server_credentials())
    yield made
    made.stop()


@pytest.mark.parametrize("scheme", ["https://", "grpcs://", ""])
async def test_a_key_goes_over_tls_to_a_server_of_the_ca(
    server: AnsweringServer, ours: Certificates, scheme: str
) -> None:
    target = f"{scheme}{server.target}"
    with connect(target, key="k", ca=ours.ca_file) as client:
        client.ping()
        assert client.target == f"https://{server.target}"
    async with connect_async(target, key="k", ca=ours.ca_file) as other:
        await other.ping()
    assert [sent["authorization"] for _, _, sent in server.asked] == ["Bearer k", "Bearer k"]


def test_the_ca_may_come_from_the_environment(
    server: AnsweringServer, ours: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEMARK_TLS_CA", str(ours.ca_file))
    monkeypatch.setenv("SERVEMARK_TARGET", server.target)
    with connect(key="k") as client:
        client.ping()


def test_without_a_ca_those_that_the_machine_trusts_count(
    server: AnsweringServer, ours: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"https://{server.target}"
    with connect(target, key="k") as client, pytest.raises(ServemarkCallError) as refused:
        client.ping()
    assert refused.value.is_untrusted
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.ca_file))
    with connect(target, key="k") as client:
        client.ping()


def test_a_server_of_another_ca_gets_neither_key_nor_results_and_is_said_at_once(
    secured: Served, theirs: Certificates, tmp_path: Path
) -> None:
    protocol = secured.start()
    target = f"https://127.0.0.1:{secured.port}"
    with connect(target, key="k", ca=theirs.ca_file) as client:
        results = client.stream(tool="mine", provenance="measured")
        results.add_result(CONFIG, ttft_p50_ms=40.0)
        # Waiting out the idle timeout, a minute, would end in another error.
        with pytest.raises(ServemarkCallError, match="SERVEMARK_TLS_CA names the CA"):
            results.close()
    assert protocol.result_count() == 0


def test_a_certificate_for_another_host_is_refused(
    server: AnsweringServer, ours: Certificates, tmp_path: Path
) -> None:
    made = ours.ca.issue_cert("elsewhere.example")
    chain = b"".join(pem.bytes() for pem in made.cert_chain_pems)
    wrong = grpc.ssl_server_credentials([(made.private_key_pem.bytes(), chain)])
    with answering_server(wrong, ListUseCases=ListUseCasesResponse()) as impostor:
        target = f"https://{impostor.target}"
        with (
            connect(target, key="k", ca=ours.ca_file) as client,
            pytest.raises(ServemarkCallError, match="cannot be trusted"),
        ):
            client.ping()
        assert not impostor.asked


async def test_results_are_streamed_over_tls_and_pushed_from_a_spool(
    secured: Served, ours: Certificates, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    protocol = secured.start()
    target = f"https://127.0.0.1:{secured.port}"
    secured.stop()
    with (
        connect(target, key="k", ca=ours.ca_file) as client,
        client.stream(
            tool="mine", provenance="measured", spool=spool, idle_timeout=0.05
        ) as results,
    ):
        results.add_result(CONFIG, ttft_p50_ms=40.0)
        assert results.close().spooled == 1
    protocol = secured.start()
    with connect(target, key="k", ca=ours.ca_file) as client:
        assert push(client, spool.paths()).stored == 1
    async with (
        connect_async(target, key="k", ca=ours.ca_file) as other,
        other.stream(tool="mine", provenance="measured") as streamed,
    ):
        await streamed.add_result(CONFIG, ttft_p50_ms=41.0)
        await streamed.close()
    assert protocol.result_count() == 2


def test_a_gateway_that_asks_for_a_certificate_is_shown_ours(
    ours: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = ours.issue("server")
    asking = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], ours.ca_file.read_bytes(), True
    )
    with answering_server(asking, ListUseCases=ListUseCasesResponse()) as server:
        with (
            connect(f"https://{server.target}", ca=ours.ca_file) as client,
            pytest.raises(ServemarkCallError),
        ):
            client.ping()
        shown, its_key = ours.issue("runner")
        monkeypatch.setenv("SERVEMARK_CLIENT_CERT", str(shown))
        with pytest.raises(AddressError, match="go together"):
            connect(f"https://{server.target}", ca=ours.ca_file)
        monkeypatch.setenv("SERVEMARK_CLIENT_KEY", str(its_key))
        with connect(f"https://{server.target}", ca=ours.ca_file) as client:
            client.ping()


@pytest.mark.parametrize(
    "target", ["10.1.2.3:50050", "http://gateway.example", "grpc://gateway.example", "0.0.0.0:1"]
)
async def test_a_key_does_not_leave_the_machine_unencrypted_unless_told_to(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for make in (connect, connect_async):
        with pytest.raises(PlaintextKeyError, match="SERVEMARK_ALLOW_PLAINTEXT_KEY=true") as caught:
            make(target, key="sm_1_secret")
        assert "secret" not in str(caught.value)
    # There is nothing to read without a key.
    connect(target).close()
    connect(target, key="k", allow_plaintext_key=True).close()
    monkeypatch.setenv("SERVEMARK_ALLOW_PLAINTEXT_KEY", "true")
    await connect_async(target, key="k").close()


@pytest.mark.parametrize(
    "target", ["127.0.0.1:1", "localhost:1", "[::1]:1", "http://127.8.8.8:1", "unix:/run/gateway"]
)
def test_on_this_machine_a_key_needs_no_encryption(target: str) -> None:
    connect(target, key="k").close()


def test_a_proxy_of_the_environment_never_sees_what_is_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering_server(ListUseCases=ListUseCasesResponse()) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.delenv("no_proxy", raising=False)
        with connect(server.target, key="k") as client:
            client.ping()


@pytest.mark.parametrize(
    "target",
    ["https://", "https://h/path", "https://h?q", "https://u@h", "https://h:99999", "ftp://h:1"],
)
def test_what_is_no_target_is_said(target: str) -> None:
    with pytest.raises(AddressError, match="is no target"):
        connect(target, key="k")


def test_what_is_no_certificate_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "absent.pem"):
        with pytest.raises(AddressError, match=name):
            connect("https://h", ca=tmp_path / name)
