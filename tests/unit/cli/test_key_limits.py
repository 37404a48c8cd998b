"""Limits of a key as people type them."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from servemark.gateway.v1.api_key_pb2 import (
    ApiKey,
    ApiKeyLimits,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    GetApiKeyResponse,
    ListApiKeysResponse,
    UpdateApiKeyLimitsRequest,
    UpdateApiKeyLimitsResponse,
)
from tests.support.answering_server import answering_server
from tests.support.command import Run

LIMITED = ApiKey(id="k1", limits=ApiKeyLimits(rows_per_second=20_000.5, rows_per_day=50_000_000))
IN_WORDS = "20,000.5 rows per second, 50,000,000 rows per day"


def test_a_key_is_made_with_limits(run: Run) -> None:
    answer = CreateApiKeyResponse(api_key=LIMITED, secret="sm_1_x")
    with answering_server(CreateApiKey=answer) as server:
        options = "--rows-per-second 2e4 --rows-per-day 50_000_000"
        done = run("key", "create", "lab", *options.split(), "--target", server.target)
        assert done.code == 0, done.err
        request = server.request("CreateApiKey", CreateApiKeyRequest)
    assert request.limits == ApiKeyLimits(rows_per_second=20_000, rows_per_day=50_000_000)


def test_the_limits_that_are_named_are_changed_and_no_others(run: Run) -> None:
    with answering_server(
        UpdateApiKeyLimits=UpdateApiKeyLimitsResponse(api_key=LIMITED),
        GetApiKey=GetApiKeyResponse(api_key=ApiKey(id="k1")),
    ) as server:
        options = "--rows-per-second default --concurrent-calls 5"
        done = run("key", "limits", "k1", *options.split(), "--target", server.target)
        assert done.out.strip() == f"Limits of k1: {IN_WORDS}."
        request = server.request("UpdateApiKeyLimits", UpdateApiKeyLimitsRequest)
        assert request == UpdateApiKeyLimitsRequest(
            id="k1",
            limits=ApiKeyLimits(concurrent_calls=5),
            update_mask=FieldMask(paths=["rows_per_second", "concurrent_calls"]),
        )
        done = run("key", "limits", "k1", "--target", server.target)
        assert "those that every key has" in done.out
        assert [name for name, _, _ in server.asked] == ["UpdateApiKeyLimits", "GetApiKey"]


def test_a_list_of_keys_shows_their_limits(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    with answering_server(ListApiKeys=ListApiKeysResponse(api_keys=[LIMITED])) as server:
        assert IN_WORDS in run("key", "list", "--target", server.target).out


@pytest.mark.parametrize("number", ["many", "1.5", "nan", "1e30"])
def test_what_is_no_limit_is_said_before_anything_is_asked(run: Run, number: str) -> None:
    done = run("key", "limits", "k1", "--concurrent-calls", number, "--target", "127.0.0.1:1")
    assert done.code == 1
    assert "--concurrent-calls takes a number" in done.err
