"""Whose a key is, and what holds in an organization, as people type it."""

from servemark.gateway.v1.api_key_pb2 import CreateApiKeyRequest, CreateApiKeyResponse
from servemark.gateway.v1.setting_pb2 import (
    RESULT_VISIBILITY_PRIVATE,
    GetSettingsResponse,
    Settings,
    UpdateSettingsRequest,
    UpdateSettingsResponse,
)
from servemark.gateway.v1.user_pb2 import ListUsersResponse, User
from tests.support.answering_server import answering_server
from tests.support.command import Run


def test_a_key_is_made_for_a_user_by_email_or_id(run: Run) -> None:
    users = ListUsersResponse(users=[User(id="u1", email="a@b.c"), User(id="u2", email="d@b.c")])
    with answering_server(CreateApiKey=CreateApiKeyResponse(), ListUsers=users) as server:
        for named, meant in (("D@b.c", "u2"), ("u7", "u7")):
            done = run("key", "create", "lab", "--user", named, "--target", server.target)
            assert done.code == 0, done.err
            assert server.request("CreateApiKey", CreateApiKeyRequest).user_id == meant
        done = run("key", "create", "lab", "--user", "no@b.c", "--target", server.target)
    assert done.code == 1
    assert "No active user here has the email no@b.c" in done.err


def test_settings_of_an_organization_are_shown_and_changed(run: Run) -> None:
    private = Settings(result_visibility=RESULT_VISIBILITY_PRIVATE)
    with answering_server(
        GetSettings=GetSettingsResponse(settings=Settings(result_visibility=1)),  # type: ignore[arg-type]
        UpdateSettings=UpdateSettingsResponse(settings=private),
    ) as server:
        assert "Results are public" in run("org", "settings", "--target", server.target).out
        asked = ("org", "settings", "--results", "private", "--target", server.target)
        assert "Results are private" in run(*asked).out
        request = server.request("UpdateSettings", UpdateSettingsRequest)
        assert request.settings == private
        done = run("org", "settings", "--results", "secret", "--target", server.target)
    assert (done.code, "public or private" in done.err) == (1, True)
