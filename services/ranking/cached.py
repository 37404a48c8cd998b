"""Recommendations that are kept: each belongs to one matrix, and counts only while that is used.

The matrix in memory says which it is, so nothing has to be heard of from elsewhere, and a reply
from another matrix is never given, however the processes of the service follow each other.
"""

import re
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, Final

from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.runtime import tenancy
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.families import RECOMMENDATIONS
from servemark.runtime.cache.reply import Reply
from services.ranking.matrix import Matrix

_RELEASE: Final = version("servemark")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class CachedRecommendations:
    """Replies to Recommend, from the caches or by `rank`, which ranks."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def recommend(
        self,
        matrix: Matrix,
        request: RecommendRequest,
        context: Any,
        rank: Callable[[Matrix, RecommendRequest], Awaitable[bytes]],
    ) -> Reply:
        """The reply of this matrix."""

        async def read() -> bytes:
            return await rank(matrix, request)

        user = dict(context.invocation_metadata() or ()).get(tenancy.CALLER, "")
        # A key is of one organization; who has none may still see all, or what is public.
        asked = f"{tenancy.current().scope} ".encode()
        asked += request.SerializeToString(deterministic=True)
        return await self._cache.get(
            RECOMMENDATIONS,
            RECOMMENDATIONS.key(
                _part(user, "anonymous"), _part(request.use_case, "-"), variant=asked
            ),
            read,
            # The number alone would be found again in a database that was set up anew, and another
            # release may rank in another way.
            version=f"{_RELEASE} {matrix.version} {matrix.made_at_us} {matrix.digest.hex()}",
        )


def _part(text: Any, otherwise: str) -> str:
    """A part of a key; what callers write is in it only if it is short and plain."""
    return text if isinstance(text, str) and _PLAIN.fullmatch(text) else otherwise
