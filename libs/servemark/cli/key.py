"""`servemark key`: who may call."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.names import pages
from servemark.cli.options import Json
from servemark.cli.output import CliError, err, out, print_message
from servemark.gateway.v1 import api_key_pb2

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="read, ingest, catalog or admin; may be repeated."),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="When it ends: 30d, 12h, 2027-01-31.")
    ] = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Create a key and print its secret, this once."""
    request = api_key_pb2.CreateApiKeyRequest(
        name=name, scopes=[_scope(text) for text in scope or ["read"]]
    )
    if expires:
        request.expire_time.CopyFrom(_expiry(expires))
    with open_client(ctx, target, key) as client:
        response = client.admin.CreateApiKey(request)
    if json:
        print_message(response)
        return
    # The secret alone goes to stdout, so that it can be piped to where it is kept.
    made = response.api_key
    err().print(
        Text(f"Key {made.id} ({', '.join(map(_scope_name, made.scopes))}). Shown only now:")
    )
    print(response.secret)


@app.command("list")
def list_keys(
    ctx: typer.Context,
    show_all: Annotated[
        bool, typer.Option("--all", help="Also list expired and revoked keys.")
    ] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """List keys, the newest first, without their secrets."""
    request = api_key_pb2.ListApiKeysRequest(include_inactive=show_all)
    with open_client(ctx, target, key) as client:
        keys = pages(client.admin.ListApiKeys, request, "api_keys")
    if json:
        print_message(api_key_pb2.ListApiKeysResponse(api_keys=keys))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "name", "scopes", "created", "expires", "last used"):
        table.add_column(column, overflow="fold")
    for item in keys:
        ends = "revoked" if item.HasField("revoke_time") else _day(item, "expire_time", "never")
        table.add_row(
            Text(item.id),
            Text(item.name),
            ", ".join(map(_scope_name, item.scopes)),
            _day(item, "create_time", ""),
            ends,
            _day(item, "last_use_time", "never"),
        )
    out().print(table)


@app.command("revoke")
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Revoke a key for good. Within 2 seconds it is refused everywhere."""
    with open_client(ctx, target, key) as client:
        response = client.admin.RevokeApiKey(api_key_pb2.RevokeApiKeyRequest(id=key_id))
    if json:
        print_message(response)
    else:
        out().print(Text(f"Revoked {response.api_key.id} ({response.api_key.name})."))


def _scope(text: str) -> "api_key_pb2.Scope.ValueType":
    name = f"SCOPE_{text.strip().upper()}"
    if name not in api_key_pb2.Scope.DESCRIPTOR.values_by_name or name == "SCOPE_UNSPECIFIED":
        raise CliError(f"--scope is read, ingest, catalog or admin, not {text!r}.")
    return api_key_pb2.Scope.Value(name)


def _scope_name(scope: "api_key_pb2.Scope.ValueType") -> str:
    return api_key_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower()


def _expiry(text: str) -> Timestamp:
    """The time a key ends: a span from now, or a date."""
    stamp = Timestamp()
    span = re.fullmatch(r"(\d{1,5})([hdw])", text.strip().lower())
    if span:
        stamp.FromDatetime(datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])}))
        return stamp
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CliError(f"--expires takes 30d, 12h or a date, not {text!r}.") from None
    stamp.FromDatetime(time if time.tzinfo else time.replace(tzinfo=UTC))
    return stamp


def _day(item: api_key_pb2.ApiKey, field: str, absent: str) -> str:
    if not item.HasField(field):  # type: ignore[arg-type]
        return absent
    time: datetime = getattr(item, field).ToDatetime()
    return f"{time:%Y-%m-%d %H:%M}"
