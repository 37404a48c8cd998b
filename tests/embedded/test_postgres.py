"""What a program that starts the embedded PostgreSQL may rely on."""

import os
import signal
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from servemark.embedded import EmbeddedPostgres, EmbeddedServerError
from servemark.embedded.account import account_for_servers
from servemark.embedded.ports import free_port
from tests.support.processes import command_of, is_running, user_of, wait_until
from tests.support.servers import execute, fetch_value


def test_the_first_start_gives_a_utf8_database_that_takes_sql(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        assert fetch_value(server.dsn(), "SELECT current_database()") == "servemark"
        assert fetch_value(server.dsn(), "SELECT current_user") == "servemark"
        assert fetch_value(server.dsn(), "SHOW server_encoding") == "UTF8"
        assert fetch_value(server.dsn(), "SHOW server_version_num") >= "180000"
        assert fetch_value(server.dsn(), "SELECT upper('ä') || (E'Z' < 'a')::text") == "Ätrue"


def test_a_second_start_keeps_the_data_the_password_and_the_port(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        execute(server.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
        first = server.dsn()
    with EmbeddedPostgres(postgres_data) as server:
        assert server.dsn() == first
        assert fetch_value(server.dsn(), "SELECT answer FROM kept") == 42


def test_it_syncs_to_disk_unless_told_otherwise(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        assert fetch_value(server.dsn(), "SHOW fsync") == "on"
        assert fetch_value(server.dsn(), "SHOW synchronous_commit") == "on"
    with EmbeddedPostgres(postgres_data, settings={"fsync": "off"}) as server:
        assert fetch_value(server.dsn(), "SHOW fsync") == "off"
    with EmbeddedPostgres(postgres_data) as server:
        assert fetch_value(server.dsn(), "SHOW fsync") == "on"


def test_its_log_buffers_hold_the_batches_of_several_streams(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        assert fetch_value(server.dsn(), "SHOW wal_buffers") == "64MB"


def test_settings_reach_the_server_as_they_are_written(postgres_data: Path) -> None:
    odd = {"wal_level": "logical", "archive_mode": "on", "archive_command": r"echo 'it\s' %p"}
    with EmbeddedPostgres(postgres_data, settings=odd) as server:
        for name, value in odd.items():
            assert fetch_value(server.dsn(), f"SHOW {name}") == value


def test_a_setting_that_would_smuggle_in_another_line_is_refused(postgres_data: Path) -> None:
    server = EmbeddedPostgres(postgres_data, settings={"work_mem": "4MB'\nfsync = 'off"})
    with pytest.raises(EmbeddedServerError, match="one line"):
        server.start()


def test_a_setting_the_server_refuses_is_explained_from_its_log(postgres_data: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"(?s)server\.log.*wal_levle"):
        EmbeddedPostgres(postgres_data, settings={"wal_levle": "replica"}).start()
    with EmbeddedPostgres(postgres_data) as server:
        assert server.alive


@pytest.mark.parametrize("password", ["", ":wrong"])
async def test_nobody_gets_in_without_the_password(postgres_data: Path, password: str) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        dsn = f"postgresql://servemark{password}@127.0.0.1:{server.port}/servemark"
        with pytest.raises(asyncpg.InvalidPasswordError):
            # The library would otherwise look for a password of the user's own.
            await asyncpg.connect(
                dsn, passfile="/nonexistent", **({} if password else {"password": ""})
            )


def test_the_password_is_in_no_argument_and_in_no_log(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        password = urlsplit(server.dsn()).password or ""
        assert len(password) >= 32
        assert server.pid is not None
        assert password not in command_of(server.pid)
        assert password not in server.log.read_text()
    file = postgres_data / "password"
    assert password in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_listens_on_loopback_only(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        assert fetch_value(server.dsn(), "SHOW listen_addresses") == "127.0.0.1"
        assert fetch_value(server.dsn(), "SHOW unix_socket_directories") == ""


def test_it_never_runs_as_root(postgres_data: Path) -> None:
    account = account_for_servers()
    with EmbeddedPostgres(postgres_data) as server:
        assert server.pid is not None
        assert user_of(server.pid) == (account.uid if account else os.geteuid()) != 0
        assert server.cluster.stat().st_uid == user_of(server.pid)


def test_committed_data_survives_a_killed_server(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        execute(server.dsn(), "CREATE TABLE crash AS SELECT generate_series(1, 10000) AS n")
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.alive, 5, "the server's end is seen")
    with EmbeddedPostgres(postgres_data) as server:
        assert "database system was interrupted" in server.log.read_text()
        assert fetch_value(server.dsn(), "SELECT count(*) FROM crash") == 10_000


def test_a_pid_file_whose_number_went_to_another_program_is_no_obstacle(
    postgres_data: Path,
) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        cluster = server.cluster
    account = account_for_servers()
    # A process of the same user: PostgreSQL by itself would take it for a running server.
    with subprocess.Popen(
        ["sleep", "60"],
        user=account.uid if account else None,
        group=account.gid if account else None,
    ) as other:
        try:
            stale = cluster / "postmaster.pid"
            stale.write_text(f"{other.pid}\n{cluster}\n1\n5432\n\n127.0.0.1\n")
            with EmbeddedPostgres(postgres_data) as server:
                assert fetch_value(server.dsn(), "SELECT 1") == 1
            assert is_running(other.pid)
        finally:
            other.kill()


def test_a_server_started_by_hand_on_the_data_is_named_and_left_alone(
    postgres_data: Path,
) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        cluster, program = server.cluster, server.bin_dir / "postgres"
    account = account_for_servers()
    with subprocess.Popen(
        [program, "-D", cluster, "-h", "127.0.0.1", "-p", str(free_port()), "-k", ""],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as by_hand:
        try:
            pid_file = cluster / "postmaster.pid"
            wait_until(lambda: pid_file.exists(), 10, "the server has its pid file")
            with pytest.raises(EmbeddedServerError, match=rf"process {by_hand.pid}.*kill -INT"):
                EmbeddedPostgres(postgres_data).start()
            assert is_running(by_hand.pid)
        finally:
            by_hand.send_signal(signal.SIGINT)


def test_a_second_starter_is_told_who_uses_the_data(postgres_data: Path) -> None:
    with EmbeddedPostgres(postgres_data) as server:
        told = rf"process {os.getpid()} \(the server is process {server.pid}\); stop that program"
        with pytest.raises(EmbeddedServerError, match=told):
            EmbeddedPostgres(postgres_data).start()
        assert fetch_value(server.dsn(), "SELECT 1") == 1


def test_a_server_started_by_a_thread_outlives_the_thread(postgres_data: Path) -> None:
    server = EmbeddedPostgres(postgres_data)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert fetch_value(server.dsn(), "SELECT 1") == 1
    finally:
        server.stop()


async def test_stop_does_not_wait_for_open_transactions(postgres_data: Path) -> None:
    server = EmbeddedPostgres(postgres_data)
    server.start()
    connection = await asyncpg.connect(server.dsn())
    await connection.execute("BEGIN; CREATE TABLE never (n int)")
    pid = server.pid
    server.stop()
    connection.terminate()
    assert pid is not None
    assert not is_running(pid)


def test_stop_may_be_repeated_and_start_may_follow(postgres_data: Path) -> None:
    server = EmbeddedPostgres(postgres_data)
    server.stop()
    server.start()
    with pytest.raises(EmbeddedServerError, match="started already"):
        server.start()
    server.stop()
    server.stop()
    with pytest.raises(EmbeddedServerError, match="not started"):
        server.dsn()
    server.start()
    assert fetch_value(server.dsn(), "SELECT 1") == 1
    server.stop()


def test_what_an_interrupted_first_start_left_is_made_anew(folder: Path) -> None:
    data = folder / "postgres"
    with EmbeddedPostgres(data) as server:
        store = server.cluster.parent
    (store / "cluster").rename(store / "cluster.new")
    (store / "cluster.new" / "PG_VERSION").unlink()
    with EmbeddedPostgres(data) as server:
        assert fetch_value(server.dsn(), "SELECT current_database()") == "servemark"
    assert not (store / "cluster.new").exists()
    assert not (store / "initial-password").exists()
