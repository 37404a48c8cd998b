"""Times and spans as people type them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.cli.output import CliError

Since = Annotated[
    str, typer.Option(metavar="DATE", help="From this day (2025-09-14) or time, UTC.")
]
Until = Annotated[str, typer.Option(metavar="DATE", help="Up to this day or time, without it.")]

_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}


def parse_time(option: str, text: str) -> Timestamp:
    """The UTC time of a day or a time. Raises CliError, naming the option."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CliError(f"{option} takes a day such as 2025-09-14, not {text!r}.") from None
    stamp = Timestamp()
    stamp.FromDatetime(time if time.tzinfo else time.replace(tzinfo=UTC))
    return stamp


def parse_span(option: str, text: str) -> Duration:
    """The length of `30m`, `6h` or `1d`. Raises CliError, naming the option."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})([mhd])", text.strip().lower())
    if found is None:
        raise CliError(f"{option} takes a span such as 30m, 6h or 1d, not {text!r}.")
    return Duration(seconds=int(found[1]) * _SECONDS[found[2]])
