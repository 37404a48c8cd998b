"""Trade-offs, trends and comparisons show every figure of the services, drawn and as tables."""

from playwright.async_api import expect

from servemark.ranking.v1.compare_pb2 import CompareConfigurationsRequest
from servemark.ranking.v1.pareto_pb2 import GetParetoFrontRequest
from servemark.type.v1 import metric_pb2
from tests.page.nightly import GAP, NIGHTS, RUNS_A_NIGHT
from tests.page.site import Opener, Site, saved, saved_rows

PNG = b"\x89PNG\r\n\x1a\n"


async def test_a_trade_off_has_every_point_of_the_rpc_and_its_front(
    opener: Opener, site: Site
) -> None:
    page = await opener.open("/?view=pareto&use_case=chatbot&x=tpot_p50_ms&y=throughput_tokens_sec")
    request = GetParetoFrontRequest(
        use_case="chatbot",
        metrics=[metric_pb2.METRIC_TPOT_P50_MS, metric_pb2.METRIC_THROUGHPUT_TOKENS_SEC],
        include_dominated=True,
    )
    with site.stack.client() as client:
        answer = client.ranking.GetParetoFront(request)
    rows = await saved_rows(page)
    assert [(row["config_id"], row["pareto_rank"]) for row in rows] == [
        (point.alternative.config_id, str(point.pareto_rank)) for point in answer.points
    ]
    await expect(page.locator("main")).to_contain_text(f"{answer.dominated_count} behind it")


async def test_a_point_chosen_shows_its_configuration_and_its_runs(opener: Opener) -> None:
    page = await opener.open("/?view=pareto&use_case=chatbot")
    await page.get_by_role("button", name="in the chart").first.click()
    card = page.get_by_role("region", name="The point chosen")
    await expect(card).to_contain_text("on the front")
    await card.get_by_role("link", name="All runs").click()
    await expect(page.get_by_role("heading", name="Runs")).to_be_visible()


async def test_a_chart_is_saved_as_an_image(opener: Opener) -> None:
    page = await opener.open("/?view=pareto&use_case=chatbot")
    download = await saved(page, "Save as PNG")
    data = (await download.path()).read_bytes()
    assert data.startswith(PNG)
    assert len(data) > 10_000


async def test_nights_without_runs_are_gaps_and_not_zeros(opener: Opener, site: Site) -> None:
    page = await opener.open(f"/?view=trends&config={site.nightly}&metric=ttft_p99_ms")
    rows = await saved_rows(page)
    assert len(rows) == NIGHTS
    silent = [index for index, row in enumerate(rows) if row["run_count"] == "0"]
    assert silent == list(GAP)
    for index, row in enumerate(rows):
        figures = [row[f"ttft_p99_ms_{name}"] for name in ("min", "median", "max")]
        if index in GAP:
            assert figures == ["", "", ""]
        else:
            assert row["run_count"] == str(RUNS_A_NIGHT)
            assert sorted(map(float, figures)) == [float(figure) for figure in figures]
    await page.get_by_text("The figures (").click()
    await expect(page.locator("main")).to_contain_text(f"{len(GAP)} buckets without runs")


async def test_a_comparison_says_which_differences_are_above_the_noise(
    opener: Opener, site: Site
) -> None:
    ids = [*site.best, site.nightly]
    query = "&".join(f"compare={config}" for config in ids)
    page = await opener.open(f"/?view=compare&{query}")
    with site.stack.client() as client:
        answer = client.ranking.CompareConfigurations(CompareConfigurationsRequest(config_ids=ids))
    expected = {
        (difference.other_config_id, metric_pb2.Metric.Name(item.metric)): difference.above_noise
        for item in answer.comparisons
        for difference in item.differences
        if difference.config_id == ids[0]
    }
    rows = await saved_rows(page)
    shown = {
        (row["config_id"], f"METRIC_{row['metric'].upper()}"): row["above_noise"] == "true"
        for row in rows
        if row["above_noise"]
    }
    assert shown == expected
    assert {True, False} <= set(expected.values())
    noisy = sum(expected.values())
    assert await page.locator(".is-better, .is-worse").count() == noisy


async def test_configurations_picked_in_the_ranking_are_compared(opener: Opener) -> None:
    page = await opener.open("/?use_case=chatbot")
    boxes = page.locator(".ranked [data-pick]")
    await boxes.nth(0).check()
    await boxes.nth(1).check()
    await page.get_by_role("link", name="Compare", exact=True).last.click()
    await expect(page.locator(".compared-head")).to_have_count(2)


async def test_all_runs_of_a_configuration_can_be_paged_to_the_first(
    opener: Opener, site: Site
) -> None:
    page = await opener.open(f"/?view=configuration&config={site.nightly}")
    seen: list[str] = []
    while True:
        seen += [row["id"] for row in await saved_rows(page)]
        older = page.get_by_role("button", name="Older runs")
        if not await older.count():
            break
        before = page.url
        newest = await page.locator(".runs tbody th").first.inner_text()
        await older.click()
        await expect(page.locator(".runs tbody th").first).not_to_have_text(newest)
        assert page.url != before
    assert len(seen) == len(set(seen)) == (NIGHTS - len(GAP)) * RUNS_A_NIGHT


async def test_a_run_shows_the_document_the_tool_wrote(opener: Opener, site: Site) -> None:
    page = await opener.open(f"/?view=configuration&config={site.best[0]}")
    await page.get_by_role("button", name="Document").first.click()
    document = page.get_by_label("What the tool wrote")
    await expect(document).to_contain_text('"mean_ttft_ms"')
    await expect(page.locator("main")).to_contain_text("SHA-256")
