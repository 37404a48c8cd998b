"""Answers of the ranking service, for tests of how they are shown."""

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ranking.v1 import candidate_pb2 as candidate
from servemark.ranking.v1.acceptability_pb2 import Acceptability
from servemark.ranking.v1.cell_source_pb2 import CellSource
from servemark.ranking.v1.compare_pb2 import (
    CompareConfigurationsResponse,
    ComparedConfiguration,
    Difference,
    MetricComparison,
)
from servemark.ranking.v1.confidence_pb2 import Confidence
from servemark.ranking.v1.contributions_pb2 import Contributions, CriterionContribution
from servemark.ranking.v1.dominance_pb2 import Dominance, DominanceMargin
from servemark.ranking.v1.infeasible_pb2 import (
    Infeasible,
    LimitConflict,
    LimitPass,
    Relaxation,
    RelaxedLimit,
)
from servemark.ranking.v1.recommend_pb2 import Recommendation, RecommendResponse
from servemark.ranking.v1.replicas_pb2 import Fleet, Replicas
from servemark.ranking.v1.stability_pb2 import WeightStability
from servemark.type.v1 import metric_pb2 as metrics
from servemark.type.v1.metric_pb2 import MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import PROVENANCE_MEASURED, PURCHASE_OPTION_ON_DEMAND

FIGURES = (
    metrics.METRIC_TTFT_P90_MS,
    metrics.METRIC_THROUGHPUT_TOKENS_SEC,
    metrics.METRIC_USD_PER_HOUR,
)


def config_id(number: int) -> str:
    return f"0199a3c5-0000-7000-8000-{number:012}"


def alternative(
    model: str = "meta-llama/Llama-3.1-70B-Instruct", gpu_count: int = 8, number: int = 1
) -> candidate.Alternative:
    return candidate.Alternative(
        config_id=config_id(number),
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
        alternative=alternative(gpu_count=2**rank, number=rank),
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


def explained() -> RecommendResponse:
    """`recommended`, with every answer beside the ranking."""
    answer = recommended()
    first, second = answer.recommendations
    first.contributions.CopyFrom(
        Contributions(
            baseline=0.5,
            criteria=[
                CriterionContribution(metric=FIGURES[1], contribution=-0.0421),
                CriterionContribution(metric=FIGURES[0], contribution=0.3544),
            ],
        )
    )
    first.acceptability.CopyFrom(Acceptability(acceptability=0.832, standard_error=0.004))
    first.confidence.CopyFrom(
        Confidence(
            best_probability=0.714,
            standard_error=0.014,
            score_low=0.78,
            score_high=0.84,
            tied_config_ids=[config_id(2)],
        )
    )
    first.replicas.CopyFrom(
        Replicas(
            typical=Fleet(
                replica_count=4,
                utilization=0.612,
                total_usd_per_hour=220.16,
                usd_per_million_tokens=5.678,
            ),
            safe=Fleet(replica_count=5),
            rate_converted=True,
        )
    )
    second.dominance.CopyFrom(
        Dominance(
            config_id=config_id(1),
            alternative=first.alternative,
            margins=[
                DominanceMargin(metric=FIGURES[1], margin=0),
                DominanceMargin(metric=FIGURES[0], margin=129.6, relative_margin=0.518),
            ],
        )
    )
    second.replicas.CopyFrom(Replicas(gaps=["No request rate is known."]))
    answer.stability.extend(
        [
            WeightStability(
                metric=FIGURES[0],
                weight=0.6,
                min_weight=0.413,
                max_weight=1,
                winner_below_config_id=config_id(2),
            ),
            WeightStability(
                metric=FIGURES[1],
                weight=0.4,
                min_weight=0.3981,
                max_weight=0.587,
                winner_below_config_id=config_id(9),
                winner_above_config_id=config_id(2),
            ),
        ]
    )
    return answer


def infeasible() -> RecommendResponse:
    """Nothing fits, and what to relax."""
    answer = recommended()
    del answer.recommendations[:]
    answer.ranked_count = 0
    latency, throughput, budget = (
        MetricLimit(metric=metric, limit=limit)
        for metric, limit in zip(FIGURES, (300, 5000, 20), strict=True)
    )
    answer.infeasible.CopyFrom(
        Infeasible(
            pass_counts=[LimitPass(limit=latency, pass_count=5, candidate_count=1040)],
            conflicts=[
                LimitConflict(limits=[latency, budget], remaining_count=1),
                LimitConflict(limits=[latency, throughput, budget], remaining_count=12),
            ],
            relaxations=[
                Relaxation(
                    alternative=alternative(gpu_count=4),
                    limits=[
                        RelaxedLimit(limit=latency, actual=412.2, relax_pct=37.4),
                        RelaxedLimit(limit=throughput, actual=4000.7, relax_pct=19.99),
                        RelaxedLimit(limit=budget, actual=20.031, relax_pct=0.155),
                    ],
                )
            ],
        )
    )
    return answer


def compared() -> CompareConfigurationsResponse:
    """The second of `recommended` (A) beside the first (B), with sources."""
    first, second = (
        ComparedConfiguration(
            alternative=alternative(gpu_count=2**number, number=number),
            cells=[
                candidate.Cell(
                    metric=metric,
                    value=value,
                    min=value * 0.9,
                    max=value * 1.1,
                    run_count=3,
                    source=CellSource(
                        text="median of 3 runs",
                        request_count=1500,
                        newest_benchmark_time=Timestamp(seconds=1_757_815_743),
                        provenance=PROVENANCE_MEASURED,
                        tools=["guidellm"],
                    ),
                )
                for metric, value in zip(FIGURES, values, strict=False)
            ],
        )
        for number, values in ((1, (120.4, 3930.0, 55.04)), (2, (250.0, 4000.0)))
    )
    return CompareConfigurationsResponse(
        configurations=[second, first],
        comparisons=[
            MetricComparison(
                metric=FIGURES[0],
                best_config_ids=[config_id(1)],
                differences=[
                    Difference(
                        config_id=config_id(2),
                        other_config_id=config_id(1),
                        difference=-129.6,
                        relative_difference=-0.5184,
                        relative_low=-0.601,
                        relative_high=-0.442,
                        above_noise=True,
                    )
                ],
            ),
            MetricComparison(
                metric=FIGURES[1],
                best_config_ids=[config_id(2)],
                differences=[
                    Difference(
                        config_id=config_id(2),
                        other_config_id=config_id(1),
                        difference=-70.0,
                        relative_difference=-0.0175,
                        relative_low=-0.0199,
                        relative_high=-0.0151,
                        above_noise=True,
                    )
                ],
            ),
            MetricComparison(metric=FIGURES[2]),
        ],
        notices=[
            candidate.Notice(
                kind=candidate.Notice.KIND_WORKLOADS_DIFFER,
                text="They were measured under different workloads.",
            )
        ],
    )
