"""What a cell says, from runs that were streamed into a real ingest: its figure and its source."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from servemark.ranking.v1.candidate_pb2 import Cell, CellMethod, PriceBasis, PriceOverride
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontRequest
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import (
    LimitVerdict,
    Recommendation,
    RecommendRequest,
    RecommendResponse,
)
from servemark.type.v1.metric_pb2 import Metric
from servemark.type.v1.provenance_pb2 import Provenance, PurchaseOption
from tests.rpc.ranking.world import H100, L4, UNPRICED, World, limits_of, run, weights_of, world
from tests.support.failures import failure

TTFT, TTFT_P90, TTFT_P95 = (
    Metric.METRIC_TTFT_P50_MS,
    Metric.METRIC_TTFT_P90_MS,
    Metric.METRIC_TTFT_P95_MS,
)
SPEED, RATE = Metric.METRIC_THROUGHPUT_TOKENS_SEC, Metric.METRIC_RPS_SUSTAINED
ACCURACY, MEMORY = Metric.METRIC_ACCURACY_SCORE, Metric.METRIC_MEMORY_USED_GB
USD_HOUR, USD_TOKENS = Metric.METRIC_USD_PER_HOUR, Metric.METRIC_USD_PER_MILLION_TOKENS

# Two runs of one configuration: a quick one, and one with a slow tail.
_CHANCE = np.random.default_rng(11)
SAMPLES = [
    _CHANCE.lognormal(3.0, 0.5, 1000).tolist(),
    _CHANCE.lognormal(3.4, 0.9, 1000).tolist(),
]


def quantile(samples: list[float], q: float) -> float:
    return float(np.quantile(samples, q, method="inverted_cdf"))


def p90s() -> list[float]:
    return [quantile(samples, 0.9) for samples in SAMPLES]


@pytest.fixture(scope="module")
async def made(module_database: str) -> AsyncIterator[World]:
    """A world with runs of every kind; the tests of this module only read it."""
    async with world(module_database) as small:
        await small.store(
            *(
                run(
                    ttft_p90_ms=p90,
                    throughput_tokens_sec=speed,
                    rps_sustained=rps,
                    accuracy_score=accuracy,
                    memory_used_gb=memory,
                    requests=len(samples),
                    ttft_samples=samples,
                    tool=tool,
                )
                for samples, p90, speed, rps, accuracy, memory, tool in zip(
                    SAMPLES,
                    p90s(),
                    (500.0, 800.0),
                    (10.0, 4.0),
                    (0.9, 0.8),
                    (70.0, 75.0),
                    ("vllm", "guidellm"),
                    strict=True,
                )
            ),
            # Percentiles only, and nothing known of requests.
            *(
                run(
                    hardware=L4,
                    ttft_p90_ms=p90,
                    throughput_tokens_sec=100.0 + p90,
                    accuracy_score=0.5,
                )
                for p90 in (90.0, 130.0, 100.0)
            ),
            run(hardware=UNPRICED, ttft_p90_ms=40.0, throughput_tokens_sec=1.0),
        )
        await small.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
        yield small


async def recommend(made: World, **fields: Any) -> RecommendResponse:
    asked: dict[str, Any] = {"weights": weights_of({TTFT_P90: 1, SPEED: 1})}
    answer: RecommendResponse = await made.ranking.Recommend(
        RecommendRequest(**(asked | fields)), timeout=10
    )
    return answer


def on(answer: RecommendResponse, hardware: str) -> Recommendation:
    [found] = [r for r in answer.recommendations if r.alternative.hardware == hardware]
    return found


async def cells(made: World, hardware: str, *metrics: int, **fields: Any) -> dict[int, Cell]:
    """The configuration's cells of the metrics; limits that all keep have them shown."""
    limits = {metric: 1e9 if metric not in (SPEED, RATE, ACCURACY) else 1e-9 for metric in metrics}
    answer = await recommend(made, limits=limits_of(limits), **fields)
    return {cell.metric: cell for cell in on(answer, hardware).cells}


async def test_percentiles_of_runs_with_sketches_are_those_of_all_requests(made: World) -> None:
    found = await cells(made, H100, TTFT, TTFT_P90, TTFT_P95)
    together = [x for samples in SAMPLES for x in samples]
    for metric, q in ((TTFT, 0.5), (TTFT_P90, 0.9), (TTFT_P95, 0.95)):
        cell, truth = found[metric], quantile(together, q)
        assert cell.value == pytest.approx(truth, rel=0.01)
        assert cell.method == CellMethod.CELL_METHOD_MERGED_SKETCHES
        assert cell.interval.low <= truth <= cell.interval.high
        assert cell.interval.level == 1.0
        assert cell.run_count == 2
    assert (found[TTFT_P90].min, found[TTFT_P90].max) == tuple(sorted(p90s()))


async def test_rates_are_totals_over_time_memory_the_largest_accuracy_over_samples(
    made: World,
) -> None:
    found = await cells(made, H100, SPEED, RATE, ACCURACY, MEMORY)
    # 1000 requests in 100 s, 1000 in 250 s.
    assert found[SPEED].value == pytest.approx((500 * 100 + 800 * 250) / 350)
    assert found[RATE].value == pytest.approx(2000 / 350)
    assert found[SPEED].method == found[RATE].method == CellMethod.CELL_METHOD_POOLED_TOTALS
    assert (found[SPEED].min, found[SPEED].max) == (500, 800)
    assert found[ACCURACY].value == pytest.approx(0.85)
    assert found[ACCURACY].method == CellMethod.CELL_METHOD_POOLED_SAMPLES
    assert found[ACCURACY].interval.level == 0.95
    assert found[ACCURACY].interval.low == pytest.approx(0.8337, abs=1e-4)
    assert found[ACCURACY].interval.high == pytest.approx(0.8650, abs=1e-4)
    assert (found[MEMORY].value, found[MEMORY].min) == (75, 70)
    assert found[MEMORY].method == CellMethod.CELL_METHOD_MAX_OF_RUNS
    assert found[USD_TOKENS].value == pytest.approx(4 / (found[SPEED].value * 3600) * 1e6)


async def test_without_sketches_and_counts_a_cell_is_the_median_of_its_runs(made: World) -> None:
    found = await cells(made, L4, TTFT_P90, SPEED, ACCURACY)
    assert (found[TTFT_P90].value, found[TTFT_P90].min, found[TTFT_P90].max) == (100, 90, 130)
    methods = {cell.method for metric, cell in found.items() if metric not in (USD_HOUR, 14, 15)}
    assert methods == {CellMethod.CELL_METHOD_MEDIAN_OF_RUNS}
    assert not any(cell.HasField("interval") for cell in found.values())


async def test_a_limit_between_the_runs_is_judged_by_all_requests(made: World) -> None:
    together = quantile([x for samples in SAMPLES for x in samples], 0.9)
    verdicts = {}
    for factor in (0.97, 1.0, 1.03):
        limit = together * factor
        assert min(p90s()) < limit < max(p90s())
        answer = await recommend(
            made, limits=limits_of({TTFT_P90: limit}), accept_uncertain=True, max_excluded=9
        )
        found = [r for r in answer.recommendations if r.alternative.hardware == H100]
        verdicts[factor] = found[0].limit_checks[0].verdict if found else "missed"
        texts = [d for e in answer.excluded for d in e.details if e.alternative.hardware == H100]
        said = found[0].reasons if found else texts
        assert any("over 2,000 requests" in text for text in said), said
    assert verdicts == {
        0.97: "missed",
        1.0: LimitVerdict.LIMIT_VERDICT_UNCERTAIN,
        1.03: LimitVerdict.LIMIT_VERDICT_MET,
    }


async def test_cells_say_where_they_come_from_if_asked(made: World) -> None:
    plain = await cells(made, H100, TTFT_P90, MEMORY)
    assert not any(cell.HasField("source") for cell in plain.values())
    found = await cells(made, H100, TTFT_P90, SPEED, ACCURACY, MEMORY, explain_cells=True)
    texts = {metric: cell.source.text for metric, cell in found.items()}
    assert texts[TTFT_P90] == "percentile of all 2,000 requests of 2 runs, from merged sketches"
    assert texts[SPEED] == "all tokens of 2 runs over all their time"
    assert texts[ACCURACY] == "share of all 2,000 samples of 2 runs"
    assert texts[MEMORY] == "largest of 2 runs"
    assert texts[USD_HOUR].startswith("on-demand price of the whole instance from 20")
    assert texts[USD_TOKENS] == f"{texts[USD_HOUR]}, over the throughput: {texts[SPEED]}"
    for metric in (TTFT_P90, SPEED, ACCURACY, MEMORY, USD_TOKENS):
        source = found[metric].source
        assert source.request_count == 2000
        assert source.provenance == Provenance.PROVENANCE_MEASURED
        assert list(source.tools) == ["guidellm", "vllm"]
        assert source.HasField("newest_benchmark_time")
    assert not found[USD_HOUR].source.HasField("newest_benchmark_time")
    medians = await cells(made, L4, TTFT_P90, explain_cells=True)
    assert medians[TTFT_P90].source.text == "median of 3 runs"
    assert medians[TTFT_P90].source.request_count == 0


async def test_the_cells_of_a_front_say_so_too(made: World) -> None:
    for explain in (False, True):
        answer = await made.ranking.GetParetoFront(
            GetParetoFrontRequest(metrics=[TTFT_P90, SPEED], explain_cells=explain)
        )
        assert answer.points
        for point in answer.points:
            assert all(cell.HasField("source") == explain for cell in point.cells)


async def test_the_callers_own_prices_count_instead_of_what_is_known(made: World) -> None:
    basis = PriceBasis(
        overrides=[
            PriceOverride(hardware=H100.upper(), usd_per_hour=1.25),
            PriceOverride(hardware=made.ids[UNPRICED], usd_per_hour=0.5),
        ]
    )
    answer = await recommend(made, price_basis=basis, explain_cells=True)
    prices = {r.alternative.hardware: r.alternative.price for r in answer.recommendations}
    assert {name: price.usd_per_hour for name, price in prices.items()} == {
        H100: 1.25,
        L4: 0.8,
        UNPRICED: 0.5,
    }
    own = prices[H100]
    assert own.purchase_option == PurchaseOption.PURCHASE_OPTION_UNSPECIFIED
    assert (own.source, own.HasField("valid_from_time")) == ("the request", False)
    [hour] = [cell for cell in on(answer, H100).cells if cell.metric == USD_HOUR]
    assert hour.source.text == "price of the whole instance as given in the request"
    # Nothing of it stays.
    known = await recommend(made)
    assert on(known, H100).alternative.price.usd_per_hour == 4.0


async def test_wrong_prices_are_refused_by_their_fields(made: World) -> None:
    overrides = [
        PriceOverride(hardware=H100, usd_per_hour=1.0),
        PriceOverride(hardware=made.ids[H100], usd_per_hour=0.0),
        PriceOverride(hardware="", usd_per_hour=float("nan")),
        PriceOverride(hardware="nobody/has-it", usd_per_hour=1e10),
    ]
    request = RecommendRequest(
        weights=weights_of({SPEED: 1}), price_basis=PriceBasis(overrides=overrides)
    )
    found = await failure(made.ranking.Recommend(request))
    prefix = "price_basis.overrides"
    assert set(found.fields) == {
        f"{prefix}[1].hardware",
        f"{prefix}[1].usd_per_hour",
        f"{prefix}[2].hardware",
        f"{prefix}[2].usd_per_hour",
        f"{prefix}[3].hardware",
        f"{prefix}[3].usd_per_hour",
    }
    many = PriceBasis(overrides=[PriceOverride(hardware=H100, usd_per_hour=1.0)] * 1001)
    request.price_basis.CopyFrom(many)
    assert set((await failure(made.ranking.Recommend(request))).fields) == {prefix}
