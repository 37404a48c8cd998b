"""Shows what the fault tests saw after the last test, also where everything passed."""

from collections.abc import Callable, Iterable

import pytest

_SUMMARIES = pytest.StashKey[list[str]]()

Report = Callable[[Iterable[str]], None]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Takes the lines of a summary."""
    return request.config.stash.setdefault(_SUMMARIES, []).extend


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Writes the summaries."""
    lines = config.stash.get(_SUMMARIES, [])
    if lines:
        terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)
