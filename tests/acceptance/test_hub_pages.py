"""What JupyterLab and Notebook do with the addresses of a hub, which our images tell them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.acceptance.harness import Service, chromium, running

pytestmark = [pytest.mark.engine, pytest.mark.browser, pytest.mark.timeout(180)]

DOMAIN = "--domain-per-notebook=nb.localhost:{service_port}"
DOCUMENT = "lab/tree/welcome.ipynb"


@pytest_asyncio.fixture(params=[(), (DOMAIN,)], ids=["one host", "a host for each"])
async def service(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    async with running(tmp_path, "docker", "--pool-size=3", "--warm=1", *request.param) as made:
        yield made


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


async def opened(context: BrowserContext, link: str) -> Page:
    """Return a page with the notebook to which a link leads, once its document is there."""
    page = await context.new_page()
    await page.goto(link)
    await document(page)
    return page


async def document(page: Page) -> None:
    await page.wait_for_url("**/user/**", timeout=60_000)
    await page.locator(".jp-MarkdownCell h2", has_text="Draw a sunflower").wait_for(timeout=60_000)


async def end_all(service: Service) -> None:
    async with service.operator() as operator:
        for notebook in await service.notebooks():
            if notebook["state"] == "assigned":
                await operator.delete(f"{service.admin_url}/api/notebooks/{notebook['id']}")


async def test_after_the_end_lab_offers_a_restart_that_opens_the_same_document(
    service: Service, browser: Browser
) -> None:
    context = await browser.new_context()
    page = await opened(context, f"{service.url}/{DOCUMENT}")
    ended = page.url
    await end_all(service)
    await page.get_by_text("is not running. Would you like to restart it?").wait_for(timeout=60_000)
    async with context.expect_page() as opening:
        await page.locator(".jp-Dialog").get_by_role("button", name="Restart").click()
    tab = await opening.value
    await document(tab)
    assert tab.url != ended
    assert re.search(r"/lab/(workspaces/auto-\w+/)?tree/welcome\.ipynb$", tab.url)  # as another tab is open
    assert (await service.stats())["assigned"] == 1


async def test_after_the_end_notebook_offers_a_fresh_one_that_opens_the_same_document(
    service: Service, browser: Browser
) -> None:
    """Notebook has nothing that says it: the notice is the service's own."""
    page = await opened(await browser.new_context(), f"{service.url}/notebooks/welcome.ipynb")
    ended = page.url
    await end_all(service)
    notice = page.locator("tmppool-notice").get_by_role("alertdialog", name="This notebook has ended")
    await notice.get_by_role("link", name="Start a fresh notebook").click(timeout=60_000)
    await page.wait_for_url(lambda url: "/user/" in url and url != ended, timeout=60_000)
    await document(page)
    assert page.url.endswith("/notebooks/welcome.ipynb")
    assert (await service.stats())["assigned"] == 1


@pytest.mark.parametrize("start", [DOCUMENT, "tree"], ids=["Lab", "Notebook"])
async def test_a_shareable_link_opens_the_document_in_a_notebook_of_the_readers_own(
    service: Service, browser: Browser, start: str
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{service.url}/{start}")
    await page.wait_for_url("**/user/**", timeout=60_000)
    host = page.url.split("/user/")[0]
    await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=host)
    await page.locator(".jp-DirListing-item", has_text="welcome.ipynb").click(button="right")
    await page.get_by_role("menuitem", name="Copy Shareable Link").click()
    link = await page.evaluate("navigator.clipboard.readText()")
    assert "/user/" not in link
    other = await opened(await browser.new_context(), link)
    assert other.url.endswith(f"/{DOCUMENT}")
    assert other.url.split("/user/")[1].split("/")[0] != page.url.split("/user/")[1].split("/")[0]
    assert (await service.stats())["assigned"] == 2
