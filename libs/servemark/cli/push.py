"""`servemark push` and `resume`: what waits in a spool, sent."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.options import Json
from servemark.cli.output import FAILED, SOME_REJECTED, err, out, print_json, say_error
from servemark.client.push import PushSummary
from servemark.client.push import push as push_segments
from servemark.client.spool import Spool
from servemark.type.v1.error_reason_pb2 import ErrorReason

_PREFIX = "ERROR_REASON_"
_IDLE_SECONDS = 20.0

SpoolFolder = Annotated[
    Path | None,
    typer.Option(
        "--spool",
        metavar="DIR",
        file_okay=False,
        help="Where results wait; or SERVEMARK_SPOOL_DIR.",
    ),
]


def push(
    ctx: typer.Context,
    spools: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SPOOL...]",
            exists=True,
            help="Spool folders, or files in them; without any, the usual spool.",
        ),
    ] = None,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Send results that wait in a spool. What is stored already is not stored again.

    Results that the server refused before lie in files that end in .refused: name those to try them
    again.
    """
    paths = segments_of(spools)
    with open_client(ctx, target, key) as client:
        summary = push_segments(client, paths, idle_timeout=_IDLE_SECONDS)
    if json:
        _print_json(summary)
    else:
        _print(summary)
    if summary.failures:
        raise typer.Exit(FAILED)
    if summary.rejections:
        raise typer.Exit(SOME_REJECTED)


def segments_of(spools: list[Path] | None) -> list[Path]:
    """The segments of the folders that were named, and the files that were."""
    paths = []
    for named in spools or [Spool.at().folder]:
        paths += Spool(named).paths() if named.is_dir() or not named.exists() else [named]
    return paths


def _print(summary: PushSummary) -> None:
    if not summary.sent and not summary.failures and not summary.in_use:
        out().print("Nothing waits.")
        return
    sentence = f"Stored {summary.stored} results"
    if summary.duplicates:
        sentence += f"; {summary.duplicates} were stored before"
    if summary.rejections:
        sentence += f"; {len(summary.rejections)} rejected"
    out().print(f"{sentence}.")
    for path in summary.in_use:
        err().print(f"{path} is being sent by another process.", markup=False, soft_wrap=True)
    for path, why in summary.failures.items():
        say_error(f"{path} stays: {why}")
    reasons = Counter((_reason(one.reason), one.detail) for one in summary.rejections)
    for (reason, detail), count in reasons.most_common(10):
        err().print(f"rejected {reason}: {detail} ({count})", markup=False, soft_wrap=True)


def _print_json(summary: PushSummary) -> None:
    for one in summary.rejections:
        print_json({"rejected": _reason(one.reason), "detail": one.detail}, indent=None)
    print_json(
        {
            "stored": summary.stored,
            "duplicates": summary.duplicates,
            "rejected": len(summary.rejections),
            "sent": list(map(str, summary.sent)),
            "in_use": list(map(str, summary.in_use)),
            "failures": {str(path): why for path, why in summary.failures.items()},
        },
        indent=None,
    )


def _reason(reason: "ErrorReason.ValueType") -> str:
    return ErrorReason.Name(reason).removeprefix(_PREFIX)
