"""One record's way on real parts: the SDK, the gateway, Postgres, a ranking with reasons."""

from pathlib import Path

from servemark.catalog.v1.hardware_price_pb2 import ListHardwarePricesRequest
from servemark.client.load import load_records
from servemark.ingest.v1.result_query_pb2 import (
    GetBenchmarkResultRequest,
    ListBenchmarkResultsRequest,
)
from servemark.ranking.v1.ranking_pb2 import GetRankingsRequest, RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from tests.support.readable import readable
from tests.support.runs import make_catalog, record
from tests.support.stack import RunningStack, golden, wait_until

GOLDEN = Path(__file__).parent / "golden"

# Three runs of one configuration, and one each of two others; the L4 misses the limit.
RUNS = [
    *(record(n, ttft_p50_ms=ms, ttft_p99_ms=3 * ms) for n, ms in enumerate((78.0, 80.0, 90.0))),
    record(
        10,
        hardware="test/h200-1",
        ttft_p50_ms=60.0,
        ttft_p99_ms=150.0,
        tpot_p50_ms=7.0,
        throughput_tokens_sec=1000.0,
    ),
    record(
        20,
        hardware="test/l4-1",
        ttft_p50_ms=700.0,
        ttft_p99_ms=2100.0,
        tpot_p50_ms=38.0,
        throughput_tokens_sec=160.0,
    ),
]


def test_one_record_walks_from_a_runner_to_a_recommendation(stack: RunningStack) -> None:
    with stack.client() as client:
        make_catalog(client)
        summary = load_records(client, RUNS)
        assert (summary.stored, summary.duplicates, summary.rejected) == (len(RUNS), 0, 0)

        # Stored once, as sent, and found by the id that its content gave it.
        stored = client.ingest.GetBenchmarkResult(
            GetBenchmarkResultRequest(id=RUNS[0].id())
        ).benchmark_result
        assert stored.metrics.ttft_p50_ms == 78.0
        assert not stored.metrics.HasField("ttft_p90_ms")

        # Sent again, it is a duplicate.
        again = load_records(client, RUNS)
        assert (again.stored, again.rejected) == (0, 0)
        page = client.ingest.ListBenchmarkResults(ListBenchmarkResultsRequest(page_size=100))
        assert len(page.benchmark_results) == len(RUNS)

        prices = client.catalog.ListHardwarePrices(ListHardwarePricesRequest()).hardware_prices
        assert len(prices) == 3

        client.ranking.RefreshRankings(RefreshRankingsRequest())
        answer = client.ranking.Recommend(RecommendRequest(use_case="chatbot", max_excluded=10))
        assert answer == client.ranking.Recommend(
            RecommendRequest(use_case="chatbot", max_excluded=10)
        )
        golden(GOLDEN / "recommend.json", readable(answer))

        rankings = client.ranking.GetRankings(GetRankingsRequest(use_case="chatbot"))
        # The stored ranking has the same alternatives; with fixed bounds their order may differ.
        assert {item.alternative.hardware for item in rankings.recommendations} == {
            item.alternative.hardware for item in answer.recommendations
        }
        assert [item.rank for item in rankings.recommendations] == [1, 2]


def test_a_new_result_changes_the_recommendation_without_being_asked(stack: RunningStack) -> None:
    with stack.client() as client:
        before = client.ranking.Recommend(RecommendRequest(use_case="chatbot"))
        faster = record(
            1000,
            quantization="bf16",
            hardware="test/h100-1",
            ttft_p50_ms=20.0,
            ttft_p99_ms=40.0,
            tpot_p50_ms=3.0,
            throughput_tokens_sec=4000.0,
        )
        load_records(client, [faster])

        def changed() -> bool:
            now = client.ranking.Recommend(RecommendRequest(use_case="chatbot"))
            return bool(
                now.matrix_version > before.matrix_version
                and now.recommendations[0].alternative.quantization == "bf16"
            )

        wait_until(changed, 15, "the new result leads")
