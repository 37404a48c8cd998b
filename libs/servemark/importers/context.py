"""What a result file does not say: the explicit context of an import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from servemark.client.record_fields import FieldProblem, RecordError, parse_fields

CONTEXT_KEYS = (
    "model",
    "model_version",
    "quantization",
    "format",
    "hardware",
    "gpu_count",
    "framework",
    "framework_version",
    "workload_type",
    "input_tokens",
    "output_tokens",
    "parallelism",
    "provenance",
    "benchmarked_at",
    "tool_version",
    "source",
)


NAMES = "names"
"""The key under which a context says what a name of a file is called in the catalog."""
NAMED = ("model", "hardware", "framework")


@dataclass(frozen=True)
class Context:
    """The facts a user states about the runs of an import. Nothing in it is ever guessed.

    names: by kind (model, hardware, framework), what the catalog calls the things that files name
    otherwise.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def from_values(cls, document: Mapping[str, Any]) -> Self:
        """The context of the given keys. Raises RecordError naming every wrong one."""
        stated = dict(document)
        names = stated.pop(NAMES, None) or {}
        values, problems = parse_fields(stated)
        problems += [
            FieldProblem(key, "unknown", "is measured, not stated; it has to be in the result file")
            for key in values
            if key not in CONTEXT_KEYS
        ]
        if not _are_names(names):
            problems.append(
                FieldProblem(
                    NAMES, "type", f"must have tables of texts, of {', '.join(NAMED)} alone"
                )
            )
        if problems:
            raise RecordError(problems)
        return cls(values, names)

    def stated(self) -> dict[str, Any]:
        """The stated values by key."""
        return dict(self.values)

    def below(self, stronger: "Context") -> "Context":
        """This context with another before it, key by key."""
        kinds = self.names.keys() | stronger.names.keys()
        return Context(
            {**self.values, **stronger.values},
            {
                kind: {**self.names.get(kind, {}), **stronger.names.get(kind, {})}
                for kind in sorted(kinds)
            },
        )


def option(key: str) -> str:
    """The option of `servemark import` that states a key."""
    return f"--{key.removesuffix('_type').replace('_', '-')}"


def _are_names(names: Any) -> bool:
    return isinstance(names, Mapping) and all(
        kind in NAMED
        and isinstance(table, Mapping)
        and all(isinstance(word, str) and word.strip() for pair in table.items() for word in pair)
        for kind, table in names.items()
    )
