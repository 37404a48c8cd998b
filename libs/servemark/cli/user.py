"""`servemark user`: who may sign in."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.names import pages
from servemark.cli.options import Json
from servemark.cli.org import Org, organization_id
from servemark.cli.output import CliError, out, print_message
from servemark.client.channel import Client
from servemark.gateway.v1 import user_pb2

app = typer.Typer(no_args_is_help=True, help="Create, list and disable users.")


def user_id(client: Client, organization: str, text: str) -> str:
    """The id of the active user whom a person names by email or id; empty for nothing."""
    if "@" not in text:
        return text
    request = user_pb2.ListUsersRequest(organization_id=organization)
    for user in pages(client.admin.ListUsers, request, "users"):
        if user.email == text.strip().lower():
            return str(user.id)
    raise CliError(f"No active user here has the email {text}. `servemark user list` shows them.")


@app.command("create")
def create(
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(help="The user's email.")],
    role: Annotated[
        str, typer.Option("--role", help="viewer, runner, editor or admin.")
    ] = "viewer",
    name: Annotated[str, typer.Option("--name", help="What to call the user.")] = "",
    subject: Annotated[
        str, typer.Option("--subject", metavar="SUB", help="The claim `sub` of the user's tokens.")
    ] = "",
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Create a user, who may then sign in with a token of the trusted issuer."""
    request = user_pb2.CreateUserRequest(
        email=email, role=_role(role), display_name=name, subject=subject
    )
    with open_client(ctx, target, key) as client:
        request.organization_id = organization_id(client, org)
        response = client.admin.CreateUser(request)
    if json:
        print_message(response)
        return
    made = response.user
    out().print(Text(f"Created {made.email} ({made.id}, {_role_name(made.role)})."))


@app.command("list")
def list_users(
    ctx: typer.Context,
    show_all: Annotated[bool, typer.Option("--all", help="Also list disabled users.")] = False,
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """List users, the newest first."""
    request = user_pb2.ListUsersRequest(include_disabled=show_all)
    with open_client(ctx, target, key) as client:
        request.organization_id = organization_id(client, org)
        found = pages(client.admin.ListUsers, request, "users")
    if json:
        print_message(user_pb2.ListUsersResponse(users=found))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "email", "name", "role", "created"):
        table.add_column(column, overflow="fold")
    for item in found:
        role = "disabled" if item.HasField("disable_time") else _role_name(item.role)
        created = f"{item.create_time.ToDatetime():%Y-%m-%d %H:%M}"
        table.add_row(Text(item.id), Text(item.email), Text(item.display_name), role, created)
    out().print(table)


@app.command("disable")
def disable(
    ctx: typer.Context,
    user_id: Annotated[str, typer.Argument(metavar="ID", help="The user's id.")],
    org: Org = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Disable a user for good. Within 2 seconds tokens and keys of the user are refused."""
    request = user_pb2.DisableUserRequest(id=user_id)
    with open_client(ctx, target, key) as client:
        request.organization_id = organization_id(client, org)
        response = client.admin.DisableUser(request)
    if json:
        print_message(response)
    else:
        out().print(Text(f"Disabled {response.user.email} ({response.user.id})."))


def _role(text: str) -> "user_pb2.Role.ValueType":
    name = f"ROLE_{text.strip().upper()}"
    if name not in user_pb2.Role.DESCRIPTOR.values_by_name or name == "ROLE_UNSPECIFIED":
        raise CliError(f"--role is viewer, runner, editor or admin, not {text!r}.")
    return user_pb2.Role.Value(name)


def _role_name(role: "user_pb2.Role.ValueType") -> str:
    return user_pb2.Role.Name(role).removeprefix("ROLE_").lower()
