"""`servemark doctor`: what runs, what is there, and what is missing."""

from dataclasses import asdict

import typer
from rich.table import Table
from rich.text import Text

from servemark.cli.options import Json
from servemark.cli.output import FAILED, CliError, out, print_json
from servemark.cli.up import DataDir
from servemark.stack.doctor import examine
from servemark.stack.errors import StackError
from servemark.stack.files import data_dir_from_environment
from servemark.stack.up import read_settings

_STYLE = {"ok": "green", "missing": "yellow", "wrong": "red"}


def doctor(data_dir: DataDir = None, json: Json = False) -> None:
    """Say what runs, what is there and what is missing; status 1 if something is wrong."""
    try:
        findings = examine(data_dir or data_dir_from_environment(), read_settings())
    except StackError as error:
        raise CliError(str(error)) from None
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            state = Text(finding.state, style=_STYLE[finding.state])
            table.add_row(finding.subject, state, finding.text)
        out().print(table)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(FAILED)
