"""Who is active is a person, whatever page they use; what a page does by itself keeps nothing."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.acceptance.apps import COVERED
from tests.acceptance.harness import Service, chromium, running

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.timeout(240)]

IDLE = 12
APPS = f"--command={sys.executable} {Path(__file__).with_name('apps.py')} {{base_path}} {{port}}"

SCRIPTS = """performance.getEntriesByType("resource").map(({ name }) => /static\\/(.*)\\?/.exec(name)).filter(Boolean)
  .map(([, name]) => name)"""

Act = Callable[[Page, int], Awaitable[object]]


async def slide(page: Page, turn: int) -> None:
    await page.mouse.move(50 + turn % 2 * 100, 18)


async def drag(page: Page, turn: int) -> None:
    await page.mouse.down()
    await page.mouse.move(50 + turn % 2 * 100, 18)
    await page.mouse.up()


async def press_a_key(page: Page, _turn: int) -> None:
    await page.keyboard.press("ArrowRight")


async def read_by_wheel(page: Page, _turn: int) -> None:
    await page.mouse.wheel(0, 40)


async def read_by_touch(page: Page, _turn: int) -> None:
    session = await page.context.new_cdp_session(page)
    for kind, y in (("touchStart", 300), ("touchMove", 200)):
        await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": 100, "y": y}]})
    await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


async def use_a_popup(page: Page, turn: int) -> None:
    if len(page.context.pages) == 1:
        await page.wait_for_load_state()
        await asyncio.sleep(0.2)  # a frame is shown a moment later
        async with page.expect_popup(timeout=5_000):
            await page.mouse.click(50, 50)
    await slide(page.context.pages[1], turn)


async def do_nothing(_page: Page, _turn: int) -> None:
    pass


VISITORS: dict[str, tuple[str, Act, bool]] = {
    "who drags an app's slider": ("slider", drag, True),
    "who moves over it": ("slider", slide, True),
    "who uses its keys": ("slider", press_a_key, True),
    "who reads by wheel": ("text", read_by_wheel, True),
    "who reads by touch": ("text", read_by_touch, True),
    "who uses an app in a frame": ("outer", drag, True),
    "who uses a frame that no server sent": ("inline", drag, True),
    "who uses a page of a strict policy": ("strict", slide, True),
    "who uses a page that never ends": ("endless", slide, True),
    "who uses a page whose script never comes": ("waiting", read_by_wheel, True),
    "who uses an app that takes all events and functions": ("greedy", press_a_key, True),
    "who uses a page whose links lead elsewhere": ("foreign", slide, True),
    "who uses a page without a media type": ("untyped", slide, True),
    "who uses a frame in a closed shadow tree": ("shadow", slide, True),
    "who uses a frame in a shadow tree that the page declares": ("declared", slide, True),
    "who uses a page that is written anew": ("rewritten", slide, True),
    "who uses a frame that is written anew": ("written", slide, True),
    "who uses a pop-up that no server sent": ("blank", use_a_popup, True),
    "who uses a pop-up of a blob": ("blob", use_a_popup, True),
    "who uses a copy of a page in a frame": ("copied", slide, True),
    "who uses a copy of a page in a pop-up": ("printed", use_a_popup, True),
    "who uses a page that may run no script": ("boxed", slide, True),
    "who uses a shadow tree that comes later": ("inserted", slide, True),
    "who uses a pop-up that a frame has opened": ("nested", use_a_popup, True),
    "nobody at an app": ("slider", do_nothing, False),
    "nobody at a page that polls and scrolls": ("polling", do_nothing, False),
    "nobody at a page that never ends": ("endless", do_nothing, False),
    "nobody at a page whose links lead elsewhere": ("foreign", do_nothing, False),
}
"""The page that each has open, what they do there every second or so, and whether their notebook lives."""


async def arrive(service: Service, browser: Browser, path: str) -> Page:
    page = await (await browser.new_context(has_touch=True)).new_page()
    await page.goto(service.at("/lab"))
    await page.wait_for_url("**/user/**")
    await page.goto(page.url.rpartition("/lab")[0] + "/" + path, wait_until="commit")
    return page


async def test_a_person_keeps_their_notebook_and_a_page_does_not(tmp_path: Path) -> None:
    count = len(VISITORS)
    options = (f"--cull-timeout={IDLE}", "--cull-period=0.5", f"--pool-size={count}", "--starts-per-hour=1000", APPS)
    async with running(tmp_path, "process", *options, warm=count) as service, chromium() as browser:
        pages: dict[str, Page] = {}

        async def act(turn: int) -> None:
            await asyncio.gather(*(VISITORS[who][1](page, turn) for who, page in pages.items()))

        for turn, (who, (path, _, _)) in enumerate(VISITORS.items()):
            pages[who] = await arrive(service, browser, path)
            await act(turn)  # on a busy machine the first would be idle before the last has come
        slider = pages["who drags an app's slider"]
        async with asyncio.timeout(120):
            for turn in range(2 * IDLE):
                await act(turn)
                await asyncio.sleep(1)
        assert await slider.inner_text("#value") != ""
        untyped = pages["who uses a page without a media type"]
        assert await untyped.evaluate("isHere && getComputedStyle(text).color") == "rgb(1, 2, 3)"
        for who, (_, _, lives) in VISITORS.items():
            page = pages[who]
            session = page.url.replace("/user/", "/api/session/").rpartition("/")[0]
            answer = await page.request.get(session)
            assert (answer.status, (await answer.json()).get("reason")) == ((200, None) if lives else (424, "idle")), (
                who
            )
            notice = page.locator("tmppool-notice").get_by_role("alertdialog")
            if not lives:
                await notice.wait_for(timeout=30_000)
            assert await notice.count() == (0 if lives else 1), who


async def test_a_notice_is_above_all_that_a_page_shows(tmp_path: Path) -> None:
    async with (
        running(
            tmp_path, "process", f"--pool-size={len(COVERED)}", "--starts-per-hour=1000", APPS, warm=len(COVERED)
        ) as service,
        chromium() as browser,
    ):
        for name in COVERED:
            page = await arrive(service, browser, name)
            await page.wait_for_load_state()
            await page.mouse.click(200, 200)
            session = page.url.replace("/user/", "/api/session/").rpartition("/")[0]
            await page.request.delete(session)
            notice = page.locator("tmppool-notice .end h2")
            await notice.wait_for(timeout=60_000)
            seen = await notice.evaluate(
                """(heading) => {
                  const { x, y, width, height } = heading.getBoundingClientRect();
                  const [left, top] = [x + width / 2, y + height / 2];
                  return [width > 100 && left > 0 && top > 0 && left < innerWidth && top < innerHeight,
                          document.elementFromPoint(left, top)?.localName,
                          heading.getRootNode().host.matches(":popover-open")];
                }"""
            )
            is_pressed = name not in ("modal", "fullscreen")  # beside these it is seen, and nothing can be pressed
            assert seen[0], name
            assert seen[2], name
            assert seen[1] == "tmppool-notice" or not is_pressed, name


async def test_one_report_is_for_all_frames_and_none_is_made_without_a_person(tmp_path: Path) -> None:
    options = ("--cull-timeout=40", "--pool-size=1", APPS)
    async with running(tmp_path, "process", *options) as service, chromium() as browser:
        page = await arrive(service, browser, "outer")
        reports: list[str] = []
        page.on("request", lambda request: reports.append(request.url) if request.url.endswith("/touch") else None)
        await asyncio.sleep(1)
        assert reports == []
        for turn in range(20):
            await drag(page, turn)  # in the frame
            await page.mouse.move(50, 400 + turn)  # beside it
            await asyncio.sleep(0.1)
        assert len(reports) == 1
        # The bar is in the top page alone, and an app has no button of ours.
        assert await page.evaluate(SCRIPTS) == ["session.js", "activity.js"]
        (frame,) = (each for each in page.frames if each != page.main_frame)
        assert await frame.evaluate(SCRIPTS) == ["activity.js"]
        assert await page.locator("tmppool-notice").get_by_role("link").count() == 0
        # Both watch a pop-up that they share, and neither puts a function in the place of the other's.
        for each in (page.main_frame, frame):
            await each.evaluate("() => { window.shared = window.open('', 'plot'); }")
        await asyncio.sleep(5)
        await page.evaluate("() => { window.before = window.shared.open; }")
        await asyncio.sleep(5)
        assert await page.evaluate("window.before === window.shared.open")
        session = page.url.replace("/user/", "/api/session/").rpartition("/")[0]
        await page.request.delete(session)
        await asyncio.sleep(10)
        await drag(page, 1)
        await page.locator("tmppool-notice").get_by_role("alertdialog").wait_for(timeout=3_000)


async def test_an_app_finds_no_script_of_ours_and_what_it_saves_is_its_own(tmp_path: Path) -> None:
    async with running(tmp_path, "process", "--pool-size=1", APPS) as service, chromium() as browser:
        page = await arrive(service, browser, "first")
        await page.wait_for_load_state()
        assert await page.evaluate("[window.seen, document.scripts.length]") == ["own", 1]
        for modifiers in ([], ["Alt"]):
            async with page.expect_download() as saved:
                await page.locator("#alt" if modifiers else "#save").click(modifiers=modifiers)
            text = Path(await (await saved.value).path()).read_text()
            assert "word" in text
            assert "<script" not in text
