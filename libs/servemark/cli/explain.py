"""`servemark explain`: why a configuration is where it is, and where its figures come from."""

from typing import Annotated, Any

import typer

from servemark.cli.connection import Key, Target, open_client
from servemark.cli.explanation import Explanation, print_explanation
from servemark.cli.metrics import parse_limits, parse_weights
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
from servemark.cli.output import CliError, message_to_json, out, print_json
from servemark.client.channel import Client
from servemark.ranking.v1.answers_pb2 import AnswerOptions
from servemark.ranking.v1.compare_pb2 import CompareConfigurationsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest

# All that one answer lists.
_MOST = 1_000


def explain(
    ctx: typer.Context,
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="Its id, or its place in the ranking (2)."),
    ],
    use_case: UseCase = "",
    weight: Weights = None,
    limit: Limits = None,
    budget: Budget = None,
    no_default_limits: NoDefaultLimits = False,
    accept_uncertain: AcceptUncertain = False,
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
    """Explain why a configuration is where it is, and where its figures come from.

    Weights, limits, prices and filters are those of `recommend`, and have to be the same.
    """
    if not use_case and not weight:
        raise CliError("Say what it is for with --use-case, or what counts with --weight.")
    request = RecommendRequest(
        use_case=use_case,
        weights=parse_weights(weight or []),
        limits=parse_limits(limit or []),
        no_default_limits=no_default_limits,
        max_usd_per_hour=budget,
        filter=candidate_filter(
            model, quantization, gpu, provider, framework, workload, provenance, max_gpus
        ),
        price_basis=price_basis(price),
        accept_uncertain=accept_uncertain,
        max_results=_MOST,
        max_excluded=_MOST,
        answers=AnswerOptions(stability=False, infeasible=False),
    )
    with open_client(ctx, target, key) as client:
        found = _find(client, request, config)
    if json:
        print_json(_to_json(found))
    else:
        print_explanation(out(), found)


def _find(client: Client, request: RecommendRequest, config: str) -> Explanation:
    """What the service says of a configuration. Raises CliError if there is no such place."""
    answer = client.ranking.Recommend(request)
    ranked = {item.alternative.config_id: item for item in answer.recommendations}
    if config.isdecimal():
        if not 1 <= int(config) <= len(ranked):
            raise CliError(_no_place(config, len(ranked), answer.ranked_count))
        config = list(ranked)[int(config) - 1]
    excluded = {item.alternative.config_id: item for item in answer.excluded}
    # Two are needed to compare: the first of the ranking, or any other where there is none.
    others = (other for other in [*ranked, *excluded] if other != config)
    other = next(others, None)
    comparison = None
    if other is not None:
        comparison = client.ranking.CompareConfigurations(
            CompareConfigurationsRequest(
                config_ids=[config, other], price_basis=request.price_basis, explain_cells=True
            )
        )
    return Explanation(config, answer, ranked.get(config), excluded.get(config), comparison)


def _no_place(place: str, listed: int, ranked: int) -> str:
    if listed < int(place) <= ranked:
        return (
            f"Place {place} of {ranked:,} is not listed: an answer lists the first {listed:,}. "
            "Name the configuration by its id, or narrow the ranking with filters."
        )
    return f"There is no place {place}: {ranked:,} were ranked."


def _to_json(found: Explanation) -> dict[str, Any]:
    """Place, reasons for being left out and comparison; null where there is none."""
    parts = {
        "recommendation": found.ranked,
        "excluded": found.excluded,
        "comparison": found.comparison,
    }
    return {
        "config_id": found.config_id,
        "ranked_count": found.answer.ranked_count,
        **{name: part and message_to_json(part) for name, part in parts.items()},
    }
