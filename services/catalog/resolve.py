"""Decides what a name or id means, from what was found for it, and says why where it means nothing.

Archived entries do not resolve. A name that several active entries match is ambiguous rather than
guessed: a guess would put measurements on the wrong configuration for good.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from servemark.type.v1.error_reason_pb2 import ErrorReason
from services.catalog.store_resolve import Candidate, Found, Wanted

_MAX_CHOICES = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """A part of a configuration: its field in the contract, and what tells its entries apart."""

    field: str
    noun: str
    labels: tuple[str, ...]


MODEL_VERSION = Kind("model_version", "model", ("version", "quantization", "format"))
HARDWARE = Kind("hardware", "hardware configuration", ())
FRAMEWORK = Kind("framework", "inference framework", ("version",))
KINDS = (MODEL_VERSION, HARDWARE, FRAMEWORK)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a caller wrote for one part. An empty label matches any; a `problem` refuses it."""

    kind: Kind
    id: UUID | None = None
    name: str = ""
    labels: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one part resolved to, or the reason and a sentence for why it did not.

    `parent_id` is the model's id, known also where the version is not.
    """

    id: UUID | None = None
    parent_id: UUID | None = None
    reason: "ErrorReason.ValueType" = ErrorReason.ERROR_REASON_UNSPECIFIED
    detail: str = ""


def wanted(references: Iterable[Reference]) -> dict[str, Wanted]:
    """What to look up for these references: each id and name once, by kind."""
    ids: dict[str, dict[UUID, None]] = {kind.field: {} for kind in KINDS}
    names: dict[str, dict[str, None]] = {kind.field: {} for kind in KINDS}
    for reference in references:
        if reference.problem:
            continue
        if reference.id is not None:
            ids[reference.kind.field][reference.id] = None
        else:
            names[reference.kind.field][reference.name] = None
    return {kind.field: Wanted(list(ids[kind.field]), list(names[kind.field])) for kind in KINDS}


def decide(reference: Reference, found: Found) -> Outcome:
    """The outcome of one reference, given what was found of its kind."""
    if reference.problem:
        return Outcome(reason=ErrorReason.ERROR_REASON_INVALID_FIELD, detail=reference.problem)
    if reference.id is not None:
        return _by_id(reference, found.by_id.get(reference.id, []))
    candidates = found.by_name.get(reference.name, [])
    if not candidates:
        return _not_found(_nothing_named(reference, found.nearest.get(reference.name, [])))
    return _by_name(reference, candidates)


def _by_id(reference: Reference, candidates: Sequence[Candidate]) -> Outcome:
    noun = reference.kind.field.replace("_", " ")
    if not candidates:
        return _not_found(f"There is no {noun} with the id {reference.id}.")
    candidate = candidates[0]
    if candidate.is_archived or candidate.parent_archived:
        return _archived(f"The {noun} {reference.id} ({candidate.name}) is archived.")
    return Outcome(candidate.id, candidate.parent_id)


def _by_name(reference: Reference, candidates: Sequence[Candidate]) -> Outcome:
    first = candidates[0]
    subject = f"The {reference.kind.noun} {first.name!r}"
    if first.parent_archived:
        return _archived(f"{subject} is archived.")
    entries = [candidate for candidate in candidates if candidate.id is not None]
    matching = [candidate for candidate in entries if _matches(reference, candidate)]
    active = [candidate for candidate in matching if not candidate.is_archived]
    if len(active) == 1:
        return Outcome(active[0].id, first.parent_id)
    if active:
        return Outcome(
            parent_id=first.parent_id,
            reason=ErrorReason.ERROR_REASON_REFERENCE_AMBIGUOUS,
            detail=f"{subject} has {len(active)} entries that match: {_choices(active)}. "
            f"Add {_distinguishing(reference, active)}.",
        )
    if matching:
        return _archived(f"{subject} is archived{_in_words(reference)}.", first.parent_id)
    others = [candidate for candidate in entries if not candidate.is_archived]
    has = f"it has: {_choices(others)}" if others else "it has no active version"
    return _not_found(f"{subject} does not exist{_in_words(reference)}; {has}.", first.parent_id)


def _matches(reference: Reference, candidate: Candidate) -> bool:
    return all(
        not wish or wish.lower() == label.lower()
        for wish, label in zip(reference.labels, candidate.labels, strict=True)
    )


def _choices(candidates: Sequence[Candidate]) -> str:
    listed = "; ".join(" ".join(candidate.labels) for candidate in candidates[:_MAX_CHOICES])
    more = len(candidates) - _MAX_CHOICES
    return f"{listed}; and {more} more" if more > 0 else listed


def _distinguishing(reference: Reference, candidates: Sequence[Candidate]) -> str:
    """The labels that differ between the candidates: what the caller has to add."""
    columns = zip(*(candidate.labels for candidate in candidates), strict=True)
    differing = [
        label
        for label, values in zip(reference.kind.labels, columns, strict=True)
        if len(set(values)) > 1
    ]
    return " or ".join(differing)


def _in_words(reference: Reference) -> str:
    given = [
        f"{label} {wish!r}"
        for label, wish in zip(reference.kind.labels, reference.labels, strict=True)
        if wish
    ]
    return f" in {', '.join(given)}" if given else ""


def _nothing_named(reference: Reference, nearest: Sequence[str]) -> str:
    hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
    return f"There is no {reference.kind.noun} {reference.name!r}.{hint}"


def _not_found(detail: str, parent_id: UUID | None = None) -> Outcome:
    return Outcome(None, parent_id, ErrorReason.ERROR_REASON_REFERENCE_NOT_FOUND, detail)


def _archived(detail: str, parent_id: UUID | None = None) -> Outcome:
    return Outcome(None, parent_id, ErrorReason.ERROR_REASON_RESOURCE_ARCHIVED, detail)
