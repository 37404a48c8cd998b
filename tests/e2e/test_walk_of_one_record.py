"""One record's way on real parts: the SDK, the gateway, Postgres, a ranking with reasons."""

import json
import re
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from servemark.catalog.v1.hardware_price_pb2 import ListHardwarePricesRequest
from servemark.client.load import load_records
from servemark.ingest.v1.result_query_pb2 import (
    GetBenchmarkResultRequest,
    ListBenchmarkResultsRequest,
)
from servemark.ranking.v1.ranking_pb2 import GetRankingsRequest, RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from tests.support.runs import make_catalog, record
from tests.support.stack import RunningStack, golden, wait_until

GOLDEN = Path(__file__).parent / "golden"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

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


def _readable(message: Any) -> Any:
    """The message as JSON with ids and clock times, which differ from run to run, blanked."""
    text = json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True))
    text = UUID.sub("(id)", text)
    document = json.loads(text)
    for key in ("matrix_time", "matrix_version"):
        document[key] = "(varies)"
    return document


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
        golden(GOLDEN / "recommend.json", _readable(answer))

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
