import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from servemark.cli.metrics import is_maximized
from servemark.cli.relaxing import kept_figure, relaxed_text
from servemark.ranking.v1.candidate_pb2 import CELL_METHOD_INTERPOLATED, PriceUsed
from servemark.ranking.v1.estimates_pb2 import OperatingPoint
from servemark.ranking.v1.infeasible_pb2 import RelaxedLimit
from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from servemark.type.v1 import metric_pb2 as metrics
from servemark.type.v1.metric_pb2 import Metric, MetricLimit
from servemark.type.v1.provenance_pb2 import PROVENANCE_SIMULATED
from tests.support.answering_server import answering_server
from tests.support.command import Run
from tests.unit.cli.answers import config_id, explained, infeasible, recommended

EVERYTHING = """
    --use-case chatbot --ttft-p90 300 --tpot-p99 50 --limit throughput=100 --budget 20
    --weight ttft_p90=2 --weight cost=1 --model a --model b --gpu H100 --quantization fp8
    --framework vllm --provider aws --workload random --max-gpus 4 --provenance simulated
    --accept-uncertain --no-default-limits --top 3 --rate 50 --headroom 0.2
    --estimate-at concurrency=48 --estimate-at request-rate=1.5 --price aws/p5.48xlarge=40
"""
SHOWN = """\
Recommended for chatbot

                                                                     TTFT
 #   score   configuration                                         p90 ms   tokens/s   USD/h
 ───────────────────────────────────────────────────────────────────────────────────────────
 1   0.812   meta-llama/Llama-3.1-70B-Instruct fp8                    120      3,457   55.04
             2 x H100-80GB (aws/p5.48xlarge)
             vllm 0.11.0 · 1024/256 tokens, 32 in flight, 3 runs
             0199a3c5-0000-7000-8000-000000000001
 2   0.500   meta-llama/Llama-3.1-70B-Instruct fp8                    250      4,000       –
             4 x H100-80GB (aws/p5.48xlarge)
             vllm 0.11.0 · 1024/256 tokens, 32 in flight, 3 runs
             0199a3c5-0000-7000-8000-000000000002


Why the first
  - TTFT p90 is 120 ms, the best of 2.
  - It costs USD 55.04 an hour [on demand].
  - Counted with $55.04 an hour, on demand in us-east-1, valid from 2025-11-09: a price list [2].

Weights   TTFT p90 60%, tokens/s 40%

Limits    TTFT p90 ≤ 300 ms

Left out  38 of 40 candidates
     35  miss the limit on TTFT p90
      3  cost more than the budget

Note
  - Scores compare only the alternatives of this answer with each other.
"""
EXPLAINED = """\
Why the first
  - TTFT p90 is 120 ms, the best of 2.
  - It costs USD 55.04 an hour [on demand].
  - Its score of 0.81 starts at 0.50, midway: TTFT p90 adds 0.35 and tokens/s takes 0.04.
  - Counted with $55.04 an hour, on demand in us-east-1, valid from 2025-11-09: a price list [2].

What would change it
  - If tokens/s counted less than 39.8% (now 40%), configuration
    0199a3c5-0000-7000-8000-000000000009 would be first.
  - If tokens/s counted more than 59% (now 40%), #2 would be first.
  - If TTFT p90 counted less than 41% (now 60%), #2 would be first.
  - With weights drawn around these it comes first 83% of the time.
  - Given how far runs differ, it is the best with a probability of 71%; its score cannot be told
    from that of #2.

Behind the front
  - #2 is dominated: #1 is as good or better in every criterion (TTFT p90 by 52%).

Instances for the target rate

                    by the                    USD/M
 #   instances   worst run   used    USD/h   tokens
 ──────────────────────────────────────────────────
 1           4           5    61%   220.16     5.68
 2           –           –      –        –        –

  - The rate of #1 was taken from the throughput and the output length.
  - #2: No request rate is known.
"""
RELAXED = """\
Nothing can be recommended for chatbot.

What to give up
  - Without TTFT p90 ≤ 300 ms and USD/h ≤ 20, 1 candidate is left.
  - Without TTFT p90 ≤ 300 ms, tokens/s ≥ 5,000 and USD/h ≤ 20, 12 candidates are left.

Or relax, for the nearest
  - TTFT p90 ≤ 413 ms instead of 300 (37% more), tokens/s ≥ 4,000 instead of 5,000 (20% less) and
    USD/h ≤ 20.04 instead of 20 (less than 1% more): meta-llama/Llama-3.1-70B-Instruct fp8 on 4 x
    H100-80GB, vllm 0.11.0.

Who keeps each limit
  - TTFT p90 ≤ 300 ms: 5 of 1,040 candidates.
"""


def stripped(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_a_recommendation_is_a_table_with_its_reasons(run: Run) -> None:
    with answering_server(Recommend=recommended()) as server:
        done = run("recommend", "--use-case", "chatbot", "--target", server.target)
    assert (done.code, done.err) == (0, "")
    assert stripped(done.out) == SHOWN


def test_every_option_reaches_the_request(run: Run) -> None:
    with answering_server(Recommend=RecommendResponse()) as server:
        done = run("recommend", *EVERYTHING.split(), "--target", server.target)
        assert done.code == 0
        asked: RecommendRequest = server.request("Recommend", RecommendRequest)
    assert asked.use_case == "chatbot"
    assert {item.metric: item.limit for item in asked.limits} == {
        metrics.METRIC_THROUGHPUT_TOKENS_SEC: 100,
        metrics.METRIC_TTFT_P90_MS: 300,
        metrics.METRIC_TPOT_P99_MS: 50,
    }
    assert {item.metric: item.weight for item in asked.weights} == {
        metrics.METRIC_TTFT_P90_MS: 2,
        metrics.METRIC_USD_PER_HOUR: 1,
    }
    assert asked.max_usd_per_hour == 20
    assert asked.max_results == 3
    assert asked.accept_uncertain
    assert asked.no_default_limits
    chosen = asked.filter
    assert list(chosen.models) == ["a", "b"]
    assert (chosen.gpu_types[0], chosen.quantizations[0]) == ("H100", "fp8")
    assert (chosen.frameworks[0], chosen.cloud_providers[0]) == ("vllm", "aws")
    assert (chosen.workload_types[0], chosen.max_gpu_count) == ("random", 4)
    assert list(chosen.provenances) == [PROVENANCE_SIMULATED]
    assert (asked.target_requests_per_second, asked.headroom) == (50, 0.2)
    assert asked.include_estimates
    assert asked.operating_point == OperatingPoint(concurrency=48, request_rate=1.5)
    (price,) = asked.price_basis.overrides
    assert (price.hardware, price.usd_per_hour) == ("aws/p5.48xlarge", 40)
    assert (asked.answers.acceptability, asked.answers.confidence) == (True, True)


def test_what_is_not_said_is_not_sent(run: Run) -> None:
    with answering_server(Recommend=RecommendResponse()) as server:
        run("recommend", "--use-case", "chatbot", "--target", server.target)
        asked = server.request("Recommend", RecommendRequest)
    sent = {field.name for field, _ in asked.ListFields()}
    assert sent == {"use_case", "filter", "max_results", "answers"}
    assert asked.max_results == 4


def shown(run: Run, answer: RecommendResponse) -> str:
    with answering_server(Recommend=answer) as server:
        done = run("recommend", "--use-case", "chatbot", "--target", server.target)
    assert (done.code, done.err) == (0, "")
    return stripped(done.out)


def test_what_explains_the_first_place_is_said_in_sentences(run: Run) -> None:
    text = shown(run, explained())
    assert EXPLAINED in text
    # No more digits than the interval of the score allows; the other's error is not known.
    assert "\n 1   0.81    meta" in text
    assert "\n 2   0.500   meta" in text


def test_a_first_place_that_no_weight_changes_says_so(run: Run) -> None:
    answer = explained()
    for item in answer.stability:
        item.ClearField("winner_below_config_id")
        item.ClearField("winner_above_config_id")
    answer.recommendations[0].confidence.ClearField("tied_config_ids")
    text = shown(run, answer)
    assert "  - No weight alone would: it stays first whatever each of them counts.\n" in text
    assert "probability of 71%; no other one shown is tied with it." in " ".join(text.split())


def test_those_that_share_a_place_are_told_apart_by_their_ids(run: Run) -> None:
    answer = explained()
    answer.recommendations[1].rank = 1
    text = " ".join(shown(run, answer).split())
    assert f"(now 60%), configuration {config_id(2)} would be first." in text


def test_what_to_relax_is_said_so_that_it_would_be_enough(run: Run) -> None:
    text = shown(run, infeasible())
    assert RELAXED in text


def test_a_relaxed_limit_from_a_budget_of_nothing_has_no_share() -> None:
    limit = MetricLimit(metric=metrics.METRIC_USD_PER_HOUR, limit=0)
    item = RelaxedLimit(limit=limit, actual=1.5, relax_pct=float("inf"))
    assert relaxed_text(item) == "USD/h ≤ 1.50 instead of 0"


@given(st.sampled_from(Metric.values()[1:]), st.floats(1e-6, 1e9))
def test_a_relaxed_limit_as_shown_lets_the_candidate_in(metric: Any, actual: float) -> None:
    text = kept_figure(metric, actual).replace(",", "")
    if is_maximized(metric):
        assert float(text) <= actual
    else:
        assert float(text) >= actual


def test_an_estimate_is_marked_and_says_how_far_it_may_be_off(run: Run) -> None:
    answer = recommended()
    item = answer.recommendations[0]
    item.cells[0].method = CELL_METHOD_INTERPOLATED
    item.alternative.estimate.errors.add(
        metric=metrics.METRIC_TTFT_P90_MS, low=101.2, high=143.3, tested_count=2
    )
    text = " ".join(shown(run, answer).split())
    assert "~120" in text
    assert "32 in flight, estimated" in text
    assert "that were: TTFT p90 101 to 143 ms (tested at 2 points)." in text


def test_a_price_of_ones_own_is_named_as_such(run: Run) -> None:
    answer = recommended()
    answer.recommendations[0].alternative.price.CopyFrom(PriceUsed(usd_per_hour=40))
    assert "  - Counted with $40.00 an hour, as you asked.\n" in shown(run, answer)


def test_json_has_the_contracts_field_names_unset_ones_too(run: Run) -> None:
    with answering_server(Recommend=recommended()) as server:
        done = run("recommend", "--use-case", "chatbot", "--json", "--target", server.target)
    shown = json.loads(done.out)
    assert shown["recommendations"][0]["alternative"]["model_version"] == ""
    assert shown["recommendations"][0]["score"] == 0.8123
    assert shown["exclusion_counts"][1]["reason"] == "EXCLUSION_REASON_LIMIT_MISSED"
    assert shown["excluded"] == []


def test_nothing_feasible_says_what_stands_in_the_way(run: Run) -> None:
    answer = recommended()
    del answer.recommendations[:]
    answer.ranked_count = 0
    with answering_server(Recommend=answer) as server:
        done = run("recommend", "--use-case", "chatbot", "--target", server.target)
    assert done.code == 0
    assert done.out.startswith("Nothing can be recommended for chatbot.")
    assert "35  miss the limit on TTFT p90\n" in done.out


def test_what_it_is_for_has_to_be_said(run: Run) -> None:
    done = run("recommend", "--budget", "20")
    assert done.code == 1
    assert "--use-case" in done.err


def test_wrong_options_end_with_words_and_not_a_traceback(run: Run) -> None:
    for option in (
        ["--limit", "speed=3"],
        ["--weight", "cost"],
        ["--provenance", "guessed"],
        ["--headroom", "0.2"],
        ["--price", "cheap"],
        ["--estimate-at", "gpus=2"],
        ["--estimate-at", "concurrency=1.5"],
    ):
        done = run("recommend", "--use-case", "chatbot", *option)
        assert done.code == 1
        assert done.err.startswith("servemark: ")
    assert run("recommend", "--use-case", "chatbot", "--budget", "much").code == 2
