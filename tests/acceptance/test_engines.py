"""Chromium, Firefox and WebKit, as Debian has them: the click, the frame, live cells, and the notices."""

import asyncio
import contextlib
import html
import re
import ssl
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from selenium.webdriver.common.by import By

from tests.acceptance import fronts
from tests.acceptance.browsers import ENGINES, Person
from tests.acceptance.fronts import FRONTS
from tests.acceptance.harness import Service, chromium, free_port, running

pytestmark = [
    pytest.mark.engine,
    pytest.mark.engines,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

TLS = next(front for front in FRONTS if front.id == "nginx-told-tls")
THEBE = "0.9.3"
NOTICE = "return document.querySelector('tmppool-notice')?.shadowRoot?.textContent ?? ''"
OWNERS_LINK = "return document.querySelector('tmppool-notice').shadowRoot.querySelector('.about').href"
PRESS = "document.querySelector('tmppool-notice').shadowRoot.querySelector(arguments[0]).click()"
WITHOUT_PARTITIONS = {"webkit"}  # keeps no cookie of ours in a frame: docs/embedding.md


@dataclass
class World:
    """The service at ``nb``, a page author's site at ``docs``, which is listed, and one at ``other``, which is not.

    ``near`` and ``near_other`` are likewise, on the service's own site.
    """

    service: Service
    nb: str
    docs: str
    other: str
    stray: str  # another site than the three
    near: str
    near_other: str

    async def assigned(self) -> int:
        return int((await self.service.stats())["assigned"])

    async def given(self) -> list[dict[str, Any]]:
        """Return the notebooks that are assigned, as the operator sees them."""
        return [each for each in await self.service.notebooks() if each["state"] == "assigned"]

    async def end_all(self) -> None:
        async with self.service.operator() as session:
            for each in await self.given():
                await session.delete(f"{self.service.admin_url}/api/notebooks/{each['id']}")


async def _page(request: web.Request) -> web.Response:
    """Show the element that the query has, as a page author's page."""
    text = f"<!doctype html><html lang=en><meta charset=utf-8><title>Docs</title><h1>Docs</h1>{request.query['html']}</html>"
    return web.Response(text=text, content_type="text/html")


async def _third(request: web.Request) -> web.Response:
    """Set a cookie that is meant for any frame, and tell if it came back."""
    came = "third" in request.cookies
    again = "" if came or "again" in request.query else "<script>location.search = 'again'</script>"
    text = f"<!doctype html><title>third</title><p>{'a cookie came' if came else 'no cookie' if not again else '…'}</p>{again}"
    headers = {"Set-Cookie": "third=1; SameSite=None; Secure; Path=/"}
    return web.Response(text=text, content_type="text/html", headers=headers)


@contextlib.asynccontextmanager
async def opened(folder: Path, *options: str) -> AsyncIterator[World]:
    port = free_port()
    listed = (f"https://{name}.localhost:{port}" for name in ("docs", "near.nb"))
    common = ("--trusted-proxies=127.0.0.1", f"--embed-origins={','.join(listed)}", "--starts-per-hour=0")
    async with (
        running(folder, "docker", *common, *options) as service,
        fronts.opened(folder / "f", service.port, [TLS]) as (place,),
        site(port, folder / "f" / "both.pem", await thebe(folder)),
    ):
        names = {name: f"https://{name}.localhost:{port}" for name in ("docs", "other", "stray")}
        nearby = (f"https://{name}.nb.localhost:{port}" for name in ("near", "other"))
        yield World(service, f"https://nb.localhost:{place.port}", *names.values(), *nearby)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with opened(tmp_path_factory.mktemp("world"), "--pool-size=16", "--warm=2") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def world(lasting_world: World) -> AsyncIterator[World]:
    yield lasting_world
    await lasting_world.end_all()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with opened(tmp_path_factory.mktemp("hasty"), "--pool-size=3", "--warm=1", "--cull-timeout=60") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def hasty(lasting_hasty: World) -> AsyncIterator[World]:
    """A service whose notebooks are always about to end."""
    yield lasting_hasty
    await lasting_hasty.end_all()


async def thebe(folder: Path) -> Path:
    """Fetch thebe as npm has it; return where its files are."""
    command = ("npm", "pack", f"thebe@{THEBE}", "--silent", "--pack-destination", str(folder))
    made = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await made.wait() == 0
    with tarfile.open(folder / f"thebe-{THEBE}.tgz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "lib"


@contextlib.asynccontextmanager
async def site(port: int, certificate: Path, library: Path) -> AsyncIterator[None]:
    app = web.Application()
    app.add_routes([web.get("/", _page), web.get("/third", _third), web.static("/thebe", library)])
    runner = web.AppRunner(app)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def browse(engine: str, folder: Path, story: Callable[[Person], None]) -> None:
    """Let a person live the story, in a thread: selenium blocks."""

    def live() -> None:
        home = folder / engine
        home.mkdir()
        with ENGINES[engine](home) as driver:
            try:
                story(Person(driver))
            except BaseException:
                with contextlib.suppress(Exception):
                    driver.save_screenshot(str(folder / "failed.png"))
                raise

    await asyncio.to_thread(live)


def with_html(origin: str, element: str) -> str:
    return f"{origin}/?html={quote(element)}"


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_click_ends_in_an_executed_cell(engine: str, tmp_path: Path, world: World) -> None:
    before = await world.assigned()

    def story(person: Person) -> None:
        person.open(with_html(world.docs, f'<a href="{world.nb}/">try it live</a>'))
        person.press("a", "try it live")
        person.until(lambda: "/user/" in person.driver.current_url, "a notebook")
        person.run_cell("print(6 * 7, 'is the answer')", "42 is the answer")

    await browse(engine, tmp_path, story)
    assert await world.assigned() == before + 1


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_frame_of_a_listed_page_works_without_third_party_cookies(
    engine: str, tmp_path: Path, world: World
) -> None:
    before = await world.assigned()

    def story(person: Person) -> None:
        person.open(with_html(world.docs, f'<iframe src="{world.stray}/third"></iframe>'))
        person.enter_frame()
        person.find("p", "no cookie")  # so it is no frame's cookies that let this browser in

        person.open(with_html(world.docs, f'<iframe src="{world.nb}/" width="1000" height="700"></iframe>'))
        person.enter_frame()
        if engine in WITHOUT_PARTITIONS:
            person.find("h1", "Your notebook opens in a new tab")
            person.press("a", "Open in a new tab")
            person.enter_new_tab()
        person.run_cell("print(6 * 7, 'is the answer')", "42 is the answer")

    await browse(engine, tmp_path, story)
    assert await world.assigned() == before + 1


async def test_a_file_in_a_cells_output_is_shown_in_a_frame_too(tmp_path: Path, world: World) -> None:
    """Jupyter sends a policy of its own with each file."""
    show = "from IPython.display import IFrame, display; display(IFrame('a.html', 300, 100))"

    def story(person: Person) -> None:
        person.open(with_html(world.docs, f'<iframe src="{world.nb}/" width="1000" height="700"></iframe>'))
        person.enter_frame()
        person.run_cell(f"print(open('a.html', 'w').write('<p>a file')); {show}", "9")
        person.driver.switch_to.frame(person.find(".jp-OutputArea iframe"))
        person.find("p", "a file")

    await browse("chromium", tmp_path, story)


@pytest.mark.parametrize("element", ["object data", "embed src"])
async def test_other_elements_show_a_notebook_as_frames_do(tmp_path: Path, world: World, element: str) -> None:
    before = await world.assigned()
    name, _, source = element.partition(" ")

    def story(person: Person) -> None:
        person.open(with_html(world.docs, f'<{name} {source}="{world.nb}/" width="1000" height="700"></{name}>'))
        person.enter_frame(name)
        person.find(".jp-CodeCell .cm-content")

    await browse("chromium", tmp_path, story)
    assert await world.assigned() == before + 1


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_frame_below_the_fold_takes_nothing_until_a_reader_scrolls_to_it(
    engine: str, tmp_path: Path, world: World
) -> None:
    """Browsers load lazy frames ahead of the reader, each by a distance of its own; this frame is loaded at once."""
    before = await world.assigned()
    loop = asyncio.get_running_loop()
    frame = f'<iframe src="{world.nb}/" width="1000" height="700"></iframe>'

    def story(person: Person) -> None:
        person.open(with_html(world.docs, f'<div style="height: 2000px"></div>{frame}'))
        person.enter_frame()
        person.until(lambda: person.text("return document.documentElement.dataset.state") == "wait", "the launch page")
        time.sleep(3)
        assert person.text("return document.documentElement.dataset.state") == "wait"
        assert asyncio.run_coroutine_threadsafe(world.assigned(), loop).result(10) == before
        person.driver.switch_to.default_content()
        person.driver.execute_script("document.querySelector('iframe').scrollIntoView()")
        person.enter_frame()
        if engine in WITHOUT_PARTITIONS:
            person.find("h1", "Your notebook opens in a new tab")
        else:
            person.find(".jp-CodeCell .cm-content")

    await browse(engine, tmp_path, story)
    assert await world.assigned() == before + (engine not in WITHOUT_PARTITIONS)


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in WITHOUT_PARTITIONS])
async def test_a_fresh_notebook_takes_the_place_of_one_that_ended_in_its_frame(
    engine: str, tmp_path: Path, hasty: World
) -> None:
    loop = asyncio.get_running_loop()

    def story(person: Person) -> None:
        person.open(with_html(hasty.docs, f'<iframe src="{hasty.nb}/" width="1000" height="700"></iframe>'))
        person.enter_frame()
        person.find(".jp-CodeCell .cm-content")
        asyncio.run_coroutine_threadsafe(hasty.end_all(), loop).result(10)
        person.until(lambda: "This notebook has ended" in person.text(NOTICE), "the notice that it has ended")
        person.driver.execute_script(PRESS, ".end .go")
        person.until(lambda: person.driver.switch_to.default_content() or True, "the page around it")
        person.find("h1", "Docs")
        person.enter_frame()
        person.until(lambda: "notebook has ended" not in person.text(NOTICE), "another page")
        person.find(".jp-CodeCell .cm-content")

    await browse(engine, tmp_path, story)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_page_that_is_not_listed_shows_no_notebook_in_a_frame(
    engine: str, tmp_path: Path, world: World
) -> None:
    before = await world.assigned()

    def story(person: Person) -> None:
        person.open(world.nb)
        person.until(lambda: "/user/" in person.driver.current_url, "a notebook")
        for url in (world.nb, person.driver.current_url):
            person.open(with_html(world.other, f'<iframe src="{url}"></iframe>'))
            person.enter_frame()
            for _ in range(10):
                time.sleep(0.3)
                assert not person.driver.find_elements(
                    By.CSS_SELECTOR, "main, #start, .jp-LabShell, #jp-MainArea, #main"
                )

    await browse(engine, tmp_path, story)
    assert await world.assigned() == before + 1


def key(person: Person) -> str:
    """Return the key of the notebook that the tab or frame comes to show."""
    in_url = "return location.href.match('/user/([^/]+)/')?.[1]"
    return person.until(lambda: person.driver.execute_script(in_url), "a notebook")


async def test_frames_of_one_page_that_start_at_once_show_one_notebook(world: World) -> None:
    """A private window of Chromium refuses a lock to frames of another site: they cannot take turns by themselves."""
    frames = f'<iframe src="{world.nb}/" width="400" height="220"></iframe>' * 4
    async with chromium() as browser:
        for _ in range(2):
            before = await world.assigned()
            context = await browser.new_context(ignore_https_errors=True)
            page = await context.new_page()
            await page.goto(with_html(world.docs, frames))
            for frame in page.frames[1:]:
                await frame.wait_for_url("**/user/**", wait_until="commit")
            assert len({frame.url.split("/user/")[1][:22] for frame in page.frames[1:]}) == 1
            assert await world.assigned() == before + 1
            await context.close()


@pytest.mark.parametrize("engine", ENGINES)
async def test_frames_on_the_services_own_site_leave_a_tab_its_notebooks(
    engine: str, tmp_path: Path, world: World
) -> None:
    loop = asyncio.get_running_loop()
    link = f"{world.nb}/lab/tree/welcome.ipynb"
    frame = f'<iframe src="{link}" width="1000" height="700"></iframe>'

    def in_tab(person: Person) -> str:
        person.open(link)
        return key(person)

    def in_frame(person: Person) -> str:
        person.open(with_html(world.near, frame))
        person.enter_frame()
        return key(person)

    def end(person: Person) -> None:
        asyncio.run_coroutine_threadsafe(world.end_all(), loop).result(10)
        person.open("about:blank")

    def story(person: Person) -> None:
        person.open(with_html(world.near_other, frame))
        time.sleep(3)  # it shows nothing, whatever it does
        for _ in range(3):
            in_tab(person)
            end(person)
        for _ in range(0 if engine in WITHOUT_PARTITIONS else 2):
            framed, shown = in_frame(person), in_tab(person)
            assert (in_frame(person), in_tab(person)) == (framed, shown)
            assert framed != shown
            end(person)

    await browse(engine, tmp_path, story)


@pytest.mark.parametrize("tight", ["allow-scripts", "allow-scripts allow-forms", "allow-forms"])
async def test_a_sandbox_that_is_too_tight_says_what_its_page_has_to_change(
    tight: str, tmp_path: Path, world: World
) -> None:
    before = await world.assigned()

    def story(person: Person) -> None:
        person.open(with_html(world.docs, f'<iframe sandbox="{tight}" src="{world.nb}/"></iframe>'))
        person.enter_frame()
        if "allow-scripts" not in tight:
            person.press("#start button")
        person.find("main", "allow-same-origin")

    await browse("chromium", tmp_path, story)
    assert await world.assigned() == before


async def live_cells(world: World) -> str:
    """Return what ``/embed`` gives for live cells, with thebe from the page author's own site."""
    page = f"{world.service.url}/embed?document=intro.ipynb&as=live"
    front = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": world.nb.partition("://")[2]}
    async with aiohttp.ClientSession(headers=front) as session, session.get(page) as reply:
        found = re.search(
            r'<textarea [^>]*aria-label="HTML and Markdown"[^>]*>\n(.*?)</textarea>', await reply.text(), re.DOTALL
        )
    assert found
    return re.sub(r"https://[^\"]*/thebe@[0-9.]+/lib", "/thebe", html.unescape(found[1]))


@pytest.mark.parametrize("engine", ENGINES)
async def test_live_cells_run_by_thebe(engine: str, tmp_path: Path, world: World) -> None:
    before = await world.assigned()
    snippet = await live_cells(world)

    def story(person: Person) -> None:
        person.open(with_html(world.docs, snippet))
        for _ in range(2):
            person.press(".thebe-activate-button")
            person.press(".thebe-run-button")  # as a reader does, who does not wait for the kernel
            person.find(".jp-OutputArea-output", "Hello")
            person.driver.refresh()  # the same reader, and so the same notebook

    await browse(engine, tmp_path, story)
    assert await world.assigned() == before + 1


@pytest.mark.parametrize("engine", ENGINES)
async def test_the_notices_come_a_person_is_seen_and_the_end_is_told(engine: str, tmp_path: Path, hasty: World) -> None:
    loop = asyncio.get_running_loop()

    def only() -> dict[str, Any]:
        (found,) = asyncio.run_coroutine_threadsafe(hasty.given(), loop).result(10)
        return found

    def story(person: Person) -> None:
        def until_seen_after(act: Callable[[], Any]) -> None:
            person.until(lambda: only()["idle_for"] > 17, "a quiet time")  # reports come every 15 s at most
            act()
            person.until(lambda: only()["idle_for"] < 4, "a report that a person is here")

        person.open(hasty.nb)
        person.run_cell("print(6 * 7)", "42")
        person.until(lambda: "ends in" in person.text(NOTICE), "the notice that it ends soon")
        assert "/session/" in person.text(OWNERS_LINK)
        until_seen_after(lambda: person.press(".jp-CodeCell .cm-content"))
        until_seen_after(lambda: person.driver.execute_script(PRESS, ".hint .go"))  # "Keep it"
        asyncio.run_coroutine_threadsafe(hasty.end_all(), loop).result(10)
        person.until(lambda: "This notebook has ended" in person.text(NOTICE), "the notice that it has ended")
        person.driver.execute_script(PRESS, ".end .go")
        person.until(lambda: "notebook has ended" not in person.text(NOTICE), "another page")
        person.find(".jp-CodeCell .cm-content")

    await browse(engine, tmp_path, story)
