"""Every view can be read by everyone: in light and dark, on a phone, with a screen reader."""

import pytest
from playwright.async_api import Page

from tests.page.conftest import BROWSER
from tests.page.site import VIEWS, Opener, Site, settled

AXE = BROWSER / "node_modules/axe-core/axe.min.js"
PHONE = {"width": 360, "height": 740}


@pytest.mark.parametrize("view", VIEWS)
async def test_no_view_has_a_serious_fault_of_accessibility(
    opener: Opener, site: Site, view: str
) -> None:
    # The rules are a script of their own, which the page's policy keeps out as any other.
    page = await opener.open(site.address(view), color_scheme="light", bypass_csp=True)
    await open_folds(page)
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await page.wait_for_function(
            "scheme => document.documentElement.dataset.theme === scheme", arg=scheme
        )
        found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert len(found["passes"]) > 20
        serious = [
            (fault["id"], [node["target"] for node in fault["nodes"][:3]])
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert (scheme, serious) == (scheme, [])


@pytest.mark.parametrize("view", VIEWS)
async def test_a_narrow_screen_never_scrolls_sideways(
    opener: Opener, site: Site, view: str
) -> None:
    page = await opener.open(site.address(view), viewport=PHONE, has_touch=True, is_mobile=True)
    await open_folds(page)
    for button in await page.locator("table [aria-expanded=false]").all():
        if await button.is_visible():
            await button.tap()
            break
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


async def test_the_switch_of_colours_is_remembered(opener: Opener) -> None:
    page = await opener.open("/?use_case=chatbot", color_scheme="light")
    await page.get_by_role("button", name="Use dark colours").click()
    await page.reload()
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(part) for part in ground[4:-1].split(",")) < 3 * 64


async def open_folds(page: Page) -> None:
    """Opens everything that is folded, and waits for what it loads."""
    await page.evaluate(
        "for (const fold of document.querySelectorAll('main details')) fold.open = true"
    )
    await settled(page)
