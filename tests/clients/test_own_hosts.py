"""Live cells and a frame where each notebook has a host name of its own, over TLS."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.acceptance import fronts
from tests.acceptance.documented_fronts import started, written
from tests.clients import stage
from tests.clients.stage import DIRECTORY, World, allowed, run_framed_cell, says
from tests.proxy.stage import free_ports

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.fronts,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]

DOCUMENT = f"{DIRECTORY}/docs/second.ipynb"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The service behind nginx, by its document's configuration for a host name per notebook."""
    folder = tmp_path_factory.mktemp("hosts")
    plain, tls = free_ports(2)
    main = f"{fronts.NAME}:{tls}"
    configuration = written("nginx", has_domains=True)
    async with (
        stage.world(folder, f"--domain-per-notebook={main}", f"--public-url=https://{main}") as made,
        started("nginx", configuration, folder / "front", made.service.port, (plain, tls)),
    ):
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def its_reader(place: World, reader: BrowserContext) -> BrowserContext:
    await allowed(reader, f"{fronts.NAME}:")
    return reader


async def test_a_live_cell_runs(place: World, its_reader: BrowserContext) -> None:
    snippet = await place.snippet("HTML and Markdown", document=DOCUMENT, **{"as": "live"})
    page = await its_reader.new_page()
    await page.goto(place.site.write("live.html", f"<!doctype html><title>Live</title>{snippet}"))
    await page.get_by_role("button", name="Activate").click()
    await page.locator(".thebe-run-button").click()
    await says(page.locator(".jp-OutputArea-output"), "Hello")
    assert f".{fronts.NAME}:" in await page.evaluate("window.thebe.server.settings.baseUrl")
    assert await place.assigned() == 1


async def test_a_framed_cell_runs(place: World, its_reader: BrowserContext) -> None:
    element = await place.snippet("HTML and Markdown", document=DOCUMENT, **{"as": "frame"})
    page = await its_reader.new_page()
    await page.goto(place.site.write("frame.html", f"<!doctype html><title>Frame</title>{element}"))
    await run_framed_cell(page)
    assert f".{fronts.NAME}:" in page.frames[1].url
    await page.reload()
    await run_framed_cell(page)
    assert await place.assigned() == 1
