"""`servemark events`: how far events have come, and those that could not be used."""

from datetime import UTC
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.names import pages
from servemark.cli.options import Json
from servemark.cli.output import FAILED, CliError, out, print_message
from servemark.cli.quantities import counted
from servemark.client.channel import Client
from servemark.events.v1 import dead_letter_pb2 as dead
from servemark.events.v1 import event_lag_pb2 as lag

app = typer.Typer(no_args_is_help=True, help="See how events are followed, and repair it.")

_MOST_IDS = 1000


@app.command("lag")
def show_lag(
    ctx: typer.Context, json: Json = False, target: Target = None, key: Key = None
) -> None:
    """Say what waits: in the outbox of each topic, and for each service that follows it."""
    with open_client(ctx, target, key) as client:
        response = client.events.GetEventLag(lag.GetEventLagRequest())
    if json:
        print_message(response)
        return
    if not response.topics:
        out().print("There are no events: no Redis is set.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("topic")
    table.add_column("not published", justify="right")
    table.add_column("oldest", justify="right")
    table.add_column("followed by")
    table.add_column("not delivered", justify="right")
    table.add_column("not done", justify="right")
    for topic in response.topics:
        outbox = ("?", "?")
        if topic.HasField("outbox"):
            outbox = f"{topic.outbox.event_count:,}", f"{topic.outbox.oldest_seconds:.1f} s"
        if not topic.groups:
            table.add_row(topic.topic, *outbox, "nobody", f"{topic.stream_length:,}", "")
        for group in topic.groups:
            table.add_row(
                topic.topic,
                *outbox,
                group.group,
                f"{group.undelivered_count:,}",
                f"{group.pending_count:,}",
            )
    out().print(table)


@app.command("dead")
def list_dead(
    ctx: typer.Context, json: Json = False, target: Target = None, key: Key = None
) -> None:
    """List the events that could not be used, the newest first, each with the reason."""
    with open_client(ctx, target, key) as client:
        letters = _letters(client)
    if json:
        print_message(dead.ListDeadLettersResponse(dead_letters=letters))
        return
    if not letters:
        out().print("No event is dead.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("topic")
    table.add_column("put away", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for letter in letters:
        time = letter.create_time.ToDatetime(UTC)
        table.add_row(letter.id, letter.topic, f"{time:%Y-%m-%d %H:%M}", Text(letter.reason))
    out().print(table)


@app.command("replay")
def replay(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of dead events.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Replay all of them.")] = False,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Have dead events take effect now. Ends with 1 where one still does not."""
    if bool(ids) == every:
        raise CliError("Name the events to replay by their ids, or give --all.")
    with open_client(ctx, target, key) as client:
        wanted = [letter.id for letter in _letters(client)] if every else list(ids or ())
        outcomes = [
            outcome
            for first in range(0, len(wanted), _MOST_IDS)
            for outcome in client.events.ReplayDeadLetters(
                dead.ReplayDeadLettersRequest(ids=wanted[first : first + _MOST_IDS])
            ).outcomes
        ]
    failed = [outcome for outcome in outcomes if outcome.problem]
    if json:
        print_message(dead.ReplayDeadLettersResponse(outcomes=outcomes))
    else:
        for outcome in failed:
            out().print(Text(f"{outcome.id}  STILL DEAD  {outcome.problem}"), soft_wrap=True)
        out().print(f"{counted(len(outcomes) - len(failed), 'event')} took effect.")
    if failed:
        raise typer.Exit(FAILED)


def _letters(client: Client) -> list[dead.DeadLetter]:
    request = dead.ListDeadLettersRequest(page_size=1000)
    return pages(client.events.ListDeadLetters, request, "dead_letters")
