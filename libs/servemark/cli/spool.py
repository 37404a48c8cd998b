"""`servemark spool`: what waits on disk for a server."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from servemark.cli.options import Json
from servemark.cli.output import FAILED, out, print_json, say_error
from servemark.cli.push import SpoolFolder
from servemark.client.segment import REFUSED_SUFFIX, Segment, SpoolError, SpoolInUseError
from servemark.client.spool import Spool

app = typer.Typer(no_args_is_help=True, help="Results that wait on disk for a server.")


@app.command("list")
def list_(spool: SpoolFolder = None, json: Json = False) -> None:
    """List what waits: each stream's results, the server they are for, and whether it is in use."""
    found = Spool.at(spool)
    entries = [_entry(path) for path in (*found.paths(), *found.paths(REFUSED_SUFFIX))]
    if json:
        for entry in entries:
            print_json(entry, indent=None)
        return
    if not entries:
        out().print(f"Nothing waits in {found.folder}.", soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for label in ("file", "results", "for", "last written", ""):
        table.add_column(label, overflow="fold")
    for entry in entries:
        rows = "?" if entry["results"] is None else str(entry["results"])
        name = Path(str(entry["file"])).name
        table.add_row(name, rows, str(entry["target"]), str(entry["time"]), str(entry["state"]))
    console = out()
    console.print(table)
    console.print(f"in {found.folder}", soft_wrap=True)


@app.command("drop", no_args_is_help=True)
def drop(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="Which.")
    ],
) -> None:
    """Delete spooled results that nobody wants any more. What a process is using stays."""
    failed = False
    for path in files:
        try:
            segment = Segment.open(path)
        except (SpoolError, FileNotFoundError) as error:
            say_error(f"{path} stays: {error}")
            failed = True
            continue
        count = segment.row_count
        segment.remove()
        out().print(f"Dropped {count} results: {path}", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(FAILED)


def _entry(path: Path) -> dict[str, object]:
    entry: dict[str, object] = {"file": str(path), "results": None, "target": "", "time": ""}
    try:
        time = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        entry["time"] = f"{time:%Y-%m-%d %H:%M:%S}Z"
        segment = Segment.open(path)
    except SpoolInUseError:
        return entry | {"state": "in use"}
    except (SpoolError, OSError) as error:
        return entry | {"state": str(error)}
    try:
        state = "refused" if path.suffix == REFUSED_SUFFIX else "waits"
        return entry | {
            "results": segment.row_count,
            "target": segment.target,
            "state": state,
        }
    finally:
        segment.close()
