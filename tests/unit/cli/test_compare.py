import json

import pytest

from servemark.cli.comparison import verdict_text
from servemark.ranking.v1.candidate_pb2 import Cell, Notice
from servemark.ranking.v1.compare_pb2 import (
    CompareConfigurationsRequest,
    CompareConfigurationsResponse,
    ComparedConfiguration,
    Difference,
    MetricComparison,
)
from servemark.type.v1 import metric_pb2 as metrics
from tests.support.answering_server import answering_server
from tests.support.command import Run
from tests.unit.cli.answers import FIGURES, alternative, compared, config_id

SHOWN = """\
                   A        B
 ──────────────────────────────
 TTFT p90 ms     250     120*
 tokens/s      4,000*  3,930
 USD/h             –    55.04
"""
DIFFERENCES = """\
 TTFT p90 ms   B against A         -130       -52%    -60% to -44%   better
 tokens/s      B against A        -70.0      -1.8%   -2.0% to -1.5%  worse
"""


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_configurations_are_shown_side_by_side_with_their_differences(run: Run) -> None:
    with answering_server(CompareConfigurations=compared()) as server:
        options = ["--metric", "ttft_p90", "--price", "aws/p5.48xlarge=9"]
        ids = [config_id(2), config_id(1)]
        done = run("compare", *ids, *options, "--target", server.target)
        asked = server.request("CompareConfigurations", CompareConfigurationsRequest)
    assert (done.code, done.err) == (0, "")
    assert list(asked.config_ids) == ids
    assert list(asked.metrics) == [metrics.METRIC_TTFT_P90_MS]
    assert asked.price_basis.overrides[0].usd_per_hour == 9
    lines = squeezed(done.out)
    for line in squeezed(SHOWN + DIFFERENCES)[2:]:
        assert line in lines
    assert "A meta-llama/Llama-3.1-70B-Instruct fp8" in lines
    assert "- They were measured under different workloads." in lines
    assert max(map(len, done.out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("metric", "difference", "text"),
    [
        (FIGURES[0], Difference(difference=-3, above_noise=True), "better"),
        (FIGURES[0], Difference(difference=3, above_noise=True), "worse"),
        (FIGURES[1], Difference(difference=3, above_noise=True), "better"),
        (FIGURES[1], Difference(difference=3, relative_low=-1, relative_high=1), "within noise"),
        (FIGURES[1], Difference(difference=3), "noise not known"),
        (FIGURES[1], Difference(difference=0), "the same"),
    ],
)
def test_a_difference_is_called_better_only_above_the_noise(
    metric: metrics.Metric.ValueType, difference: Difference, text: str
) -> None:
    assert verdict_text(metric, difference) == text


def many(count: int) -> CompareConfigurationsResponse:
    """Configurations with one metric, which differ by 1 from each to the next."""
    ids = [config_id(number) for number in range(count)]
    return CompareConfigurationsResponse(
        configurations=[
            ComparedConfiguration(
                alternative=alternative(number=number),
                cells=[Cell(metric=FIGURES[0], value=number + 1)],
            )
            for number in range(count)
        ],
        comparisons=[
            MetricComparison(
                metric=FIGURES[0],
                best_config_ids=ids[:1],
                differences=[
                    Difference(config_id=one, other_config_id=other, difference=place - start)
                    for start, one in enumerate(ids)
                    for place, other in enumerate(ids)
                    if start < place
                ],
            )
        ],
    )


def test_each_is_compared_with_the_first_or_each_two(run: Run) -> None:
    ids = [config_id(number) for number in range(16)]
    with answering_server(CompareConfigurations=many(16)) as server:
        done = run("compare", *ids, "--target", server.target)
        pairs = run("compare", *ids, "--all-pairs", "--target", server.target)
    assert done.out.count(" against ") == done.out.count(" against A") == 15
    assert pairs.out.count(" against ") == 120
    assert "P against O" in pairs.out
    assert max(map(len, done.out.splitlines())) <= 100
    assert "…" not in done.out


def test_configurations_without_a_common_metric_say_so(run: Run) -> None:
    answer = many(2)
    answer.comparisons[0].ClearField("differences")
    with answering_server(CompareConfigurations=answer) as server:
        done = run("compare", config_id(0), config_id(1), "--target", server.target)
    assert done.out.endswith("They have no metric in common.\n")


def test_an_empty_comparison_is_shown_without_a_traceback(run: Run) -> None:
    with answering_server(CompareConfigurations=CompareConfigurationsResponse()) as server:
        done = run("compare", config_id(0), config_id(1), "--target", server.target)
    assert (done.code, done.err) == (0, "")


def test_two_to_sixteen_different_configurations_are_compared(run: Run) -> None:
    for ids in (["a"], ["a", "a"], [str(number) for number in range(17)]):
        done = run("compare", *ids)
        assert (done.code, "different configurations" in done.err) == (1, True)


def test_json_is_the_whole_comparison(run: Run) -> None:
    with answering_server(CompareConfigurations=compared()) as server:
        done = run("compare", "a", "b", "--json", "--target", server.target)
    answer = json.loads(done.out)
    assert answer["comparisons"][0]["differences"][0]["above_noise"] is True
    assert Notice.Kind.Name(Notice.KIND_WORKLOADS_DIFFER) == answer["notices"][0]["kind"]
