"""Rankings are of what is public and the caller's own, and tell nothing of another's."""

from typing import Any
from uuid import uuid4

import grpc
import pytest

from servemark.ranking.v1.candidate_pb2 import PriceBasis, PriceOverride
from servemark.ranking.v1.compare_pb2 import CompareConfigurationsRequest
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontRequest
from servemark.ranking.v1.ranking_pb2 import GetRankingsRequest, RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.runtime.tenancy import CALLER, PLATFORM, PUBLIC, Tenant
from servemark.type.v1.metric_pb2 import Metric
from tests.rpc.ranking.world import H100X8, LARGE, World, run, world
from tests.support.failures import failure
from tests.support.tenants import said

ACME, BORG = (Tenant(uuid4(), publishes=False) for _ in range(2))
METRICS = [Metric.METRIC_TTFT_P50_MS, Metric.METRIC_THROUGHPUT_TOKENS_SEC]


async def _filled(made: World) -> dict[Tenant, str]:
    """One configuration of everybody, and a better one of each of two organizations."""
    await made.add_use_case()
    figures: dict[str, Any] = {"ttft_p50_ms": 100.0, "throughput_tokens_sec": 1000.0}
    ids = {
        PLATFORM: (await made.store(run(**figures)))[0],
        # The same thing, measured for itself.
        ACME: (await made.store(run(ttft_p50_ms=1.0, throughput_tokens_sec=9e5), tenant=ACME))[0],
        BORG: (await made.store(run(model=LARGE, hardware=H100X8, **figures), tenant=BORG))[0],
    }
    assert len(set(ids.values())) == 3
    await made.ranking.RefreshRankings(RefreshRankingsRequest())
    return ids


async def _recommended(made: World, tenant: Tenant, **asked: Any) -> Any:
    request = RecommendRequest(use_case="chatbot", **asked)
    return await made.ranking.Recommend(request, metadata=said(tenant))


def _ids(answers: Any) -> set[str]:
    return {answer.alternative.config_id for answer in answers}


async def test_every_answer_is_of_what_the_caller_sees(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        ids = await _filled(made)
        public = ids[PLATFORM]
        for tenant, seen in (
            (PLATFORM, set(ids.values())),
            (PUBLIC, {public}),
            (Tenant(uuid4()), {public}),
            (ACME, {public, ids[ACME]}),
            (Tenant(ACME.organization_id), {public, ids[ACME]}),
            (BORG, {public, ids[BORG]}),
        ):
            answer = await _recommended(made, tenant)
            assert _ids(answer.recommendations) == seen
            front = await made.ranking.GetParetoFront(
                GetParetoFrontRequest(metrics=METRICS, include_dominated=True),
                metadata=said(tenant),
            )
            assert _ids(front.points) == seen
            told = f"{answer}{front}"
            assert not any(hidden in told for hidden in set(ids.values()) - seen)


async def test_a_configuration_of_another_organization_is_not_there(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        ids = await _filled(made)
        request = CompareConfigurationsRequest(config_ids=[ids[PLATFORM], ids[ACME]])
        await made.ranking.CompareConfigurations(request, metadata=said(ACME))
        no = await failure(made.ranking.CompareConfigurations(request, metadata=said(BORG)))
        assert no.code is grpc.StatusCode.NOT_FOUND
        request = CompareConfigurationsRequest(config_ids=[ids[PLATFORM], str(uuid4())])
        unknown = await failure(made.ranking.CompareConfigurations(request, metadata=said(BORG)))
        assert (no.code, no.reason) == (unknown.code, unknown.reason)


async def test_the_machines_of_others_are_not_told_of_by_prices(migrated_database: str) -> None:
    async with world(migrated_database) as made:
        await _filled(made)
        basis = PriceBasis(overrides=[PriceOverride(hardware=H100X8, usd_per_hour=1.0)])
        for tenant in (PUBLIC, ACME):
            no = await failure(_recommended(made, tenant, price_basis=basis))
            assert no.code is grpc.StatusCode.INVALID_ARGUMENT
            assert "on which nothing was measured" in str(no)
        answer = await _recommended(made, BORG, price_basis=basis)
        assert len(answer.recommendations) == 2


@pytest.mark.parametrize("tenant", [PLATFORM, ACME, BORG])
async def test_stored_rankings_and_their_bounds_are_of_what_is_public(
    migrated_database: str, tenant: Tenant
) -> None:
    async with world(migrated_database) as made:
        ids = await _filled(made)
        request = GetRankingsRequest(use_case="chatbot")
        stored = await made.ranking.GetRankings(request, metadata=said(tenant))
        assert _ids(stored.recommendations) == {ids[PLATFORM]}
        fixed = await _recommended(made, PUBLIC, normalization="NORMALIZATION_FIXED_BOUNDS")
        assert [one.score for one in fixed.recommendations] == [
            one.score for one in stored.recommendations
        ]


async def test_kept_recommendations_are_given_to_their_organization_alone(
    migrated_database: str, valkey: str
) -> None:
    async with world(migrated_database, redis_url=valkey) as made:
        ids = await _filled(made)
        request = RecommendRequest(use_case="chatbot")
        for tenant, count in ((ACME, 2), (PUBLIC, 1), (PLATFORM, 3), (BORG, 2), (ACME, 2)):
            # Whatever the key is called.
            metadata = ((CALLER, "one-key"), *said(tenant)) if tenant is not PLATFORM else ()
            answer = await made.ranking.Recommend(request, metadata=metadata)
            assert len(answer.recommendations) == count
        assert len(ids) == 3
