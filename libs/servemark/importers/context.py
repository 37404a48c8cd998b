"""What a result file does not say: the explicit context of an import."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
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


@dataclass(frozen=True)
class Context:
    """The facts a user states about the runs of an import. Nothing in it is ever guessed."""

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The context a JSON or TOML file states.

        Raises RecordError naming every wrong key, ValueError if the file is neither.
        """
        text = path.read_text(encoding="utf-8")
        is_toml = path.suffix.lower() == ".toml"
        document = tomllib.loads(text) if is_toml else json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("must be one JSON object, or a TOML file")
        return cls.from_values(document)

    @classmethod
    def from_values(cls, document: Mapping[str, Any]) -> Self:
        """The context of the given keys. Raises RecordError naming every wrong one."""
        values, problems = parse_fields(document)
        problems += [
            FieldProblem(key, "unknown", "is measured, not stated; it has to be in the result file")
            for key in values
            if key not in CONTEXT_KEYS
        ]
        if problems:
            raise RecordError(problems)
        return cls(values)

    def stated(self) -> dict[str, Any]:
        """The stated values by key."""
        return dict(self.values)
