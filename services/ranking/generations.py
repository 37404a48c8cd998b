"""Stored rankings: each use case with its default weights and limits, ranked by fixed bounds.

A generation is made whole, stored in one transaction and never changed. Bounds that do not move
make the scores of one generation comparable with those of another.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ranking.v1.ranking_pb2 import RankingGeneration
from servemark.ranking.v1.recommend_pb2 import Recommendation
from servemark.runtime.ids import uuid7
from servemark.runtime.tenancy import PUBLIC
from services.ranking.answers import answers_of
from services.ranking.content import UseCase
from services.ranking.convert_alternatives import limits_to_proto
from services.ranking.convert_answers import recommendations_to_proto, weights_to_proto
from services.ranking.convert_time import time_to_proto
from services.ranking.matrix import Matrix
from services.ranking.metrics import info_of
from services.ranking.recommend import Request, recommend
from services.ranking.store_rankings import Generation, Page, RankingStore, StoredRank
from services.ranking.topsis import Normalization
from services.ranking.view import seen_by

Newest = Callable[[], Awaitable[Matrix]]


class Generations:
    """Makes and reads stored rankings. `now` gives the time in UTC, `ttl` how long they last."""

    def __init__(self, store: RankingStore, *, ttl: timedelta, now: Callable[[], datetime]) -> None:
        self._store = store
        self._ttl = ttl
        self._now = now
        self._turns: dict[str, asyncio.Lock] = {}

    async def first_page(self, newest: Newest, use_case: UseCase, limit: int) -> Page:
        """The first page of the current generation, made now if there is none or it expired.

        `newest` gives the matrix to make it from.
        """
        while True:
            current = await self._store.current(UUID(use_case.id))
            if current is None or current.expires_at <= self._now():
                current = await self._renew(newest, use_case)
            page = await self._store.page(current.id, current.use_case_id, 0, limit)
            # None: superseded and dropped in between, so there is a newer one.
            if page is not None:
                return page

    async def page(
        self, generation_id: UUID, use_case: UseCase, after: int, limit: int
    ) -> Page | None:
        """The page after place number `after`; None where the generation is gone."""
        return await self._store.page(generation_id, UUID(use_case.id), after, limit)

    async def make(self, matrix: Matrix, use_case: UseCase) -> Generation:
        """A new generation from `matrix`, or the current one if that is of a newer matrix."""
        head, ranks = await asyncio.to_thread(_ranked, matrix, use_case)
        return await self._store.supersede(self._generation(matrix, use_case, head, ranks), ranks)

    async def follow(self, matrix: Matrix) -> int:
        """New generations for the use cases whose ranking `matrix` changes; their number.

        One whose ranking stays as it is keeps its generation until that is about to expire.
        """
        made, left = 0, list(matrix.content.use_cases)
        while left:
            current = await self._store.currents([UUID(use_case.id) for use_case in left])
            staying: dict[UUID, UseCase] = {}
            for use_case in left:
                old = current.get(UUID(use_case.id))
                if old is not None and old.holds_version >= matrix.version:
                    continue
                head, ranks = await asyncio.to_thread(_ranked, matrix, use_case)
                new = self._generation(matrix, use_case, head, ranks)
                if old is not None and self._stays(old, new):
                    staying[old.id] = use_case
                else:
                    await self._store.supersede(new, ranks)
                    made += 1
            # Otherwise a process that is late with an older matrix would supersede them; what one
            # has superseded already is looked at again.
            held = await self._store.hold(staying, matrix.version) if staying else ()
            left = [use_case for id_, use_case in staying.items() if id_ not in held]
        return made

    def _stays(self, current: Generation, newer: Generation) -> bool:
        return (
            current.content_digest == newer.content_digest
            and current.use_case_category == newer.use_case_category
            and current.expires_at - self._now() > self._ttl / 2
        )

    async def _renew(self, newest: Newest, use_case: UseCase) -> Generation:
        """A generation that has not expired; of callers at once, one makes it for all."""
        async with self._turns.setdefault(use_case.id, asyncio.Lock()):
            current = await self._store.current(UUID(use_case.id))
            if current is not None and current.expires_at > self._now():
                return current
            matrix = await newest()
            return await self.make(matrix, matrix.use_case(use_case.id) or use_case)

    def _generation(
        self, matrix: Matrix, use_case: UseCase, head: RankingGeneration, ranks: list[StoredRank]
    ) -> Generation:
        digest = hashlib.sha256(head.SerializeToString(deterministic=True))
        for rank in ranks:
            digest.update(rank.payload)
        calculated_at = self._now()
        return Generation(
            id=uuid7(),
            use_case_id=UUID(use_case.id),
            use_case_category=use_case.name,
            matrix_version=matrix.version,
            ranked_count=len(ranks),
            content_digest=digest.digest(),
            payload=head.SerializeToString(deterministic=True),
            calculated_at=calculated_at,
            expires_at=calculated_at + self._ttl,
            holds_version=matrix.version,
        )


def generation_to_proto(generation: Generation) -> RankingGeneration:
    """The generation's message: weights and limits as stored, the rest from the row's columns."""
    message = RankingGeneration.FromString(generation.payload)
    message.id = str(generation.id)
    message.use_case = generation.use_case_category
    message.matrix_version = generation.matrix_version
    message.ranked_count = generation.ranked_count
    message.calculate_time.CopyFrom(_time(generation.calculated_at))
    message.expire_time.CopyFrom(_time(generation.expires_at))
    return message


def _ranked(matrix: Matrix, use_case: UseCase) -> tuple[RankingGeneration, list[StoredRank]]:
    """The generation's weights and limits, and all of its places, best first.

    Everybody reads it, so it is of what everybody sees.
    """
    answer = recommend(
        seen_by(matrix, PUBLIC),
        Request(use_case=use_case, normalization=Normalization.FIXED_BOUNDS, max_results=None),
    )
    head = RankingGeneration(
        weights=weights_to_proto(answer.weights), limits=limits_to_proto(answer.limits)
    )
    return head, [
        _stored(message) for message in recommendations_to_proto(answer, answers_of(answer))
    ]


def _stored(message: Recommendation) -> StoredRank:
    breakdown = {
        info_of(part.metric).column: {
            "weight": part.weight,
            "value": part.value,
            "normalized": part.normalized,
            "ideal_distance_sq": part.ideal_distance_sq,
            "anti_ideal_distance_sq": part.anti_ideal_distance_sq,
        }
        for part in message.breakdown
    }
    return StoredRank(
        model_id=UUID(message.alternative.model_id),
        config_id=UUID(message.alternative.config_id),
        score=message.score,
        rank=message.rank,
        breakdown=orjson.dumps(breakdown).decode(),
        payload=message.SerializeToString(deterministic=True),
    )


def _time(time: datetime) -> Timestamp:
    return time_to_proto((time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
