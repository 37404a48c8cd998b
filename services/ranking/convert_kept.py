"""Alternatives and cells whose bytes are kept with the matrix, for whoever lists them next.

Who asks with other weights or limits is mostly told of the same alternatives, and what is said of
one beside its rank hangs on its row and its price alone. To merge bytes takes a tenth of the time
of writing the fields one by one.
"""

from collections.abc import Callable
from typing import Any, Final

from servemark.ranking.v1.candidate_pb2 import Alternative
from servemark.ranking.v1.recommend_pb2 import Recommendation
from services.ranking.candidates import Candidates
from services.ranking.convert_alternatives import write_alternative
from services.ranking.convert_cells import write_cells
from services.ranking.estimated import EstimatedRow

_MOST_KEPT: Final = 4096
"""Of a kilobyte each."""


def merge_alternative(message: Alternative, candidates: Candidates, index: int) -> None:
    """Writes what `write_alternative` writes."""

    def written() -> bytes:
        part = Alternative()
        write_alternative(part, candidates, index)
        return part.SerializeToString()

    message.MergeFromString(_kept(candidates, index, (), written))


def merge_facts(
    message: Recommendation,
    candidates: Candidates,
    index: int,
    metrics: tuple[int, ...],
    *,
    explain: bool,
) -> None:
    """Writes candidate `index` and its cells, with their sources if `explain`."""

    def written() -> bytes:
        part = Recommendation()
        write_alternative(part.alternative, candidates, index)
        write_cells(part.cells, candidates, index, metrics, explain=explain)
        return part.SerializeToString()

    message.MergeFromString(_kept(candidates, index, (metrics, explain), written))


def _kept(
    candidates: Candidates, index: int, what: tuple[Any, ...], written: Callable[[], bytes]
) -> bytes:
    """What is kept of a candidate, or is now."""
    row = candidates.row(index)
    if isinstance(row, EstimatedRow):
        return written()
    kept = candidates.matrix.kept
    key = (row.config_id, candidates.price_of.get(row.hardware_config_id), what)
    found = kept.get(key)
    if found is None:
        if len(kept) >= _MOST_KEPT:
            # Callers with prices of their own make as many as they like.
            kept.clear()
        found = kept[key] = written()
    return found
