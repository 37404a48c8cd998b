import json
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from servemark.catalog.v1 import (
    hardware_config_pb2,
    inference_framework_pb2,
    model_pb2,
    model_version_pb2,
)
from servemark.gateway.v1 import api_key_pb2
from servemark.ingest.v1 import benchmark_config_pb2, benchmark_result_pb2
from servemark.ingest.v1 import result_query_pb2 as query
from servemark.ranking.v1.candidate_pb2 import Cell
from servemark.ranking.v1.dominance_pb2 import Dominance, DominanceMargin
from servemark.ranking.v1.pareto_pb2 import (
    GetParetoFrontRequest,
    GetParetoFrontResponse,
    ParetoPoint,
)
from servemark.type.v1 import metric_pb2 as metrics
from servemark.type.v1.provenance_pb2 import PROVENANCE_MEASURED
from tests.support.answering_server import answering_server
from tests.support.command import Run
from tests.unit.cli.answers import alternative, config_id


def test_the_pareto_front_is_shown_with_its_metrics(run: Run) -> None:
    answer = GetParetoFrontResponse(
        points=[
            ParetoPoint(
                alternative=alternative(),
                cells=[
                    Cell(metric=metrics.METRIC_USD_PER_HOUR, value=55.04),
                    Cell(metric=metrics.METRIC_TTFT_P99_MS, value=812.3),
                ],
                pareto_rank=1,
            )
        ],
        front_count=1,
        dominated_count=4,
    )
    with answering_server(GetParetoFront=answer) as server:
        options = ["--x", "cost", "--y", "ttft-p99", "--use-case", "chatbot", "--all"]
        done = run("pareto", *options, "--target", server.target)
        asked: GetParetoFrontRequest = server.request("GetParetoFront", GetParetoFrontRequest)
    assert done.code == 0
    assert list(asked.metrics) == [metrics.METRIC_USD_PER_HOUR, metrics.METRIC_TTFT_P99_MS]
    assert asked.include_dominated
    assert "1 on the front, 4 behind it." in done.out
    assert "812" in done.out


def points() -> list[ParetoPoint]:
    """Two on the front, one behind it."""
    return [
        ParetoPoint(
            alternative=alternative(number=number),
            cells=[
                Cell(metric=metrics.METRIC_USD_PER_HOUR, value=usd),
                Cell(metric=metrics.METRIC_THROUGHPUT_TOKENS_SEC, value=tokens),
            ],
            pareto_rank=rank,
            dominance=Dominance(
                config_id=config_id(2),
                margins=[
                    DominanceMargin(
                        metric=metrics.METRIC_USD_PER_HOUR, margin=10, relative_margin=0.2
                    )
                ],
            )
            if rank > 1
            else None,
        )
        for number, usd, tokens, rank in ((1, 1, 100, 1), (2, 40, 5000, 1), (3, 50, 5000, 2))
    ]


def front_text(run: Run, *options: str) -> tuple[str, GetParetoFrontRequest]:
    answer = GetParetoFrontResponse(points=points(), front_count=2, dominated_count=1)
    with answering_server(GetParetoFront=answer) as server:
        axes = ("--x", "cost", "--y", "throughput")
        done = run("pareto", *axes, *options, "--target", server.target)
        assert (done.code, done.err) == (0, "")
        return done.out, server.request("GetParetoFront", GetParetoFrontRequest)


def test_the_front_is_drawn_with_letters_and_what_is_behind_it_with_dots(run: Run) -> None:
    text, asked = front_text(run)
    assert asked.include_dominated
    picture, _, table = text.partition("letters: the front; .: behind it")
    rows = [line.partition("|")[2] for line in picture.splitlines() if "|" in line]
    assert rows[0].rstrip().endswith(".")
    assert rows[0].strip().startswith("B")
    assert rows[-1].strip() == "A"
    assert "tokens/s ^ (more is better)\n" in picture
    assert "USD/h > (less is better)\n" in picture
    assert max(map(len, picture.splitlines())) <= 80
    assert picture.isascii()
    assert config_id(2) in table
    assert config_id(3) not in table


def test_all_says_what_dominates_those_behind_the_front(run: Run) -> None:
    text, _ = front_text(run, "--all")
    assert config_id(3) in text
    assert "B is as good or better in every criterion (USD/h by 20%)." in " ".join(text.split())


def test_without_the_picture_only_the_front_is_asked_for(run: Run) -> None:
    text, asked = front_text(run, "--no-plot")
    assert not asked.include_dominated
    assert "|" not in text


def test_an_empty_front_has_no_picture(run: Run) -> None:
    with answering_server(GetParetoFront=GetParetoFrontResponse()) as server:
        done = run("pareto", "--x", "cost", "--y", "throughput", "--target", server.target)
    assert (done.code, done.out) == (0, "0 on the front, 0 behind it.\n")


def test_a_front_needs_two_different_metrics(run: Run) -> None:
    assert run("pareto", "--x", "cost").code == 2
    done = run("pareto", "--x", "cost", "--y", "price")
    assert (done.code, "different metrics" in done.err) == (1, True)


def catalog(**more: Any) -> dict[str, Any]:
    """A catalog with two models of similar names, one piece of hardware and one framework."""
    hardware = hardware_config_pb2.HardwareConfig(
        id="h1", name="aws/p5.48xlarge", gpu_type="H100-80GB", gpu_count=8
    )
    framework = inference_framework_pb2.InferenceFramework(id="f1", name="vllm", version="0.11.0")
    version = model_version_pb2.ModelVersion(id="v1", model_name="org/big", quantization="fp8")
    return {
        "ListModels": model_pb2.ListModelsResponse(
            models=[
                model_pb2.Model(id="m1", name="org/big"),
                model_pb2.Model(id="m2", name="org/bigger"),
            ]
        ),
        "ListHardwareConfigs": hardware_config_pb2.ListHardwareConfigsResponse(
            hardware_configs=[hardware]
        ),
        "ListInferenceFrameworks": inference_framework_pb2.ListInferenceFrameworksResponse(
            inference_frameworks=[framework]
        ),
        "BatchGetModelVersions": model_version_pb2.BatchGetModelVersionsResponse(
            model_versions=[version]
        ),
        "BatchGetHardwareConfigs": hardware_config_pb2.BatchGetHardwareConfigsResponse(
            hardware_configs=[hardware]
        ),
        "BatchGetInferenceFrameworks": inference_framework_pb2.BatchGetInferenceFrameworksResponse(
            inference_frameworks=[framework]
        ),
        **more,
    }


def stored(identifier: str) -> benchmark_result_pb2.BenchmarkResult:
    return benchmark_result_pb2.BenchmarkResult(
        id=identifier,
        config=benchmark_config_pb2.BenchmarkConfig(
            model_version_id="v1",
            hardware_config_id="h1",
            framework_id="gone",
            workload=benchmark_config_pb2.Workload(workload_type="random", concurrency=32),
            provenance=PROVENANCE_MEASURED,
        ),
        benchmark_time=Timestamp(seconds=1_757_815_743),
        metrics=benchmark_result_pb2.ResultMetrics(ttft_p90_ms=123.4),
        tool="guidellm",
    )


def listed(count: int, token: str = "") -> query.ListBenchmarkResultsResponse:
    results = [stored(f"r{number}") for number in range(count)]
    return query.ListBenchmarkResultsResponse(benchmark_results=results, next_page_token=token)


def test_results_are_found_by_names_and_shown_with_names(run: Run) -> None:
    with answering_server(**catalog(ListBenchmarkResults=listed(1))) as server:
        options = "--model BIG --gpu h100 --framework vllm --workload Random --since 2025-09-01"
        done = run("results", *options.split(), "--target", server.target)
        asked: query.ListBenchmarkResultsRequest = server.request(
            "ListBenchmarkResults", query.ListBenchmarkResultsRequest
        )
    assert done.code == 0
    assert list(asked.filter.model_ids) == ["m1", "m2"]
    assert list(asked.filter.hardware_config_ids) == ["h1"]
    assert list(asked.filter.framework_ids) == ["f1"]
    assert list(asked.filter.workload_types) == ["random"]
    assert asked.filter.benchmark_time.start_time.ToJsonString() == "2025-09-01T00:00:00Z"
    assert "org/big fp8" in done.out
    assert "8 x H100-80GB, gone" in done.out
    assert "2025-09-14" in done.out
    assert "123" in done.out


def test_a_models_whole_name_means_that_model_alone(run: Run) -> None:
    with answering_server(**catalog(ListBenchmarkResults=listed(0))) as server:
        done = run("results", "--model", "Org/Big", "--target", server.target)
        asked = server.request("ListBenchmarkResults", query.ListBenchmarkResultsRequest)
    assert list(asked.filter.model_ids) == ["m1"]
    assert done.out == "No result fits.\n"


def test_a_name_the_catalog_does_not_have_is_said(run: Run) -> None:
    with answering_server(**catalog()) as server:
        done = run("results", "--model", "tiny", "--target", server.target)
    assert done.code == 1
    assert done.err == "servemark: The catalog has no model named 'tiny'.\n"


def test_more_results_than_a_page_are_read_page_by_page(run: Run) -> None:
    pages = [listed(1000, "next"), listed(200, "more")]
    with answering_server(**catalog(ListBenchmarkResults=pages)) as server:
        done = run("results", "--top", 1200, "--json", "--target", server.target)
    shown = json.loads(done.out)
    assert len(shown["benchmark_results"]) == 1200
    assert shown["next_page_token"] == "more"


def test_a_created_keys_secret_goes_to_stdout_alone(run: Run) -> None:
    answer = api_key_pb2.CreateApiKeyResponse(
        api_key=api_key_pb2.ApiKey(id="k1", name="ci", scopes=[api_key_pb2.SCOPE_INGEST]),
        secret="sm_k1_secret",
    )
    with answering_server(CreateApiKey=answer) as server:
        options = ["--scope", "ingest", "--scope", "READ", "--expires", "2099-01-31"]
        done = run("key", "create", "ci", *options, "--target", server.target)
        asked: api_key_pb2.CreateApiKeyRequest = server.request(
            "CreateApiKey", api_key_pb2.CreateApiKeyRequest
        )
    assert (done.code, done.out) == (0, "sm_k1_secret\n")
    assert "k1" in done.err
    assert list(asked.scopes) == [api_key_pb2.SCOPE_INGEST, api_key_pb2.SCOPE_READ]
    assert asked.expire_time.ToJsonString() == "2099-01-31T00:00:00Z"


def test_keys_are_listed_and_revoked(run: Run) -> None:
    key = api_key_pb2.ApiKey(
        id="k1",
        name="ci",
        scopes=[api_key_pb2.SCOPE_READ, api_key_pb2.SCOPE_INGEST],
        create_time=Timestamp(seconds=60),
    )
    revoked = api_key_pb2.ApiKey(id="k2", name="old", revoke_time=Timestamp(seconds=60))
    with answering_server(
        ListApiKeys=api_key_pb2.ListApiKeysResponse(api_keys=[key, revoked]),
        RevokeApiKey=api_key_pb2.RevokeApiKeyResponse(api_key=key),
    ) as server:
        shown = run("key", "list", "--all", "--target", server.target)
        done = run("key", "revoke", "k1", "--target", server.target)
    assert "read, ingest" in shown.out
    assert "revoked" in shown.out
    assert (done.code, done.out) == (0, "Revoked k1 (ci).\n")


def test_a_key_that_would_mean_nothing_is_refused(run: Run) -> None:
    for option in (["--scope", "root"], ["--expires", "soon"]):
        done = run("key", "create", "ci", *option)
        assert done.code == 1
        assert done.err.startswith("servemark: ")
