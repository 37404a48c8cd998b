"""`servemark key`: what may call."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.limits import (
    CallsPerDay,
    CallsPerSecond,
    ConcurrentCalls,
    ConcurrentStreams,
    RowsPerDay,
    RowsPerSecond,
    describe,
    limits_of,
)
from servemark.cli.names import pages
from servemark.cli.options import Json
from servemark.cli.org import Org, organization_id
from servemark.cli.output import CliError, err, out, print_message
from servemark.cli.times import parse_span
from servemark.cli.user import user_id
from servemark.gateway.v1 import api_key_pb2
from servemark.gateway.v1.setting_pb2 import RESULT_VISIBILITY_PRIVATE, RESULT_VISIBILITY_PUBLIC

app = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke API keys.")

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_MOST_DAYS = 36_500

Days = Annotated[
    int | None,
    typer.Option("--days", min=1, max=_MOST_DAYS, help="In how many days it ends."),
]

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]


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
    days: Days = None,
    hardware: Annotated[
        list[str] | None,
        typer.Option(
            "--hardware", metavar="NAME", help="It may send results for this only; may be repeated."
        ),
    ] = None,
    public: Annotated[
        bool | None,
        typer.Option(
            "--public/--private", help="Who sees what it sends; without, as the organization says."
        ),
    ] = None,
    user: Annotated[
        str,
        typer.Option(
            "--user", metavar="EMAIL", help="Whose key it is, by email or id; else none's."
        ),
    ] = "",
    calls_per_second: CallsPerSecond = "",
    rows_per_second: RowsPerSecond = "",
    concurrent_calls: ConcurrentCalls = "",
    concurrent_streams: ConcurrentStreams = "",
    calls_per_day: CallsPerDay = "",
    rows_per_day: RowsPerDay = "",
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Create a key and print its secret, this once."""
    if expires and days is not None:
        raise CliError("--expires and --days say the same; give one of them.")
    request = api_key_pb2.CreateApiKeyRequest(
        name=name,
        scopes=[_scope(text) for text in scope or ["read"]],
        hardware=hardware or [],
        limits=limits_of(
            {
                "calls_per_second": calls_per_second,
                "rows_per_second": rows_per_second,
                "concurrent_calls": concurrent_calls,
                "concurrent_streams": concurrent_streams,
                "calls_per_day": calls_per_day,
                "rows_per_day": rows_per_day,
            }
        ),
    )
    if public is not None:
        request.result_visibility = (
            RESULT_VISIBILITY_PUBLIC if public else RESULT_VISIBILITY_PRIVATE
        )
    if expires or days is not None:
        request.expire_time.CopyFrom(_expiry(expires or f"{days}d"))
    with open_client(ctx, target, key) as client:
        request.organization_id = organization_id(client, org)
        request.user_id = user_id(client, request.organization_id, user)
        response = client.admin.CreateApiKey(request)
    if json:
        print_message(response)
        return
    made = response.api_key
    _print_secret(f"Key {made.id} ({', '.join(map(_scope_name, made.scopes))}).", response.secret)


@app.command("list")
def list_keys(
    ctx: typer.Context,
    show_all: Annotated[
        bool, typer.Option("--all", help="Also list expired and revoked keys.")
    ] = False,
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """List keys, the newest first, without their secrets."""
    request = api_key_pb2.ListApiKeysRequest(include_inactive=show_all)
    with open_client(ctx, target, key) as client:
        request.organization_id = organization_id(client, org)
        keys = pages(client.admin.ListApiKeys, request, "api_keys")
    if json:
        print_message(api_key_pb2.ListApiKeysResponse(api_keys=keys))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "name", "scopes", "results", "limits", "created", "expires", "last used"):
        table.add_column(column, overflow="fold")
    for item in keys:
        ends = "revoked" if item.HasField("revoke_time") else _day(item, "expire_time", "never")
        is_public = item.result_visibility == RESULT_VISIBILITY_PUBLIC
        results = [
            "public" if is_public else "private",
            *(f"only {name}" for name in item.hardware),
        ]
        table.add_row(
            Text(item.id),
            Text(item.name),
            ", ".join(map(_scope_name, item.scopes)),
            Text(", ".join(results)),
            describe(item.limits),
            _day(item, "create_time", ""),
            ends,
            _day(item, "last_use_time", "never"),
        )
    out().print(table)


@app.command("limits")
def limits(
    ctx: typer.Context,
    key_id: KeyId,
    calls_per_second: CallsPerSecond = "",
    rows_per_second: RowsPerSecond = "",
    concurrent_calls: ConcurrentCalls = "",
    concurrent_streams: ConcurrentStreams = "",
    calls_per_day: CallsPerDay = "",
    rows_per_day: RowsPerDay = "",
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Change the limits that are named; show those the key has of its own."""
    texts = {
        "calls_per_second": calls_per_second,
        "rows_per_second": rows_per_second,
        "concurrent_calls": concurrent_calls,
        "concurrent_streams": concurrent_streams,
        "calls_per_day": calls_per_day,
        "rows_per_day": rows_per_day,
    }
    named = {name: text for name, text in texts.items() if text}
    wanted = limits_of(named)
    with open_client(ctx, target, key) as client:
        organization = organization_id(client, org)
        response: api_key_pb2.GetApiKeyResponse | api_key_pb2.UpdateApiKeyLimitsResponse
        if named:
            response = client.admin.UpdateApiKeyLimits(
                api_key_pb2.UpdateApiKeyLimitsRequest(
                    organization_id=organization,
                    id=key_id,
                    limits=wanted,
                    update_mask=FieldMask(paths=list(named)),
                )
            )
        else:
            response = client.admin.GetApiKey(
                api_key_pb2.GetApiKeyRequest(organization_id=organization, id=key_id)
            )
    if json:
        print_message(response)
    else:
        own = describe(response.api_key.limits) or "those that every key has"
        out().print(Text(f"Limits of {key_id}: {own}."))


@app.command("rotate")
def rotate(
    ctx: typer.Context,
    key_id: KeyId,
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap", metavar="SPAN", help="How long the old secret works on: 24h, 30m, 7d, 0."
        ),
    ] = "24h",
    days: Days = None,
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Give a key a new secret and print it, this once. The old one works on for a while."""
    is_leaked = overlap.strip() == "0"
    request = api_key_pb2.RotateApiKeyRequest(
        id=key_id, overlap=Duration() if is_leaked else parse_span("--overlap", overlap)
    )
    if days is not None:
        request.expire_time.CopyFrom(_expiry(f"{days}d"))
    with open_client(ctx, target, key) as client:
        request.organization_id = organization_id(client, org)
        response = client.admin.RotateApiKey(request)
    if json:
        print_message(response)
        return
    until = _day(response.api_key, "old_secret_expire_time", "")
    _print_secret(f"Key {key_id}. The old secret works until {until} UTC.", response.secret)


@app.command("revoke")
def revoke(
    ctx: typer.Context,
    key_id: KeyId,
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Revoke a key for good. Within 2 seconds it is refused everywhere."""
    request = api_key_pb2.RevokeApiKeyRequest(id=key_id)
    with open_client(ctx, target, key) as client:
        request.organization_id = organization_id(client, org)
        response = client.admin.RevokeApiKey(request)
    if json:
        print_message(response)
    else:
        out().print(Text(f"Revoked {response.api_key.id} ({response.api_key.name})."))


def _print_secret(sentence: str, secret: str) -> None:
    # The secret alone goes to stdout, so that it can be piped to where it is kept.
    err().print(Text(f"{sentence} Shown only now:"))
    print(secret)


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
