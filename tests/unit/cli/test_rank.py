import json
import math
from pathlib import Path

import pytest

from servemark.cli.matrix_file import read_matrix
from servemark.cli.output import CliError
from servemark.ranking.v1 import candidate_pb2 as candidate
from servemark.ranking.v1.rank_matrix_pb2 import (
    ExcludedRow,
    MatrixRank,
    RankMatrixRequest,
    RankMatrixResponse,
)
from servemark.ranking.v1.ranking_pb2 import (
    GetRankingsRequest,
    GetRankingsResponse,
    RankingGeneration,
)
from servemark.ranking.v1.recommend_pb2 import NORMALIZATION_MIN_MAX
from servemark.type.v1.metric_pb2 import OBJECTIVE_MAXIMIZE, OBJECTIVE_MINIMIZE
from tests.support.answering_server import answering_server
from tests.support.command import Run
from tests.unit.cli.answers import recommended

CSV = """\
id, latency, throughput
objective, min, max
weight, 2, 1

a, 120, 900
b, 95,
"""


def write(tmp_path: Path, text: str, name: str = "matrix.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_csv_names_criteria_objectives_weights_and_alternatives(tmp_path: Path) -> None:
    request = read_matrix(write(tmp_path, CSV))
    assert [(item.name, item.objective, item.weight) for item in request.criteria] == [
        ("latency", OBJECTIVE_MINIMIZE, 2),
        ("throughput", OBJECTIVE_MAXIMIZE, 1),
    ]
    first, second = request.alternatives
    assert (first.id, list(first.values)) == ("a", [120, 900])
    assert second.values[0] == 95
    assert math.isnan(second.values[1])


def test_a_json_matrix_is_the_same_request(tmp_path: Path) -> None:
    document = {
        "criteria": [
            {"name": "latency", "objective": "min", "weight": 2},
            {"name": "throughput", "objective": "OBJECTIVE_MAXIMIZE"},
        ],
        "alternatives": [{"id": "a", "values": [120, 900]}, {"id": "b", "values": [95, "NaN"]}],
    }
    from_json = read_matrix(write(tmp_path, json.dumps(document), "matrix.json"))
    from_csv = read_matrix(write(tmp_path, CSV))
    assert str(from_json) == str(from_csv)


def test_options_win_over_the_file_and_metrics_know_their_objective(tmp_path: Path) -> None:
    path = write(tmp_path, "id,ttft_p90_ms,throughput,beauty\na,1,2,3\n")
    request = read_matrix(path, {"beauty": "max"}, {"beauty": 5.0})
    assert [item.objective for item in request.criteria] == [
        OBJECTIVE_MINIMIZE,
        OBJECTIVE_MAXIMIZE,
        OBJECTIVE_MAXIMIZE,
    ]
    assert [item.weight for item in request.criteria] == [1, 1, 5]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "first row"),
        ("id\na\n", "first row"),
        ("id,ttft_p90\na,1,2\n", "row 2 has 3 cells, not 2"),
        ("id,ttft_p90\na,fast\n", "row 2: could not convert"),
        ("id,ttft_p90\nobjective,small\n", "neither min nor max"),
        ("id,beauty\na,1\n", "--objective beauty=min"),
        ('{"criteria": 3}', "not a matrix in JSON"),
        ('{"criterias": []}', "not a matrix in JSON"),
        ("{", "not a matrix in JSON"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_where_it_is(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(CliError, match=complaint):
        read_matrix(write(tmp_path, text))


def test_a_criterion_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"no criterion 'speed'; there are latency, throughput"):
        read_matrix(write(tmp_path, CSV), weights={"speed": 1.0})


def test_a_matrix_is_ranked_and_shown_with_what_was_left_out(run: Run, tmp_path: Path) -> None:
    answer = RankMatrixResponse(
        ranks=[MatrixRank(id="a [x]", score=0.75, rank=1, pareto_rank=1)],
        excluded=[
            ExcludedRow(
                id="b",
                reason=candidate.EXCLUSION_REASON_VALUE_NOT_FINITE,
                criteria=["throughput"],
            )
        ],
    )
    path = write(tmp_path, CSV.replace("a,", "a [x],"))
    with answering_server(RankMatrix=answer) as server:
        done = run("rank", path, "--normalization", "min-max", "--target", server.target)
        asked: RankMatrixRequest = server.request("RankMatrix", RankMatrixRequest)
    assert done.code == 0
    assert asked.normalization == NORMALIZATION_MIN_MAX
    assert "0.750       1   a [x]" in done.out
    assert "left out: b (value not finite: throughput)" in done.out


def test_a_use_cases_stored_ranking_is_shown(run: Run) -> None:
    answer = GetRankingsResponse(
        generation=RankingGeneration(use_case="chatbot", ranked_count=9),
        recommendations=recommended().recommendations,
    )
    with answering_server(GetRankings=answer) as server:
        done = run("rank", "--use-case", "chatbot", "--top", 2, "--target", server.target)
        asked: GetRankingsRequest = server.request("GetRankings", GetRankingsRequest)
    assert (asked.use_case, asked.page_size) == ("chatbot", 2)
    assert "Ranking for chatbot" in done.out
    assert "2 of 9; --top shows more." in done.out


def test_a_file_or_a_use_case_is_needed_and_not_both(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, CSV)
    assert run("rank", "--top", "3").code == 2
    assert run("rank", path, "--use-case", "chatbot").code == 2
    assert run("rank", path, "--normalization", "softmax").code == 2
