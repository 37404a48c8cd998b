"""The first view is light, whatever there is to rank: only what is seen is sent."""

from playwright.async_api import Response

from tests.page.site import Opener, settled

MAX_BYTES = 150_000
MAX_REQUESTS = 45


async def test_the_first_view_is_small_and_a_second_visit_smaller(opener: Opener) -> None:
    page = await opener.blank()
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    await page.goto(opener.url + "/?use_case=chatbot")
    await settled(page)
    sizes = {response.url: await _size(response) for response in responses}
    assert sum(sizes.values()) < MAX_BYTES
    assert len(sizes) < MAX_REQUESTS
    assert not any("echarts" in url for url in sizes)

    responses.clear()
    await page.reload()
    await settled(page)
    files = [response for response in responses if "/page/" in response.url]
    assert files
    assert [response.url for response in files if await _size(response) > 0] == []


async def _size(response: Response) -> int:
    sizes = await response.request.sizes()
    return sizes["responseBodySize"] + sizes["responseHeadersSize"]
