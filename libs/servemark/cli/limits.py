"""Options for the limits of a key, and how they are shown."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from servemark.cli.output import CliError
from servemark.gateway.v1.api_key_pb2 import ApiKeyLimits

DEFAULT = "default"
_PANEL = "Limits (a number, or `default`: what every key has)"


def _option(name: str, text: str) -> Any:
    return typer.Option(name, metavar="N", help=text, rich_help_panel=_PANEL)


CallsPerSecond = Annotated[str, _option("--calls-per-second", "Calls a second.")]
RowsPerSecond = Annotated[str, _option("--rows-per-second", "Rows a second sent to be stored.")]
ConcurrentCalls = Annotated[str, _option("--concurrent-calls", "Calls open at once.")]
ConcurrentStreams = Annotated[str, _option("--concurrent-streams", "Streams open at once.")]
CallsPerDay = Annotated[str, _option("--calls-per-day", "Calls on one UTC day.")]
RowsPerDay = Annotated[str, _option("--rows-per-day", "Rows of one UTC day.")]


def limits_of(texts: Mapping[str, str]) -> ApiKeyLimits:
    """The limits that options give, by field name. Raises CliError for what is no number."""
    limits = ApiKeyLimits()
    for name, text in texts.items():
        if text in ("", DEFAULT):
            continue
        try:
            number = float(text)
            if not name.endswith("_second"):
                number = _whole(number)
            setattr(limits, name, number)
        except (ValueError, OverflowError):
            option = name.replace("_", "-")
            raise CliError(f"--{option} takes a number or `default`, not {text!r}.") from None
    return limits


def describe(limits: ApiKeyLimits) -> str:
    """A key's own limits in words; empty where it has none."""
    return ", ".join(
        f"{value:,.15g} {field.name.replace('_', ' ')}" for field, value in limits.ListFields()
    )


def _whole(number: float) -> int:
    if not math.isfinite(number) or number != int(number):
        raise ValueError(number)
    return int(number)
