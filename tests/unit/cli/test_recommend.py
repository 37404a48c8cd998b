import json

from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from servemark.type.v1 import metric_pb2 as metrics
from servemark.type.v1.provenance_pb2 import PROVENANCE_SIMULATED
from tests.support.answering_server import answering_server
from tests.support.command import Run
from tests.unit.cli.answers import recommended

EVERYTHING = """
    --use-case chatbot --ttft-p90 300 --tpot-p99 50 --limit throughput=100 --budget 20
    --weight ttft_p90=2 --weight cost=1 --model a --model b --gpu H100 --quantization fp8
    --framework vllm --provider aws --workload random --max-gpus 4 --provenance simulated
    --accept-uncertain --no-default-limits --top 3
"""
SHOWN = """\
Recommended for chatbot

                                                                     TTFT
 #   score   configuration                                         p90 ms   tokens/s   USD/h
 ───────────────────────────────────────────────────────────────────────────────────────────
 1   0.812   meta-llama/Llama-3.1-70B-Instruct fp8                    120      3,457   55.04
             2 x H100-80GB (aws/p5.48xlarge)
             vllm 0.11.0 · 1024/256 tokens, 32 in flight, 3 runs
 2   0.500   meta-llama/Llama-3.1-70B-Instruct fp8                    250      4,000       –
             4 x H100-80GB (aws/p5.48xlarge)
             vllm 0.11.0 · 1024/256 tokens, 32 in flight, 3 runs


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


def test_without_a_budget_none_is_sent(run: Run) -> None:
    with answering_server(Recommend=RecommendResponse()) as server:
        run("recommend", "--use-case", "chatbot", "--target", server.target)
        assert not server.request("Recommend", RecommendRequest).HasField("max_usd_per_hour")


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
    for option in (["--limit", "speed=3"], ["--weight", "cost"], ["--provenance", "guessed"]):
        done = run("recommend", "--use-case", "chatbot", *option)
        assert done.code == 1
        assert done.err.startswith("servemark: ")
    assert run("recommend", "--use-case", "chatbot", "--budget", "much").code == 2
