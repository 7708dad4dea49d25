"""What a page in a notebook can read of the tab's history: none of the service's secrets."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.acceptance.harness import chromium, running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

HISTORY = """() => JSON.stringify([
  document.referrer, navigation.entries().map(entry => entry.url), navigation.activation?.from?.url, history.state])"""


async def opened(context: BrowserContext, url: str) -> str:
    """Start a notebook by a link; return what its page can read, also after another page of it."""
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_url("**/user/**")
    seen = str(await page.evaluate(HISTORY))
    await page.goto(f"{page.url}?again")
    return seen + str(await page.evaluate(HISTORY))


async def test_a_links_workshop_code_is_not_in_it(tmp_path: Path) -> None:
    async with running(tmp_path, "fake", "--workshop-code=sesame", warm=1) as service, chromium() as browser:
        context, looked_at = await browser.new_context(), []
        context.on("page", lambda page: page.on("domcontentloaded", lambda page: looked_at.append(page.url)))
        seen = await opened(context, f"{service.url}/lab?a=1&code=sesame&b=2")
        assert f"{service.url}/lab?a=1&b=2" in looked_at
        assert "sesame" not in repr(looked_at)
        assert "/user/" in seen
        assert "sesame" not in seen


async def test_the_token_of_a_link_that_a_program_made_is_not_in_it(tmp_path: Path) -> None:
    async with running(tmp_path, "fake", warm=1) as service, chromium() as browser:
        taken = await service.spawn()
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{taken.url}lab?token={taken.token}")
        assert taken.token not in page.url
        await page.reload()
        await page.get_by_role("button", name="Open the notebook").click()
        await page.wait_for_url("**/user/**")
        seen = str(await page.evaluate(HISTORY))
        await page.goto(f"{page.url}?again")
        seen += str(await page.evaluate(HISTORY))
        assert "/user/" in seen
        assert taken.token not in seen
        await page.go_back()
        await page.go_back()  # to the page with the button: it leads the owner on
        assert taken.token not in page.url


async def test_no_script_of_our_own_pages_fails(tmp_path: Path) -> None:
    options = ("--pool-size=2", "--starts-per-hour=2", "--workshop-code=sesame")
    async with running(tmp_path, "fake", *options, warm=2) as service, chromium() as browser:
        errors: list[str] = []
        context = await browser.new_context()
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = await context.new_page()
        await page.goto(f"{service.url}/lab")
        await page.wait_for_url("**/user/**")
        key, taken = page.url.split("/")[4], await service.spawn()
        await page.goto(f"{service.url}/session/{key}")
        await page.locator("details summary").click()
        await page.locator("details button").click()
        await page.get_by_role("link", name="Start a fresh notebook").wait_for()
        await page.goto(f"{service.url}/lab")
        await page.get_by_label("Workshop code").wait_for()
        await page.goto(f"{taken.url}lab?token={taken.token}")
        await page.get_by_role("button", name="Open the notebook").click()
        await page.wait_for_url("**/user/**")
        assert errors == []
