"""Names of the catalog turned into ids, and ids into names."""

from collections.abc import Callable, Iterable
from typing import Any

from servemark.catalog.v1 import (
    hardware_config_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
)
from servemark.cli.output import CliError
from servemark.client.channel import Client

_PAGE = 1_000


def pages(call: Callable[[Any], Any], request: Any, field: str) -> list[Any]:
    """Everything a list method has, page by page."""
    found: list[Any] = []
    request.page_size = _PAGE
    while True:
        response = call(request)
        found.extend(getattr(response, field))
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


def model_ids(client: Client, names: Iterable[str]) -> list[str]:
    """Ids of the models with these names; part of a name will do. Raises CliError for none."""
    ids = []
    for name in names:
        request = model_pb2.ListModelsRequest(name_contains=name)
        models = pages(client.catalog.ListModels, request, "models")
        ids += _matching("model", name, [(model.name, model.id) for model in models])
    return ids


def hardware_ids(client: Client, names: Iterable[str]) -> list[str]:
    """Ids of hardware with these names or GPU types (`H100` is any of its sizes)."""
    wanted = list(names)
    if not wanted:
        return []
    request = hardware_config_pb2.ListHardwareConfigsRequest()
    known = pages(client.catalog.ListHardwareConfigs, request, "hardware_configs")
    candidates = [
        (name, item.id)
        for item in known
        for name in (item.name, item.gpu_type, item.gpu_type.partition("-")[0])
    ]
    return [found for name in wanted for found in _matching("hardware", name, candidates)]


def framework_ids(client: Client, names: Iterable[str]) -> list[str]:
    """Ids of every version of the frameworks with these names."""
    ids = []
    for name in names:
        request = inference_framework_pb2.ListInferenceFrameworksRequest(names=[name.lower()])
        known = pages(client.catalog.ListInferenceFrameworks, request, "inference_frameworks")
        ids += _matching("framework", name, [(item.name, item.id) for item in known])
    return ids


def _matching(kind: str, name: str, candidates: list[tuple[str, str]]) -> list[str]:
    """Ids of the candidates with exactly this name, else of those that contain it."""
    wanted = name.lower()
    exact = [found for known, found in candidates if known.lower() == wanted]
    found = exact or [found for known, found in candidates if wanted in known.lower()]
    if not found:
        raise CliError(f"The catalog has no {kind} named {name!r}.")
    return list(dict.fromkeys(found))


def _batch(call: Any, request: Any, ids: set[str], field: str) -> list[Any]:
    ordered = sorted(ids)
    found: list[Any] = []
    for start in range(0, len(ordered), _PAGE):
        found.extend(getattr(call(request(ids=ordered[start : start + _PAGE])), field))
    return found


def model_names(client: Client, ids: set[str]) -> dict[str, str]:
    """The names of the models that the catalog knows."""
    request = model_pb2.BatchGetModelsRequest
    models = _batch(client.catalog.BatchGetModels, request, ids, "models")
    return {item.id: item.name for item in models}


def hardware_names(client: Client, ids: set[str]) -> dict[str, str]:
    """The GPUs of the hardware that the catalog knows."""
    request = hardware_config_pb2.BatchGetHardwareConfigsRequest
    hardware = _batch(client.catalog.BatchGetHardwareConfigs, request, ids, "hardware_configs")
    return {item.id: f"{item.gpu_count} x {item.gpu_type}" for item in hardware}


def framework_names(client: Client, ids: set[str]) -> dict[str, str]:
    """Names and versions of the frameworks that the catalog knows."""
    request = inference_framework_pb2.BatchGetInferenceFrameworksRequest
    call = client.catalog.BatchGetInferenceFrameworks
    frameworks = _batch(call, request, ids, "inference_frameworks")
    return {item.id: f"{item.name} {item.version}" for item in frameworks}


class Names:
    """What the ids of results are called; ids the catalog does not know stay ids."""

    def __init__(self, client: Client, configs: Iterable[Any]) -> None:
        known = list(configs)
        versions = _batch(
            client.catalog.BatchGetModelVersions,
            model_version_pb2.BatchGetModelVersionsRequest,
            {item.model_version_id for item in known},
            "model_versions",
        )
        self._versions = {item.id: f"{item.model_name} {item.quantization}" for item in versions}
        self._hardware = hardware_names(client, {item.hardware_config_id for item in known})
        self._frameworks = framework_names(client, {item.framework_id for item in known})

    def version(self, config: Any) -> str:
        """Model and quantization of a configuration."""
        return self._versions.get(config.model_version_id, str(config.model_version_id))

    def hardware(self, config: Any) -> str:
        """GPUs of a configuration."""
        return self._hardware.get(config.hardware_config_id, str(config.hardware_config_id))

    def framework(self, config: Any) -> str:
        """Framework of a configuration."""
        return self._frameworks.get(config.framework_id, str(config.framework_id))
