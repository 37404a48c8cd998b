"""`servemark storage`: how results are stored, and keeping that in order."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.hooks import add_hook
from servemark.cli.options import Json
from servemark.cli.output import message_to_json, out, print_json, print_message
from servemark.cli.quantities import counted, size_text
from servemark.ingest.v1 import storage_pb2 as storage

app = typer.Typer(no_args_is_help=True, help="See how results are stored, and keep it in order.")

add_hook(
    app,
    "migrate",
    "Move results into a TimescaleDB hypertable, while streams go on.",
    group="storage",
)

_PREFIX = "MAINTENANCE_STEP_"
_SENTENCES = {
    storage.MAINTENANCE_STEP_WAITING: "Another maintenance or restore is under way; waiting ...",
    storage.MAINTENANCE_STEP_DAY_CREATED: "room made",
    storage.MAINTENANCE_STEP_ARCHIVING: "archiving ...",
    storage.MAINTENANCE_STEP_ARCHIVED: "archived",
    storage.MAINTENANCE_STEP_DROPPED: "dropped",
    storage.MAINTENANCE_STEP_KEPT: "kept",
}


@app.command("status")
def status(
    ctx: typer.Context,
    show_days: Annotated[bool, typer.Option("--days", help="Also list each day.")] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Say how results are stored: profile, days, size, retention, archive."""
    with open_client(ctx, target, key) as client:
        response = client.storage.GetStorage(storage.GetStorageRequest())
    if json:
        print_message(response)
        return
    found = response.storage
    table = Table(box=None, show_header=False, pad_edge=False)
    for subject, text in (
        ("profile", _profile(found)),
        ("results", _results(found)),
        ("days", _days(found)),
        ("retention", _retention(found)),
        ("archive", _archive(found)),
    ):
        table.add_row(subject, Text(text))
    out().print(table)
    if show_days:
        _print_days(found)


@app.command("maintain")
def maintain(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Make room for the days ahead, archive the days over retention, and drop them."""
    count = 0
    with open_client(ctx, target, key) as client:
        request = storage.MaintainStorageRequest(dry_run=dry_run)
        for step in client.storage.MaintainStorage(request):
            count += 1
            if json:
                print_json(message_to_json(step), indent=None)
            else:
                out().print(Text(_step(step, dry_run=dry_run)), soft_wrap=True)
    if not count and not json:
        out().print("Nothing to do.")


def _profile(found: storage.Storage) -> str:
    version = found.timescaledb_version
    return f"{found.profile}, TimescaleDB {version}" if version else found.profile


def _results(found: storage.Storage) -> str:
    if not found.oldest_result_day:
        return "none"
    about = "about " if found.row_count_is_estimate else ""
    span = f"{found.oldest_result_day} to {found.newest_result_day}"
    return f"{about}{found.row_count:,}, {span}"


def _days(found: storage.Storage) -> str:
    compressed = sum(day.is_compressed for day in found.days)
    size = size_text(sum(day.byte_size for day in found.days))
    return f"{len(found.days):,}, {size} with indexes, {compressed:,} compressed"


def _retention(found: storage.Storage) -> str:
    over = found.overdue_day_count
    waiting = f"{counted(over, 'day')} over it" if over else "no day is over it"
    return f"{counted(found.retention_days, 'day')}; {waiting}"


def _archive(found: storage.Storage) -> str:
    if not found.archive_location:
        return "none: nothing is ever dropped. Set SERVEMARK_ARCHIVE_URL to have one"
    days = counted(found.archived_day_count, "day")
    return f"{found.archive_location}; {days} in it, {found.dropped_day_count:,} of them only there"


def _print_days(found: storage.Storage) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("day")
    table.add_column("size", justify="right")
    table.add_column("compressed")
    for day in found.days:
        table.add_row(day.day, size_text(day.byte_size), "yes" if day.is_compressed else "no")
    out().print(table)


def _step(step: storage.MaintainStorageResponse, *, dry_run: bool) -> str:
    words = _SENTENCES.get(step.step) or storage.MaintenanceStep.Name(step.step).removeprefix(
        _PREFIX
    )
    if dry_run and step.step != storage.MAINTENANCE_STEP_KEPT:
        words = (
            f"would be {words}"
            if step.step != storage.MAINTENANCE_STEP_DAY_CREATED
            else ("would get room")
        )
    parts = [" ".join(part for part in (step.day, words) if part)]
    if step.row_count:
        parts.append(counted(step.row_count, "row"))
    if step.byte_size:
        parts.append(size_text(step.byte_size))
    text = ", ".join(parts)
    return f"{text}: {step.detail}" if step.detail else text
