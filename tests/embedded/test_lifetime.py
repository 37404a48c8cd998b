"""However the program that started a server ends, its server ends too, and its data stays."""

import signal
from pathlib import Path

import pytest
import redis

from servemark.embedded import EmbeddedPostgres, EmbeddedValkey
from servemark.embedded.ports import is_free
from tests.support.processes import is_running, starter, wait_until
from tests.support.servers import execute, fetch_value

_START_POSTGRES = """
import json, sys
from pathlib import Path
from servemark.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(json.dumps([server.pid, server.port, server.dsn()]), flush=True)
sys.stdin.read()
"""
_START_VALKEY = _START_POSTGRES.replace("Postgres", "Valkey").replace("dsn", "url")
_START_POSTGRES_IN_A_THREAD = _START_POSTGRES.replace(
    "server.start()",
    "import threading; thread = threading.Thread(target=server.start); "
    "thread.start(); thread.join()",
)


@pytest.mark.parametrize("script", [_START_POSTGRES, _START_POSTGRES_IN_A_THREAD])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_starter_leaves_no_postgres_behind(
    postgres_data: Path, script: str, number: signal.Signals
) -> None:
    with starter(script, str(postgres_data)) as (program, (pid, port, dsn)):
        execute(dsn, "CREATE TABLE IF NOT EXISTS marks (n int)", "INSERT INTO marks VALUES (1)")
        written = fetch_value(dsn, "SELECT count(*) FROM marks")
        assert is_running(pid)
        program.send_signal(number)
        program.wait(10)
        wait_until(lambda: not is_running(pid) and is_free(port), 5, "the server is gone")
    with EmbeddedPostgres(postgres_data) as server:
        assert fetch_value(server.dsn(), "SELECT count(*) FROM marks") == written


def test_a_program_that_just_ends_leaves_no_postgres_behind(postgres_data: Path) -> None:
    with starter(_START_POSTGRES, str(postgres_data)) as (program, (pid, _, _)):
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(10) == 0
        wait_until(lambda: not is_running(pid), 5, "the server is gone")


def test_a_start_right_after_a_killed_starter_waits_for_its_server(postgres_data: Path) -> None:
    with starter(_START_POSTGRES, str(postgres_data)) as (program, (_, _, dsn)):
        execute(dsn, "CREATE TABLE IF NOT EXISTS heavy AS SELECT generate_series(1, 200000) AS n")
        program.kill()
        program.wait(10)
        with EmbeddedPostgres(postgres_data) as server:
            assert fetch_value(server.dsn(), "SELECT count(*) FROM heavy") == 200_000


def test_a_start_next_to_a_live_starter_leaves_its_server_alone(postgres_data: Path) -> None:
    with starter(_START_POSTGRES, str(postgres_data)) as (program, (pid, _, dsn)):
        with starter(_refused(_START_POSTGRES), str(postgres_data)) as (_, told):
            assert f"process {program.pid} (the server is process {pid})" in told
        assert fetch_value(dsn, "SELECT 1") == 1


def test_a_killed_starter_leaves_no_valkey_behind(folder: Path) -> None:
    data = folder / "valkey"
    with starter(_START_VALKEY, str(data)) as (program, (pid, port, url)):
        with redis.Redis.from_url(url) as client:
            client.xadd("events", {"n": 1})
        program.kill()
        wait_until(lambda: not is_running(pid) and is_free(port), 5, "the server is gone")
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        assert client.xlen("events") == 1


def test_a_starter_killed_during_the_first_start_leaves_nothing_in_the_way(folder: Path) -> None:
    data = folder / "postgres"
    early = _START_POSTGRES.replace("server.start()", "print(0, flush=True); server.start()")
    with starter(early, str(data)) as (program, _):
        building = data / "server" / "cluster.new"
        wait_until(building.exists, 10, "initdb is at work")
        program.kill()
        program.wait(10)
    with EmbeddedPostgres(data) as server:
        assert fetch_value(server.dsn(), "SELECT current_database()") == "servemark"


def _refused(script: str) -> str:
    """Returns the script with its start replaced by printing why the start is refused."""
    return script.split("server.start()")[0] + (
        "try:\n    server.start()\nexcept Exception as error:\n    print(json.dumps(str(error)))\n"
    )
