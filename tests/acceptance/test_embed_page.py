"""The page for page authors in a real browser: they type, choose, copy, and follow the link."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.acceptance.harness import chromium
from tests.web.guests import Place, opened
from tmppool.image_documents import Document
from tmppool.pool_settings import PoolSettings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

KNOWN = (
    Document("intro.ipynb", "A first notebook"),
    Document("day 1/first steps.ipynb", "First steps"),
    *(Document(f"day 2/a_rather-long-name_of-a-document_{n:02}.ipynb", f"Chapter {n}") for n in range(60)),
)
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """The service in this process, with fake notebooks."""
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: KNOWN)
    pools = {"r": PoolSettings(pool_size=1)}
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(opened(tmp_path / "state", monkeypatch, pools=pools))


async def visit(browser: Browser, place: Place, path: str = "/embed", **more: Any) -> Page:
    context = await browser.new_context(**more)
    await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=place.url)
    page = await context.new_page()
    await page.goto(place.url + path)
    return page


async def until_link(page: Page, link: str) -> None:
    """Wait until this is what the page gives to copy."""
    async with asyncio.timeout(10):
        while (found := await page.get_by_label("Link", exact=True).input_value()) != link:
            assert found
            await asyncio.sleep(0.05)


async def test_an_author_types_chooses_copies_and_tries(browser: Browser, place: Place) -> None:
    page = await visit(browser, place)
    await until_link(page, f"{place.url}/")
    await page.get_by_label("Document", exact=True).press_sequentially("day 1/first steps.ipynb#cell-id=4f2a", delay=5)
    link = f"{place.url}/notebooks/day%201/first%20steps.ipynb#cell-id=4f2a"
    await until_link(page, link)
    assert await page.locator("#found").inner_text() == "First steps"
    await page.get_by_label("JupyterLab").check()
    link = f"{place.url}/lab/tree/day%201/first%20steps.ipynb#cell-id=4f2a"
    await until_link(page, link)

    await page.get_by_text("Markdown", exact=True).click()
    snippet = page.locator("details", has=page.get_by_label("Markdown", exact=True))
    await snippet.get_by_role("button", name="Copy", exact=True).click()
    await snippet.get_by_text("Copied.").wait_for()
    text = f"[![Try it live]({place.url}/badge.svg)]({link})"
    assert await page.evaluate("navigator.clipboard.readText()") == text
    assert await page.get_by_alt_text("The badge").evaluate("each => each.naturalWidth") == 100

    assert (await place.stats())["assigned"] == 0
    async with page.context.expect_page() as opening:
        await page.get_by_role("link", name="Try it in a new tab").click()
    tab = await opening.value
    await tab.wait_for_url("**/user/**")
    assert tab.url.endswith("/lab/tree/day%201/first%20steps.ipynb#cell-id=4f2a")
    assert (await place.stats())["assigned"] == 1

    await page.reload()  # the address holds what was chosen
    await until_link(page, link)
    assert await page.get_by_label("JupyterLab").is_checked()


async def test_what_is_open_stays_open_while_the_author_goes_on(browser: Browser, place: Place) -> None:
    page = await visit(browser, place)
    await page.get_by_text("reStructuredText").click()
    await page.get_by_label("Document", exact=True).fill("intro.ipynb")
    await until_link(page, f"{place.url}/notebooks/intro.ipynb")
    shown = page.locator(".snippets details[open] strong")
    assert await shown.all_inner_texts() == ["reStructuredText"]
    await page.get_by_label("Kind of notebook").select_option("r")
    await until_link(page, f"{place.url}/notebooks/intro.ipynb?pool=r")
    assert await shown.all_inner_texts() == ["reStructuredText"]


async def test_a_pasted_link_says_where_it_opens_until_the_author_chooses(browser: Browser, place: Place) -> None:
    page = await visit(browser, place)
    document = page.get_by_label("Document", exact=True)
    await document.fill(f"{place.url}/lab/tree/intro.ipynb?pool=r")
    await until_link(page, f"{place.url}/lab/tree/intro.ipynb?pool=r")
    assert await page.get_by_label("JupyterLab").is_checked()
    assert await page.get_by_label("Kind of notebook").input_value() == "r"
    await page.get_by_label("Notebook A link").check()
    await until_link(page, f"{place.url}/notebooks/intro.ipynb?pool=r")
    await document.fill(f"{place.url}/lab")
    await until_link(page, f"{place.url}/tree?pool=r")


async def test_the_keyboard_is_enough(browser: Browser, place: Place) -> None:
    page = await visit(browser, place)
    focused = "[document.activeElement.name || document.activeElement.textContent, document.activeElement.value]"
    await page.keyboard.press("Tab")
    assert await page.evaluate(focused) == ["document", ""]
    await page.keyboard.type("zzz intro.ipynb")
    await page.get_by_text("There is no document").wait_for()
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("intro")
    await page.locator(".choose[open] summary", has_text="1 of 62 documents").wait_for()
    for _ in range(2):  # to the list, and its one document
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await until_link(page, f"{place.url}/notebooks/intro.ipynb")
    assert await page.get_by_label("Document", exact=True).input_value() == "intro.ipynb"

    await page.get_by_label("Notebook A link").focus()
    await page.keyboard.press("ArrowRight")
    await until_link(page, f"{place.url}/lab/tree/intro.ipynb")
    assert await page.evaluate("document.activeElement.value") == "lab"
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_text("Copied.").wait_for()
    assert await page.evaluate("navigator.clipboard.readText()") == f"{place.url}/lab/tree/intro.ipynb"


async def test_a_phone_is_enough(browser: Browser, place: Place) -> None:
    page = await visit(browser, place, **PHONE)
    await page.get_by_text("62 documents to choose from").tap()
    await page.get_by_role("link", name="Chapter 7 day 2/").tap()
    await until_link(page, f"{place.url}/notebooks/day%202/a_rather-long-name_of-a-document_07.ipynb")
    await page.get_by_label("Live cells").tap()
    await page.get_by_text("Not allowed yet.").wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    cut = "[...document.querySelectorAll('textarea')].filter(e => e.checkVisibility() && e.scrollHeight > e.clientHeight + 1).length"
    assert await page.evaluate(cut) == 0


async def test_the_form_is_enough_without_scripts(browser: Browser, place: Place) -> None:
    page = await visit(browser, place, java_script_enabled=False)
    assert await page.get_by_role("button", name="Copy", exact=True).count() == 0
    await page.get_by_label("Document", exact=True).fill("intro.ipynb")
    await page.get_by_label("Frame").check()
    await page.get_by_label("Kind of notebook").select_option("r")
    await page.get_by_role("button", name="Show what to copy").click()
    await page.wait_for_url("**/embed?document=intro.ipynb&pool=r&as=frame#copy")
    text = await page.get_by_label("HTML and Markdown").input_value()
    assert f'src="{place.url}/notebooks/intro.ipynb?pool=r"' in text
    assert await page.get_by_label("Frame").is_checked()


async def test_a_browser_without_a_clipboard_for_scripts_copies_all_the_same(browser: Browser, place: Place) -> None:
    """As any does on a page that came by http."""
    page = await visit(browser, place)
    await page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await page.goto(f"{place.url}/embed?document=intro.ipynb")
    await page.get_by_role("button", name="Copy", exact=True).first.click()
    await page.get_by_text("Copied.").first.wait_for()
    await page.get_by_label("Document", exact=True).fill("")
    await page.get_by_label("Document", exact=True).press("ControlOrMeta+v")
    assert await page.get_by_label("Document", exact=True).input_value() == f"{place.url}/notebooks/intro.ipynb"


async def test_where_the_service_does_not_answer_the_button_comes_back(browser: Browser, place: Place) -> None:
    page = await visit(browser, place)
    show = page.get_by_role("button", name="Show what to copy")
    assert not await show.is_visible()
    await page.route("**/embed?**", lambda route: route.abort())
    await page.get_by_label("JupyterLab").check()
    await show.wait_for()
    await page.unroute("**/embed?**")
    await show.click()
    await until_link(page, f"{place.url}/lab")
