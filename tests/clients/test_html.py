"""A plain page at another host, with the link or the frame that /embed gives."""

import pytest
from playwright.async_api import BrowserContext

from tests.clients.stage import DIRECTORY, World, follow_badge

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
