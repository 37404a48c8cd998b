"""Where reading needs a key, the page asks for one, keeps it from scripts, and gives it back."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio
from playwright.async_api import Page, expect

from services.gateway.app import create
from services.gateway.http.server import HttpServer
from services.gateway.http.session import COOKIE
from tests.page.site import Opener, Site, configs_shown
from tests.rpc.gateway.stand import settings_for
from tests.support.stack import PEPPER, make_key


@pytest_asyncio.fixture
async def closed(opener: Opener, site: Site) -> AsyncIterator[Opener]:
    """Opens a page of the same services that nobody may read without a key."""
    plain = site.stack.settings
    settings = settings_for(
        plain.database_url.get_secret_value(),
        key_pepper=PEPPER,
        http_anonymous_read=False,
        **{f"{name}_target": plain.target(name) for name in ("catalog", "ingest", "ranking")},
    )
    app = await create(settings)
    await app.server.start()
    (web,) = app.server.beside
    assert isinstance(web, HttpServer)
    window = replace(opener, url=f"http://127.0.0.1:{web.port}", complaints=[], contexts=[])
    yield window
    await window.close()
    await app.server.stop(0)
    await app.close()


async def test_a_key_opens_the_page_until_the_reader_signs_out(closed: Opener, site: Site) -> None:
    page = await closed.open("/?use_case=chatbot")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await sign_in(page, "sm_this_is_no_key")
    await expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")

    key = make_key(site.stack.environment, scopes="read")
    await sign_in(page, key)
    await expect(page.locator(".ranked")).to_be_visible()
    answer = site.recommend(use_case="chatbot")
    assert await configs_shown(page) == [
        item.alternative.config_id for item in answer.recommendations
    ]
    await page.reload()
    await expect(page.locator(".ranked")).to_be_visible()

    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.get_by_role("button", name="Sign out")).to_be_hidden()


async def test_no_script_of_the_page_can_read_the_key(closed: Opener, site: Site) -> None:
    page = await closed.open("/?use_case=chatbot")
    key = make_key(site.stack.environment, scopes="read")
    await sign_in(page, key)
    await expect(page.locator(".ranked")).to_be_visible()
    (cookie,) = await page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (COOKIE, True, "Strict")
    readable = await page.evaluate(
        """() => document.cookie + document.documentElement.outerHTML + location.href
          + JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage })"""
    )
    assert key not in readable


async def sign_in(page: Page, key: str) -> None:
    """Types a key and sends it."""
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
