"""References to model version, hardware and framework, and what they resolved to."""

from collections.abc import Sequence
from typing import Any

from servemark.catalog.v1.config_reference_pb2 import ConfigReference, ConfigResolution
from servemark.runtime.validation import Violations
from services.catalog.convert.fields import version_from_proto
from services.catalog.resolve import FRAMEWORK, HARDWARE, MODEL_VERSION, Kind, Outcome, Reference


def references_from_proto(reference: ConfigReference) -> tuple[Reference, Reference, Reference]:
    """The model version, hardware and framework referred to, wrong ones with the reason."""
    version, hardware, framework = reference.model_version, reference.hardware, reference.framework
    return (
        _reference(
            MODEL_VERSION,
            version,
            version.model,
            "model",
            (("version", 64), ("quantization", 32), ("format", 32)),
        ),
        _reference(HARDWARE, hardware, hardware.name, "name", ()),
        _reference(FRAMEWORK, framework, framework.name, "name", (("version", 64),)),
    )


def resolution_to_proto(outcomes: Sequence[Outcome]) -> ConfigResolution:
    """The message of the outcomes of model version, hardware and framework, in this order."""
    version, hardware, framework = outcomes
    resolution = ConfigResolution(
        model_id=_text(version.parent_id),
        model_version_id=_text(version.id),
        hardware_config_id=_text(hardware.id),
        framework_id=_text(framework.id),
    )
    for kind, outcome in zip((MODEL_VERSION, HARDWARE, FRAMEWORK), outcomes, strict=True):
        if outcome.reason:
            resolution.failures.add(field=kind.field, reason=outcome.reason, detail=outcome.detail)
    return resolution


def _reference(
    kind: Kind, part: Any, name: str, name_field: str, labels: tuple[tuple[str, int], ...]
) -> Reference:
    check = Violations()
    if part.id:
        identifier = check.uuid("id", part.id)
        if identifier is not None:
            return Reference(kind, id=identifier)
    elif not name.strip():
        check.add(name_field, f"is required where there is no id of the {kind.field}")
    name = check.text(name_field, name, max_len=256, required=False)
    found = tuple(_label(check, kind, part, field, longest) for field, longest in labels)
    problem = "; ".join(f"{wrong.field} {wrong.description}" for wrong in check.found)
    return Reference(kind, name=name, labels=found, problem=problem)


def _label(check: Violations, kind: Kind, part: Any, field: str, longest: int) -> str:
    value: str = getattr(part, field)
    if kind is FRAMEWORK:
        return version_from_proto(check, field, value, required=False)
    return check.text(field, value, max_len=longest, required=False)


def _text(identifier: object) -> str:
    return "" if identifier is None else str(identifier)
