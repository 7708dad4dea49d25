"""Time from a click to the first output in a browser, compared with the same warm container opened directly."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator

from playwright.async_api import Browser, Page, async_playwright
from playwright.async_api import Error as BrowserError

from benchmarks import containers
from benchmarks.containers import need_engine
from benchmarks.options import Options
from benchmarks.procs import BenchError
from benchmarks.service import Service, service
from benchmarks.table import OURS, Bar, Row

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_DOCUMENT = "welcome.ipynb"
_CELL = ".jp-CodeCell"
_BUSY = f"{_CELL} .jp-InputPrompt:has-text('[*]')"
_PLOT = f"{_CELL} .jp-OutputArea-output img"
_RETRY = 0.1  # seconds between two tries to run the cell
_OUTPUT_TIMEOUT = 60.0  # seconds


async def first_output(options: Options) -> AsyncIterator[Row]:
    """Measure from the click on a launch link until the first plot is visible, each time in a new browser context.

    The cell is run as soon as it accepts keys. "direct" is a container of the same configuration, published on a
    loopback port, with its token in the URL; its kernel is started at the same moment and in the same way. In the row
    with the bar, the pool starts no other notebook meanwhile; in the other row it does.
    """
    await need_engine(options.image)
    chromium = shutil.which("chromium")
    if chromium is None:
        raise BenchError("Chromium is not installed (scripts/packages installs it)")
    alone = Row("click to first output", "s", Bar(1.15, "direct", at_least=False))
    beside = Row("click to first output while another starts", "s")
    image = f"--image={options.image}"
    settle = options.counts.settle
    async with contextlib.AsyncExitStack() as stack:
        lone = await stack.enter_async_context(service(options.home, "docker", image, "--pool-size=1"))
        if options.is_quick:
            busy = lone  # one service is enough for a smoke test
        else:
            busy = await stack.enter_async_context(service(options.home, "docker", image, "--pool-size=2", "--warm=1"))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        stack.push_async_callback(browser.close)
        if not options.is_quick:
            await _through(browser, lone, settle)  # warm up the browser
        for number in range(max(options.rounds, options.counts.least_rounds)):
            alone.add(OURS, await _through(browser, lone, settle))
            alone.add("direct", await _directly(browser, lone, settle))
            beside.add(OURS, await _through(browser, busy, settle))
            latest = [alone.samples[OURS][-1], alone.samples["direct"][-1], beside.samples[OURS][-1]]
            shown = "tmppool {:.2f} s, direct {:.2f} s, tmppool while another starts {:.2f} s".format(*latest)
            options.say(f"first-output: round {number + 1}: {shown}")
    beside.samples["direct"] = alone.samples["direct"]
    yield alone
    yield beside


async def _through(browser: Browser, ours: Service, settle: float) -> float:
    """Return the seconds from a click on tmppool's launch link; a notebook has been warm for ``settle`` seconds."""
    await ours.until(warm=1, within=time.monotonic() - ours.born + 60)
    await asyncio.sleep(settle)
    took = await _until_output(browser, f"{ours.url}/notebooks/{_DOCUMENT}")
    await ours.end_sessions()
    return took


async def _directly(browser: Browser, ours: Service, settle: float) -> float:
    """Return the seconds from opening a container's published port; it has been warm for ``settle`` seconds."""
    await ours.until(warm=1, within=time.monotonic() - ours.born + 60)
    async with containers.twin(ours.name) as notebook:
        await asyncio.sleep(settle)
        kernel = asyncio.create_task(notebook.start_kernel(_DOCUMENT))
        try:
            return await _until_output(browser, f"{notebook.url}notebooks/{_DOCUMENT}?token={notebook.token}")
        finally:
            await kernel


async def _until_output(browser: Browser, url: str) -> float:
    """Open ``url``; return the seconds until the first cell's plot is visible."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        since = time.perf_counter()
        await page.goto(url, wait_until="commit")
        runner = asyncio.create_task(_run_first_cell(page))
        try:
            await page.locator(_PLOT).first.wait_for(timeout=_OUTPUT_TIMEOUT * 1000)
            return time.perf_counter() - since
        finally:
            runner.cancel()
    except BrowserError as error:
        raise BenchError(f"no output came: {error.message.splitlines()[0]}") from error
    finally:
        await context.close()


async def _run_first_cell(page: Page) -> None:
    """Press Ctrl+Enter in the first code cell until it runs, as keys may be lost before the kernel is connected."""
    editor = page.locator(f"{_CELL} .cm-content").first
    await editor.click(timeout=_OUTPUT_TIMEOUT * 1000)
    while not await page.locator(_BUSY).count() and not await page.locator(_PLOT).count():
        await page.keyboard.press("Control+Enter")
        await asyncio.sleep(_RETRY)
