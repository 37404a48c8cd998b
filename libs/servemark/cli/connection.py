"""Where the command connects to, and with which key."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from servemark.cli.output import CliError
from servemark.client.channel import Client, connect

_PANEL = "Connection"

Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="[https://]HOST:PORT",
        help="The gateway, or SERVEMARK_TARGET; with https:// over TLS.",
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

Ca = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="Who issued the gateway's certificate (PEM), or SERVEMARK_TLS_CA.",
        rich_help_panel=_PANEL,
    ),
]
AllowPlaintextKey = Annotated[
    bool,
    typer.Option(
        "--allow-plaintext-key",
        help="Send the key unencrypted to another machine, or SERVEMARK_ALLOW_PLAINTEXT_KEY=true.",
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
    ca = before.get("ca") or os.environ.get("SERVEMARK_TLS_CA")
    if not (target and key):
        found_target, found_key, found_ca = _read_client_file()
        # A key belongs to the server that made it, and is sent to no other.
        if target is None or target == found_target:
            target, key, ca = target or found_target, key or found_key, ca or found_ca
    allow = before.get("allow_plaintext_key") or None
    return connect(target, key=key, ca=ca, allow_plaintext_key=allow)


def _read_client_file() -> tuple[str | None, str | None, str | None]:
    path = Path(os.environ.get("SERVEMARK_DATA_DIR") or ".servemark") / "client.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return document.get("target"), document.get("key"), document.get("ca")
    except FileNotFoundError:
        return None, None, None
    except (OSError, ValueError, AttributeError) as error:
        raise CliError(f"{path} cannot be read ({error}). Give --target and --key.") from None
