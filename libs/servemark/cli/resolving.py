"""The names of records turned into the catalog's own, where a name can mean only one entry."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import grpc

from servemark.catalog.v1 import (
    config_reference_pb2,
    hardware_config_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
)
from servemark.cli.names import pages
from servemark.client.channel import Client
from servemark.client.errors import ServemarkCallError
from servemark.client.records import ResultRecord
from servemark.importers import aliases

_KEPT = 10_000
_LISTED = 8
# Whoever may only send results has to name them as the catalog does.
_NO_CATALOG = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED)


@dataclass(frozen=True)
class Unresolved:
    """A name of a record that means no entry, or could mean several.

    kind: model, hardware or framework. name: as the record has it, with its quantization, its GPU
    count or its version. choices: what the catalog has that it may mean. Both are as a context's
    `names` say them.
    """

    kind: str
    name: str
    detail: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Asked:
    """What of a record decides on its names."""

    tool: str
    model: str
    model_version: str | None
    quantization: str
    format: str | None
    hardware: str
    gpu_count: int
    stated_hardware: str | None
    framework: str
    framework_version: str


@dataclass(frozen=True)
class _Answer:
    changes: tuple[tuple[str, str], ...] = ()
    unresolved: tuple[Unresolved, ...] = ()


class Resolver:
    """Asks the catalog once for each combination of names; the last 10,000 are kept."""

    def __init__(self, client: Client) -> None:
        self._catalog = client.catalog
        self._answer: Callable[[_Asked], _Answer] = lru_cache(_KEPT)(self._ask)
        self._hardware: list[hardware_config_pb2.HardwareConfig] | None = None
        self._is_open = True

    def resolve(
        self, record: ResultRecord, stated_hardware: str | None = None
    ) -> tuple[ResultRecord, tuple[Unresolved, ...]]:
        """The record with the catalog's names, and what could not be resolved.

        stated_hardware: what the context says, where the record has a GPU's name out of its file.
        """
        if not self._is_open:
            return record, ()
        asked = _Asked(
            record.tool,
            record.model,
            record.model_version,
            record.quantization,
            record.format,
            record.hardware,
            record.gpu_count,
            stated_hardware,
            record.framework,
            record.framework_version,
        )
        try:
            answer = self._answer(asked)
        except ServemarkCallError as error:
            if error.code() not in _NO_CATALOG:
                raise
            self._is_open = False
            return record, ()
        changes: dict[str, Any] = dict(answer.changes)
        return replace(record, **changes) if changes else record, answer.unresolved

    def candidates(self, key: str) -> list[str]:
        """What the catalog has for a key of a context; nothing where it cannot be asked."""
        try:
            if key == "hardware":
                return [known.name for known in self._all_hardware()]
            if key == "model":
                request = model_pb2.ListModelsRequest()
                return [known.name for known in pages(self._catalog.ListModels, request, "models")]
        except ServemarkCallError as error:
            if error.code() not in _NO_CATALOG:
                raise
        return []

    def forget(self) -> None:
        """Asks anew from here on: the catalog has changed."""
        self._answer.cache_clear()  # type: ignore[attr-defined]
        self._hardware = None

    def _ask(self, asked: _Asked) -> _Answer:
        failures = self._failures(asked)
        changes: dict[str, str] = {}
        unresolved: list[Unresolved] = []
        for field, detail in failures.items():
            find = {
                "model_version": self._find_model,
                "hardware": self._find_hardware,
                "framework": self._find_framework,
            }[field]
            found = find(asked, detail)
            if isinstance(found, Unresolved):
                unresolved.append(found)
            else:
                changes |= found
        return _Answer(tuple(changes.items()), tuple(unresolved))

    def _failures(self, asked: _Asked) -> dict[str, str]:
        """The parts that the catalog cannot resolve, and what it says of each."""
        reference = config_reference_pb2.ConfigReference(
            model_version=config_reference_pb2.ModelVersionReference(
                model=asked.model,
                version=asked.model_version or "",
                quantization=asked.quantization,
                format=asked.format or "",
            ),
            hardware=config_reference_pb2.HardwareReference(name=asked.hardware),
            framework=config_reference_pb2.FrameworkReference(
                name=asked.framework, version=asked.framework_version
            ),
        )
        (resolution,) = self._catalog.ResolveConfigs(
            config_reference_pb2.ResolveConfigsRequest(references=[reference])
        ).resolutions
        return {failure.field: failure.detail for failure in resolution.failures}

    def _find_model(self, asked: _Asked, detail: str) -> dict[str, str] | Unresolved:
        weights = aliases.weights(asked.model, asked.tool)
        wanted = aliases.short(weights.model).lower()
        models = [
            model
            for model in pages(
                self._catalog.ListModels,
                model_pb2.ListModelsRequest(name_contains=wanted),
                "models",
            )
            if aliases.short(model.name).lower() == wanted
        ]
        versions = self._versions(models)
        fitting = [
            version for version in versions if version.quantization == asked.quantization.lower()
        ]
        # Whose upload it is counts: another's model of the same name may be another model.
        if _owner(asked.model):
            fitting = [
                version
                for version in fitting
                if version.model_name.lower() == weights.model.lower()
                or version.artifact_uri.lower() == f"hf://{asked.model}".lower()
            ]
        said = weights.quantization
        if len({version.model_name for version in fitting}) == 1 and said in (
            None,
            asked.quantization.lower(),
        ):
            return {"model": fitting[0].model_name}
        choices = [f"{version.model_name} {version.quantization}" for version in versions]
        return Unresolved(
            "model",
            f"{asked.model} {asked.quantization}",
            _with(detail, "model", choices),
            _few(choices),
        )

    def _versions(self, models: list[model_pb2.Model]) -> list[model_version_pb2.ModelVersion]:
        if not models:
            return []
        request = model_version_pb2.ListModelVersionsRequest(
            model_ids=[model.id for model in models[:100]]
        )
        return pages(self._catalog.ListModelVersions, request, "model_versions")

    def _find_hardware(self, asked: _Asked, detail: str) -> dict[str, str] | Unresolved:
        name = f"{asked.gpu_count} x {asked.hardware}"
        gpu = aliases.gpu(asked.hardware)
        if gpu is None:
            return Unresolved("hardware", name, detail)
        instances = [known for known in self._all_hardware() if gpu.is_of(known.gpu_type)]
        fitting = [known.name for known in instances if known.gpu_count == asked.gpu_count]
        stated = [known for known in fitting if known == asked.stated_hardware]
        if len(stated or fitting) == 1:
            return {"hardware": (stated or fitting)[0]}
        if fitting:
            detail = f"{name} may be several instances."
        elif instances:
            detail = f"The catalog has no instance with {name}."
            sizes = sorted({known.gpu_count for known in instances})
            detail += f" It has them with {', '.join(map(str, sizes))} GPUs."
        else:
            detail = f"The catalog has no instance with {asked.hardware}."
        return Unresolved("hardware", name, _with(detail, "hardware", fitting), _few(fitting))

    def _all_hardware(self) -> list[hardware_config_pb2.HardwareConfig]:
        if self._hardware is None:
            request = hardware_config_pb2.ListHardwareConfigsRequest()
            self._hardware = pages(self._catalog.ListHardwareConfigs, request, "hardware_configs")
        return self._hardware

    def _find_framework(self, asked: _Asked, detail: str) -> dict[str, str] | Unresolved:
        name = aliases.framework(asked.framework)
        request = inference_framework_pb2.ListInferenceFrameworksRequest(names=[name])
        known = pages(self._catalog.ListInferenceFrameworks, request, "inference_frameworks")
        version = asked.framework_version.removeprefix("v").lower()
        if any(one.version.lower() == version for one in known):
            return {"framework": name}
        choices = [f"{one.name} {one.version}" for one in known]
        return Unresolved(
            "framework",
            f"{asked.framework} {asked.framework_version}",
            _with(detail, "framework", choices),
            _few(choices),
        )


def _owner(name: str) -> bool:
    """Whether a model's name says whose it is; a path and a bare name do not."""
    return name.count("/") == 1 and not name.startswith(("/", "."))


def _with(detail: str, kind: str, choices: Iterable[str]) -> str:
    names = list(choices)
    if not names:
        return detail
    listed = ", ".join(names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    option = {"hardware": "--hardware", "model": "--model and --quantization"}.get(
        kind, "--framework and --framework-version"
    )
    return (
        f"{detail} Say which with {option}, or under names.{kind} in a servemark.yaml:"
        f" {listed}{more}."
    )


def _few(choices: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(choices))[:50]
