"""The documentation's site, built with the address of a service. For the version of thebe, see test_sphinx."""

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.acceptance.harness import ROOT
from tests.clients.stage import World, in_thread, run_live_cell, says

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page_url(place: World) -> str:
    """Return the address of the page with the live example."""
    folder = place.site.root / "docs"
    await in_thread("env", f"TMPPOOL_SERVICE={place.service.url}", ROOT / "scripts/docs", folder, cwd=ROOT)
    return f"{place.site.url}/docs/authors/live.html"


async def test_the_live_example_runs(place: World, page_url: str, reader: BrowserContext) -> None:
    page = await reader.new_page()
    await page.goto(page_url)
    assert await place.assigned() == 0
    await page.get_by_role("button", name="Make the cell live").click()
    await run_live_cell(page, text="5 1.414213562373095")
    assert await place.assigned() == 1


async def test_the_button_of_the_live_example_opens_the_images_document(
    place: World, page_url: str, reader: BrowserContext
) -> None:
    page = await reader.new_page()
    await page.goto(page_url)
    badge = page.get_by_alt_text("Try it live")
    assert await badge.evaluate("each => each.naturalWidth") == 100
    await badge.click()
    await says(page.locator(".jp-MarkdownCell h1"), "Welcome to your notebook")
    assert await place.assigned() == 1
