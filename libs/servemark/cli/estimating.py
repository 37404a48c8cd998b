"""Estimates for a load or length nobody measured: how to ask, and how far they may be off."""

from typing import Annotated

import typer

from servemark.cli.metrics import figure, metric_parts, parse_pair
from servemark.cli.output import CliError
from servemark.cli.quantities import counted
from servemark.ranking.v1.candidate_pb2 import Alternative
from servemark.ranking.v1.estimates_pb2 import EstimateError, OperatingPoint

_COUNTS = ("input_tokens", "output_tokens", "concurrency")
_NAMES = (*_COUNTS, "request_rate")

EstimateAt = Annotated[
    list[str] | None,
    typer.Option(
        "--estimate-at",
        metavar="NAME=VALUE",
        help=f"Also estimate for {', '.join(_NAMES)} that were not measured; may be repeated.",
    ),
]


def parse_operating_point(texts: list[str] | None) -> OperatingPoint | None:
    """The operating point of `name=value` texts; None without any. Raises CliError."""
    if not texts:
        return None
    point = OperatingPoint()
    for text in texts:
        name, value = parse_pair("--estimate-at", text)
        name = name.replace("-", "_")
        if name not in _NAMES:
            raise CliError(f"--estimate-at takes {', '.join(_NAMES)}, not {name!r}.")
        if name not in _COUNTS:
            point.request_rate = value
        elif value.is_integer() and 0 < value < 2**31:
            setattr(point, name, int(value))
        else:
            raise CliError(f"--estimate-at {name} takes a whole number of 1 or more.")
    return point


def estimate_sentences(name: str, alternative: Alternative) -> list[str]:
    """That an alternative was estimated, and between what each figure may lie. Else empty."""
    if not alternative.HasField("estimate"):
        return []
    errors = alternative.estimate.errors
    spans = f": {'; '.join(map(_span, errors))}" if errors else ""
    return [f"{name} was not measured at this point but interpolated between two that were{spans}."]


def _span(error: EstimateError) -> str:
    metric, unit = metric_parts(error.metric)
    tested = counted(error.tested_count, "point")
    span = f"{metric} {figure(error.low)} to {figure(error.high)} {unit}".rstrip()
    return f"{span} (tested at {tested})"
