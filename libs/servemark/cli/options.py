"""Options that several commands share, so that one word means one thing everywhere."""

from typing import Annotated

import typer

from servemark.cli.metrics import parse_pair
from servemark.cli.output import CliError
from servemark.ranking.v1.candidate_pb2 import CandidateFilter, PriceBasis, PriceOverride
from servemark.type.v1.provenance_pb2 import Provenance

_FILTERS = "Filters (each may be given several times)"

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Keep this model.", rich_help_panel=_FILTERS),
]
Quantizations = Annotated[
    list[str] | None,
    typer.Option(
        "--quantization",
        metavar="NAME",
        help="Keep this quantization (fp8).",
        rich_help_panel=_FILTERS,
    ),
]
Gpus = Annotated[
    list[str] | None,
    typer.Option(
        "--gpu",
        metavar="TYPE",
        help="Keep this GPU type (H100, H100-80GB).",
        rich_help_panel=_FILTERS,
    ),
]
Providers = Annotated[
    list[str] | None,
    typer.Option(
        "--provider", metavar="NAME", help="Keep this provider (aws).", rich_help_panel=_FILTERS
    ),
]
Frameworks = Annotated[
    list[str] | None,
    typer.Option(
        "--framework", metavar="NAME", help="Keep this framework (vllm).", rich_help_panel=_FILTERS
    ),
]
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload", metavar="NAME", help="Keep this workload type.", rich_help_panel=_FILTERS
    ),
]
Provenances = Annotated[
    list[str] | None,
    typer.Option(
        "--provenance",
        metavar="KIND",
        help="Keep measured, simulated or estimated results.",
        rich_help_panel=_FILTERS,
    ),
]
MaxGpus = Annotated[
    int,
    typer.Option(
        "--max-gpus", min=0, help="Keep at most this many GPUs.", rich_help_panel=_FILTERS
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="METRIC=VALUE", help="A limit to keep; may be repeated."),
]
Budget = Annotated[
    float | None,
    typer.Option("--budget", metavar="USD/H", help="Most to pay for the whole instance."),
]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="METRIC=WEIGHT", help="A criterion; may be repeated."),
]
UseCase = Annotated[
    str, typer.Option("--use-case", metavar="NAME", help="What it is for (chatbot).")
]
NoDefaultLimits = Annotated[
    bool, typer.Option("--no-default-limits", help="Leave the use case's limits out.")
]
AcceptUncertain = Annotated[
    bool,
    typer.Option("--accept-uncertain", help="Also show what keeps a limit in some runs only."),
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="HARDWARE=USD/H",
        help="Count this price instead of what is known; may be repeated.",
    ),
]


def price_basis(texts: list[str] | None) -> PriceBasis | None:
    """The prices a person wants counted instead; None without any. Raises CliError."""
    if not texts:
        return None
    pairs = (parse_pair("--price", text) for text in texts)
    return PriceBasis(
        overrides=[PriceOverride(hardware=name, usd_per_hour=usd) for name, usd in pairs]
    )


def parse_provenances(texts: list[str] | None) -> list["Provenance.ValueType"]:
    """The provenances people name. Raises CliError."""
    values = []
    for text in texts or []:
        name = f"PROVENANCE_{text.strip().upper()}"
        if name not in Provenance.DESCRIPTOR.values_by_name or name == "PROVENANCE_UNSPECIFIED":
            raise CliError(f"--provenance takes measured, simulated or estimated, not {text!r}.")
        values.append(Provenance.Value(name))
    return values


def candidate_filter(
    models: list[str] | None,
    quantizations: list[str] | None,
    gpus: list[str] | None,
    providers: list[str] | None,
    frameworks: list[str] | None,
    workloads: list[str] | None,
    provenances: list[str] | None,
    max_gpus: int,
) -> CandidateFilter:
    """The filter the options state."""
    return CandidateFilter(
        models=models or [],
        quantizations=quantizations or [],
        gpu_types=gpus or [],
        cloud_providers=providers or [],
        frameworks=frameworks or [],
        workload_types=workloads or [],
        provenances=parse_provenances(provenances),
        max_gpu_count=max_gpus,
    )
