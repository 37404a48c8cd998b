"""Answers of the ranking service, for tests of how they are shown."""

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ranking.v1 import candidate_pb2 as candidate
from servemark.ranking.v1.recommend_pb2 import Recommendation, RecommendResponse
from servemark.type.v1 import metric_pb2 as metrics
from servemark.type.v1.metric_pb2 import MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import PURCHASE_OPTION_ON_DEMAND

FIGURES = (
    metrics.METRIC_TTFT_P90_MS,
    metrics.METRIC_THROUGHPUT_TOKENS_SEC,
    metrics.METRIC_USD_PER_HOUR,
)


def alternative(
    model: str = "meta-llama/Llama-3.1-70B-Instruct", gpu_count: int = 8
) -> candidate.Alternative:
    return candidate.Alternative(
        config_id="0199a3c5-0000-7000-8000-000000000001",
        model=model,
        quantization="fp8",
        hardware="aws/p5.48xlarge",
        gpu_type="H100-80GB",
        gpu_count=gpu_count,
        framework="vllm",
        framework_version="0.11.0",
        input_tokens=1024,
        output_tokens=256,
        concurrency=32,
        run_count=3,
        price=candidate.PriceUsed(
            usd_per_hour=55.04,
            purchase_option=PURCHASE_OPTION_ON_DEMAND,
            region="us-east-1",
            valid_from_time=Timestamp(seconds=1_762_646_400),
            source="a price list [2]",
        ),
    )


def recommendation(rank: int, score: float, *values: float) -> Recommendation:
    return Recommendation(
        rank=rank,
        score=score,
        pareto_rank=1,
        alternative=alternative(gpu_count=2**rank),
        cells=[
            candidate.Cell(metric=metric, value=value, run_count=3)
            for metric, value in zip(FIGURES, values, strict=False)
        ],
        reasons=["TTFT p90 is 120 ms, the best of 2.", "It costs USD 55.04 an hour [on demand]."],
    )


def recommended() -> RecommendResponse:
    return RecommendResponse(
        matrix_version=17,
        matrix_time=Timestamp(seconds=1_757_815_743),
        use_case="chatbot",
        weights=[
            MetricWeight(metric=FIGURES[1], weight=0.4),
            MetricWeight(metric=FIGURES[0], weight=0.6),
        ],
        limits=[MetricLimit(metric=FIGURES[0], limit=300)],
        recommendations=[
            recommendation(1, 0.8123, 120.4, 3456.7, 55.04),
            recommendation(2, 0.5, 250.0, 4000.0),
        ],
        candidate_count=40,
        ranked_count=2,
        exclusion_counts=[
            candidate.ExclusionCount(
                reason=candidate.EXCLUSION_REASON_OVER_BUDGET,
                count=3,
            ),
            candidate.ExclusionCount(
                reason=candidate.EXCLUSION_REASON_LIMIT_MISSED, metric=FIGURES[0], count=35
            ),
        ],
        notices=[
            candidate.Notice(
                kind=candidate.Notice.KIND_SCORES_RELATIVE,
                text="Scores compare only the alternatives of this answer with each other.",
            )
        ],
    )
