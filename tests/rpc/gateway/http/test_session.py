"""A session's cookie counts only where our own page sent it, and only to read."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from services.gateway.grants import ADMIN, INGEST, READ
from services.gateway.http.session import COOKIE
from tests.rpc.gateway.http.calling import ADMIN as ADMIN_SERVICE
from tests.rpc.gateway.http.calling import INGEST as INGEST_SERVICE
from tests.rpc.gateway.stand import Stand, running

READING = f"{INGEST_SERVICE}/ListBenchmarkResults"


@pytest_asyncio.fixture(scope="module")
async def module_stand(gateway_database: str) -> AsyncIterator[Stand]:
    """A gateway that nobody may read without a key."""
    async with running(gateway_database, http_anonymous_read=False) as stand:
        yield stand


@pytest_asyncio.fixture
async def browser(stand: Stand) -> AsyncIterator[httpx.AsyncClient]:
    """Keeps cookies as a browser does, and says that the server's own page sends the requests."""
    headers = {"origin": stand.http, "sec-fetch-site": "same-origin"}
    async with httpx.AsyncClient(base_url=stand.http, headers=headers) as client:
        yield client


async def signed_in(browser: httpx.AsyncClient, key: str) -> httpx.Response:
    return await browser.post("/session", json={"key": key})


async def test_a_session_reads_until_it_ends(stand: Stand, browser: httpx.AsyncClient) -> None:
    assert (await browser.post(READING, json={})).status_code == 401
    begun = await signed_in(browser, await stand.key(READ))
    assert begun.json() == {"signed_in": True}
    assert (await browser.get("/session")).json() == {"signed_in": True}
    assert (await browser.post(READING, json={})).status_code == 200
    await browser.delete("/session")
    assert (await browser.get("/session")).json() == {"signed_in": False}
    assert (await browser.post(READING, json={})).status_code == 401


async def test_the_cookie_is_kept_from_scripts_and_from_other_sites(
    stand: Stand, browser: httpx.AsyncClient
) -> None:
    plain = (await signed_in(browser, await stand.key(READ))).headers["set-cookie"].lower()
    assert "httponly" in plain
    assert "samesite=strict" in plain
    assert "secure" not in plain
    browser.headers["origin"] = stand.http.replace("http:", "https:")
    over_tls = (await signed_in(browser, await stand.key(READ))).headers["set-cookie"].lower()
    assert "secure" in over_tls


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_other_sites_can_neither_begin_use_nor_end_a_session(
    stand: Stand, browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    key = await stand.key(READ)
    refused = await browser.post("/session", json={"key": key}, headers=headers)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers
    await signed_in(browser, key)
    assert (await browser.post(READING, json={}, headers=headers)).status_code == 401
    assert (await browser.delete("/session", headers=headers)).status_code == 403
    assert (await browser.post(READING, json={})).status_code == 200


async def test_a_session_cannot_write_whatever_its_key_may(
    stand: Stand, browser: httpx.AsyncClient
) -> None:
    key = await stand.key(ADMIN)
    await signed_in(browser, key)
    create = {"name": "from a page", "scopes": ["SCOPE_READ"]}
    refused = await browser.post(f"{ADMIN_SERVICE}/CreateApiKey", json=create)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    headers = {"authorization": f"Bearer {key}"}
    allowed = await browser.post(f"{ADMIN_SERVICE}/CreateApiKey", json=create, headers=headers)
    assert allowed.status_code == 200


async def test_a_revoked_key_ends_its_session(stand: Stand, browser: httpx.AsyncClient) -> None:
    key = await stand.key(READ)
    await signed_in(browser, key)
    admin = {"authorization": f"Bearer {await stand.key(ADMIN)}"}
    revoke = {"id": key.split("_")[1]}
    done = await browser.post(f"{ADMIN_SERVICE}/RevokeApiKey", json=revoke, headers=admin)
    assert done.status_code == 200
    assert (await browser.post(READING, json={})).status_code == 401


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b'{"key": "sm_x"}', 415),
        ("application/x-www-form-urlencoded", b"key=sm_x", 415),
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b'{"key": 1}', 400),
        ("application/json", b'{"key": "a; Path=/"}', 400),
        ("application/json", b'{"key": "%s"}' % (b"a" * 2000), 400),
        ("application/json", b'{"key": "sm_x"}', 401),
    ],
)
async def test_what_is_no_key_begins_no_session(
    browser: httpx.AsyncClient, content_type: str, body: bytes, status: int
) -> None:
    headers = {"content-type": content_type}
    refused = await browser.post("/session", content=body, headers=headers)
    assert refused.status_code == status
    assert "set-cookie" not in refused.headers
    assert refused.json()["message"]


async def test_a_key_that_may_not_read_begins_no_session(
    stand: Stand, browser: httpx.AsyncClient
) -> None:
    assert (await signed_in(browser, await stand.key(INGEST))).status_code == 403


async def test_the_session_never_reaches_the_services_behind(
    stand: Stand, browser: httpx.AsyncClient
) -> None:
    await signed_in(browser, await stand.key(READ))
    await browser.post(READING, json={})
    seen = str(stand.behind.seen.calls)
    assert seen
    assert COOKIE not in seen
