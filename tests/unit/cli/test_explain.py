import json

from servemark.cli.explanation import source_text
from servemark.ranking.v1 import candidate_pb2 as candidate
from servemark.ranking.v1.cell_source_pb2 import CellInterval, CellSource
from servemark.ranking.v1.compare_pb2 import CompareConfigurationsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from servemark.type.v1 import metric_pb2 as metrics
from tests.support.answering_server import AnsweringServer, answering_server
from tests.support.command import Outcome, Run
from tests.unit.cli.answers import alternative, compared, config_id, explained, infeasible


def explain(run: Run, server: AnsweringServer, config: object, *options: str) -> Outcome:
    return run("explain", config, "--use-case", "chatbot", *options, "--target", server.target)


def compared_ids(server: AnsweringServer) -> list[str]:
    asked = server.request("CompareConfigurations", CompareConfigurationsRequest)
    assert asked.explain_cells
    return list(asked.config_ids)


def test_a_place_is_explained_with_sources_and_against_the_first(run: Run) -> None:
    with answering_server(Recommend=explained(), CompareConfigurations=compared()) as server:
        done = explain(run, server, 2, "--price", "aws/p5.48xlarge=9", "--limit", "ttft_p90=300")
        assert compared_ids(server) == [config_id(2), config_id(1)]
        asked = server.request("Recommend", RecommendRequest)
        priced = server.request("CompareConfigurations", CompareConfigurationsRequest)
    assert (done.code, done.err) == (0, "")
    assert (asked.max_results, asked.max_excluded, len(asked.limits)) == (1000, 1000, 1)
    assert asked.price_basis == priced.price_basis != RecommendRequest().price_basis
    text = " ".join(done.out.split())
    assert "#2 of 2 for chatbot, score 0.500" in text
    assert (
        "- It is dominated: #1 is as good or better in every criterion (TTFT p90 by 52%)." in text
    )
    assert (
        "TTFT p90 ms 250 225 to 275 median of 3 runs, 1,500 requests, guidellm, until 2025-09-14, "
        "measured" in text
    )
    assert "Against the first - A is this one, B is meta-llama" in text
    assert "TTFT p90 ms B against A -130 -52% -60% to -44% better" in text


def test_the_first_is_explained_against_the_next(run: Run) -> None:
    with answering_server(Recommend=explained(), CompareConfigurations=compared()) as server:
        done = explain(run, server, config_id(1))
        assert compared_ids(server) == [config_id(1), config_id(2)]
    assert "#1 of 2 for chatbot, score 0.81" in done.out
    assert "TTFT p90 adds 0.35" in done.out


def left_out() -> RecommendResponse:
    answer = infeasible()
    for number in (1, 2):
        answer.excluded.add(
            alternative=alternative(number=number),
            reasons=[candidate.EXCLUSION_REASON_LIMIT_MISSED],
            details=[f"TTFT p90 is {number}00 ms, the limit is 50 ms."],
        )
    return answer


def test_what_was_left_out_says_why_and_still_shows_its_figures(run: Run) -> None:
    with answering_server(Recommend=left_out(), CompareConfigurations=compared()) as server:
        done = explain(run, server, config_id(2))
        assert compared_ids(server) == [config_id(2), config_id(1)]
    assert "Left out for chatbot\n" in done.out
    assert "TTFT p90 is 200 ms, the limit is 50 ms." in done.out
    assert "median of 3 runs" in done.out
    assert "Against" not in done.out


def test_what_the_answer_does_not_list_is_not_called_left_out(run: Run) -> None:
    with answering_server(Recommend=explained(), CompareConfigurations=compared()) as server:
        done = explain(run, server, config_id(7))
    assert "Not listed for chatbot\n" in done.out
    assert "not among the first 2 nor among the 0" in done.out


def test_the_only_candidate_has_nothing_to_be_compared_with(run: Run) -> None:
    answer = explained()
    del answer.recommendations[1:]
    with answering_server(Recommend=answer) as server:
        done = explain(run, server, 1)
        machine = json.loads(explain(run, server, 1, "--json").out)
        nothing = explain(run, answering(server, RecommendResponse()), config_id(1))
    assert (done.code, done.err) == (0, "")
    assert "TTFT p90 ms" in done.out
    assert machine["recommendation"]["rank"] == 1
    assert machine["excluded"] is machine["comparison"] is None
    assert nothing.code == 0
    assert nothing.out.startswith(f"Configuration {config_id(1)}\n")


def answering(server: AnsweringServer, answer: RecommendResponse) -> AnsweringServer:
    server.answers["Recommend"] = answer
    return server


def test_a_place_that_is_none_is_refused(run: Run) -> None:
    with answering_server(Recommend=explained()) as server:
        for place in (0, 3):
            done = explain(run, server, place)
            assert (done.code, "2 were ranked" in done.err) == (1, True)
    assert run("explain", "1").code == 1


def test_a_place_beyond_what_an_answer_lists_is_not_called_missing(run: Run) -> None:
    answer = explained()
    answer.ranked_count = 1200
    with answering_server(Recommend=answer) as server:
        beyond, nowhere = (explain(run, server, place) for place in (3, 1201))
    assert (beyond.code, beyond.out) == (1, "")
    assert "Place 3 of 1,200 is not listed: an answer lists the first 2." in beyond.err
    assert "by its id" in beyond.err
    assert "There is no place 1201: 1,200 were ranked." in nowhere.err


def test_a_source_says_only_what_is_known() -> None:
    assert source_text(candidate.Cell()) == ""
    accuracy = candidate.Cell(
        metric=metrics.METRIC_ACCURACY_SCORE,
        source=CellSource(text="share of samples"),
        interval=CellInterval(low=0.7, high=0.8, level=0.95),
    )
    assert source_text(accuracy) == "share of samples, 0.700 to 0.800 with 95% certainty"
