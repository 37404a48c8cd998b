"""What a program that starts the embedded Valkey may rely on."""

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from servemark.embedded import EmbeddedServerError, EmbeddedValkey
from servemark.embedded.account import account_for_servers
from tests.support.processes import command_of, user_of, wait_until


@pytest.fixture
def data(folder: Path) -> Path:
    """A Valkey data directory not used before."""
    return folder / "valkey"


def test_streams_survive_a_restart(data: Path) -> None:
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        client.xadd("servemark:events:results", {"n": 1})
        client.xgroup_create("servemark:events:results", "ranking", id="0")
        first = server.url()
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        assert server.url() == first
        assert client.xlen("servemark:events:results") == 1
        assert client.xinfo_groups("servemark:events:results")[0]["name"] == b"ranking"


def test_what_it_acknowledged_survives_its_being_killed(data: Path) -> None:
    with EmbeddedValkey(data) as server:
        with redis.Redis.from_url(server.url()) as client:
            for n in range(100):
                client.xadd("events", {"n": n})
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.alive, 5, "the server's end is seen")
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        assert client.xlen("events") == 100


def test_it_evicts_only_what_has_a_time_to_live(data: Path) -> None:
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        settings = client.config_get("maxmemory", "maxmemory-policy", "appendonly")
    assert settings == {
        "maxmemory": str(256 * 1024 * 1024),
        "maxmemory-policy": "volatile-lru",
        "appendonly": "yes",
    }


@pytest.mark.parametrize("password", [None, "wrong"])
def test_nobody_gets_in_without_the_password(data: Path, password: str | None) -> None:
    with EmbeddedValkey(data) as server:
        stranger = redis.Redis(port=server.port, password=password, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_the_password_is_in_no_argument_and_in_no_log(data: Path) -> None:
    with EmbeddedValkey(data) as server:
        password = urlsplit(server.url()).password or ""
        assert len(password) >= 32
        assert server.pid is not None
        assert password not in command_of(server.pid)
        assert password not in server.log.read_text()
    config = data / "server" / "valkey.conf"
    assert password in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600


def test_it_listens_on_loopback_only(data: Path) -> None:
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_it_never_runs_as_root(data: Path) -> None:
    account = account_for_servers()
    with EmbeddedValkey(data) as server:
        assert server.pid is not None
        assert user_of(server.pid) == (account.uid if account else os.geteuid()) != 0


def test_a_second_starter_is_told_who_uses_the_data(data: Path) -> None:
    with EmbeddedValkey(data) as server:
        told = rf"process {os.getpid()} \(the server is process {server.pid}\); stop that program"
        with pytest.raises(EmbeddedServerError, match=told):
            EmbeddedValkey(data).start()
        assert server.alive


def test_a_pid_file_left_by_another_life_is_no_obstacle(data: Path) -> None:
    with EmbeddedValkey(data):
        pass
    (data / "server" / "valkey.pid").write_text(f"{os.getpid()}\n")
    with EmbeddedValkey(data) as server:
        assert server.alive


def test_a_folder_with_spaces_and_quotes_in_its_name_will_do(folder: Path) -> None:
    data = folder / 'my "own" data'
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        client.set("key", "value")
    with EmbeddedValkey(data) as server, redis.Redis.from_url(server.url()) as client:
        assert client.get("key") == b"value"
