"""The caller's own decision matrix, from a CSV or JSON file.

CSV: the first row is `id` and the criteria's names; a row with the id `objective` says `min` or
`max` for each, a row with the id `weight` its weight; every other row is an alternative.

    id,latency,throughput
    objective,min,max
    weight,2,1
    a,120,900
    b,95,700

JSON: the request of RankingService.RankMatrix, with `min` and `max` allowed as objectives.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from servemark.cli.metrics import is_maximized, parse_metric
from servemark.cli.output import CliError
from servemark.ranking.v1.rank_matrix_pb2 import (
    MatrixAlternative,
    MatrixCriterion,
    RankMatrixRequest,
)
from servemark.type.v1.metric_pb2 import OBJECTIVE_MAXIMIZE, OBJECTIVE_MINIMIZE, Objective

_OBJECTIVES = {
    "min": OBJECTIVE_MINIMIZE,
    "minimize": OBJECTIVE_MINIMIZE,
    "max": OBJECTIVE_MAXIMIZE,
    "maximize": OBJECTIVE_MAXIMIZE,
}


def read_matrix(
    path: Path,
    objectives: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> RankMatrixRequest:
    """The request a file describes; `objectives` and `weights` by name win over the file.

    A criterion named like a metric has that metric's objective, and weight 1 is presumed. Raises
    CliError, naming the row or criterion that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}.") from None
    read = _from_json if text.lstrip().startswith("{") else _from_csv
    request = read(path, text)
    _overrule(request, objectives or {}, weights or {})
    for criterion in request.criteria:
        if not criterion.objective:
            criterion.objective = _own_objective(criterion.name)
    return request


def _from_json(path: Path, text: str) -> RankMatrixRequest:
    request = RankMatrixRequest()
    try:
        document: Any = json.loads(text)
        for criterion in document.get("criteria", []):
            given = criterion.get("objective")
            if isinstance(given, str) and given.lower() in _OBJECTIVES:
                criterion["objective"] = Objective.Name(_OBJECTIVES[given.lower()])
            criterion.setdefault("weight", 1.0)
        json_format.ParseDict(document, request)
    except (ValueError, TypeError, AttributeError, json_format.ParseError) as error:
        raise CliError(f"{path} is not a matrix in JSON: {error}.") from None
    return request


def _from_csv(path: Path, text: str) -> RankMatrixRequest:
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    if not rows or len(rows[0]) < 2:
        raise CliError(f"{path} needs a first row with `id` and the names of the criteria.")
    names = [name.strip() for name in rows[0][1:]]
    request = RankMatrixRequest(criteria=[MatrixCriterion(name=name, weight=1.0) for name in names])
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if len(cells) != len(names) + 1:
            raise CliError(f"{path}: row {number} has {len(cells)} cells, not {len(names) + 1}.")
        where = f"{path}: row {number}"
        if cells[0].lower() == "objective":
            for criterion, cell in zip(request.criteria, cells[1:], strict=True):
                criterion.objective = parse_objective(cell, where)
        elif cells[0].lower() == "weight":
            for criterion, weight in zip(request.criteria, _numbers(cells[1:], where), strict=True):
                criterion.weight = weight
        else:
            values = _numbers(cells[1:], where)
            request.alternatives.append(MatrixAlternative(id=cells[0], values=values))
    return request


def _numbers(cells: Sequence[str], where: str) -> list[float]:
    """The cells' numbers; an empty one is a missing value, which leaves its row out."""
    try:
        return [float(cell) if cell else math.nan for cell in cells]
    except ValueError as error:
        raise CliError(f"{where}: {error}.") from None


def parse_objective(text: str, where: str) -> "Objective.ValueType":
    """The objective `min` or `max` names. Raises CliError, saying where it stands."""
    try:
        return _OBJECTIVES[text.strip().lower()]
    except KeyError:
        raise CliError(f"{where}: the objective {text!r} is neither min nor max.") from None


def _overrule(
    request: RankMatrixRequest, objectives: Mapping[str, str], weights: Mapping[str, float]
) -> None:
    criteria = {criterion.name: criterion for criterion in request.criteria}
    for name in [*objectives, *weights]:
        if name not in criteria:
            raise CliError(f"There is no criterion {name!r}; there are {', '.join(criteria)}.")
    for name, text in objectives.items():
        criteria[name].objective = parse_objective(text, f"--objective {name}")
    for name, weight in weights.items():
        criteria[name].weight = weight


def _own_objective(name: str) -> "Objective.ValueType":
    try:
        return OBJECTIVE_MAXIMIZE if is_maximized(parse_metric(name)) else OBJECTIVE_MINIMIZE
    except CliError:
        raise CliError(
            f"Say whether a small or a large {name!r} is better: --objective {name}=min"
        ) from None
