"""`servemark audit`: who changed what about organizations, users, keys and settings."""

import json as json_text
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.options import Json
from servemark.cli.org import Org, organization_id
from servemark.cli.output import CliError, out, print_message
from servemark.cli.times import Since, Until, parse_time
from servemark.gateway.v1.audit_pb2 import ListAuditLogRequest

_ALL_ORGANIZATIONS = "-"


def audit(
    ctx: typer.Context,
    org: Org = "",
    all_orgs: Annotated[
        bool, typer.Option("--all-orgs", help="What was changed in any organization.")
    ] = False,
    actor: Annotated[
        str, typer.Option("--actor", metavar="ID", help="Only by this key or user:ID.")
    ] = "",
    action: Annotated[
        str, typer.Option("--action", help="Only this (api_key.revoke), or all of api_key.")
    ] = "",
    of: Annotated[
        str, typer.Option("--of", metavar="ID", help="Only of this key, user or organization.")
    ] = "",
    since: Since = "",
    until: Until = "",
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="How many to show.")] = 20,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """List changes, the newest first."""
    if org and all_orgs:
        raise CliError("--org and --all-orgs cannot both be given.")
    # A word without a dot is a kind of thing; the service takes `api_key.` for all done to those.
    action = action if "." in action or not action else f"{action}."
    request = ListAuditLogRequest(page_size=top, actor=actor, action=action, target=of)
    if since:
        request.start_time.CopyFrom(parse_time("--since", since))
    if until:
        request.end_time.CopyFrom(parse_time("--until", until))
    with open_client(ctx, target, key) as client:
        request.organization_id = _ALL_ORGANIZATIONS if all_orgs else organization_id(client, org)
        response = client.admin.ListAuditLog(request)
    if json:
        print_message(response)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("time (UTC)", "action", "of", "by", "detail"):
        table.add_column(column, overflow="fold")
    for entry in response.entries:
        detail = json_text.dumps(MessageToDict(entry.detail), ensure_ascii=False)
        table.add_row(
            f"{entry.log_time.ToDatetime():%Y-%m-%d %H:%M:%S}",
            entry.action,
            Text(entry.target),
            Text(entry.actor),
            Text(detail),
        )
    out().print(table)
    if response.next_page_token:
        out().print(f"The last {top}; --top and --until show more.")
