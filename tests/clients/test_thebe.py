"""thebe 0.9 on a plain page at another host, as /embed gives it to authors."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, Route

from tests.acceptance.harness import Taken
from tests.acceptance.test_starting import UNSEEN
from tests.clients import stage
from tests.clients.stage import PLACES, World, allowed, published, says

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


async def lesson(place: World, settings: str = "") -> str:
    """Return a page with three live cells, and with these settings of thebe's before those of /embed."""
    snippet = await place.snippet("HTML and Markdown", document="course/first.ipynb", **{"as": "live"})
    assert "unpkg.com/thebe@0.9.3/" in snippet
    cells = f'<pre data-executable="true">{COUNT}</pre><pre data-executable="true">print("of all", open("runs").read())</pre>'
    page = f'<!doctype html><meta charset="utf-8"><title>Lesson</title>{snippet}{cells}'
    assert '"binderOptions"' in page
    return page.replace('"binderOptions"', f'{settings}"binderOptions"', 1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pages(place: World) -> list[str]:
    """Return the addresses of two pages with the same live cells, and of one where they need no click."""
    settings = {"one.html": "", "two.html": "", "by-itself.html": '"bootstrap": true, '}
    return [place.site.write(name, await lesson(place, more)) for name, more in settings.items()]


async def activated(reader: BrowserContext, url: str) -> Page:
    page = await reader.new_page()
    await page.goto(url)
    await page.get_by_role("button", name="Activate").click()
    return page


async def connected(page: Page) -> None:
    await page.locator(".thebe-status-field").filter(has_text="Kernel Connected").wait_for(timeout=60_000)


async def press_run(page: Page, number: int) -> None:
    await page.locator(".thebe-cell").nth(number).locator(".thebe-run-button").click()


async def press_activate(page: Page) -> None:
    await page.get_by_role("button", name="Activate").click()


async def run(page: Page, number: int, wanted: str) -> None:
    await press_run(page, number)
    await puts_out(page, number, wanted)


async def puts_out(page: Page, number: int, wanted: str) -> None:
    await says(page.locator(".thebe-cell").nth(number).locator(".jp-OutputArea-output"), wanted)


async def fails(page: Page, why: str) -> None:
    """Wait until thebe's status says so."""
    await says(page.locator(".thebe-status-field"), "Failed to connect to server")
    await says(page.locator(".thebe-status-message"), why)


async def without_posts(route: Route) -> None:
    await (route.abort() if route.request.method == "POST" else route.continue_())


async def end(place: World, taken: Taken) -> None:
    async with taken.client() as program:
        await program.delete(f"{place.service.url}/api/session/{taken.key}")


@contextlib.asynccontextmanager
async def full(place: World) -> AsyncIterator[None]:
    """Let programs hold all notebooks until the block ends, and see that all who waited for one have one then."""
    taken = [await place.spawn() for _ in range(PLACES)]
    yield
    for each in taken:
        await end(place, each)
    await place.service.until(lambda stats: stats["warm"] >= PLACES - 1)


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
    async with full(place):
        page = await activated(reader, pages[0])
        await says(page.locator(".thebe-status-message"), "All notebooks are in use")
        await asyncio.sleep(1)
    await connected(page)
    await run(page, 1, "run 1")


async def test_pages_that_ask_at_once_get_one_notebook_together(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    async with full(place):
        page = await activated(reader, pages[0])
        await says(page.locator(".thebe-status-message"), "All notebooks are in use")
        other = await activated(reader, pages[1])
        await says(other.locator(".thebe-status-message"), "Waiting for another page of this site")
    await connected(page)
    await connected(other)
    await run(page, 1, "run 1")
    await run(other, 1, "run 2")
    assert await place.assigned() == 1


async def test_where_none_is_warm_it_says_that_one_is_starting(tmp_path: Path) -> None:
    async with stage.world(tmp_path, "--warm=1") as place:
        page = await (await place.reader()).new_page()
        await page.goto(place.site.write("lesson.html", await lesson(place)))
        await place.spawn()
        await press_activate(page)
        await says(page.locator(".thebe-status-message"), "A notebook is starting…")
        await connected(page)
        await run(page, 1, "run 1")


async def test_another_reader_of_the_page_gets_a_notebook_of_their_own(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await run(page, 1, "run 1")
    other = await place.reader()
    theirs = await activated(other, pages[0])
    await run(theirs, 1, "run 1")
    base = "window.thebe.server.settings.baseUrl"
    assert await theirs.evaluate(base) != await page.evaluate(base)
    assert await place.assigned() == 2
    await other.close()


async def test_a_page_that_is_not_listed_says_that_it_may_not(
    place: World, reader: BrowserContext, tmp_path: Path
) -> None:
    async with published(tmp_path / "other", "other.localhost") as site:
        await allowed(reader, site.url)
        page = await activated(reader, site.write("lesson.html", await lesson(place)))
        await fails(page, f"Pages of {site.url} may not start notebooks here")
    assert await place.assigned() == 0


async def test_where_no_other_may_be_started_the_next_run_says_why(tmp_path: Path) -> None:
    async with stage.world(tmp_path, "--starts-per-hour=1") as place:
        url = place.site.write("lesson.html", await lesson(place))
        page = await activated(await place.reader(), url)
        await run(page, 1, "run 1")
        await place.end_all()
        await press_run(page, 1)
        await fails(page, "Many notebooks were started from your network address")
        other = await activated(await place.reader(), url)
        await fails(other, "Many notebooks were started from your network address")


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


@pytest.mark.parametrize(
    ("state", "event"),
    [("{ visibilityState: 'hidden' }", "visibilitychange"), ("{ prerendering: true }", "prerenderingchange")],
)
async def test_a_page_that_starts_by_itself_takes_nothing_until_it_is_seen(
    place: World, pages: list[str], reader: BrowserContext, state: str, event: str
) -> None:
    page = await reader.new_page()
    await page.add_init_script(UNSEEN.replace("STATE", state))
    await page.goto(pages[2])
    await asyncio.sleep(2)
    assert await place.assigned() == 0
    await page.evaluate(f"window.seen = true; document.dispatchEvent(new Event('{event}'))")
    await run(page, 0, "Hello")


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


async def test_a_reload_while_the_service_is_away_forgets_no_notebook(
    place: World, pages: list[str], reader: BrowserContext
) -> None:
    page = await activated(reader, pages[0])
    await run(page, 1, "run 1")
    service = re.compile(r"/(?:build|user)/")
    await reader.route(service, lambda route: route.abort())
    await page.reload()
    await press_activate(page)
    await fails(page, "Lost connection to binder")
    await reader.unroute(service)
    await run(page, 1, "run 2")
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


@pytest.mark.parametrize(
    "order", [(press_activate, press_run), (press_run, press_activate)], ids=["Activate first", "run first"]
)
async def test_activate_and_run_after_the_end_take_one_notebook(
    place: World, pages: list[str], reader: BrowserContext, order: tuple[Callable[..., Awaitable[None]], ...]
) -> None:
    page = await activated(reader, pages[0])
    await run(page, 1, "run 1")
    await run(page, 1, "run 2")
    await place.end_all()
    async with full(place):
        for press in order:
            await press(page, *([1] if press is press_run else []))
        await says(page.locator(".thebe-status-message"), "All notebooks are in use")
    await puts_out(page, 1, "run 1")
    assert await place.assigned() == 1


async def test_activate_and_run_take_one_notebook_where_the_settings_ask_for_no_kernel(
    place: World, reader: BrowserContext
) -> None:
    url = place.site.write("no-kernel.html", await lesson(place, '"requestKernel": false, '))
    async with full(place):
        page = await activated(reader, url)
        await press_run(page, 1)
        await press_activate(page)
        await says(page.locator(".thebe-status-message"), "All notebooks are in use")
    await puts_out(page, 1, "run 1")
    assert await place.assigned() == 1


async def test_a_notebook_whose_kernel_did_not_start_is_used_by_the_next_run(
    place: World, reader: BrowserContext
) -> None:
    settings = '"savedSessionOptions": {"enabled": false}, '
    page = await activated(reader, place.site.write("forgets.html", await lesson(place, settings)))
    await run(page, 1, "run 1")
    await run(page, 1, "run 2")
    await place.end_all()
    sessions = re.compile(r"/api/sessions\b")
    await reader.route(sessions, without_posts)
    await press_run(page, 1)
    await fails(page, "Failed to fetch")
    await reader.unroute(sessions)
    await run(page, 1, "run 1")
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
