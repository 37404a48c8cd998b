"""`servemark recommend`: which configuration, and why."""

from typing import Annotated

import typer

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.estimating import EstimateAt, parse_operating_point
from servemark.cli.metrics import parse_limits, parse_metric, parse_weights
from servemark.cli.options import (
    AcceptUncertain,
    Budget,
    Frameworks,
    Gpus,
    Json,
    Limits,
    MaxGpus,
    Models,
    NoDefaultLimits,
    Prices,
    Provenances,
    Providers,
    Quantizations,
    UseCase,
    Weights,
    Workloads,
    candidate_filter,
    price_basis,
)
from servemark.cli.output import CliError, out, print_message
from servemark.cli.recommendation import print_recommendation
from servemark.ranking.v1.answers_pb2 import AnswerOptions
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.type.v1.metric_pb2 import MetricLimit

_LIMITS = "Limits in milliseconds"

Latency = Annotated[float | None, typer.Option(metavar="MS", rich_help_panel=_LIMITS)]


def recommend(
    ctx: typer.Context,
    use_case: UseCase = "",
    weight: Weights = None,
    limit: Limits = None,
    budget: Budget = None,
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="How many to show.")] = 4,
    ttft_p50: Latency = None,
    ttft_p90: Latency = None,
    ttft_p95: Latency = None,
    ttft_p99: Latency = None,
    tpot_p50: Latency = None,
    tpot_p90: Latency = None,
    tpot_p95: Latency = None,
    tpot_p99: Latency = None,
    no_default_limits: NoDefaultLimits = False,
    accept_uncertain: AcceptUncertain = False,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="REQ/S", help="Say how many instances carry this rate."),
    ] = None,
    headroom: Annotated[
        float | None,
        typer.Option(
            "--headroom", metavar="SHARE", help="Keep this share of each free: 0.3 without it."
        ),
    ] = None,
    estimate_at: EstimateAt = None,
    price: Prices = None,
    model: Models = None,
    quantization: Quantizations = None,
    gpu: Gpus = None,
    provider: Providers = None,
    framework: Frameworks = None,
    workload: Workloads = None,
    provenance: Provenances = None,
    max_gpus: MaxGpus = 0,
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Recommend configurations for a use case, within limits and a budget, with reasons."""
    if not use_case and not weight:
        raise CliError("Say what it is for with --use-case, or what counts with --weight.")
    if headroom is not None and rate is None:
        raise CliError("--headroom needs a --rate to serve.")
    operating_point = parse_operating_point(estimate_at)
    latencies = {
        "ttft_p50": ttft_p50,
        "ttft_p90": ttft_p90,
        "ttft_p95": ttft_p95,
        "ttft_p99": ttft_p99,
        "tpot_p50": tpot_p50,
        "tpot_p90": tpot_p90,
        "tpot_p95": tpot_p95,
        "tpot_p99": tpot_p99,
    }
    limits = parse_limits(limit or []) + [
        MetricLimit(metric=parse_metric(name), limit=value)
        for name, value in latencies.items()
        if value is not None
    ]
    request = RecommendRequest(
        use_case=use_case,
        weights=parse_weights(weight or []),
        limits=limits,
        no_default_limits=no_default_limits,
        max_usd_per_hour=budget,
        filter=candidate_filter(
            model, quantization, gpu, provider, framework, workload, provenance, max_gpus
        ),
        accept_uncertain=accept_uncertain,
        max_results=top,
        price_basis=price_basis(price),
        answers=AnswerOptions(acceptability=True, confidence=True),
        target_requests_per_second=rate,
        headroom=headroom,
        include_estimates=operating_point is not None,
        operating_point=operating_point,
    )
    with open_client(ctx, target, key) as client:
        response = client.ranking.Recommend(request)
    if json:
        print_message(response)
    else:
        print_recommendation(out(), response)
