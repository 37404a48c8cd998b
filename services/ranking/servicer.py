"""Answers the RPCs of RankingService."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from servemark.ranking.v1 import ranking_service_pb2_grpc
from servemark.ranking.v1.compare_pb2 import (
    CompareConfigurationsRequest,
    CompareConfigurationsResponse,
)
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontRequest, GetParetoFrontResponse
from servemark.ranking.v1.rank_matrix_pb2 import RankMatrixRequest, RankMatrixResponse
from servemark.ranking.v1.ranking_pb2 import (
    GetRankingsRequest,
    GetRankingsResponse,
    RefreshRankingsRequest,
    RefreshRankingsResponse,
)
from servemark.ranking.v1.recommend_pb2 import (
    Recommendation,
    RecommendRequest,
    RecommendResponse,
)
from servemark.runtime import paging, tenancy
from servemark.runtime.cache.reply import send
from servemark.runtime.errors import ServemarkError
from servemark.runtime.validation import Violations
from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.ranking.answers import answers_of
from services.ranking.cached import CachedRecommendations
from services.ranking.compare import compare
from services.ranking.content import UseCase
from services.ranking.convert import (
    pareto_request_from_proto,
    recommend_request_from_proto,
    use_case_named,
)
from services.ranking.convert_answers import front_to_proto, recommend_response_to_proto
from services.ranking.convert_compare import compare_request_from_proto, comparison_to_proto
from services.ranking.convert_matrix import matrix_from_proto, ranking_to_proto
from services.ranking.generations import Generations, generation_to_proto
from services.ranking.matrix import Matrix
from services.ranking.pareto_front import pareto_front
from services.ranking.rank_matrix import rank_matrix
from services.ranking.recommend import recommend
from services.ranking.refresh import Refresher
from services.ranking.store_rankings import Page
from services.ranking.view import Views

_LONG_AT_ONCE = 2


class RankingServicer(ranking_service_pb2_grpc.RankingServiceServicer):
    """Ranks in threads, so that one large matrix does not hold up the other calls.

    What takes long has few threads of its own: however much of it is asked for, the others need not
    wait until it is done.
    """

    def __init__(
        self, refresher: Refresher, generations: Generations, cached: CachedRecommendations
    ) -> None:
        self._refresher = refresher
        self._generations = generations
        self._cached = cached
        self._views = Views()
        self._long = ThreadPoolExecutor(_LONG_AT_ONCE, thread_name_prefix="long")

    async def Recommend(self, request: RecommendRequest, context: Any) -> RecommendResponse:
        matrix = await self._refresher.current()
        reply = await self._cached.recommend(matrix, request, context, self._recommend)
        response: RecommendResponse = send(reply, context)
        return response

    async def _recommend(self, matrix: Matrix, request: RecommendRequest) -> bytes:
        # None: the threads of everything else.
        threads = self._long if _takes_long(request) else None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, _recommend, self._seen(matrix), request)

    async def GetParetoFront(
        self, request: GetParetoFrontRequest, context: Any
    ) -> GetParetoFrontResponse:
        matrix = self._seen(await self._refresher.current())
        return await asyncio.to_thread(_front, matrix, request)

    async def CompareConfigurations(
        self, request: CompareConfigurationsRequest, context: Any
    ) -> CompareConfigurationsResponse:
        matrix = self._seen(await self._refresher.current())
        return await asyncio.to_thread(_compare, matrix, request)

    async def RankMatrix(self, request: RankMatrixRequest, context: Any) -> RankMatrixResponse:
        return await asyncio.to_thread(_rank_matrix, request)

    async def GetRankings(self, request: GetRankingsRequest, context: Any) -> GetRankingsResponse:
        wrong = Violations()
        size = paging.page_size(wrong, request.page_size)
        wrong.text("use_case", request.use_case, max_len=256)
        wrong.raise_if_any()
        use_case = use_case_named(await self._refresher.current(), request.use_case)
        digest = paging.filter_digest("GetRankings", use_case.id)
        place = paging.decode_token(digest, request.page_token, 2)
        if place is None:
            page = await self._generations.first_page(self._refresher.newest, use_case, size)
        else:
            page = await self._next_page(use_case, place, size)
        more = page.last < page.generation.ranked_count
        return GetRankingsResponse(
            generation=generation_to_proto(page.generation),
            recommendations=[Recommendation.FromString(payload) for payload in page.payloads],
            next_page_token=paging.encode_token(digest, [str(page.generation.id), page.last])
            if more
            else "",
        )

    async def RefreshRankings(
        self, request: RefreshRankingsRequest, context: Any
    ) -> RefreshRankingsResponse:
        matrix = await self._refresher.refresh()
        use_cases = matrix.content.use_cases
        if request.use_cases:
            named = [
                use_case_named(matrix, name, f"use_cases[{index}]")
                for index, name in enumerate(request.use_cases)
            ]
            use_cases = tuple({use_case.id: use_case for use_case in named}.values())
        made = [await self._generations.make(matrix, use_case) for use_case in use_cases]
        return RefreshRankingsResponse(
            matrix_version=matrix.version,
            alternative_count=len(self._seen(matrix).rows),
            generations=[generation_to_proto(generation) for generation in made],
        )

    def _seen(self, matrix: Matrix) -> Matrix:
        """What the caller sees of the matrix."""
        return self._views.of(matrix, tenancy.current())

    async def _next_page(self, use_case: UseCase, place: list[Any], size: int) -> Page:
        generation, after = place
        if isinstance(after, int):
            try:
                page = await self._generations.page(UUID(generation), use_case, after, size)
            except (ValueError, AttributeError, TypeError):
                page = None
            if page is not None:
                return page
        raise ServemarkError(
            ErrorReason.ERROR_REASON_PAGE_TOKEN_INVALID,
            "The ranking this token continues is gone. Start again without one.",
        )


def _takes_long(request: RecommendRequest) -> bool:
    """Whether it is about draws or curves: of ten thousand alternatives, a tenth of a second up."""
    answers = request.answers
    return answers.confidence or answers.acceptability or request.include_estimates


def _recommend(matrix: Matrix, request: RecommendRequest) -> bytes:
    answer = recommend(matrix, recommend_request_from_proto(request, matrix))
    # The loop that everybody waits for has better to do than to serialize, and to take apart again.
    return recommend_response_to_proto(answer, answers_of(answer)).SerializeToString()


def _front(matrix: Matrix, request: GetParetoFrontRequest) -> GetParetoFrontResponse:
    return front_to_proto(pareto_front(matrix, pareto_request_from_proto(request, matrix)))


def _compare(
    matrix: Matrix, request: CompareConfigurationsRequest
) -> CompareConfigurationsResponse:
    return comparison_to_proto(compare(matrix, compare_request_from_proto(request, matrix)))


def _rank_matrix(request: RankMatrixRequest) -> RankMatrixResponse:
    own = matrix_from_proto(request)
    return ranking_to_proto(own, rank_matrix(own))
