"""CompareConfigurations: side by side, and which differences are more than noise between runs."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import pytest

from servemark.catalog.v1 import model_pb2
from servemark.ranking.v1.candidate_pb2 import Notice, PriceBasis, PriceOverride
from servemark.ranking.v1.compare_pb2 import (
    CompareConfigurationsRequest,
    CompareConfigurationsResponse,
    Difference,
)
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance
from tests.rpc.ranking.serving import ranking
from tests.rpc.ranking.world import (
    H100,
    H100X8,
    L4,
    LARGE,
    SMALL,
    UNPRICED,
    World,
    run,
    world,
)
from tests.support.failures import failure

TTFT, SPEED = Metric.METRIC_TTFT_P50_MS, Metric.METRIC_THROUGHPUT_TOKENS_SEC
MEMORY, ACCURACY = Metric.METRIC_MEMORY_USED_GB, Metric.METRIC_ACCURACY_SCORE
USD_HOUR = Metric.METRIC_USD_PER_HOUR


@pytest.fixture(scope="module")
async def made(module_database: str) -> AsyncIterator[World]:
    """A world of a few configurations, of which `ids` has the ids by short names."""
    async with world(module_database) as small:
        configs = {
            "slow": {"hardware": H100},
            "near": {"hardware": H100X8},
            "fast": {"hardware": L4},
        }
        runs = {
            "slow": [(100.0, 500.0), (104.0, 510.0), (102.0, 490.0)],
            "near": [(101.0, 505.0), (98.0, 495.0), (105.0, 500.0)],
            "fast": [(50.0, 900.0), (52.0, 910.0), (51.0, 880.0)],
        }
        stored = await small.store(
            *(
                run(**configs[name], ttft_p50_ms=ttft, throughput_tokens_sec=speed)
                for name in runs
                for ttft, speed in runs[name]
            ),
            run(hardware=UNPRICED, ttft_p50_ms=103.0, memory_used_gb=20.0),
            run(LARGE, concurrency=1, ttft_p50_ms=200.0, memory_used_gb=60.0),
            run(provenance=Provenance.PROVENANCE_SIMULATED, ttft_p50_ms=1.0),
            run(LARGE, L4, ttft_p50_ms=103.1),
            # A simulator repeats itself; real runs do not.
            *(
                run(provenance=Provenance.PROVENANCE_SIMULATED, concurrency=n, ttft_p50_ms=1.0 * n)
                for n in range(10, 20)
                for _ in range(2)
            ),
        )
        singles = ["lone", "other", "simulated", "twin"]
        names = ["slow"] * 3 + ["near"] * 3 + ["fast"] * 3 + singles
        small.ids |= dict(zip(names, stored, strict=False))
        await small.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
        yield small


async def compare(made: World, *names: str, **fields: Any) -> CompareConfigurationsResponse:
    answer: CompareConfigurationsResponse = await made.ranking.CompareConfigurations(
        CompareConfigurationsRequest(config_ids=[made.ids[name] for name in names], **fields),
        timeout=10,
    )
    return answer


def differences(answer: CompareConfigurationsResponse, metric: int) -> list[Difference]:
    [found] = [one for one in answer.comparisons if one.metric == metric]
    return list(found.differences)


async def test_configurations_stand_side_by_side_in_the_order_asked_for(made: World) -> None:
    answer = await compare(made, "near", "slow", "fast")
    assert answer.matrix_version == 1
    ids = [made.ids[name] for name in ("near", "slow", "fast")]
    assert [one.alternative.config_id for one in answer.configurations] == ids
    assert [one.alternative.hardware for one in answer.configurations] == [H100X8, H100, L4]
    assert [one.metric for one in answer.comparisons] == [TTFT, SPEED, USD_HOUR, 14, 15]
    for one in answer.configurations:
        assert [cell.metric for cell in one.cells] == [TTFT, SPEED, USD_HOUR, 14, 15]
        assert not any(cell.HasField("source") for cell in one.cells)
    ttft, speed = answer.comparisons[:2]
    assert list(ttft.best_config_ids) == list(speed.best_config_ids) == [made.ids["fast"]]
    pairs = [(one.config_id, one.other_config_id) for one in ttft.differences]
    assert pairs == [(ids[0], ids[1]), (ids[0], ids[2]), (ids[1], ids[2])]


async def test_a_difference_has_its_interval_and_counts_if_that_leaves_zero_out(
    made: World,
) -> None:
    answer = await compare(made, "slow", "near", "fast")
    close, clear, _ = differences(answer, TTFT)
    assert close.difference == pytest.approx(-1.0)
    assert close.relative_difference == pytest.approx(-1 / 102)
    assert close.relative_low < close.relative_difference < close.relative_high
    assert close.relative_low < 0 < close.relative_high
    assert not close.above_noise
    assert clear.difference == pytest.approx(-51.0)
    assert clear.relative_low < -0.5 < clear.relative_high < 0
    assert clear.above_noise


async def test_prices_are_facts_so_any_difference_counts(made: World) -> None:
    basis = PriceBasis(overrides=[PriceOverride(hardware=H100X8, usd_per_hour=4.000001)])
    answer = await compare(made, "slow", "near", metrics=[USD_HOUR], price_basis=basis)
    [dearer] = differences(answer, USD_HOUR)
    assert dearer.above_noise
    same = PriceBasis(overrides=[PriceOverride(hardware=H100X8, usd_per_hour=4.0)])
    answer = await compare(made, "slow", "near", metrics=[USD_HOUR], price_basis=same)
    [equal] = differences(answer, USD_HOUR)
    assert (equal.difference, equal.above_noise) == (0.0, False)
    assert len(answer.comparisons[0].best_config_ids) == 2


async def test_a_single_run_spreads_as_is_typical_of_the_others(made: World) -> None:
    answer = await compare(made, "slow", "lone")
    [close] = differences(answer, TTFT)
    assert close.HasField("relative_low")
    assert not close.above_noise
    # Typical of measured ones: what was simulated has no say.
    [two_singles] = differences(await compare(made, "lone", "twin"), TTFT)
    assert two_singles.relative_high > 0.01
    assert not two_singles.above_noise
    # Of the memory nobody has several runs.
    answer = await compare(made, "lone", "other", metrics=[MEMORY])
    [unknown] = differences(answer, MEMORY)
    assert unknown.difference == 40.0
    assert not unknown.HasField("relative_low")
    assert not unknown.above_noise
    notices = {notice.kind: notice for notice in answer.notices}
    assert notices[Notice.KIND_SPREAD_UNKNOWN].metric == MEMORY


async def test_what_one_does_not_have_is_compared_among_the_others(made: World) -> None:
    answer = await compare(made, "slow", "fast", "lone", metrics=[SPEED, MEMORY, ACCURACY])
    assert [len(one.differences) for one in answer.comparisons] == [1, 0, 0]
    assert list(answer.comparisons[1].best_config_ids) == [made.ids["lone"]]
    assert not answer.comparisons[2].best_config_ids
    assert [len(one.cells) for one in answer.configurations] == [1, 1, 1]


async def test_unlike_workloads_and_kinds_are_confessed(made: World) -> None:
    alike = await compare(made, "slow", "fast")
    assert not alike.notices
    answer = await compare(made, "slow", "other")
    [notice] = answer.notices
    assert notice.kind == Notice.KIND_WORKLOADS_DIFFER
    assert "(concurrency)" in notice.text
    answer = await compare(made, "slow", "simulated")
    assert Notice.KIND_NOT_MEASURED_INCLUDED in [notice.kind for notice in answer.notices]


async def test_cells_say_where_they_come_from_if_asked(made: World) -> None:
    answer = await compare(made, "slow", "fast", explain_cells=True)
    assert answer.configurations[0].cells[0].source.text == "median of 3 runs"


async def test_the_same_request_gives_the_same_bytes_from_another_process_too(
    made: World,
) -> None:
    here = await compare(made, "slow", "near", "fast", "lone", explain_cells=True)
    async with ranking(made.dsn) as other:
        made_there = World(made.dsn, None, None, other, {}, made.ids)
        there = await compare(made_there, "slow", "near", "fast", "lone", explain_cells=True)
    assert here.SerializeToString(deterministic=True) == there.SerializeToString(deterministic=True)


@pytest.mark.parametrize("count", [0, 1, 17])
async def test_two_to_sixteen_can_be_compared(made: World, count: int) -> None:
    request = CompareConfigurationsRequest(config_ids=[str(uuid4()) for _ in range(count)])
    found = await failure(made.ranking.CompareConfigurations(request))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(found.fields) == {"config_ids"}


async def test_everything_wrong_is_named_at_once(made: World) -> None:
    request = CompareConfigurationsRequest(
        config_ids=[made.ids["slow"], made.ids["slow"].upper(), "slow"],
        metrics=[TTFT, TTFT, 0, 99],  # type: ignore[list-item]
        price_basis=PriceBasis(region="x" * 65),
    )
    found = await failure(made.ranking.CompareConfigurations(request))
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert set(found.fields) == {
        "config_ids[1]",
        "config_ids[2]",
        "metrics[1]",
        "metrics[2]",
        "metrics[3]",
        "price_basis.region",
    }


async def test_what_is_not_in_the_matrix_is_not_found(made: World) -> None:
    missing = str(uuid4())
    request = CompareConfigurationsRequest(config_ids=[made.ids["slow"], missing])
    found = await failure(made.ranking.CompareConfigurations(request))
    assert (found.code, found.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert found.metadata["config_ids"] == missing
    assert missing in found.message


async def test_what_is_archived_cannot_be_compared(migrated_database: str) -> None:
    async with world(migrated_database) as small:
        ids = await small.store(run(SMALL, ttft_p50_ms=30.0), run(LARGE, ttft_p50_ms=10.0))
        small.ids |= dict(zip(("a", "b"), ids, strict=True))
        assert (await compare(small, "a", "b")).comparisons
        await small.catalog.ArchiveModel(model_pb2.ArchiveModelRequest(id=small.ids[LARGE]))
        await small.ranking.RefreshRankings(RefreshRankingsRequest())
        request = CompareConfigurationsRequest(config_ids=ids)
        found = await failure(small.ranking.CompareConfigurations(request))
        assert found.metadata["config_ids"] == ids[1]
