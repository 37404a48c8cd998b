"""What the tests of the page share: its address, and windows that note what goes wrong in them."""

import csv
import io
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from playwright.async_api import Browser, BrowserContext, Download, Page

from servemark.ranking.v1.recommend_pb2 import RecommendRequest, RecommendResponse
from tests.page.nightly import CONFIG
from tests.support.stack import RunningStack

VIEWS = ("leaderboard", "pareto", "trends", "compare", "configuration")


@dataclass
class Site:
    """The running services behind the page."""

    stack: RunningStack

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.stack.settings.http_port}"

    def recommend(self, **request: Any) -> RecommendResponse:
        """What the ranking answers over gRPC."""
        with self.stack.client() as client:
            return client.ranking.Recommend(RecommendRequest(**request))

    @cached_property
    def nightly(self) -> str:
        """Id of the configuration with nightly runs."""
        answer = self.recommend(use_case="chatbot", filter={"models": [CONFIG.model]})
        found = (item.alternative for item in answer.recommendations)
        return next(item.config_id for item in found if item.tools == ["nightly"])

    @cached_property
    def best(self) -> list[str]:
        """Ids of the three best configurations for a chatbot."""
        answer = self.recommend(use_case="chatbot", max_results=3)
        return [item.alternative.config_id for item in answer.recommendations]

    def address(self, view: str) -> str:
        """Path of a view with something in it."""
        compare = "&".join(f"compare={config}" for config in self.best)
        return {
            "leaderboard": "/?use_case=chatbot&confidence=yes",
            "pareto": f"/?view=pareto&use_case=chatbot&point={self.nightly}",
            "trends": f"/?view=trends&config={self.nightly}&days=30",
            "compare": f"/?view=compare&{compare}",
            "configuration": f"/?view=configuration&config={self.nightly}",
        }[view]


@dataclass
class Opener:
    """Opens windows, and notes every error that a browser's console would show."""

    browser: Browser
    url: str
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    async def open(self, path: str = "/", **context: Any) -> Page:
        """A window of its own, with the page there and its first answer shown."""
        page = await self.blank(**context)
        await page.goto(self.url + path)
        await settled(page)
        return page

    async def blank(self, **context: Any) -> Page:
        """A window of its own with nothing in it, and nothing kept from before."""
        context.setdefault("viewport", {"width": 1280, "height": 900})
        made = await self.browser.new_context(**context)
        self.contexts.append(made)
        page = await made.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    async def close(self) -> None:
        """Closes all windows."""
        for context in self.contexts:
            await context.close()


async def settled(page: Page) -> None:
    """Returns once the view says that its answer is there."""
    await page.wait_for_function(
        """() => document.querySelector("#view > :not(noscript)")
          && !document.querySelector(".waiting, [aria-busy=true]")
          && [...document.querySelectorAll(".chart")].every((chart) => chart.firstChild)"""
    )


async def configs_shown(page: Page) -> list[str]:
    """Ids of the configurations in the ranking, in its order."""
    boxes = page.locator(".ranked [data-pick]")
    found: list[str] = await boxes.evaluate_all("all => all.map((box) => box.dataset.pick)")
    return found


async def saved(page: Page, button: str) -> Download:
    """What a button saves."""
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name=button).first.click()
    return await waiting.value


async def saved_rows(page: Page) -> list[dict[str, str]]:
    """The lines of the file that the page saves as CSV."""
    download = await saved(page, "Save as CSV")
    text = (await download.path()).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))
