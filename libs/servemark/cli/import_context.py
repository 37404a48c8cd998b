"""The options by which an import is told what the files do not say."""

from pathlib import Path
from typing import Annotated, Any

import typer

from servemark.cli.output import CliError
from servemark.client.record_fields import RecordError
from servemark.importers.context import Context, option
from servemark.importers.mapping import MappingImporter
from servemark.importers.mapping_file import MappingError, read_mapping
from servemark.importers.sidecar import ContextError, read_context

_PANEL = "What the files do not say"


def _stated(key: str, text: str, metavar: str = "NAME") -> Any:
    return typer.Option(option(key), metavar=metavar, help=text, rich_help_panel=_PANEL)


ContextFile = Annotated[
    Path | None,
    typer.Option(
        "--context",
        exists=True,
        dir_okay=False,
        help="JSON, YAML or TOML file with these and the other keys of a context; the options"
        " count before it, a servemark.yaml beside the results after it.",
        rich_help_panel=_PANEL,
    ),
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        exists=True,
        dir_okay=False,
        help="TOML or YAML file that says where the figures lie in files of another format.",
    ),
]
Model = Annotated[str | None, _stated("model", "The model.")]
ModelVersion = Annotated[str | None, _stated("model_version", "The version of its weights.")]
Quantization = Annotated[str | None, _stated("quantization", "Its quantization (fp8).")]
Hardware = Annotated[
    str | None, _stated("hardware", "The catalog's hardware (rental/h100-80gb-8), or a GPU (H100).")
]
GpuCount = Annotated[int | None, _stated("gpu_count", "GPUs of the instance.", "N")]
Framework = Annotated[str | None, _stated("framework", "The framework, or its image.")]
FrameworkVersion = Annotated[str | None, _stated("framework_version", "Its version.", "VERSION")]
Workload = Annotated[str | None, _stated("workload_type", "The workload's type (chatbot).")]
InputTokens = Annotated[int | None, _stated("input_tokens", "Tokens of a prompt.", "N")]
OutputTokens = Annotated[int | None, _stated("output_tokens", "Tokens of an answer.", "N")]
ProvenanceOption = Annotated[
    str | None, _stated("provenance", "measured, simulated or estimated.", "KIND")
]


def typed_context(path: Path | None, **options: Any) -> Context:
    """The context of --context with that of the options before it. Raises CliError."""
    try:
        stated = {key: value for key, value in options.items() if value is not None}
        typed = Context.from_values(stated)
        return typed if path is None else read_context(path).below(typed)
    except RecordError as error:
        wrong = "; ".join(f"{option(item.field)} {item.description}" for item in error.problems)
        raise CliError(f"{wrong}.") from None
    except ContextError as error:
        raise CliError(str(error)) from None


def mapping_of(path: Path | None) -> MappingImporter | None:
    """The importer that a mapping file describes; None without a file. Raises CliError."""
    if path is None:
        return None
    try:
        return MappingImporter(read_mapping(path))
    except MappingError as error:
        raise CliError(f"The mapping cannot be used: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read as the mapping: {error}.") from None
