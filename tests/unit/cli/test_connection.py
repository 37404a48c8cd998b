import json
from pathlib import Path

import pytest

from servemark.catalog.v1.use_case_pb2 import ListUseCasesResponse
from servemark.gateway.v1.api_key_pb2 import ListApiKeysResponse
from tests.support.answering_server import AnsweringServer, answering_server
from tests.support.certificates import Certificates
from tests.support.command import Run


def key_sent(server: AnsweringServer) -> object:
    return server.asked[-1][2].get("authorization")


def write_client_file(folder: Path, target: str, key: str, **more: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "client.json").write_text(json.dumps({"target": target, "key": key, **more}))


def test_options_win_over_the_environment_and_that_over_the_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with answering_server(ListApiKeys=ListApiKeysResponse()) as server:
        write_client_file(tmp_path / ".servemark", server.target, "file")
        assert run("key", "list").code == 0
        assert key_sent(server) == "Bearer file"
        monkeypatch.setenv("SERVEMARK_API_KEY", "environment")
        run("key", "list")
        assert key_sent(server) == "Bearer environment"
        run("--key", "before", "key", "list")
        assert key_sent(server) == "Bearer before"
        run("--key", "before", "key", "list", "--key", "after")
        assert key_sent(server) == "Bearer after"


def test_the_data_directory_can_be_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with answering_server(ListApiKeys=ListApiKeysResponse()) as server:
        write_client_file(tmp_path / "elsewhere", server.target, "file")
        monkeypatch.setenv("SERVEMARK_DATA_DIR", str(tmp_path / "elsewhere"))
        assert run("key", "list").code == 0
        assert key_sent(server) == "Bearer file"


def test_a_key_is_never_sent_to_another_server_than_its_own(run: Run, tmp_path: Path) -> None:
    with answering_server(ListApiKeys=ListApiKeysResponse()) as server:
        write_client_file(tmp_path / ".servemark", "127.0.0.1:1", "secret")
        assert run("key", "list", "--target", server.target).code == 0
        assert key_sent(server) is None


def test_a_broken_client_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".servemark").mkdir()
    (tmp_path / ".servemark" / "client.json").write_text("{")
    done = run("key", "list")
    assert done.code == 1
    assert "client.json cannot be read" in done.err


def test_a_method_that_is_not_offered_is_an_error_in_words(run: Run) -> None:
    with answering_server(ListUseCases=ListUseCasesResponse()) as server:
        done = run("key", "list", "--target", server.target)
    assert done.code == 1
    assert done.err.startswith("servemark: ")
    assert "UNIMPLEMENTED" in done.err


def test_a_key_for_another_machine_is_not_sent_unencrypted_unless_told_to(run: Run) -> None:
    asked = ("key", "list", "--target", "gateway.invalid:1", "--key", "sm_1_secret")
    done = run(*asked)
    assert done.code == 1
    assert "is not encrypted" in done.err
    assert "secret" not in done.err
    assert "No Servemark answers" in run("--allow-plaintext-key", *asked).err


def test_the_ca_is_an_option_of_the_environment_or_in_the_file_of_up(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours, theirs = Certificates(tmp_path), Certificates(tmp_path / "theirs")
    with answering_server(ours.server_credentials(), ListApiKeys=ListApiKeysResponse()) as server:
        target = f"https://{server.target}"
        assert run("--ca", ours.ca_file, "key", "list", "--target", target).code == 0
        done = run("--ca", theirs.ca_file, "key", "list", "--target", target)
        assert done.code == 1
        assert "cannot be trusted" in done.err
        monkeypatch.setenv("SERVEMARK_TLS_CA", str(ours.ca_file))
        assert run("key", "list", "--target", server.target).code == 0
        monkeypatch.delenv("SERVEMARK_TLS_CA")
        write_client_file(tmp_path / ".servemark", target, "file", ca=str(ours.ca_file))
        assert run("key", "list").code == 0
        assert key_sent(server) == "Bearer file"
