"""`servemark check` against the four real services, as a build would run it."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from servemark.client.load import load_records
from servemark.client.records import ResultRecord
from tests.support.command import Run, run
from tests.support.runs import make_catalog, record
from tests.support.stack import RunningStack

__all__ = ["run"]

FIGURES = {
    "ttft_p50_ms": 60.0,
    "ttft_p90_ms": 120.0,
    "ttft_p99_ms": 400.0,
    "tpot_p50_ms": 8.0,
    "tpot_p90_ms": 12.0,
    "throughput_tokens_sec": 900.0,
    "rps_sustained": 4.0,
}


def runs(
    day: str, count: int, seed: int, hardware: str, **factors: float
) -> Iterator[ResultRecord]:
    """Runs of a day with 2 % of noise."""
    chance = random.Random(seed)
    for number in range(count):
        figures: dict[str, Any] = {
            name: value * factors.get(name, 1) * chance.lognormvariate(0, 0.02)
            for name, value in FIGURES.items()
        }
        at = f"{day}T12:{number:02}:00+00:00"
        yield record(benchmarked_at=at, hardware=hardware, **figures)


@pytest.fixture(scope="module")
def filled(stack: RunningStack) -> RunningStack:
    """Three configurations with a history; of one, the runs of 10 March are slower."""
    with stack.client() as client:
        make_catalog(client)
        load_records(
            client,
            [
                *runs("2026-03-01", 20, 1, "test/h100-1"),
                *runs(
                    "2026-03-10", 5, 2, "test/h100-1", ttft_p90_ms=1.2, throughput_tokens_sec=0.85
                ),
                *runs("2026-03-01", 20, 3, "test/h200-1"),
                *runs("2026-03-10", 5, 4, "test/h200-1"),
                *runs("2026-03-01", 20, 5, "test/l4-1"),
                *runs("2026-03-10", 2, 6, "test/l4-1", ttft_p90_ms=2),
            ],
        )
    return stack


@pytest.fixture
def check(filled: RunningStack, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command with the stack's address and key; new is what 10 March brought."""
    monkeypatch.setenv("SERVEMARK_TARGET", filled.target)
    monkeypatch.setenv("SERVEMARK_API_KEY", filled.key)

    def call(*options: object) -> Any:
        return run("check", "--baseline", "30d", "--since", "2026-03-10", *options)

    return call


H100 = "`test/llama-8b fp8 · 1 x H100-80GB · vllm 0.11.0 · random, 512/256 tokens, 8 in flight`"
L4 = "test/llama-8b fp8 · 1 x L4-24GB · vllm 0.11.0 · random, 512/256 tokens, 8 in flight"
MARKDOWN = f"""\
### Benchmark check

| | Configuration | Metric | Before → after | Change | 95 % interval | Runs | z |
|---|---|---|---:|---:|---:|---:|---:|
| worse | {H100} | TTFT p90 ms | 119 → 145 | +21% | +17% to +24% | 20 / 5 | +11.2 |
| worse | {H100} | tokens/s | 893 → 788 | -13% | -14% to -11% | 20 / 5 | -11.2 |

3 configurations checked: 1 worse, 0 better, 1 unchanged, 1 not judged.

- `{L4}: too few new runs (2 new, 20 before).`

Reported is a change above the noise of 5% or more; of configurations that did not change, at most \
1% are called worse by chance.
"""


def test_a_regression_fails_the_build_with_a_table_for_its_comment(check: Run) -> None:
    done = check("--format", "markdown")
    assert (done.code, done.err) == (5, "")
    assert done.out == MARKDOWN


def test_without_a_regression_the_build_goes_on(check: Run) -> None:
    done = check("--gpu", "h200", "--format", "json")
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert document["counts"] == {"worse": 0, "better": 0, "unchanged": 1, "not_judged": 0}
    # Nor with one that is smaller than what counts.
    assert check("--gpu", "h100", "--min-effect", "40%").code == 0


def test_too_few_runs_are_no_reason_to_go_on(check: Run) -> None:
    done = check("--gpu", "l4")
    assert done.code == 1
    assert "too few new runs (2 new, 20 before)" in " ".join(done.out.split())


def test_what_cannot_be_checked_is_said_in_a_sentence(check: Run) -> None:
    unknown = "0198f000-0000-7000-8000-000000000000"
    for options, says in (
        (("--config", unknown), f"there is no configuration {unknown}"),
        (("--stream", unknown), f"there is no stream {unknown}"),
        (("--metric", "cost"), "prices are not known here"),
        (("--model", "gone"), "no model named 'gone'"),
    ):
        done = check(*options)
        assert (done.code, done.out) == (1, "")
        assert says in " ".join(done.err.split())
        assert "Traceback" not in done.err
