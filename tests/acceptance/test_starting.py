"""Who may start a notebook, seen in a real browser: the pages, their policy, and what takes nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from playwright.async_api import Browser, BrowserContext, Page

from tests.acceptance.harness import Service, chromium, running
from tests.web.guests import Place, opened

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

LINK = "/lab/tree/day%201/first%20steps.ipynb"
LISTEN = "addEventListener('securitypolicyviolation', e => (window.violated ||= []).push(e.effectiveDirective))"
UNSEEN = """
  for (const [name, value] of Object.entries(STATE))
    Object.defineProperty(document, name, { configurable: true, get: () => window.seen ? SEEN[name] : value });
  const SEEN = { visibilityState: 'visible', prerendering: false };
"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


@pytest.fixture
async def open_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Open the service in this process, with settings of the test's own and fake notebooks."""
    async with contextlib.AsyncExitStack() as stack:
        number = 0

        async def open_one(**settings: Any) -> Place:
            nonlocal number
            number += 1
            return await stack.enter_async_context(opened(tmp_path / f"state{number}", monkeypatch, **settings))

        yield open_one


async def code_of_page(page: Page) -> None:
    await page.get_by_label("Workshop code").wait_for()


# From the command line to the click


async def test_a_class_behind_one_address_gets_in_with_the_code(browser: Browser, tmp_path: Path) -> None:
    options = ("--pool-size=8", "--starts-per-hour=1", "--workshop-code=monday")
    async with running(tmp_path, "fake", *options, warm=8) as service:
        await visit(browser, service, "/")
        limited = await (await browser.new_context()).new_page()
        await limited.goto(service.url + LINK)
        await code_of_page(limited)
        assert "Too many starts from your network" in await limited.inner_text("h1")

        await limited.get_by_label("Workshop code").fill("tuesday")
        await limited.keyboard.press("Enter")
        await limited.get_by_text("Wrong workshop code").first.wait_for()
        assert await limited.evaluate("document.activeElement.name") == "code"
        await limited.keyboard.type("monday")
        await limited.get_by_role("button").click()
        await limited.wait_for_url("**/user/**")
        assert limited.url.endswith(LINK)

        linked = await asyncio.gather(*(visit(browser, service, f"{LINK}?code=monday&x=1") for _ in range(4)))
        assert all(page.url.endswith(f"{LINK}?x=1") for page in linked)
        assert (await service.stats())["assigned"] == 6
        assert "monday" not in service.log
        assert "tuesday" not in service.log


async def visit(browser: Browser, service: Service | Place, link: str) -> Page:
    page = await (await browser.new_context()).new_page()
    await page.goto(service.url + link)
    await page.wait_for_url("**/user/**")
    return page


async def test_a_double_click_and_the_way_back_take_one_notebook(browser: Browser, open_place: Any) -> None:
    place = await open_place()
    for has_script in (False, True):
        context = await browser.new_context(java_script_enabled=has_script)
        page = await context.new_page()
        before = (await place.stats())["assigned"]
        await page.goto(place.url + LINK)
        if not has_script:
            await page.get_by_role("button").dblclick()
        async with asyncio.timeout(30):
            while "/user/" not in page.url:  # the second click stops the first one's navigation
                await asyncio.sleep(0.1)
        await page.wait_for_load_state()
        url = page.url
        with contextlib.suppress(Exception):  # the launch page leads forward again while the way back is under way
            await page.go_back(wait_until="commit")
        await asyncio.sleep(0.5)
        await page.goto(place.url + LINK)
        await page.wait_for_url(url)
        assert (await place.stats())["assigned"] == before + 1


async def test_who_finds_no_notebook_free_is_told_what_to_do(browser: Browser, open_place: Any) -> None:
    place = await open_place(pool_size=1)
    assert (await place.person().click()).status == 303
    by_itself, by_hand = "This page tries again by itself.", "Please try again in"
    for has_script, said, unsaid in ((True, by_itself, by_hand), (False, by_hand, by_itself)):
        page = await (await browser.new_context(java_script_enabled=has_script)).new_page()
        await page.goto(place.url + LINK)
        if not has_script:
            await page.get_by_role("button").click()
        await page.get_by_role("heading", name="All notebooks are in use").wait_for()
        if has_script:
            await page.get_by_text("Trying again in").wait_for()
        text = await page.inner_text("main")
        assert (said in text, unsaid in text) == (True, False)


async def test_the_code_of_a_link_reaches_no_notebook(browser: Browser, open_place: Any) -> None:
    place = await open_place(workshop_code="monday-code", pool_size=1)
    page = await (await browser.new_context()).new_page()
    await page.goto(f"{place.url}{LINK}?code=monday-code")
    await page.wait_for_url("**/user/**")
    (notebook,) = place.backend.notebooks.values()
    seen = "".join([*notebook.requests, *(f"{fields}" for fields in notebook.headers)])
    assert "first%20steps.ipynb" in seen
    assert "monday-code" not in seen
    assert "monday-code" not in await page.evaluate("document.referrer")


# Who does not look takes nothing


@pytest.mark.parametrize(
    ("state", "event"),
    [
        ("{ visibilityState: 'hidden' }", "visibilitychange"),
        ("{ prerendering: true }", "prerenderingchange"),
        ("{ prerendering: true, visibilityState: 'hidden' }", "prerenderingchange"),
    ],
)
async def test_a_page_that_nobody_sees_starts_nothing_until_it_is_seen(
    browser: Browser, open_place: Any, state: str, event: str
) -> None:
    place = await open_place()
    page = await (await browser.new_context()).new_page()
    await page.add_init_script(UNSEEN.replace("STATE", state))
    await page.goto(place.url + LINK)
    await page.wait_for_function("document.documentElement.dataset.state === 'wait'")
    await asyncio.sleep(0.5)
    assert (await place.stats())["assigned"] == 0
    await page.evaluate(f"window.seen = true; document.dispatchEvent(new Event('{event}', {{bubbles: true}}))")
    await page.wait_for_url("**/user/**")


@contextlib.asynccontextmanager
async def embedding(open_place: Any, html: str, host: str = "127.0.0.1") -> AsyncIterator[tuple[str, Place]]:
    """A listed page at this host, and the service, whose URL stands for ``{url}`` in the page.

    The default is the service's own site, so that cookies are kept over http.
    """

    async def docs(request: web.BaseRequest) -> web.Response:
        return web.Response(text=html.replace("{url}", place.url), content_type="text/html")

    async with RawTestServer(docs) as server:
        origin = f"http://{host}:{server.port}"
        place = await open_place(embed_origins=(origin,))
        yield origin, place


async def test_a_tall_frame_starts_as_soon_as_a_strip_of_it_is_in_view_and_keeps_the_fragment(
    browser: Browser, open_place: Any
) -> None:
    """Over plain http a frame on another site gets no cookies, so it ends in the link to a new tab."""
    frame = '<iframe src="{url}' + LINK + '#Part-2" width="700" height="1500"></iframe>'
    html = f'<!doctype html><body style="margin: 0"><div style="height: 600px"></div>{frame}'
    async with embedding(open_place, html, host="localhost") as (origin, place):
        page = await (await browser.new_context(viewport={"width": 800, "height": 600})).new_page()
        await page.goto(origin)
        framed = page.frames[1]
        await framed.wait_for_function("document.documentElement.dataset.state === 'wait'")
        await asyncio.sleep(1)
        assert await framed.evaluate("document.documentElement.dataset.state") == "wait"  # it touches the view
        await page.evaluate("scrollTo(0, 100)")
        link = framed.get_by_role("link", name="Open in a new tab")
        await link.wait_for()
        assert str(await link.get_attribute("href")).endswith(f"{LINK}#Part-2")
        assert (await place.stats())["assigned"] == 0


async def test_a_tiny_frame_takes_nothing_until_it_is_large_enough_to_be_used(
    browser: Browser, open_place: Any
) -> None:
    async with embedding(open_place, '<iframe src="{url}/lab" width="1" height="1"></iframe>') as (origin, place):
        page = await (await browser.new_context()).new_page()
        await page.goto(origin)
        await asyncio.sleep(1)
        assert (await place.stats())["assigned"] == 0
        await page.evaluate("Object.assign(document.querySelector('iframe'), { width: 300, height: 150 })")
        await page.frames[1].wait_for_url("**/user/**")
        assert (await place.stats())["assigned"] == 1


async def test_a_crawler_that_runs_scripts_takes_nothing_and_a_person_may_press(
    browser: Browser, open_place: Any
) -> None:
    place = await open_place()
    context = await browser.new_context(user_agent="Mozilla/5.0 (compatible; Googlebot/2.1) Chrome/126.0 Safari/537.36")
    page = await context.new_page()
    # What looks at the page before it submits counts as a gesture of a person's.
    async with page.expect_response(lambda reply: reply.request.method == "POST"):
        await page.goto(place.url + LINK)
    await page.get_by_text("Notebooks here are for people").wait_for()
    assert (await place.stats())["assigned"] == 0
    await page.get_by_role("button").click()
    await page.wait_for_url("**/user/**")


# The limited page by itself


@pytest.fixture
async def limited(browser: Browser, open_place: Any) -> tuple[Page, Place, list[str]]:
    """A page that waits for an hour, and what it asked for since."""
    place = await open_place(starts_per_hour=1, workshop_code="monday")
    assert (await place.person().click()).status == 303
    page = await (await browser.new_context()).new_page()
    await page.clock.install()
    asked: list[str] = []
    await page.goto(f"{place.url}{LINK}#Last-Section")
    await page.get_by_text("This page will try again then").wait_for()
    page.on("request", lambda request: request.is_navigation_request() and asked.append(request.method))
    return page, place, asked


async def test_a_limited_page_tries_again_by_itself_with_a_ticket_that_is_young(
    limited: tuple[Page, Place, list[str]],
) -> None:
    page, _, asked = limited
    await page.clock.fast_forward("57:00")  # two minutes before, it begins to count
    assert asked == []
    assert "Trying again in" not in await page.inner_text("main")
    await page.clock.fast_forward("04:00")
    async with asyncio.timeout(60):
        while asked != ["GET", "POST"]:
            await asyncio.sleep(0.05)
    await page.get_by_text("This page will try again then").wait_for()
    assert "open for too long" not in await page.inner_text("main")
    assert page.url.endswith(f"{LINK}#Last-Section")


async def test_who_types_a_code_is_not_sent_off_in_the_middle_of_it(limited: tuple[Page, Place, list[str]]) -> None:
    page, _, asked = limited
    await page.get_by_label("Workshop code").press_sequentially("mon")
    assert await page.get_by_role("button").inner_text() == "Start with the code"
    await page.clock.fast_forward("02:00:00")
    await asyncio.sleep(0.3)
    assert asked == []
    assert "again" not in await page.inner_text("main")
    await page.get_by_label("Workshop code").press_sequentially("day")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/user/**")
    assert asked[:1] == ["POST"]


# The service starts anew


async def test_a_page_that_tries_again_waits_for_a_service_that_does_not_answer(
    browser: Browser, tmp_path: Path
) -> None:
    async with running(tmp_path, "fake", "--pool-size=1", "--on-exit=stop") as service:
        await service.spawn()
        pages = [await (await browser.new_context()).new_page() for _ in range(2)]
        for page in pages:
            await page.clock.install()
            await page.goto(service.url + LINK)
            await page.get_by_text("Trying again in").wait_for()
        await service.stop()
        waits, pressed = pages
        for page in pages:
            await page.clock.fast_forward("05:00")
            await page.get_by_text("The service does not answer at the moment").wait_for()
        with contextlib.suppress(Exception):
            await pressed.get_by_role("button").click()
        async with asyncio.timeout(10):
            while not pressed.url.startswith("chrome-error"):  # what a person does is not held back
                await asyncio.sleep(0.1)
        await waits.clock.fast_forward("01:00")
        await asyncio.sleep(1)
        assert waits.url == service.url + "/spawn" + LINK
        await service.start()
        await waits.wait_for_url("**/user/**", timeout=60_000)


async def test_a_redirect_to_a_login_is_an_answer(browser: Browser, tmp_path: Path) -> None:
    """As of a proxy in front whose login has expired while the page waited."""
    async with running(tmp_path, "fake", "--pool-size=1", "--on-exit=stop") as service:
        await service.spawn()
        page = await (await browser.new_context()).new_page()
        await page.clock.install()
        await page.goto(service.url + LINK)
        await page.get_by_text("Trying again in").wait_for()
        login = {"Location": "https://login.example.org/"}
        await page.route("**/launch.js*", lambda route: route.fulfill(status=302, headers=login))
        async with page.expect_request(lambda request: request.method == "POST"):
            await page.clock.fast_forward("05:00")


# The owner's page


async def test_in_a_frame_on_anothers_page_no_button_leads_to_a_page_that_knows_no_owner(
    browser: Browser, open_place: Any
) -> None:
    async with embedding(open_place, '<iframe src="{url}/lab" width="700" height="500"></iframe>') as (origin, place):
        page = await (await browser.new_context()).new_page()
        tab = await visit(browser, place, "/lab")
        for opened_page, is_shown in ((tab, True), (page, False)):
            async with opened_page.expect_response("**/api/session/*"):
                await opened_page.goto(opened_page.url if is_shown else origin)
            await asyncio.sleep(0.5)
            button = opened_page.frames[-1].locator("tmppool-notice .about")
            assert await button.count() == is_shown


async def test_an_owner_copies_the_link_that_shares(browser: Browser, open_place: Any) -> None:
    place = await open_place()
    page = await visit(browser, place, LINK)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=place.url)
    await page.goto(f"{place.url}/session/{page.url.split('/')[4]}")
    await page.get_by_role("button", name="Make a link").click()
    await page.get_by_role("button", name="Copy", exact=True).click()
    await page.get_by_text("Copied.").wait_for()
    link = await page.get_by_label("Link that shares this notebook").input_value()
    assert await page.evaluate("navigator.clipboard.readText()") == link
    assert "?token=" in link


# Every page of ours under its policy


class Watch:
    """A browser profile whose pages tell of every breach of a policy."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        context.on("console", lambda message: self.hear(message.text))
        context.on("weberror", lambda error: self.hear(str(error.error)))

    def hear(self, text: str) -> None:
        if "Failed to load resource" not in text:  # what a browser says of each status from 400 on
            self.complaints.append(text)


PAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "launch": ({}, "GET /", "Your notebook"),
    "launch of a document": ({}, f"GET {LINK}", "Your notebook"),
    "launch after a bad ticket": ({}, "POST /spawn", "button again"),
    "framed": ({"embed_origins": ("*",)}, "POST /spawn framed", "opens in a new tab"),
    "launch for a crawler": ({"user_agent": "Slackbot"}, "GET /", "for people"),
    "limited": ({"starts_per_hour": 1, "used": 1}, "GET /", "Too many starts"),
    "limited with a field": ({"starts_per_hour": 1, "used": 1, "workshop_code": "monday"}, f"GET {LINK}", "Workshop code"),
    "wrong code": ({"workshop_code": "monday"}, "GET /?code=tuesday", "Wrong workshop code"),
    "full": ({"pool_size": 1, "used": 1}, "GET /", "All notebooks are in use"),
    "warming": ({"fake": {"delay": 60.0}}, "GET /", "Warming up"),
    "gone": ({}, f"GET /user/{'x' * 22}/lab/tree/a.ipynb", "Notebook not found"),
    "error": ({}, "GET /nowhere", "Status 404"),
    "embed": ({"embed_origins": ("*",)}, "GET /embed?document=intro.ipynb&as=live", "Once for a whole site"),
    "home": ({}, "GET /hub/home", "Your notebooks"),
    "session": ({}, "GET /session/{own}", "Share with others"),
    "claim": ({}, "GET {taken}lab/tree/a.ipynb?token={token}", "Open this notebook?"),
    "foreign": ({}, "GET /user/{other}/lab", "belongs to another browser"),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
async def test_every_page_keeps_to_its_policy_and_the_policy_is_enforced(
    browser: Browser, open_place: Any, name: str
) -> None:
    settings, ask, shown = PAGES[name]
    settings = dict(settings)
    used, user_agent = settings.pop("used", 0), settings.pop("user_agent", None)
    place = await open_place(**settings)
    for _ in range(used):
        assert (await place.person().click()).status == 303
    watch = Watch(await browser.new_context(user_agent=user_agent))
    page = await watch.context.new_page()
    await page.add_init_script(LISTEN)
    method, path, *fields = ask.split(" ")
    if shown in ("Your notebook", "button again"):  # before it is on its way
        await page.add_init_script(UNSEEN.replace("STATE", "{ visibilityState: 'hidden' }"))
    if "{own}" in path:
        await page.goto(place.url + LINK)
        await page.wait_for_url("**/user/**")
        path = path.format(own=page.url.split("/")[4])
    elif "{taken}" in path:
        given = (await place.stranger().post("/api/spawn")).json
        path = path.format(taken=given["url"], token=given["token"])
    elif "{other}" in path:
        path = path.format(other=(await place.person().click()).headers["Location"].split("/")[2])
    await page.goto(place.url + (path if method == "GET" else "/nowhere"))
    if method == "POST":
        await page.evaluate(
            f"const f = document.createElement('form'); f.method = 'post'; f.action = '{path}'; for (const name of {fields})"
            " { const i = document.createElement('input'); i.name = name; f.append(i); } document.body.append(f); f.submit()"
        )
    await until_shown(page, shown, is_crawlers=user_agent is not None)
    await page.evaluate("dispatchEvent(new Event('pagehide'))")  # no other try of the page's own while it is looked at
    await page.wait_for_load_state("networkidle")
    assert await page.evaluate("document.styleSheets[0].cssRules.length") > 10
    assert await page.evaluate("window.violated || []") == []
    assert watch.complaints == []

    for attempt in INJECTIONS.values():
        await page.evaluate(f"({attempt})()")
    await wait_until(page, "(window.violated || []).length >= 5")
    assert await page.evaluate("window.ran") is None
    violated = set(await page.evaluate("window.violated"))
    assert violated >= {"script-src-elem", "script-src-attr", "style-src-elem", "connect-src", "img-src"}


async def until_shown(page: Page, text: str, *, is_crawlers: bool) -> None:
    if is_crawlers:  # what a test asks of its page before the form is sent would count as a gesture of the crawler's
        await page.wait_for_url("**/spawn")
    await page.get_by_text(text).first.wait_for()


INJECTIONS = {
    "a script in the page": "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s) }",
    "a handler": "() => { const b = document.createElement('b'); b.setAttribute('onclick', 'window.ran = 2'); document.body.append(b); b.click() }",
    "a style": "() => { const s = document.createElement('style'); s.textContent = 'body{display:none}'; document.body.append(s) }",
    "a request elsewhere": "() => { fetch('http://127.0.0.1:1/').catch(() => 0) }",
    "a picture elsewhere": "() => { new Image().src = 'http://127.0.0.1:1/' }",
}


async def wait_until(page: Page, condition: str) -> None:
    """Ask again and again: a page under this policy cannot evaluate a string itself."""
    async with asyncio.timeout(10):
        while not await page.evaluate(condition):
            await asyncio.sleep(0.05)


def test_the_pages_under_watch_are_all_there_are() -> None:
    templates = Path(__file__).parents[2] / "tmppool" / "web" / "templates"
    names = {path.stem for path in templates.glob("[!_]*.html")} - {"base"}

    assert [name for name in names if name not in PAGES] == []
