"""`servemark archive`: the days that lie in the archive, and back from it."""

from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.names import pages
from servemark.cli.options import Json
from servemark.cli.output import FAILED, message_to_json, out, print_json, print_message
from servemark.cli.quantities import counted, days_between, size_text
from servemark.ingest.v1 import storage_pb2 as storage

app = typer.Typer(no_args_is_help=True, help="List, verify and restore archived days of results.")

To = Annotated[str, typer.Option("--to", metavar="DAY", help="The last day, itself included.")]


@app.command("list")
def list_days(
    ctx: typer.Context,
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="The first day.")] = "",
    last: To = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """List the days in the archive, the latest first."""
    start, _ = days_between(first, first)
    _, end = days_between("", last)
    request = storage.ListArchivedDaysRequest(start_date=start, end_date=end)
    with open_client(ctx, target, key) as client:
        days = pages(client.storage.ListArchivedDays, request, "archived_days")
    if json:
        print_message(storage.ListArchivedDaysResponse(archived_days=days))
        return
    console = out()
    if not days:
        console.print("No day is in the archive.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("day", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("size", justify="right")
    table.add_column("archived")
    table.add_column("verified")
    table.add_column("rows are", overflow="fold")
    for day in days:
        table.add_row(
            day.day,
            f"{day.row_count:,}",
            size_text(day.byte_size),
            _minute(day.archive_time),
            _minute(day.verify_time),
            _where(day),
        )
    console.print(table)


@app.command("verify")
def verify(
    ctx: typer.Context,
    day: Annotated[str, typer.Argument(metavar="[DAY]", help="The day; without it, all.")] = "",
    last: To = "",
    full: Annotated[
        bool,
        typer.Option("--full", help="Also read every row back into the database and compare it."),
    ] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Read archived files and compare them with what was noted; status 1 if one is wrong."""
    start, end = days_between(day, last)
    request = storage.VerifyArchivedDaysRequest(start_date=start, end_date=end, full=full)
    count = wrong = 0
    with open_client(ctx, target, key) as client:
        for found in client.storage.VerifyArchivedDays(request):
            count += 1
            wrong += bool(found.problem)
            if json:
                print_json(message_to_json(found), indent=None)
            elif found.problem:
                _say(found.day, "WRONG", found.problem)
            else:
                amount = f"{counted(found.row_count, 'row')}, {size_text(found.byte_size)}"
                _say(found.day, "right", amount)
    if not json:
        if not count:
            out().print("No day is in the archive.")
        elif wrong:
            verb = "is" if wrong == 1 else "are"
            out().print(f"{wrong:,} of {counted(count, 'file')} {verb} wrong.")
    # A day that was named and is not there has not been verified.
    if wrong or (day and not count):
        raise typer.Exit(FAILED)


@app.command("restore", no_args_is_help=True)
def restore(
    ctx: typer.Context,
    day: Annotated[str, typer.Argument(metavar="DAY", help="The day, or the first of several.")],
    last: To = "",
    keep_days: Annotated[
        int,
        typer.Option("--keep-days", min=1, max=3650, help="Do not drop it again for so long."),
    ] = 7,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Bring the results of archived days back, bit for bit; status 1 if one cannot be."""
    start, end = days_between(day, last)
    request = storage.RestoreArchivedDaysRequest(
        start_date=start, end_date=end, keep_days=keep_days
    )
    wrong = 0
    with open_client(ctx, target, key) as client:
        for done in client.storage.RestoreArchivedDays(request):
            wrong += bool(done.problem)
            if json:
                print_json(message_to_json(done), indent=None)
            elif done.problem:
                _say(done.day, "NOT RESTORED", done.problem)
            else:
                present = f", {done.present_count:,} were here" if done.present_count else ""
                until = _minute(done.keep_until_time)
                amount = f"{counted(done.restored_count, 'row')}{present}; kept until {until} UTC"
                _say(done.day, "restored", amount)
    if wrong:
        raise typer.Exit(FAILED)


def _say(day: str, word: str, text: str) -> None:
    style = "green" if word.islower() else "bold red"
    out().print(Text.assemble(f"{day}  ", (word, style), f"  {text}"), soft_wrap=True)


def _where(day: storage.ArchivedDay) -> str:
    if day.HasField("drop_time"):
        return "only there"
    if day.HasField("keep_until_time"):
        return f"here too, until {_minute(day.keep_until_time)}"
    return "here too"


def _minute(time: Timestamp) -> str:
    return f"{time.ToDatetime():%Y-%m-%d %H:%M}"
