"""The leaderboard shows what the ranking answers, whatever its controls are set to."""

import pytest
from playwright.async_api import Page, expect

from servemark.ranking.v1.candidate_pb2 import CandidateFilter
from servemark.type.v1 import metric_pb2
from servemark.type.v1.metric_pb2 import MetricLimit, MetricWeight
from servemark.type.v1.provenance_pb2 import PROVENANCE_MEASURED, PROVENANCE_SIMULATED
from tests.page.site import Opener, Site, configs_shown, saved_rows, settled


async def test_the_first_view_is_the_ranking_of_the_rpc(opener: Opener, site: Site) -> None:
    page = await opener.open()
    answer = site.recommend(use_case="chatbot")
    assert await configs_shown(page) == [
        item.alternative.config_id for item in answer.recommendations
    ]
    for reason in answer.recommendations[0].reasons:
        await expect(page.locator(".answer")).to_contain_text(reason)
    await expect(page.locator(".answer")).to_contain_text("What would change it")


async def test_the_controls_change_the_ranking_as_the_request_does(
    opener: Opener, site: Site
) -> None:
    page = await opener.open()
    await page.get_by_label("Limit of TTFT p99").fill("500")
    await page.get_by_label("At most, for the whole instance").fill("20")
    await page.get_by_label("simulated").check()
    await page.get_by_text("Filters", exact=True).click()
    await page.get_by_label("GPUs", exact=True).fill("H200-141GB")
    await page.get_by_label("GPUs", exact=True).press("Enter")
    answer = site.recommend(
        use_case="chatbot",
        limits=[MetricLimit(metric=metric_pb2.METRIC_TTFT_P99_MS, limit=500)],
        max_usd_per_hour=20,
        filter=CandidateFilter(
            gpu_types=["H200-141GB"],
            provenances=[PROVENANCE_MEASURED, PROVENANCE_SIMULATED],
        ),
    )
    assert 0 < answer.ranked_count < answer.candidate_count
    await shows(page, [item.alternative.config_id for item in answer.recommendations])
    await expect(page.locator("#status")).to_contain_text(
        f"{answer.ranked_count} of {answer.candidate_count} candidates ranked."
    )


async def test_a_weight_moved_ranks_as_with_that_weight(opener: Opener, site: Site) -> None:
    page = await opener.open("/?use_case=chatbot")
    await page.get_by_text("Weights", exact=True).first.click()
    await page.get_by_label("Weight of tokens/s").fill("100")
    shown = {
        name: int(await page.locator(f"[data-weight={name}]").input_value())
        for name in (
            "accuracy_score",
            "ttft_p50_ms",
            "tpot_p50_ms",
            "usd_per_million_tokens",
            "throughput_tokens_sec",
        )
    }
    answer = site.recommend(
        use_case="chatbot",
        weights=[
            MetricWeight(metric=metric_pb2.Metric.Value(f"METRIC_{name.upper()}"), weight=weight)
            for name, weight in shown.items()
        ],
    )
    assert shown["throughput_tokens_sec"] == 100
    await shows(page, [item.alternative.config_id for item in answer.recommendations])


async def test_a_copied_address_restores_the_view(opener: Opener) -> None:
    page = await opener.open()
    await page.get_by_label("What it is for").select_option("code-completion")
    await page.get_by_label("Limit of TTFT p95").fill("900")
    await page.get_by_label("At most, for the whole instance").fill("15")
    await page.get_by_text("More", exact=True).click()
    await page.get_by_label("Say how sure the ranking is").check()
    await expect(page.get_by_role("columnheader", name="Best")).to_be_visible()
    await settled(page)

    again = await opener.open(page.url.removeprefix(opener.url))
    assert await again.locator("main").inner_text() == await page.locator("main").inner_text()
    assert await values(again) == await values(page)


async def test_back_undoes_the_last_choice(opener: Opener) -> None:
    page = await opener.open("/?use_case=chatbot")
    before = await configs_shown(page)
    await page.get_by_label("What it is for").select_option("translation")
    await expect(page.locator(".answer h2")).to_have_text("Recommended for translation")
    await page.go_back()
    await shows(page, before)
    await expect(page.get_by_label("What it is for")).to_have_value("chatbot")


async def test_the_saved_file_has_the_lines_that_are_shown(opener: Opener) -> None:
    page = await opener.open("/?use_case=chatbot")
    rows = await saved_rows(page)
    assert [row["config_id"] for row in rows] == await configs_shown(page)
    assert float(rows[0]["score"]) > float(rows[-1]["score"]) > 0
    assert all(float(row["usd_per_hour"]) > 0 for row in rows)


async def test_contributions_show_by_keyboard_and_stay_after_a_click(
    opener: Opener, site: Site
) -> None:
    page = await opener.open("/?use_case=chatbot")
    await page.locator(".ranked [data-pick]").first.focus()
    await page.keyboard.press("Tab")
    await expect(page.locator(".tip")).to_contain_text("midway")
    await page.keyboard.press("Escape")
    await expect(page.locator(".tip")).to_be_hidden()
    await page.keyboard.press("Enter")
    detail = page.locator(".detail .contributions").first
    criteria = site.recommend(use_case="chatbot").recommendations[0].contributions.criteria
    for part in criteria:
        await expect(detail).to_contain_text(f"{abs(part.contribution):.3f}")


async def test_a_reason_opened_lists_those_it_left_out(opener: Opener, site: Site) -> None:
    page = await opener.open("/?use_case=chatbot")
    await page.get_by_text("miss the limit on TTFT p99").click()
    members = page.locator(".group[open] .members > li")
    await expect(members.first).to_contain_text("TTFT p99")
    answer = site.recommend(use_case="chatbot", max_excluded=1000)
    missed = [
        item
        for item in answer.excluded
        if any("TTFT p99" in text or "TPOT p99" in text for text in item.details)
    ]
    assert 0 < await members.count() <= min(25, len(missed))


async def test_where_nothing_fits_a_click_on_relax_lets_the_nearest_in(
    opener: Opener, site: Site
) -> None:
    page = await opener.open("/?use_case=chatbot&ttft_p99_ms=50&tpot_p99_ms=3&budget=5")
    await expect(page.get_by_role("heading", name="Nothing keeps all limits")).to_be_visible()
    answer = site.recommend(
        use_case="chatbot",
        limits=[
            MetricLimit(metric=metric_pb2.METRIC_TTFT_P99_MS, limit=50),
            MetricLimit(metric=metric_pb2.METRIC_TPOT_P99_MS, limit=3),
        ],
        max_usd_per_hour=5,
    )
    nearest = answer.infeasible.relaxations[0].alternative.config_id
    await page.get_by_role("button", name="Relax").first.click()
    await expect(page.locator(".ranked")).to_be_visible()
    assert nearest in await configs_shown(page)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/?use_case=chatbot&model=no-such-model", "Nothing passes these filters."),
        ("/?view=trends", "No configuration is chosen yet."),
        ("/?view=compare", "Nothing is picked yet."),
        ("/?view=configuration", "No configuration is chosen yet."),
        ("/?view=no-such-view&use_case=chatbot", "Recommended for chatbot"),
    ],
)
async def test_what_shows_nothing_says_what_to_do(opener: Opener, path: str, text: str) -> None:
    page = await opener.open(path)
    await expect(page.locator("main")).to_contain_text(text)


async def shows(page: Page, configs: list[str]) -> None:
    """Returns once the ranking shows these configurations in this order."""
    await page.wait_for_function(
        """configs => {
          const boxes = [...document.querySelectorAll(".ranked [data-pick]")];
          return boxes.map((box) => box.dataset.pick).join() === configs.join();
        }""",
        arg=configs,
    )


async def values(page: Page) -> list[str]:
    """What every control is set to."""
    controls = page.locator("aside input, aside select")
    found: list[str] = await controls.evaluate_all(
        "all => all.map((item) => item.type === 'checkbox' ? String(item.checked) : item.value)"
    )
    return found
