"""`servemark catalog add`: a model, hardware or a framework that results can name."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from servemark.catalog.v1 import (
    hardware_config_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
)
from servemark.cli.connection import Key, Target, open_client
from servemark.cli.names import pages
from servemark.cli.options import Json
from servemark.cli.output import CliError, out, print_message
from servemark.client.channel import Client
from servemark.client.errors import ServemarkCallError

app = typer.Typer(no_args_is_help=True, help="What results are measured on and with.")
_add = typer.Typer(no_args_is_help=True, help="Add an entry to the catalog.")
app.add_typer(_add, name="add")

_BITS = {
    "fp32": 32,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "nvfp4": 4,
    "mxfp4": 4,
    "fp4": 4,
    "nf4": 4,
    "int4": 4,
}
"""Bits of a weight where the quantization's name says them."""


@_add.command("model", no_args_is_help=True)
def add_model(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="By preference its Hugging Face name.")],
    quantization: Annotated[
        str, typer.Option("--quantization", metavar="NAME", help="Of the weights (bf16, fp8).")
    ],
    architecture: Annotated[
        str, typer.Option("--architecture", metavar="NAME", help="Needed for a new model (llama).")
    ] = "",
    parameters: Annotated[
        float,
        typer.Option("--parameters", metavar="N", help="Needed for a new model (8.03e9)."),
    ] = 0,
    version: Annotated[
        str, typer.Option("--model-version", metavar="NAME", help="Version of the weights.")
    ] = "base",
    bits: Annotated[
        int, typer.Option("--bits", help="Of one weight, where the quantization does not say.")
    ] = 0,
    weights_format: Annotated[
        str, typer.Option("--weights-format", metavar="NAME", help="The file format.")
    ] = "safetensors",
    artifact: Annotated[
        str, typer.Option("--artifact", metavar="URI", help="Where the weights lie (hf://...).")
    ] = "",
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Add a model in a quantization; to a model that exists, the quantization."""
    bits = bits or _BITS.get(quantization.lower(), 0)
    if not bits:
        raise typer.BadParameter(f"{quantization} does not say them.", param_hint="--bits")
    with open_client(ctx, target, key) as client:
        model = _model(client, name, architecture, int(parameters))
        request = model_version_pb2.CreateModelVersionRequest(
            model_version=model_version_pb2.ModelVersion(
                model_id=model.id,
                version=version,
                quantization=quantization.lower(),
                quantization_bits=bits,
                format=weights_format.lower(),
                artifact_uri=artifact,
            )
        )
        added = _created(client.catalog.CreateModelVersion, request).model_version
    _say(added, f"{added.model_name} {added.quantization}", json=json)


@_add.command("hardware", no_args_is_help=True)
def add_hardware(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="PROVIDER/INSTANCE, such as aws/p5.48xlarge.")],
    gpu_type: Annotated[
        str, typer.Option("--gpu-type", metavar="TYPE", help="With its memory (H100-80GB).")
    ],
    gpu_count: Annotated[int, typer.Option("--gpu-count", metavar="N", help="GPUs in it.")],
    memory: Annotated[
        int, typer.Option("--gpu-memory", metavar="GB", help="Memory of one GPU in gigabytes.")
    ],
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Add an instance with its GPUs."""
    provider, slash, instance = name.partition("/")
    if not (provider and slash and instance):
        raise typer.BadParameter("It has to be PROVIDER/INSTANCE.", param_hint="NAME")
    request = hardware_config_pb2.CreateHardwareConfigRequest(
        hardware_config=hardware_config_pb2.HardwareConfig(
            name=name,
            gpu_type=gpu_type,
            gpu_count=gpu_count,
            vram_per_gpu_gb=memory,
            cloud_provider=provider.lower(),
            instance_type=instance,
        )
    )
    with open_client(ctx, target, key) as client:
        added = _created(client.catalog.CreateHardwareConfig, request).hardware_config
    _say(added, f"{added.name}, {added.gpu_count} x {added.gpu_type}", json=json)


@_add.command("framework", no_args_is_help=True)
def add_framework(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Such as vllm.")],
    version: Annotated[str, typer.Argument(help="Such as 0.11.0.")],
    json: Json = False,
    target: Target = None,
    key: Key = None,
) -> None:
    """Add a serving framework in one version."""
    request = inference_framework_pb2.CreateInferenceFrameworkRequest(
        inference_framework=inference_framework_pb2.InferenceFramework(
            name=name.lower(), version=version.removeprefix("v"), supports_streaming=True
        )
    )
    with open_client(ctx, target, key) as client:
        added = _created(client.catalog.CreateInferenceFramework, request).inference_framework
    _say(added, f"{added.name} {added.version}", json=json)


def _model(client: Client, name: str, architecture: str, parameters: int) -> model_pb2.Model:
    """The model of that name, created if there is none. Raises CliError without what that needs."""
    request = model_pb2.ListModelsRequest(name_contains=name)
    for model in pages(client.catalog.ListModels, request, "models"):
        if model.name.lower() == name.lower():
            return model  # type: ignore[no-any-return]
    if not architecture or not parameters:
        raise CliError(f"{name} is new: say its --architecture and its --parameters.")
    model = model_pb2.Model(name=name, architecture=architecture.lower(), parameters=parameters)
    return client.catalog.CreateModel(model_pb2.CreateModelRequest(model=model)).model


def _created(call: Callable[[Any], Any], request: Any) -> Any:
    """The answer of a create call. Raises CliError where the entry exists."""
    try:
        return call(request)
    except ServemarkCallError as error:
        if error.reason == "RESOURCE_EXISTS":
            raise CliError("The catalog has it already.") from None
        raise


def _say(added: Any, name: str, *, json: bool) -> None:
    if json:
        print_message(added)
    else:
        out().print(f"Added {name}.", markup=False, soft_wrap=True)
