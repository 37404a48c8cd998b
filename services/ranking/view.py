"""What a caller sees of a matrix: the configurations that are public, and its organization's own.

A view is a matrix like any other, of the same version, so nothing behind it has to know of owners:
what is not in it cannot be ranked, counted, compared or told of.
"""

from dataclasses import replace

import numpy as np

from servemark.runtime.tenancy import Tenant
from services.ranking.matrix import Floats, Matrix, NameColumn


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

    rows = matrix.rows
    return replace(
        matrix,
        content=replace(matrix.content, rows=tuple(rows[index] for index in seen)),
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
