"""A plain page at another host, with the link or the frame that /embed gives."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.clients.stage import DIRECTORY, World, allowed, follow_badge, over_tls, published, run_framed_cell

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]


async def test_a_link_shows_the_badge_and_opens_the_document(place: World, reader: BrowserContext) -> None:
    link = await place.snippet("HTML", document=f"{DIRECTORY}/docs/second.ipynb")
    page = await reader.new_page()
    await page.goto(place.site.write("link.html", f"<!doctype html><title>Link</title>{link}"))
    await follow_badge(page)
    assert await place.assigned() == 1


@pytest.mark.fronts
async def test_a_frame_shows_a_notebook_whose_cell_runs(place: World, reader: BrowserContext, tmp_path: Path) -> None:
    """Over TLS, by a proxy, as browsers ask for it."""
    async with over_tls(place, reader, tmp_path / "front") as origin:
        wanted = {"document": f"{DIRECTORY}/docs/second.ipynb", "as": "frame"}
        element = (await place.snippet("HTML and Markdown", **wanted)).replace(place.service.url, origin)
        assert origin in element
        page = await reader.new_page()
        await page.goto(place.site.write("frame.html", f"<!doctype html><title>Frame</title>{element}"))
        await run_framed_cell(page)
        await page.reload()
        await page.frame_locator("iframe").locator(".jp-CodeCell").wait_for(timeout=60_000)
    assert await place.assigned() == 1


async def test_a_frame_in_a_page_that_is_not_listed_stays_empty(
    place: World, reader: BrowserContext, tmp_path: Path
) -> None:
    element = await place.snippet("HTML and Markdown", document=f"{DIRECTORY}/docs/second.ipynb", **{"as": "frame"})
    async with published(tmp_path / "other", "other.localhost") as site:
        await allowed(reader, site.url)
        page = await reader.new_page()
        async with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
            await page.goto(site.write("frame.html", f"<!doctype html><title>Frame</title>{element}"))
    assert await place.assigned() == 0
