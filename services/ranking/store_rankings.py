"""Stored rankings in Postgres: generations whose places never change; they are superseded."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servemark.runtime.database import Database, driver_connection
from servemark.runtime.ids import uuid7
from services.ranking.tables import model_rankings, ranking_generations

# Page tokens name a generation, so one that is superseded stays for those who are reading it. New
# results may supersede it every second, so only so many do.
KEEP_SUPERSEDED = timedelta(minutes=5)
KEEP_GENERATIONS = 20


@dataclass(frozen=True, slots=True)
class Generation:
    """One stored ranking of a use case. `payload` is its serialized message.

    It was made from one matrix, and later ones up to `holds_version` give the same.
    """

    id: UUID
    use_case_id: UUID
    use_case_category: str
    matrix_version: int
    ranked_count: int
    content_digest: bytes
    payload: bytes
    calculated_at: datetime
    expires_at: datetime
    holds_version: int


@dataclass(frozen=True, slots=True)
class StoredRank:
    """One place of a generation. `payload` is its serialized message, `breakdown` JSON."""

    model_id: UUID
    config_id: UUID
    score: float
    rank: int
    breakdown: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """The best place of one model in a generation, and how many places it has there."""

    model_id: UUID
    score: float
    rank: int
    payload: bytes
    config_count: int


@dataclass(frozen=True, slots=True)
class Page:
    """A generation and the payloads of some of its places, with the number of the last of them."""

    generation: Generation
    payloads: tuple[bytes, ...]
    last: int


class RankingStore:
    """Keeps generations; what a reader sees is always of one, and whole."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def current(self, use_case_id: UUID) -> Generation | None:
        """The generation that none supersedes, expired or not."""
        async with self._database.transaction() as connection:
            return await _current(connection, use_case_id)

    async def currents(self, use_case_ids: Collection[UUID]) -> dict[UUID, Generation]:
        """The current generations of these use cases, by the use case; some may have none."""
        table = ranking_generations.c
        statement = select(*_GENERATION).where(
            table.use_case_id.in_(use_case_ids), table.superseded_at.is_(None)
        )
        async with self._database.transaction() as connection:
            found = [_generation(row) for row in await connection.execute(statement)]
        return {generation.use_case_id: generation for generation in found}

    async def page(
        self, generation_id: UUID, use_case_id: UUID, after: int, limit: int
    ) -> Page | None:
        """The places after number `after` (0: from the first), or None: the generation is gone."""
        places = (
            select(
                model_rankings.c.generation_id,
                model_rankings.c.ordinal,
                model_rankings.c.payload.label("place_payload"),
            )
            .where(
                model_rankings.c.generation_id == generation_id,
                model_rankings.c.ordinal > after,
            )
            .order_by(model_rankings.c.ordinal)
            .limit(limit)
            .subquery()
        )
        # One statement sees one moment: the generation cannot go between its head and its places.
        statement = (
            select(*_GENERATION, places.c.ordinal, places.c.place_payload)
            .outerjoin_from(
                ranking_generations, places, places.c.generation_id == ranking_generations.c.id
            )
            .where(
                ranking_generations.c.id == generation_id,
                ranking_generations.c.use_case_id == use_case_id,
            )
            .order_by(places.c.ordinal)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statement)).all()
        if not rows:
            return None
        found = [row for row in rows if row.ordinal is not None]
        return Page(
            _generation(rows[0]),
            tuple(row.place_payload for row in found),
            found[-1].ordinal if found else after,
        )

    async def best_of_models(self, generation: Generation) -> list[ModelPlace] | None:
        """The best place of each model, best first, or None: the generation is gone."""
        best = (
            select(
                func.min(model_rankings.c.ordinal).label("ordinal"), func.count().label("places")
            )
            .where(model_rankings.c.generation_id == generation.id)
            .group_by(model_rankings.c.model_id)
            .subquery()
        )
        place = model_rankings.c
        statement = (
            select(
                place.model_id,
                place.composite_score,
                place.rank_position,
                place.payload,
                best.c.places,
            )
            .join_from(model_rankings, best, place.ordinal == best.c.ordinal)
            .where(place.generation_id == generation.id)
            .order_by(place.ordinal)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statement)).all()
        found = [ModelPlace(*row) for row in rows]
        # Places go all at once, with their generation.
        whole = sum(place.config_count for place in found) == generation.ranked_count
        return found if whole else None

    async def supersede(self, generation: Generation, ranks: Sequence[StoredRank]) -> Generation:
        """Stores `generation` as the current one, in one transaction; returns the current one.

        Where the current one holds for a newer matrix, it stays, and is returned.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                select(
                    func.pg_advisory_xact_lock(
                        func.hashtextextended(str(generation.use_case_id), 0)
                    )
                )
            )
            current = await _current(connection, generation.use_case_id, for_update=True)
            if current is not None and current.holds_version > generation.matrix_version:
                return current
            if current is not None:
                await _supersede(connection, current.id)
            await connection.execute(
                insert(ranking_generations).values(
                    id=generation.id,
                    use_case_id=generation.use_case_id,
                    use_case_category=generation.use_case_category,
                    matrix_version=generation.matrix_version,
                    ranked_count=generation.ranked_count,
                    content_digest=generation.content_digest,
                    payload=generation.payload,
                    calculated_at=generation.calculated_at,
                    expires_at=generation.expires_at,
                    holds_version=generation.holds_version,
                )
            )
            await _copy(connection, generation, ranks)
            await _drop_old(connection, generation.use_case_id)
        return generation

    async def hold(self, ids: Collection[UUID], version: int) -> set[UUID]:
        """Notes that these generations hold for that matrix; which of them none supersedes yet."""
        table = ranking_generations.c
        # In the order of their ids, so that two processes never wait for each other in a circle.
        current = (
            select(table.id)
            .where(table.id.in_(ids), table.superseded_at.is_(None))
            .order_by(table.id)
            .with_for_update()
        )
        statement = (
            update(ranking_generations)
            .where(table.id.in_(current))
            .values(holds_version=func.greatest(table.holds_version, version))
            .returning(table.id)
        )
        async with self._database.transaction() as connection:
            return set((await connection.execute(statement)).scalars())


_GENERATION = (
    ranking_generations.c.id,
    ranking_generations.c.use_case_id,
    ranking_generations.c.use_case_category,
    ranking_generations.c.matrix_version,
    ranking_generations.c.ranked_count,
    ranking_generations.c.content_digest,
    ranking_generations.c.payload,
    ranking_generations.c.calculated_at,
    ranking_generations.c.expires_at,
    ranking_generations.c.holds_version,
)

_COLUMNS = (
    "id",
    "generation_id",
    "ordinal",
    "model_id",
    "config_id",
    "use_case_category",
    "composite_score",
    "rank_position",
    "score_breakdown",
    "payload",
    "calculated_at",
    "expires_at",
)


def _generation(row: object) -> Generation:
    return Generation(*(getattr(row, column.name) for column in _GENERATION))


async def _current(
    connection: AsyncConnection, use_case_id: UUID, *, for_update: bool = False
) -> Generation | None:
    statement = select(*_GENERATION).where(
        ranking_generations.c.use_case_id == use_case_id,
        ranking_generations.c.superseded_at.is_(None),
    )
    if for_update:
        # Nobody says meanwhile that it holds for a newer matrix.
        statement = statement.with_for_update()
    row = (await connection.execute(statement)).first()
    return None if row is None else _generation(row)


async def _supersede(connection: AsyncConnection, generation_id: UUID) -> None:
    now = func.now()
    await connection.execute(
        update(model_rankings)
        .where(model_rankings.c.generation_id == generation_id)
        .values(superseded_at=now)
    )
    await connection.execute(
        update(ranking_generations)
        .where(ranking_generations.c.id == generation_id)
        .values(superseded_at=now)
    )


async def _copy(
    connection: AsyncConnection, generation: Generation, ranks: Sequence[StoredRank]
) -> None:
    driver = await driver_connection(connection)
    await driver.copy_records_to_table(
        "model_rankings",
        columns=_COLUMNS,
        records=[
            (
                uuid7(),
                generation.id,
                ordinal,
                rank.model_id,
                rank.config_id,
                generation.use_case_category,
                rank.score,
                rank.rank,
                rank.breakdown,
                rank.payload,
                generation.calculated_at,
                generation.expires_at,
            )
            for ordinal, rank in enumerate(ranks, start=1)
        ],
    )


async def _drop_old(connection: AsyncConnection, use_case_id: UUID) -> None:
    table = ranking_generations.c
    beyond = (
        select(table.superseded_at)
        .where(table.use_case_id == use_case_id, table.superseded_at.is_not(None))
        .order_by(table.superseded_at.desc())
        .offset(KEEP_GENERATIONS)
        .limit(1)
        .scalar_subquery()
    )
    await connection.execute(
        delete(ranking_generations).where(
            table.use_case_id == use_case_id,
            table.superseded_at.is_not(None),
            (table.superseded_at < func.now() - KEEP_SUPERSEDED) | (table.superseded_at <= beyond),
        )
    )
