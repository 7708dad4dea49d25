"""thebe 0.9 on a plain page at another host, as /embed gives it to authors."""

import asyncio

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, Route

from tests.clients.stage import PLACES, World, says

pytestmark = [
    pytest.mark.engine,
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="session"),
]

END_KERNEL = """async () => {
  const { server, session } = window.thebe;
  const { baseUrl, token } = server.settings;
  const headers = { Authorization: `token ${token}` };
  const { status } = await fetch(`${baseUrl}api/sessions/${session.id}`, { method: "DELETE", headers });
  if (status !== 204) throw Error(status);
}"""
DISCONNECT = """async () => {
  const { kernel } = window.thebe.session;
  kernel._reconnectLimit = 0;  // as after minutes without a network
  kernel._ws.close();
  while (kernel.connectionStatus !== "disconnected") await new Promise((next) => setTimeout(next, 50));
  kernel._reconnectLimit = 7;
}"""
COUNT = "open('runs', 'a').write('x'); print('run', len(open('runs').read()))"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pages(place: World) -> list[str]:
    """Return the addresses of two pages with the same live cells, and of one where they need no click."""
    snippet = await place.snippet("HTML and Markdown", document="course/first.ipynb", **{"as": "live"})
    assert "unpkg.com/thebe@0.9.3/" in snippet
    cells = f'<pre data-executable="true">{COUNT}</pre><pre data-executable="true">print("of all", open("runs").read())</pre>'
    page = f'<!doctype html><meta charset="utf-8"><title>Lesson</title>{snippet}{cells}'
    by_itself = page.replace('"binderOptions"', '"bootstrap": true, "binderOptions"', 1)
    assert by_itself != page
    texts = {"one.html": page, "two.html": page, "by-itself.html": by_itself}
    return [place.site.write(name, text) for name, text in texts.items()]


async def activated(reader: BrowserContext, url: str) -> Page:
    page = await reader.new_page()
    await page.goto(url)
    await page.get_by_role("button", name="Activate").click()
    return page


async def connected(page: Page) -> None:
    await page.locator(".thebe-status-field").filter(has_text="Kernel Connected").wait_for(timeout=60_000)


async def run(page: Page, number: int, wanted: str) -> None:
    cell = page.locator(".thebe-cell").nth(number)
    await cell.locator(".thebe-run-button").click()
    await says(cell.locator(".jp-OutputArea-output"), wanted)


async def test_cells_run_and_other_pages_and_reloads_use_the_same_notebook(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await connected(page)
    await run(page, 0, "Hello")
    await run(page, 1, "run 1")
    assert await place.assigned() == 1

    await page.reload()
    await page.get_by_role("button", name="Activate").click()
    await connected(page)
    await run(page, 1, "run 2")
    other = await activated(reader, pages[1])
    await connected(other)
    await run(other, 1, "run 3")
    assert await place.assigned() == 1
    key = await other.evaluate("window.thebe.server.settings.baseUrl")
    assert key == await page.evaluate("window.thebe.server.settings.baseUrl")
    assert [cookie["name"] for cookie in await reader.cookies(place.service.url)] == []


async def test_where_all_notebooks_are_in_use_it_waits_with_a_message_and_runs(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    taken = [await place.spawn() for _ in range(PLACES)]
    page = await activated(reader, pages[0])
    await says(page.locator(".thebe-status-message"), "All notebooks are in use")
    await asyncio.sleep(1)
    async with taken[0].client() as program:
        await program.delete(f"{place.service.url}/api/session/{taken[0].key}")
    await connected(page)
    await run(page, 1, "run 1")


async def test_a_run_before_there_is_a_kernel_waits_for_it(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await run(page, 0, "Hello")
    assert await place.assigned() == 1


async def test_a_page_that_starts_by_itself_runs_what_is_pressed_before_there_is_a_kernel(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await reader.new_page()
    await page.goto(pages[2])
    await run(page, 0, "Hello")
    assert await place.assigned() == 1


async def test_activate_that_is_pressed_twice_takes_one_notebook(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await reader.new_page()
    await page.goto(pages[0])
    await page.get_by_role("button", name="Activate").dblclick()
    await connected(page)
    await run(page, 0, "Hello")
    assert await place.assigned() == 1


async def test_where_no_notebook_could_be_had_the_next_run_gets_one(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    await reader.route("**/build/**", lambda route: route.abort())
    page = await reader.new_page()
    async with page.expect_console_message(lambda message: "Lost connection to binder" in message.text):
        await page.goto(pages[0])
        await page.get_by_role("button", name="Activate").click()
    await reader.unroute_all()
    await run(page, 0, "Hello")
    assert await place.assigned() == 1


async def test_a_notebook_that_does_not_answer_for_a_while_is_kept(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await connected(page)
    await run(page, 1, "run 1")
    paused = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "Authorization, *"}
    await reader.route("**/user/**", lambda route: route.fulfill(status=503, headers=paused))
    await page.evaluate(DISCONNECT)
    await page.locator(".thebe-run-button").nth(1).click()
    await asyncio.sleep(2)
    assert await place.assigned() == 1
    await reader.unroute_all()
    await run(page, 1, "run 3")
    assert await place.assigned() == 1


async def test_what_runs_together_keeps_its_order_after_a_disconnection(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await connected(page)
    waits = iter((1, 0.5))

    async def slowly(route: Route) -> None:
        await asyncio.sleep(next(waits, 0))
        await route.continue_()

    await reader.route("**/api/status*", slowly)
    await page.evaluate(DISCONNECT)
    await page.locator(".thebe-runall-button").first.click()
    await says(page.locator(".thebe-cell").nth(2).locator(".jp-OutputArea-output"), "of all x")


async def test_where_the_notebook_has_ended_the_next_run_gets_another(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await connected(page)
    await run(page, 1, "run 1")
    await run(page, 1, "run 2")
    other = await activated(reader, pages[1])
    await connected(other)
    for _ in range(2):
        await place.end_all()
        await asyncio.sleep(1)
        assert await place.assigned() == 0
        for button in await page.locator(".thebe-run-button").all():  # together they get one
            await button.click()
        await says(page.locator(".thebe-cell").nth(1).locator(".jp-OutputArea-output"), "run 1")
        await run(other, 1, "run 2")
        assert await place.assigned() == 1


async def test_where_the_kernel_has_ended_the_next_run_gets_another_in_the_same_notebook(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await connected(page)
    await run(page, 1, "run 1")
    await page.evaluate(END_KERNEL)
    await says(page.locator(".thebe-status-field"), "Session is dead")
    await run(page, 1, "run 2")
    assert await place.assigned() == 1


async def test_without_our_script_the_page_says_that_the_notebook_has_ended_and_a_reload_gets_another(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    await reader.route("**/live-cells.js", lambda route: route.abort())
    page = await activated(reader, pages[0])
    await connected(page)
    await run(page, 1, "run 1")
    await place.end_all()
    await page.locator(".thebe-cell").nth(1).locator(".thebe-run-button").click()
    await says(page.locator(".thebe-status-field"), "Session is dead")
    await page.reload()
    await page.get_by_role("button", name="Activate").click()
    await connected(page)
    await run(page, 1, "run 1")
    assert await place.assigned() == 1
