"""Settings come from the environment; each wrong one is a sentence that names it."""

import pytest

from servemark.runtime.settings import ServiceSettings, load
from tests.rpc.runtime.fixture_server import settings_for

GOOD = {"SERVEMARK_DATABASE_URL": "postgresql://u:hunter2@h:1/d"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"DATABASE_URL": "mysql://x"}, "postgresql://user:password@host:port/database"),
        ({"REDIS_URL": "localhost"}, "redis://"),
        ({"PORT_BASE": "seventy"}, "integer"),
        ({"PORT_BASE": "70000"}, "65000"),
        ({"LOG_LEVEL": "loud"}, "'debug', 'info', 'warning' or 'error'"),
        ({"MAX_CONCURRENT_CALLS": "0"}, "greater than or equal to 1"),
        ({"SHUTDOWN_GRACE_SECONDS": "-1"}, "greater than or equal to 0"),
        ({"REFLECTION": "perhaps"}, "boolean"),
    ],
)
def test_a_wrong_variable_is_one_sentence_with_its_name_and_exit_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wrong: dict[str, str],
    says: str,
) -> None:
    for name, value in {**GOOD, **{f"SERVEMARK_{key}": wrong[key] for key in wrong}}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    (name,) = wrong
    assert line.startswith(f"SERVEMARK_{name}: ")
    assert says in line
    assert "hunter2" not in line


def test_every_wrong_variable_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SERVEMARK_DATABASE_URL", raising=False)
    monkeypatch.setenv("SERVEMARK_METRICS_PORT", "x")
    monkeypatch.setenv("SERVEMARK_LOG_FORMAT", "x")
    with pytest.raises(SystemExit):
        load(ServiceSettings)
    names = {line.partition(":")[0] for line in capsys.readouterr().err.strip().splitlines()}
    assert names == {"SERVEMARK_DATABASE_URL", "SERVEMARK_METRICS_PORT", "SERVEMARK_LOG_FORMAT"}


def test_listening_beyond_loopback_takes_the_internal_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**GOOD, "SERVEMARK_BIND_HOST": "0.0.0.0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load(ServiceSettings)
    assert "SERVEMARK_INTERNAL_TOKEN is required" in capsys.readouterr().err
    monkeypatch.setenv("SERVEMARK_INTERNAL_TOKEN", "a token")
    assert not load(ServiceSettings).on_loopback


def test_ports_follow_the_base_and_targets_follow_the_ports() -> None:
    settings = settings_for(port_base=6000, ingest_target="ingest.internal:1")
    assert [settings.port(name) for name in ("gateway", "catalog", "ingest", "ranking")] == [
        6000,
        6001,
        6002,
        6003,
    ]
    assert settings.target("catalog") == "127.0.0.1:6001"
    assert settings.target("ingest") == "ingest.internal:1"


@pytest.mark.parametrize(("bind", "host"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_what_listens_everywhere_is_reached_on_this_machine(bind: str, host: str) -> None:
    settings = settings_for(bind_host=bind, internal_token="t", port_base=6000)
    assert settings.target("catalog") == f"{host}:6001"
    assert settings.http_url == f"http://{host}:8080"


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    shown = repr(
        settings_for(database_url="postgresql://u:hunter2@h/d", internal_token="between us")
    )
    assert "hunter2" not in shown
    assert "between us" not in shown
