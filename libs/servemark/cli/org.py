"""`servemark org`: whose keys, users and results there are."""

from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.names import pages
from servemark.cli.options import Json
from servemark.cli.output import CliError, out, print_message
from servemark.client.channel import Client
from servemark.gateway.v1 import organization_pb2, setting_pb2

app = typer.Typer(
    no_args_is_help=True, help="Create and list organizations, and what holds in one."
)

Org = Annotated[
    str,
    typer.Option("--org", metavar="NAME", help="The organization, by name or id; else yours."),
]


def organization_id(client: Client, text: str) -> str:
    """The id of the organization a person names; empty, which means one's own, for nothing."""
    if not text or _is_id(text):
        return text
    request = organization_pb2.GetOrganizationRequest(name=text)
    found: str = client.admin.GetOrganization(request).organization.id
    return found


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


@app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name, which no other has.")],
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Create an organization. Its first key is the next thing to make."""
    with open_client(ctx, target, key) as client:
        response = client.admin.CreateOrganization(
            organization_pb2.CreateOrganizationRequest(name=name)
        )
    if json:
        print_message(response)
        return
    made = response.organization
    out().print(Text(f"Created {made.name} ({made.id})."))


@app.command("list")
def list_organizations(
    ctx: typer.Context, json: Json = False, target: Target = None, key: Key = None
) -> None:
    """List organizations in order of their names."""
    request = organization_pb2.ListOrganizationsRequest()
    with open_client(ctx, target, key) as client:
        found = pages(client.admin.ListOrganizations, request, "organizations")
    if json:
        print_message(organization_pb2.ListOrganizationsResponse(organizations=found))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "name", "created"):
        table.add_column(column, overflow="fold")
    for item in found:
        created = f"{item.create_time.ToDatetime():%Y-%m-%d %H:%M}"
        table.add_row(Text(item.id), Text(item.name), created)
    out().print(table)


@app.command("settings")
def settings(
    ctx: typer.Context,
    results: Annotated[
        str,
        typer.Option(
            "--results",
            metavar="public|private",
            help="Who sees what is sent with tokens, and with keys that do not say so themselves.",
        ),
    ] = "",
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Show what holds in an organization; --results changes it for what is sent from now on."""
    wanted = setting_pb2.Settings()
    if results:
        wanted.result_visibility = _visibility(results)
    with open_client(ctx, target, key) as client:
        organization = organization_id(client, org)
        response: setting_pb2.GetSettingsResponse | setting_pb2.UpdateSettingsResponse
        if results:
            response = client.admin.UpdateSettings(
                setting_pb2.UpdateSettingsRequest(organization_id=organization, settings=wanted)
            )
        else:
            response = client.admin.GetSettings(
                setting_pb2.GetSettingsRequest(organization_id=organization)
            )
    if json:
        print_message(response)
        return
    is_public = response.settings.result_visibility == setting_pb2.RESULT_VISIBILITY_PUBLIC
    out().print(f"Results are {'public' if is_public else 'private'}, unless a key says otherwise.")


def _visibility(text: str) -> "setting_pb2.ResultVisibility.ValueType":
    known = {
        "public": setting_pb2.RESULT_VISIBILITY_PUBLIC,
        "private": setting_pb2.RESULT_VISIBILITY_PRIVATE,
    }
    if text.lower() not in known:
        raise CliError(f"--results is public or private, not {text!r}.")
    return known[text.lower()]
