"""What a caller sees of a matrix: the configurations that are public, and its organization's own.

A view is a matrix like any other, of the same version, so nothing behind it has to know of owners:
what is not in it cannot be ranked, counted, compared or told of.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import Final

import numpy as np

from servemark.runtime.tenancy import Tenant
from services.ranking.matrix import Floats, Matrix, NameColumn, hardware_of

# Organizations whose views are held: each may be as large as the matrix.
_MOST_VIEWS: Final = 16


class Views:
    """What the callers see of the newest matrix, made once for each organization that asks."""

    def __init__(self) -> None:
        self._matrix: Matrix | None = None
        self._views: OrderedDict[str, Matrix] = OrderedDict()

    def of(self, matrix: Matrix, tenant: Tenant) -> Matrix:
        """The matrix as the tenant sees it."""
        if matrix is not self._matrix:
            self._matrix = matrix
            self._views.clear()
        view = self._views.get(tenant.scope)
        if view is None:
            view = self._views[tenant.scope] = seen_by(matrix, tenant)
        self._views.move_to_end(tenant.scope)
        if len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)
        return view


def seen_by(matrix: Matrix, tenant: Tenant) -> Matrix:
    """The matrix with the rows that the tenant may see; itself where these are all."""
    owners = matrix.names["organization_id"]
    if tenant.sees_all or owners.names in ((), ("",)):
        return matrix
    seen = np.flatnonzero(owners.where(lambda owner: owner in ("", tenant.scope)))
    if seen.size == len(matrix.rows):
        return matrix

    def cells(whole: Floats) -> Floats:
        # As in the whole matrix, each column lies together.
        return whole.T[:, seen].T

    rows = tuple(matrix.rows[index] for index in seen)
    return replace(
        matrix,
        content=replace(matrix.content, rows=rows),
        hardware=hardware_of(rows),
        names={
            name: NameColumn(column.names, column.codes[seen])
            for name, column in matrix.names.items()
        },
        gpu_count=matrix.gpu_count[seen],
        input_tokens=matrix.input_tokens[seen],
        output_tokens=matrix.output_tokens[seen],
        provenance=matrix.provenance[seen],
        value=cells(matrix.value),
        low=cells(matrix.low),
        high=cells(matrix.high),
        runs=matrix.runs.T[:, seen].T,
        sure_low=cells(matrix.sure_low),
        sure_high=cells(matrix.sure_high),
    )
