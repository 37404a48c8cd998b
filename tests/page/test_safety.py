"""Nothing that is stored, and nobody who injects, can make the page run a script."""

import pytest
from playwright.async_api import expect

from servemark.catalog.v1.model_pb2 import CreateModelRequest, Model
from servemark.catalog.v1.model_version_pb2 import CreateModelVersionRequest, ModelVersion
from servemark.client.config import Config
from servemark.ranking.v1.ranking_pb2 import RefreshRankingsRequest
from tests.page.nightly import CONFIG, FIRST_NIGHT
from tests.page.site import VIEWS, Opener, Site, settled

EVIL = "<img src=x onerror=window.ran=true>"


@pytest.fixture(scope="module")
def evil(site: Site) -> str:
    """Id of a configuration whose model, tool and document try to be HTML."""
    with site.stack.client() as client:
        model = client.catalog.CreateModel(
            CreateModelRequest(model=Model(name=EVIL, architecture="qwen3", parameters=10**9))
        ).model
        client.catalog.CreateModelVersion(
            CreateModelVersionRequest(
                model_version=ModelVersion(
                    model_id=model.id,
                    version=EVIL,
                    quantization="bf16",
                    quantization_bits=16,
                    format="safetensors",
                )
            )
        )
        config = Config(
            **{
                **CONFIG._asdict(),
                "model": EVIL,
                "workload_type": "random",
                "tp": 0,
                "concurrency": 1,
            }
        )
        with client.stream(tool=EVIL, provenance="measured") as stream:
            stream.add_result(
                config,
                benchmark_time=FIRST_NIGHT,
                ttft_p50_ms=10,
                ttft_p99_ms=20,
                tpot_p50_ms=5,
                tpot_p99_ms=6,
                throughput_tokens_sec=1000,
            )
        client.ranking.RefreshRankings(RefreshRankingsRequest(), timeout=60)
    answer = site.recommend(use_case="chatbot", filter={"models": [EVIL]})
    return answer.recommendations[0].alternative.config_id


@pytest.mark.parametrize("view", VIEWS)
async def test_a_name_that_is_html_is_shown_as_text(
    opener: Opener, site: Site, evil: str, view: str
) -> None:
    address = {
        "leaderboard": "/?use_case=chatbot",
        "pareto": f"/?view=pareto&use_case=chatbot&point={evil}",
        "trends": f"/?view=trends&config={evil}",
        "compare": f"/?view=compare&compare={evil}&compare={site.nightly}",
        "configuration": f"/?view=configuration&config={evil}",
    }[view]
    page = await opener.open(address)
    await expect(page.locator("main")).to_contain_text(EVIL)
    assert await page.locator("main img").count() == 0
    assert await page.evaluate("window.ran") is None


async def test_a_script_put_into_the_page_does_not_run(opener: Opener) -> None:
    page = await opener.open("/?use_case=chatbot")
    await page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          const other = document.createElement("div");
          other.innerHTML = "<img src=x onerror='window.ran = true'>";
          document.body.append(other);
          return new Promise((resolve) => setTimeout(resolve, 200));
        }"""
    )
    assert await page.evaluate("window.ran") is None
    blocked = [text for text in opener.complaints if "Content Security Policy" in text]
    assert len(blocked) >= 2
    opener.complaints.clear()


async def test_no_address_but_its_own_is_ever_asked(opener: Opener, site: Site) -> None:
    asked: set[str] = set()
    for view in VIEWS:
        page = await opener.blank()
        page.on("request", lambda request: asked.add(request.url))
        await page.goto(opener.url + site.address(view))
        await settled(page)
    outside = [url for url in asked if not url.startswith((opener.url, "blob:", "data:"))]
    assert asked
    assert outside == []
