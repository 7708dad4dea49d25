"""Pages of Markdown: by MkDocs as it is, and by pandoc, with which Quarto and R Markdown make theirs."""

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.clients import tools
from tests.clients.stage import DIRECTORY, World, follow_badge, run_live_cell

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["MkDocs", "pandoc"])
async def page_url(place: World, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> str:
    """Return the address of a page with a badge and a live cell, as /embed gives them."""
    source = tmp_path_factory.mktemp("markdown")
    wanted = {"document": f"{DIRECTORY}/docs/second.ipynb"}
    link = await place.snippet("Markdown", **wanted)
    name = "HTML and Markdown" if request.param == "MkDocs" else "Quarto"
    cells = await place.snippet(name, **wanted, **{"as": "live"})
    (source / "docs").mkdir()
    (source / "docs/index.md").write_text(f"# Workshop\n\nText.\n\n{link}\n\nMore text.\n\n{cells}\n", encoding="utf-8")
    make = tools.mkdocs if request.param == "MkDocs" else tools.pandoc
    return place.site.address(await make(source, place.site.root / request.param) / "index.html")


async def test_a_badge_opens_the_document(place: World, page_url: str, reader: BrowserContext) -> None:
    page = await reader.new_page()
    await page.goto(page_url)
    await follow_badge(page)
    assert await place.assigned() == 1


async def test_a_live_cell_runs(place: World, page_url: str, reader: BrowserContext) -> None:
    page = await reader.new_page()
    await page.goto(page_url)
    await page.get_by_role("button", name="Activate").click()
    await run_live_cell(page, text="Hello")
    assert await place.assigned() == 1
