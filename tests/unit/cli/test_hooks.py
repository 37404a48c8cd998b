import sys
from types import ModuleType
from typing import Annotated

import pytest
import typer

from servemark.cli.output import CliError
from tests.support.command import Run


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command module as the hooks expect it."""

    def doctor(
        data_dir: Annotated[str, typer.Option("--data-dir", help="Where the data lies.")] = "-",
        fail: bool = False,
    ) -> None:
        """Look around."""
        if fail:
            raise CliError("It hurts.")
        print(f"looked at {data_dir}")
        raise typer.Exit(4)

    module = ModuleType("servemark.cli.doctor")
    module.doctor = doctor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "servemark.cli.doctor", module)
    return module


def test_arguments_and_the_exit_code_pass_through_a_hook(run: Run, doctor: ModuleType) -> None:
    done = run("doctor", "--data-dir", "x")
    assert (done.code, done.out) == (4, "looked at x\n")


def test_a_hooked_command_answers_help_itself(run: Run, doctor: ModuleType) -> None:
    done = run("doctor", "--help")
    assert done.code == 0
    assert "servemark doctor" in done.out
    assert "--data-dir" in done.out


def test_errors_and_wrong_usage_keep_their_exit_codes(run: Run, doctor: ModuleType) -> None:
    failed = run("doctor", "--fail")
    assert (failed.code, failed.err) == (1, "servemark: It hurts.\n")
    assert run("doctor", "--nonsense").code == 2


def test_a_missing_package_is_named_with_the_fix(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "servemark.cli.migrate", None)
    done = run("migrate")
    assert done.code == 1
    assert "not part of this install" in done.err
