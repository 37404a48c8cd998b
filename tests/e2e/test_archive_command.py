"""`servemark storage` and `servemark archive` against the four real services."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from servemark.client.load import load_records
from tests.support import servers
from tests.support.command import Run, run
from tests.support.runs import make_catalog, record
from tests.support.stack import RunningStack, running_stack, wait_until

__all__ = ["run"]

OLD = datetime.now(UTC).replace(microsecond=0) - timedelta(days=60)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The folder of the archive."""
    return tmp_path / "archive"


@pytest.fixture
def keeping(migrated_database: str, valkey: str, archive: Path) -> Iterator[RunningStack]:
    """A stack that keeps results for a month, with three that were stored before it did."""
    with running_stack(migrated_database, valkey) as stack, stack.client() as client:
        make_catalog(client)
        times = [OLD.replace(second=number).isoformat() for number in range(3)]
        load_records(client, [record(benchmarked_at=time) for time in times])
        marks = "SELECT count(*) FROM ingest.dirty_days"
        wait_until(lambda: servers.fetch_value(migrated_database, marks) == 0, 20, "statistics")
    settings = {"SERVEMARK_RETENTION_DAYS": "30", "SERVEMARK_ARCHIVE_URL": archive.as_uri()}
    with running_stack(migrated_database, valkey, **settings) as stack:
        yield stack


@pytest.fixture
def command(keeping: RunningStack, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command with the stack's address and key in the environment."""
    monkeypatch.setenv("SERVEMARK_TARGET", keeping.target)
    monkeypatch.setenv("SERVEMARK_API_KEY", keeping.key)
    return run


def test_a_day_that_is_old_leaves_and_is_brought_back(command: Run, archive: Path) -> None:
    day = str(OLD.date())
    status = command("storage", "status")
    assert status.code == 0
    assert "native" in status.out
    assert "1 day over it" in status.out
    assert archive.as_uri() in "".join(status.out.split())
    planned = command("storage", "maintain", "--dry-run")
    assert f"{day} would be dropped, 3 rows" in planned.out
    done = command("storage", "maintain")
    assert done.out.splitlines()[-1] == f"{day} dropped, 3 rows"
    assert command("storage", "maintain").out == "Nothing to do.\n"
    assert json.loads(command("results", "--json").out)["benchmark_results"] == []

    listed = command("archive", "list")
    assert "only there" in listed.out
    verified = command("archive", "verify", "--full")
    assert (verified.code, "right" in verified.out) == (0, True)
    back = command("archive", "restore", day)
    assert (back.code, "3 rows" in back.out) == (0, True)
    assert len(json.loads(command("results", "--json").out)["benchmark_results"]) == 3
    assert command("archive", "restore", "2001-01-01").code == 1

    (file,) = archive.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    damaged = command("archive", "verify")
    assert (damaged.code, "WRONG" in damaged.out) == (1, True)
