"""How the command speaks: text for people on stdout, JSON for machines, errors on stderr."""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table
from rich.text import Text

FAILED = 1
WRONG_USAGE = 2
SOME_REJECTED = 3
NOT_IMPORTED = 4
REGRESSED = 5

# Where there is no terminal to ask, tables are as wide as most terminals are.
_WIDTH = 100


class CliError(Exception):
    """Something the person who typed the command can put right: one or two sentences."""


def out() -> Console:
    """The console for what was asked for. Without a terminal: plain text, 100 columns."""
    return Console(width=_width(sys.stdout.isatty()), highlight=False, soft_wrap=False)


def err() -> Console:
    """The console for everything else."""
    return Console(stderr=True, width=_width(sys.stderr.isatty()), highlight=False)


def _width(is_terminal: bool) -> int | None:
    return None if is_terminal or "COLUMNS" in os.environ else _WIDTH


def say_error(sentence: str) -> None:
    """Prints an error for people. Not as markup: file names and messages may hold brackets."""
    err().print(Text.assemble(("servemark: ", "bold red"), sentence), soft_wrap=True)


def print_bullets(console: Console, sentences: Iterable[str]) -> None:
    """Prints each sentence with a dash before it, its further lines indented."""
    grid = Table.grid(padding=(0, 1))
    for sentence in sentences:
        grid.add_row("  -", Text(sentence))
    console.print(grid)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Prints a JSON value, indented, or with `indent=None` on a line of its own."""
    print(json.dumps(value, indent=indent, ensure_ascii=False))


def print_message(message: Message) -> None:
    """Prints an answer as protobuf JSON with the contract's field names, unset fields included."""
    print_json(message_to_json(message))


def message_to_json(message: Message) -> dict[str, Any]:
    """The protobuf JSON of a message, with the contract's field names."""
    document: dict[str, Any] = MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    return document
