"""EventService: one method for each RPC."""

from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from servemark.events.v1 import dead_letter_pb2 as dead
from servemark.events.v1.event_lag_pb2 import GetEventLagRequest, GetEventLagResponse
from servemark.events.v1.event_service_pb2_grpc import EventServiceServicer
from servemark.runtime.errors import unavailable
from servemark.runtime.events.consumer import is_outage
from servemark.runtime.events.inbox import Effect, Inbox
from servemark.runtime.events.lag import lag_of
from servemark.runtime.paging import encode_token, filter_digest, page_size
from servemark.runtime.validation import Violations
from services.ranking import convert_events as convert


class EventServicer(EventServiceServicer):
    """Answers every method of EventService; `redis` None: there are no events, and no topics.

    `committed` is called after an event that was replayed took effect.
    """

    def __init__(
        self,
        inbox: Inbox,
        effect: Effect,
        redis: Redis | None,
        topics: Sequence[str],
        *,
        committed: Callable[[], None],
    ) -> None:
        self._inbox = inbox
        self._effect = effect
        self._committed = committed
        self._redis = redis
        self._topics = sorted(topics)

    async def GetEventLag(self, request: GetEventLagRequest, context: Any) -> GetEventLagResponse:
        if self._redis is None:
            return GetEventLagResponse()
        try:
            found = [await lag_of(self._redis, topic) for topic in self._topics]
        except (RedisError, OSError) as error:
            raise unavailable("Redis") from error
        return GetEventLagResponse(topics=[convert.lag_to_proto(lag) for lag in found])

    async def ListDeadLetters(
        self, request: dead.ListDeadLettersRequest, context: Any
    ) -> dead.ListDeadLettersResponse:
        check = Violations()
        size = page_size(check, request.page_size)
        check.raise_if_any()
        digest = filter_digest("ListDeadLetters")
        after = convert.place_from_token(digest, request.page_token)
        found = await self._inbox.letters(size + 1, after)
        letters = convert.page_of(found[:size])
        more = len(letters) < len(found)
        return dead.ListDeadLettersResponse(
            dead_letters=[convert.letter_to_proto(letter) for letter in letters],
            next_page_token=encode_token(digest, convert.place_of(letters[-1])) if more else "",
        )

    async def ReplayDeadLetters(
        self, request: dead.ReplayDeadLettersRequest, context: Any
    ) -> dead.ReplayDeadLettersResponse:
        check = Violations()
        ids = convert.ids_from_proto(check, request.ids)
        check.raise_if_any()
        outcomes = []
        for id_ in ids:
            problem = ""
            try:
                if await self._inbox.replay(id_, self._effect):
                    self._committed()
            except Exception as error:
                if is_outage(error):
                    raise
                problem = convert.problem_of(error)
            outcomes.append(dead.ReplayOutcome(id=str(id_), problem=problem))
        return dead.ReplayDeadLettersResponse(outcomes=outcomes)
