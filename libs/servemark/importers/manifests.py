"""What the manifests and the config.yaml beside inference-perf's reports say for certain.

A Deployment names the image, the GPUs and the model that were served; inference-perf's own
config.yaml names the model only as the client called it, so the manifest counts before it. Read
from the demos in kubernetes-sigs/inference-perf and its `config.py` (`server.model_name`).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from servemark.importers import aliases
from servemark.importers.base import Document
from servemark.importers.documents_yaml import read_yaml
from servemark.importers.values import at, number, text

CONFIGS = ("config.yaml", "config.yml")
MANIFESTS = ("manifests.yaml", "manifests.yml", "manifest.yaml", "deployment.yaml")
_WORKLOADS = ("Deployment", "StatefulSet", "Job", "Pod")
_GPUS = ("nvidia.com/gpu", "amd.com/gpu")
_VARIABLE = re.compile(r"\$\((\w+)\)")


def is_report(path: Path) -> bool:
    """Whether the file is named as inference-perf names its reports."""
    return "lifecycle_metrics" in path.name


def facts(folder: Path) -> dict[str, Any]:
    """Model, GPU, GPU count, framework and version, as far as the folder's manifests say them.

    Where two servers of the manifests differ in one of these, it is left out. A file that cannot
    be read says nothing.
    """
    found: dict[str, Any] = {}
    for name in CONFIGS:
        for data in _documents(folder / name):
            found |= _of_config(data)
    servers = [
        server
        for name in MANIFESTS
        for data in _documents(folder / name)
        for server in _servers(data)
    ]
    return found | _agreed(servers)


def is_manifest(path: Path, data: Any) -> bool:
    """Whether the document is one that facts are taken from, and so no result."""
    if path.name in CONFIGS:
        return isinstance(at(data, "server"), Mapping) and isinstance(at(data, "load"), Mapping)
    return path.name in MANIFESTS and text(at(data, "apiVersion")) is not None


def _documents(path: Path) -> Iterator[Any]:
    try:
        for document in read_yaml(path, None):
            if isinstance(document, Document):
                yield document.data
    except OSError:
        return


def _of_config(data: Any) -> dict[str, Any]:
    said = {
        "model": text(at(data, "server", "model_name")),
        "framework": text(at(data, "server", "type")),
    }
    return {key: value for key, value in said.items() if value is not None}


def _servers(data: Any) -> Iterator[dict[str, Any]]:
    """What each container with a framework's image says."""
    if at(data, "kind") not in _WORKLOADS:
        return
    pod = at(data, "spec", "template", "spec") or at(data, "spec")
    containers = at(pod, "containers")
    for container in containers if isinstance(containers, list) else []:
        image = text(at(container, "image"))
        if image is None or aliases.framework_version(image) is None:
            continue
        replicas = number(at(data, "spec", "replicas"))
        yield {
            "framework": aliases.framework(image),
            "framework_version": aliases.framework_version(image),
            "model": _model(container),
            "gpu_count": _gpus(container) if replicas in (None, 1) else None,
            "hardware": _accelerator(pod),
        }


def _gpus(container: Any) -> int | None:
    counts = [number(at(container, "resources", "limits", name)) for name in _GPUS]
    return next((int(count) for count in counts if count), None)


def _accelerator(pod: Any) -> str | None:
    """The GPU that the pod asks a node for."""
    selector = at(pod, "nodeSelector")
    names = (
        [value for key, value in selector.items() if "accelerator" in str(key)]
        if isinstance(selector, Mapping)
        else []
    )
    return text(names[0]) if len(names) == 1 else None


def _model(container: Any) -> str | None:
    """The value of --model, with the container's own variables in it replaced."""
    words = [
        word
        for part in ("command", "args")
        for line in at(container, part) or []
        if isinstance(line, str)
        for word in line.split()
    ]
    for position, word in enumerate(words):
        if word.startswith("--model="):
            return _expanded(word.removeprefix("--model="), container)
        if word == "--model" and position + 1 < len(words):
            return _expanded(words[position + 1], container)
    return None


def _expanded(value: str, container: Any) -> str | None:
    variables = {
        at(entry, "name"): at(entry, "value")
        for entry in at(container, "env") or []
        if isinstance(entry, Mapping)
    }
    expanded = _VARIABLE.sub(lambda found: str(variables.get(found[1]) or found[0]), value)
    return None if "$" in expanded else text(expanded)


def _agreed(servers: list[dict[str, Any]]) -> dict[str, Any]:
    agreed = {}
    for key in ("framework", "framework_version", "model", "gpu_count", "hardware"):
        said = {server[key] for server in servers}
        if len(said) == 1 and None not in said:
            agreed[key] = said.pop()
    return agreed
