"""What a key sends that does not publish is its organization's, whichever door is asked."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from servemark.client.channel import Client, connect
from servemark.client.errors import ServemarkCallError
from servemark.client.load import load_records
from servemark.gateway.v1 import api_key_pb2
from servemark.gateway.v1.organization_pb2 import CreateOrganizationRequest
from servemark.gateway.v1.setting_pb2 import RESULT_VISIBILITY_PRIVATE
from servemark.ingest.v1.result_query_pb2 import (
    GetBenchmarkResultRequest,
    ListBenchmarkResultsRequest,
)
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from tests.support.runs import make_catalog, record
from tests.support.stack import RunningStack

READ, INGEST = api_key_pb2.SCOPE_READ, api_key_pb2.SCOPE_INGEST
OPEN = record(0, hardware="test/l4-1", ttft_p50_ms=200.0)
SECRET_HARDWARE = "test/h200-1"
SECRET = record(1, hardware=SECRET_HARDWARE, ttft_p50_ms=1.0)
KEPT = record(2, hardware=SECRET_HARDWARE, ttft_p50_ms=2.0)


@dataclass(frozen=True)
class Seen:
    """What a caller is told of results and rankings."""

    results: frozenset[str]
    gets_the_secret: bool
    recommended: frozenset[str]


EVERYTHING = Seen(
    frozenset({OPEN.id(), SECRET.id()}), True, frozenset({"test/l4-1", SECRET_HARDWARE})
)
WITHOUT_THE_SECRET = Seen(frozenset({OPEN.id()}), False, frozenset({"test/l4-1"}))


def over_grpc(stack: RunningStack, key: str) -> Seen:
    with connect(stack.target, key=key) as client:
        listed = client.ingest.ListBenchmarkResults(ListBenchmarkResultsRequest())
        answer = client.ranking.Recommend(
            RecommendRequest(use_case="chatbot", no_default_limits=True)
        )
        try:
            client.ingest.GetBenchmarkResult(GetBenchmarkResultRequest(id=SECRET.id()))
            gets = True
        except ServemarkCallError as error:
            gets = error.reason != "RESOURCE_NOT_FOUND"
    return Seen(
        frozenset(result.id for result in listed.benchmark_results),
        gets,
        frozenset(item.alternative.hardware for item in answer.recommendations),
    )


def over_http(stack: RunningStack, key: str | None) -> Seen:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=stack.settings.http_url, headers=headers, timeout=20) as client:
        ingest, ranking = "/servemark.ingest.v1.IngestService", "/servemark.ranking.v1"
        listed = client.post(f"{ingest}/ListBenchmarkResults", json={})
        got = client.post(f"{ingest}/GetBenchmarkResult", json={"id": SECRET.id()})
        asked = {"use_case": "chatbot", "no_default_limits": True}
        answer = client.post(f"{ranking}.RankingService/Recommend", json=asked)
    assert (listed.status_code, answer.status_code) == (200, 200)
    assert got.status_code in (200, 404)
    return Seen(
        frozenset(result["id"] for result in listed.json()["benchmarkResults"]),
        got.status_code == 200,
        frozenset(item["alternative"]["hardware"] for item in answer.json()["recommendations"]),
    )


def new_key(
    client: Client, organization: str, *scopes: "api_key_pb2.Scope.ValueType", **more: Any
) -> str:
    request = api_key_pb2.CreateApiKeyRequest(
        name="a test", scopes=scopes, organization_id=organization, **more
    )
    made = client.admin.CreateApiKey(request)
    return str(made.secret)


@pytest.fixture(scope="module")
def organizations(stack: RunningStack) -> tuple[str, str]:
    """Two organizations, the first of which sent a result with a key that does not publish."""
    with stack.client() as client:
        make_catalog(client)
        acme, borg = (
            client.admin.CreateOrganization(CreateOrganizationRequest(name=name)).organization.id
            for name in ("acme", "borg")
        )
        assert load_records(client, [OPEN]).stored == 1
        with connect(stack.target, key=new_key(client, acme, INGEST)) as sender:
            assert load_records(sender, [SECRET]).stored == 1
        client.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
    return acme, borg


def test_its_organizations_keys_see_it(stack: RunningStack, organizations: tuple[str, str]) -> None:
    with stack.client() as client:
        reader = new_key(client, organizations[0], READ)
    assert over_grpc(stack, reader) == EVERYTHING
    assert over_http(stack, reader) == EVERYTHING


def test_another_organization_does_not(stack: RunningStack, organizations: tuple[str, str]) -> None:
    with stack.client() as client:
        reader = new_key(client, organizations[1], READ)
    assert over_grpc(stack, reader) == WITHOUT_THE_SECRET
    assert over_http(stack, reader) == WITHOUT_THE_SECRET


def test_nor_does_who_runs_the_platform(
    stack: RunningStack, organizations: tuple[str, str]
) -> None:
    assert over_grpc(stack, stack.key) == WITHOUT_THE_SECRET
    assert over_http(stack, stack.key) == WITHOUT_THE_SECRET


def test_nor_does_who_reads_without_a_key(
    stack: RunningStack, organizations: tuple[str, str]
) -> None:
    assert over_http(stack, None) == WITHOUT_THE_SECRET


def test_who_reads_without_a_key_is_nobody_of_the_default_organization(
    stack: RunningStack, organizations: tuple[str, str]
) -> None:
    with stack.client() as client:
        keeping = new_key(client, "", INGEST, result_visibility=RESULT_VISIBILITY_PRIVATE)
        with connect(stack.target, key=keeping) as sender:
            assert load_records(sender, [KEPT]).stored == 1
        client.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=30)
    assert KEPT.id() in over_grpc(stack, stack.key).results
    assert over_http(stack, None) == WITHOUT_THE_SECRET
