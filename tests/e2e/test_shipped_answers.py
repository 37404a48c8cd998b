"""What Servemark recommends from the data it ships, as whole answers for people to read.

The answers that are drawn by chance are left out: their seed has ids and versions in it that no two
databases share.
"""

import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servemark.ranking.v1.candidate_pb2 import PriceBasis
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from tests.support.command import Run, run
from tests.support.readable import readable
from tests.support.stack import RunningStack, golden, load_sample

__all__ = ["run"]

GOLDEN = Path(__file__).parent / "golden"
README = Path(__file__).resolve().parents[2] / "README.md"
Ask = Callable[[RecommendRequest], RecommendResponse]


@pytest.fixture(scope="module")
def shipped(stack: RunningStack) -> RunningStack:
    """The stack with the shipped data, ranked."""
    load_sample(stack)
    with stack.client() as client:
        client.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=60)
    return stack


@pytest.fixture(scope="module")
def ask(shipped: RunningStack) -> Ask:
    """Asks for a recommendation from the shipped data, at the prices of one day."""

    def asked(request: RecommendRequest) -> RecommendResponse:
        time = Timestamp()
        time.FromDatetime(datetime(2026, 8, 21, tzinfo=UTC))
        request.price_basis.CopyFrom(PriceBasis(price_time=time))
        with shipped.client() as client:
            answer = client.ranking.Recommend(request)
            again = client.ranking.Recommend(request)
        assert answer.SerializeToString(deterministic=True) == again.SerializeToString(
            deterministic=True
        )
        return answer

    return asked


def test_the_first_of_reasoning_has_a_rival_close_behind(ask: Ask) -> None:
    answer = ask(RecommendRequest(use_case="reasoning", max_results=2))
    first, second = answer.recommendations
    assert 0 < first.score - second.score < 0.01
    golden(GOLDEN / "recommend_reasoning_with_close_rivals.json", readable(answer))


def test_nothing_fits_rag_and_the_answer_says_what_to_relax(ask: Ask) -> None:
    answer = ask(RecommendRequest(use_case="rag"))
    assert not answer.recommendations
    assert answer.infeasible.relaxations
    golden(GOLDEN / "recommend_rag_when_nothing_fits.json", readable(answer))


def test_a_budget_changes_what_agents_are_recommended(ask: Ask) -> None:
    (richest,) = ask(RecommendRequest(use_case="agentic", max_results=1)).recommendations
    answer = ask(
        RecommendRequest(
            use_case="agentic",
            max_usd_per_hour=15,
            target_requests_per_second=3,
            max_results=2,
        )
    )
    assert richest.alternative.price.usd_per_hour > 15
    assert all(item.alternative.price.usd_per_hour <= 15 for item in answer.recommendations)
    golden(GOLDEN / "recommend_agentic_within_a_budget.json", readable(answer))


def test_the_command_of_the_readme_answers_as_it_stands_there(
    shipped: RunningStack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command, shown) = re.findall(
        r"^\.venv/bin/servemark (recommend .*?)$.*?^```$.*?^```$\n(.*?)^```$",
        README.read_text(),
        re.S | re.M,
    )[0]
    monkeypatch.setenv("SERVEMARK_TARGET", shipped.target)
    monkeypatch.setenv("SERVEMARK_API_KEY", shipped.key)
    done = run(*shlex.split(command))
    assert done.code == 0, done.err
    # Lines may be left out there, but not changed or in another order.
    said = iter([line.rstrip() for line in done.out.splitlines()])
    missing = [line for line in shown.splitlines() if line not in said]
    assert not missing, done.out
    assert "gpt-oss-120b" in shown
