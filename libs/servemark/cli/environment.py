"""Where a benchmark ran: what is kept with its results as `environment`."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servemark.cli.masking import mask_command

_SECONDS = 10
_PACKAGES = ("vllm", "sglang", "torch", "transformers", "guidellm", "aiperf", "genai-perf")
_MAX_COMMAND = 4_096
_VERSIONS = f"""
import importlib.metadata, json, platform
found = {{"python": platform.python_version()}}
for name in {_PACKAGES!r}:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def environment_of(command: Sequence[str]) -> dict[str, Any]:
    """The machine that a command runs on and what it runs with; the command without its secrets.

    Of GPUs and packages what can be found out; the variables of the environment are never kept. The
    machine is that of the benchmark, which need not be the one that serves the model.
    """
    text = " ".join(mask_command(command, os.environ))
    found: dict[str, Any] = {
        "command": text[:_MAX_COMMAND],
        "host": platform.node(),
        "os": platform.platform(),
        "cpu_count": os.cpu_count(),
        "versions": _versions(command[0]),
        "gpus": _nvidia() or _amd(),
    }
    return {name: value for name, value in found.items() if value}


def _nvidia() -> list[dict[str, str]]:
    fields = ("name", "driver_version", "memory.total")
    said = _said("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader")
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines()]
    names = ("name", "driver", "memory")
    return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]


def _amd() -> list[dict[str, str]]:
    said = _said("rocm-smi", "--showproductname", "--showdriverversion", "--json")
    try:
        cards = json.loads(said or "{}")
        driver = str(cards.get("system", {}).get("Driver version", ""))
        return [
            {
                "name": str(card.get("Card Series") or card.get("Card series") or name),
                "driver": driver,
            }
            for name, card in sorted(cards.items())
            if name.startswith("card")
        ]
    except (ValueError, AttributeError):
        return []


def _versions(program: str) -> dict[str, str]:
    """The versions of the packages that a command's own Python has; empty if it is no Python."""
    interpreter = _interpreter(program)
    if interpreter is None:
        return {}
    try:
        versions: dict[str, str] = json.loads(_said(interpreter, "-c", _VERSIONS) or "{}")
    except ValueError:
        return {}
    return versions


def _interpreter(program: str) -> str | None:
    """The Python that runs a program: itself, or what the first line of its script names."""
    found = shutil.which(program)
    if found is None:
        return None
    if Path(found).name.startswith("python"):
        return found
    try:
        with open(found, "rb") as script:
            first = script.readline(512)
    except OSError:
        return None
    words = first[2:].decode(errors="replace").split() if first.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = words[1:]
    return words[0] if words and Path(words[0]).name.startswith("python") else None


def _said(*command: str) -> str:
    """What a program prints; nothing if it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
