"""What an import cannot know, asked for once of the person at the terminal."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.prompt import Prompt

from servemark.cli.output import err
from servemark.cli.resolving import Unresolved
from servemark.client.record_fields import PROVENANCES, RecordError
from servemark.importers.context import NAMES, Context

_EXAMPLES = {
    "quantization": "bf16, fp8, int4",
    "gpu_count": "8",
    "framework": "vllm, sglang",
    "framework_version": "0.11.0",
    "workload_type": "chatbot, random",
    "provenance": ", ".join(PROVENANCES),
}
_LISTED = 30


def can_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Answers:
    """Asks each thing once, and keeps what was answered.

    asks: whether there is somebody to ask; otherwise nothing is ever answered. candidates: what the
    catalog has for a key, to list it with the question.
    """

    def __init__(
        self, *, asks: bool, candidates: Callable[[str], Iterable[str]] = lambda _: ()
    ) -> None:
        self.context = Context()
        self._asks = asks
        self._candidates = candidates
        self._declined: set[str] = set()
        self._console = err()

    def fill(self, keys: Iterable[str], place: str) -> bool:
        """Asks for the keys that a file lacks; whether all of them are answered now."""
        if not self._asks:
            return False
        for key in keys:
            if key in self.context.values or key in self._declined:
                continue
            self._console.print(f"{place} does not say its {key}.", markup=False, soft_wrap=True)
            value = self._value(key)
            if value is None:
                self._declined.add(key)
            else:
                self.context = self.context.below(value)
        return all(key in self.context.values for key in keys)

    def choose(self, unresolved: Unresolved, place: str) -> str | None:
        """What the catalog calls a thing; None if nobody says."""
        known = self.context.names.get(unresolved.kind, {}).get(unresolved.name)
        topic = f"{unresolved.kind}: {unresolved.name}"
        if not self._asks or known is not None or topic in self._declined:
            return known
        self._console.print(
            f"{place}: {unresolved.detail}", markup=False, soft_wrap=True, style="yellow"
        )
        choice = self._choice(
            f"Which {unresolved.kind} is {unresolved.name}?", list(unresolved.choices)
        )
        if choice is None:
            self._declined.add(topic)
            return None
        names = {unresolved.kind: {unresolved.name: choice}}
        self.context = self.context.below(Context(names=names))
        return choice

    def offer_to_write(self, folder: Path) -> None:
        """Asks whether to write the answers to the folder's servemark.yaml, and does it."""
        if not self.context.values and not self.context.names:
            return
        path = folder / "servemark.yaml"
        if any(folder.glob("servemark.*")):
            self._console.print(
                f"Add your answers to the servemark file of {folder} to be asked no more:"
                f"\n{_yaml(self.context)}",
                markup=False,
                soft_wrap=True,
            )
            return
        answer = self._prompt(f"Write your answers to {path}? (y/n)", "y")
        if answer.lower().startswith("y"):
            path.write_text(_yaml(self.context), encoding="utf-8")

    def _value(self, key: str) -> Context | None:
        """An answer that fits the key; None for an empty one."""
        candidates = list(self._candidates(key))
        hint = f" (such as {_EXAMPLES[key]})" if key in _EXAMPLES else ""
        while True:
            answer = self._choice(f"{key}{hint}", candidates)
            if answer is None:
                return None
            try:
                return Context.from_values({key: int(answer) if answer.isdecimal() else answer})
            except RecordError as error:
                self._console.print(f"{error}.", markup=False)

    def _choice(self, question: str, candidates: list[str]) -> str | None:
        """A name, or the number of one that is listed; None for an empty answer."""
        listed = candidates[:_LISTED]
        for number, name in enumerate(listed, start=1):
            self._console.print(f"  {number:2}  {name}", markup=False)
        if len(candidates) > _LISTED:
            self._console.print(f"      and {len(candidates) - _LISTED} more")
        by_number = " by number or name" if listed else ""
        answer = self._prompt(f"{question}{by_number}, empty to leave it out", "")
        if listed and answer.isdecimal() and 1 <= int(answer) <= len(listed):
            return listed[int(answer) - 1]
        return answer or None

    def _prompt(self, question: str, default: str) -> str:
        try:
            answer: Any = Prompt.ask(
                question, console=self._console, default=default, show_default=False
            )
        except EOFError:
            return ""
        return str(answer).strip()


def _yaml(context: Context) -> str:
    """The answers as a side-car."""
    import yaml

    names = {kind: dict(table) for kind, table in context.names.items()}
    document = dict(context.values) | ({NAMES: names} if names else {})
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
