"""A real browser, and the page of four real services with the shipped data and nightly runs."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from servemark.embedded import EmbeddedValkey
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from tests.page.nightly import store_nightly_runs
from tests.page.site import Opener, Site
from tests.support import servers
from tests.support.stack import load_sample, running_stack

BROWSER = Path(sys.prefix) / "browser"
PROGRAM = Path(os.environ.get("SERVEMARK_TEST_BROWSER", BROWSER / "chromium"))
_ARGUMENTS = [
    "--headless",
    # As root, in a container, Chromium has no sandbox; it visits this machine alone.
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def site(storage_server: str, migrated_template: str) -> Iterator[Site]:
    """The page with data, read without a key.

    It lives as long as the run, so its services have a Valkey of their own: they would take the
    events of others' tests.
    """
    if not PROGRAM.exists():
        pytest.skip(f"there is no browser at {PROGRAM}; `make test` installs one with npm")
    with (
        servers.database(storage_server, migrated_template) as dsn,
        servers.temporary_folder() as folder,
        EmbeddedValkey(folder / "valkey") as valkey,
        running_stack(dsn, valkey.url()) as stack,
    ):
        load_sample(stack)
        with stack.client() as client:
            store_nightly_runs(client)
            client.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=60)
        yield Site(stack)


@pytest_asyncio.fixture(scope="session")
async def browser(site: Site) -> AsyncIterator[Browser]:
    """Chromium without a window."""
    environment: dict[str, str | float | bool] = {
        **os.environ,
        "LD_LIBRARY_PATH": str(BROWSER / "lib"),
        "FONTCONFIG_FILE": str(BROWSER / "fonts.conf"),
    }
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=PROGRAM, args=_ARGUMENTS, env=environment
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def opener(browser: Browser, site: Site) -> AsyncIterator[Opener]:
    """Opens addresses of the page; at the end nothing may have gone wrong in the browser."""
    opener = Opener(browser, site.url)
    yield opener
    await opener.close()
    assert opener.complaints == []
