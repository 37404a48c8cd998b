import json
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.cli.quantities import counted, size_text
from servemark.ingest.v1 import storage_pb2 as storage
from tests.support.answering_server import answering_server
from tests.support.command import Run


def at(day: int, hour: int = 3) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(2026, 11, day, hour, 4, tzinfo=UTC))
    return stamp


def stored(**more: object) -> storage.GetStorageResponse:
    values: dict[str, object] = {
        "profile": "timescale",
        "timescaledb_version": "2.29.2",
        "days": [
            storage.StoredDay(day="2026-10-01", byte_size=1_500_000, is_compressed=True),
            storage.StoredDay(day="2026-10-02", byte_size=2_000_000),
        ],
        "oldest_result_day": "2026-10-01",
        "newest_result_day": "2026-10-02",
        "row_count": 123_456,
        "row_count_is_estimate": True,
        "retention_days": 30,
        "overdue_day_count": 1,
        "archive_location": "s3://bucket/prefix",
        "archived_day_count": 12,
        "dropped_day_count": 11,
    }
    return storage.GetStorageResponse(storage=storage.Storage(**(values | more)))  # type: ignore[arg-type]


def test_the_status_says_how_results_are_stored(run: Run) -> None:
    with answering_server(GetStorage=stored()) as server:
        done = run("storage", "status", "--days", "--target", server.target)
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[:5] == [
        "profile timescale, TimescaleDB 2.29.2",
        "results about 123,456, 2026-10-01 to 2026-10-02",
        "days 2, 3.50 MB with indexes, 1 compressed",
        "retention 30 days; 1 day over it",
        "archive s3://bucket/prefix; 12 days in it, 11 of them only there",
    ]
    assert "2026-10-01 1.50 MB yes" in lines


def test_a_store_without_an_archive_says_what_that_means(run: Run) -> None:
    answer = stored(
        archive_location="",
        oldest_result_day="",
        timescaledb_version="",
        overdue_day_count=0,
        row_count_is_estimate=False,
    )
    with answering_server(GetStorage=answer) as server:
        done = run("storage", "status", "--target", server.target)
        shown = run("storage", "status", "--json", "--target", server.target)
    assert "none: nothing is ever dropped. Set SERVEMARK_ARCHIVE_URL" in done.out
    assert "no day is over it" in done.out
    assert json.loads(shown.out)["storage"]["archive_location"] == ""


STEPS = (
    storage.MaintainStorageResponse(
        step=storage.MAINTENANCE_STEP_ARCHIVED, day="2026-10-01", row_count=1, byte_size=2048
    ),
    storage.MaintainStorageResponse(
        step=storage.MAINTENANCE_STEP_DROPPED, day="2026-10-01", row_count=1
    ),
    storage.MaintainStorageResponse(
        step=storage.MAINTENANCE_STEP_KEPT, day="2026-10-02", detail="It is being read."
    ),
    storage.MaintainStorageResponse(step=storage.MAINTENANCE_STEP_DAY_CREATED, day="2026-12-01"),
)


def test_maintenance_shows_each_step(run: Run) -> None:
    with answering_server(MaintainStorage=STEPS) as server:
        done = run("storage", "maintain", "--target", server.target)
        planned = run("storage", "maintain", "--dry-run", "--target", server.target)
        asked = server.request("MaintainStorage", storage.MaintainStorageRequest)
        lines = run("storage", "maintain", "--json", "--target", server.target)
    assert done.out.splitlines() == [
        "2026-10-01 archived, 1 row, 2.05 kB",
        "2026-10-01 dropped, 1 row",
        "2026-10-02 kept: It is being read.",
        "2026-12-01 room made",
    ]
    assert asked.dry_run
    assert planned.out.splitlines() == [
        "2026-10-01 would be archived, 1 row, 2.05 kB",
        "2026-10-01 would be dropped, 1 row",
        "2026-10-02 kept: It is being read.",
        "2026-12-01 would get room",
    ]
    assert [json.loads(line)["day"] for line in lines.out.splitlines()] == [
        step.day for step in STEPS
    ]


def test_nothing_to_maintain_is_said(run: Run) -> None:
    with answering_server(MaintainStorage=()) as server:
        assert run("storage", "maintain", "--target", server.target).out == "Nothing to do.\n"


DAYS = [
    storage.ArchivedDay(
        day="2026-10-02",
        row_count=1234,
        byte_size=99_960,
        archive_time=at(1),
        verify_time=at(2),
        keep_until_time=at(20),
    ),
    storage.ArchivedDay(
        day="2026-10-01",
        row_count=5,
        byte_size=999,
        archive_time=at(1),
        verify_time=at(1),
        drop_time=at(1),
    ),
]


def test_archived_days_are_listed_with_where_their_rows_are(run: Run) -> None:
    pages = [
        storage.ListArchivedDaysResponse(archived_days=DAYS[:1], next_page_token="next"),
        storage.ListArchivedDaysResponse(archived_days=DAYS[1:]),
    ]
    with answering_server(ListArchivedDays=pages) as server:
        options = ["--from", "2026-09-30", "--to", "2026-10-31"]
        done = run("archive", "list", *options, "--target", server.target)
        asked = server.request("ListArchivedDays", storage.ListArchivedDaysRequest)
    assert (asked.start_date, asked.end_date) == ("2026-09-30", "2026-11-01")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    first = "2026-10-02 1,234 100 kB 2026-11-01 03:04 2026-11-02 03:04 here too, until"
    assert any(line.startswith(first) for line in lines)
    assert "2026-10-01 5 999 B 2026-11-01 03:04 2026-11-01 03:04 only there" in lines


def test_an_empty_archive_is_said(run: Run) -> None:
    with answering_server(
        ListArchivedDays=storage.ListArchivedDaysResponse(), VerifyArchivedDays=()
    ) as server:
        for command in ("list", "verify"):
            done = run("archive", command, "--target", server.target)
            assert (done.code, done.out) == (0, "No day is in the archive.\n")
        named = run("archive", "verify", "2026-10-01", "--target", server.target)
        assert (named.code, named.out) == (1, "No day is in the archive.\n")


def test_damage_is_said_and_ends_with_1(run: Run) -> None:
    right = storage.VerifyArchivedDaysResponse(day="2026-10-01", row_count=5, byte_size=999)
    wrong = storage.VerifyArchivedDaysResponse(day="2026-10-02", problem="It was changed.")
    with answering_server(VerifyArchivedDays=(right, wrong)) as server:
        done = run("archive", "verify", "--target", server.target)
        shown = run(
            "archive", "verify", "2026-10-02", "--full", "--json", "--target", server.target
        )
        asked = server.request("VerifyArchivedDays", storage.VerifyArchivedDaysRequest)
        server.answers["VerifyArchivedDays"] = (right,)
        good = run(
            "archive", "verify", "2026-10-01", "--to", "2026-10-03", "--target", server.target
        )
        spanned = server.request("VerifyArchivedDays", storage.VerifyArchivedDaysRequest)
    assert done.code == shown.code == 1
    assert done.out.splitlines() == [
        "2026-10-01  right  5 rows, 999 B",
        "2026-10-02  WRONG  It was changed.",
        "1 of 2 files is wrong.",
    ]
    assert [json.loads(line)["problem"] for line in shown.out.splitlines()] == [
        "",
        "It was changed.",
    ]
    assert (asked.start_date, asked.end_date, asked.full) == ("2026-10-02", "2026-10-03", True)
    assert (good.code, spanned.end_date) == (0, "2026-10-04")


def test_a_restore_says_what_came_back_and_ends_with_1_where_a_day_did_not(run: Run) -> None:
    done = storage.RestoreArchivedDaysResponse(
        day="2026-10-01", restored_count=1200, present_count=3, keep_until_time=at(29)
    )
    wrong = storage.RestoreArchivedDaysResponse(day="2026-10-02", problem="It was changed.")
    with answering_server(RestoreArchivedDays=(done,)) as server:
        good = run("archive", "restore", "2026-10-01", "--keep-days", 3, "--target", server.target)
        asked = server.request("RestoreArchivedDays", storage.RestoreArchivedDaysRequest)
        server.answers["RestoreArchivedDays"] = (done, wrong)
        bad = run(
            "archive", "restore", "2026-10-01", "--to", "2026-10-02", "--target", server.target
        )
    assert (good.code, good.out) == (
        0,
        "2026-10-01  restored  1,200 rows, 3 were here; kept until 2026-11-29 03:04 UTC\n",
    )
    assert (asked.start_date, asked.end_date, asked.keep_days) == ("2026-10-01", "2026-10-02", 3)
    assert bad.code == 1
    assert "2026-10-02  NOT RESTORED  It was changed." in bad.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["restore", "soon"], "DAY takes a day such as 2025-09-14, not 'soon'."),
        (["verify", "2026-10-02", "--to", "2026-10-01"], "--to 2026-10-01 is before 2026-10-02."),
        (["list", "--to", "2026-13-01"], "--to takes a day such as 2025-09-14"),
    ],
)
def test_days_that_are_none_are_said(run: Run, arguments: list[str], says: str) -> None:
    done = run("archive", *arguments, "--target", "127.0.0.1:1")
    assert done.code == 1
    assert says in done.err


def test_sizes_have_three_digits() -> None:
    sizes = [0, 999, 1000, 1234, 9994, 9995, 99_949, 99_950, 999_499, 999_500, 10**13]
    assert [size_text(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.00 kB",
        "1.23 kB",
        "9.99 kB",
        "10.0 kB",
        "99.9 kB",
        "100 kB",
        "999 kB",
        "1.00 MB",
        "10.0 TB",
    ]
    assert [counted(count, "row") for count in (0, 1, 1234)] == ["0 rows", "1 row", "1,234 rows"]
