"""Where the command connects to, and with which key."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from servemark.cli.output import CliError
from servemark.client.channel import DEFAULT_TARGET, Client, connect

_PANEL = "Connection"

Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help="The gateway, or SERVEMARK_TARGET.",
        rich_help_panel=_PANEL,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="The API key, or better SERVEMARK_API_KEY, which others cannot read.",
        rich_help_panel=_PANEL,
    ),
]


def open_client(ctx: typer.Context, target: str | None, key: str | None) -> Client:
    """A client for a command: its own options count, then those before it, then the environment.

    What is named nowhere comes from the client.json that `servemark up` writes into its data
    directory: SERVEMARK_DATA_DIR, or `.servemark` in the current folder.
    """
    before: dict[str, Any] = ctx.obj or {}
    target = target or before.get("target") or os.environ.get("SERVEMARK_TARGET")
    key = key or before.get("key") or os.environ.get("SERVEMARK_API_KEY")
    if not (target and key):
        found_target, found_key = _read_client_file()
        # A key belongs to the server that made it, and is sent to no other.
        if target is None or target == found_target:
            target, key = target or found_target, key or found_key
    return connect(target or DEFAULT_TARGET, key=key)


def _read_client_file() -> tuple[str | None, str | None]:
    path = Path(os.environ.get("SERVEMARK_DATA_DIR") or ".servemark") / "client.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return document.get("target"), document.get("key")
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, AttributeError) as error:
        raise CliError(f"{path} cannot be read ({error}). Give --target and --key.") from None
