"""Looks up many names and ids at once: one query for each kind of thing, one for near misses.

Letter case is ignored by the database on both sides, so that a look-up and the unique indexes agree
on what is the same name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database

# Suggestions compare with every name; this many suffice to see a pattern in a long list of misses.
MAX_SUGGESTED = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that a look-up found. `asked` is the position of the id or name that found it.

    For model versions `parent_id` is the model's id, and `id` is None for a model without versions.
    `labels` are what tells rows of the same name apart: version, quantization, format.
    """

    asked: int
    id: UUID | None
    name: str
    labels: tuple[str, ...]
    is_archived: bool
    parent_id: UUID | None = None
    parent_archived: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked up: ids and names, each once."""

    ids: Sequence[UUID]
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: by id, by name, and near each name that found nothing."""

    by_id: dict[UUID, list[Candidate]]
    by_name: dict[str, list[Candidate]]
    nearest: dict[str, list[str]]


_WANTED = """
WITH wanted AS (
    SELECT n::int AS asked, id, NULL::text AS name
    FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS i(id, n)
    UNION ALL
    SELECT n::int, NULL::uuid, lower(name)
    FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS i(name, n)
)
"""

_MODEL_VERSIONS = text(
    _WANTED
    + """
SELECT w.asked, true AS by_id, v.id, m.name,
       coalesce(v.archived_at IS NOT NULL, false) AS is_archived,
       m.id AS parent_id, m.archived_at IS NOT NULL AS parent_archived,
       ARRAY[v.version, v.quantization, v.format] AS labels
FROM wanted w
JOIN catalog.model_versions v ON v.id = w.id
JOIN catalog.models m ON m.id = v.model_id
UNION ALL
SELECT w.asked, false, v.id, m.name, coalesce(v.archived_at IS NOT NULL, false),
       m.id, m.archived_at IS NOT NULL, ARRAY[v.version, v.quantization, v.format]
FROM wanted w
JOIN catalog.models m ON lower(m.name) = w.name
LEFT JOIN catalog.model_versions v ON v.model_id = m.id
ORDER BY 4, 8, 3
"""
)
_HARDWARE = text(
    _WANTED
    + """
SELECT w.asked, true AS by_id, h.id, h.name, h.archived_at IS NOT NULL AS is_archived,
       NULL::uuid AS parent_id, false AS parent_archived, ARRAY[]::text[] AS labels
FROM wanted w JOIN catalog.hardware_configs h ON h.id = w.id
UNION ALL
SELECT w.asked, false, h.id, h.name, h.archived_at IS NOT NULL, NULL, false, ARRAY[]::text[]
FROM wanted w JOIN catalog.hardware_configs h ON lower(h.name) = w.name
"""
)
_FRAMEWORKS = text(
    _WANTED
    + """
SELECT w.asked, true AS by_id, f.id, f.name, f.archived_at IS NOT NULL AS is_archived,
       NULL::uuid AS parent_id, false AS parent_archived, ARRAY[f.version] AS labels
FROM wanted w JOIN catalog.inference_frameworks f ON f.id = w.id
UNION ALL
SELECT w.asked, false, f.id, f.name, f.archived_at IS NOT NULL, NULL, false, ARRAY[f.version]
FROM wanted w JOIN catalog.inference_frameworks f ON lower(f.name) = w.name
ORDER BY 4, 8
"""
)
_NEAREST = """
SELECT w.name AS asked, near.name
FROM unnest(CAST(:names AS text[])) AS w(name)
CROSS JOIN LATERAL (
    SELECT DISTINCT t.name, catalog.closeness(lower(t.name), lower(w.name)) AS closeness
    FROM catalog.{table} t
    WHERE t.archived_at IS NULL AND catalog.closeness(lower(t.name), lower(w.name)) >= 0.2
    ORDER BY 2 DESC, 1 LIMIT 3
) near
ORDER BY near.closeness DESC, near.name
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    find: TextClause
    nearest: TextClause


_KINDS = {
    "model_version": _Kind(_MODEL_VERSIONS, text(_NEAREST.format(table="models"))),
    "hardware": _Kind(_HARDWARE, text(_NEAREST.format(table="hardware_configs"))),
    "framework": _Kind(_FRAMEWORKS, text(_NEAREST.format(table="inference_frameworks"))),
}


class ResolveStore:
    """Finds what names and ids may mean; deciding what they do mean is resolve.py's part."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, wanted: dict[str, Wanted]) -> dict[str, Found]:
        """What was found of each kind: `model_version`, `hardware`, `framework`.

        At most two queries a kind, however many names there are.
        """
        async with self._database.transaction() as connection:
            return {
                kind: await _find(connection, _KINDS[kind], what) for kind, what in wanted.items()
            }


async def _find(connection: AsyncConnection, kind: _Kind, wanted: Wanted) -> Found:
    found = Found({}, {}, {})
    if not wanted.ids and not wanted.names:
        return found
    rows = await connection.execute(
        kind.find, {"ids": list(wanted.ids), "names": list(wanted.names)}
    )
    for row in rows:
        candidate = Candidate(
            row.asked,
            row.id,
            row.name,
            tuple(row.labels) if row.id is not None else (),
            row.is_archived,
            row.parent_id,
            row.parent_archived,
        )
        if row.by_id:
            found.by_id.setdefault(wanted.ids[row.asked - 1], []).append(candidate)
        else:
            found.by_name.setdefault(wanted.names[row.asked - 1], []).append(candidate)
    missing = [name for name in wanted.names if name not in found.by_name][:MAX_SUGGESTED]
    if missing:
        for asked, name in await connection.execute(kind.nearest, {"names": missing}):
            found.nearest.setdefault(asked, []).append(name)
    return found
