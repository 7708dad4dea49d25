"""Who is idle is reaped, who computes is not, and both tabs learn why."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page

from tests.acceptance.harness import chromium, output_of, run_cell, running
from tmppool.keys import id_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

IDLE = 25
LIFETIME = 70
SOON = ("--cull-timeout", str(IDLE), "--cull-max", str(LIFETIME), "--cull-period", "1")


@pytest.mark.browser
async def test_an_untouched_tab_is_reaped_and_a_computing_one_lives_to_its_longest_time(tmp_path: Path) -> None:
    options = [f"{SOON[n]}={SOON[n + 1]}" for n in (0, 2, 4)]
    async with running(tmp_path, "docker", "--pool-size=2", *options, warm=2) as service, chromium() as browser:
        pages = []
        for _ in range(2):
            page = await (await browser.new_context()).new_page()
            await page.goto(f"{service.url}/lab/tree/welcome.ipynb")
            await page.wait_for_url("**/user/**")
            await page.locator(".jp-CodeCell").first.wait_for(timeout=60_000)
            pages.append(page)
        untouched, computing = pages
        await run_cell(computing, code="import time\nprint('begun', flush=True)\ntime.sleep(600)")
        await output_of(computing, 0, "begun")

        ended: dict[str, dict[str, object]] = {}
        async with asyncio.timeout(LIFETIME + 40):
            while len(ended) < 2:
                ended = {e["reason"]: e for e in service.events if e["event"] == "notebook.reaping"}
                await asyncio.sleep(0.5)
        assert set(ended) == {"idle", "expired"}
        assert IDLE <= float(str(ended["idle"]["after"])) < LIFETIME
        assert float(str(ended["expired"]["after"])) >= LIFETIME

        for page, reason in ((untouched, "It was idle"), (computing, "maximum time")):
            dialog = page.locator("tmppool-notice").get_by_role("alertdialog")
            await dialog.wait_for(timeout=45_000)
            assert reason in await dialog.inner_text()
        await untouched.reload()
        assert "It was idle" in await untouched.inner_text("main")
        fresh = untouched.get_by_role("link", name="Start a fresh notebook")
        assert (await fresh.get_attribute("href") or "").endswith("/lab/tree/welcome.ipynb")
        await untouched.screenshot(path=str(tmp_path / "gone.png"))


IN_SILENCE = """
setInterval(() => {
  fetch(location.pathname.replace(/lab.*/, "git/status"), { method: "POST", body: "{}" });
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
}, 500);
"""
PRINTING = "while sleep 2; do date; done\n"


@pytest.mark.browser
async def test_what_a_page_does_by_itself_and_who_waits_for_input_keep_nothing(tmp_path: Path) -> None:
    """Of four tabs of JupyterLab one polls, one waits for input, one is read, and one had a terminal and is closed."""
    options = ("--cull-timeout=25", "--cull-max=125", "--cull-period=1", "--pool-size=4")
    async with running(tmp_path, "docker", *options, warm=4) as service, chromium() as browser:
        ids = {}
        pages = {}
        for who in ("reads", "printed", "waits", "polls"):
            page = pages[who] = await (await browser.new_context()).new_page()
            await page.goto(f"{service.url}/lab/tree/welcome.ipynb")
            await page.wait_for_url("**/user/**")
            await page.locator(".jp-CodeCell").first.wait_for(timeout=60_000)
            ids[id_of(page.url.split("/user/")[1].split("/")[0])] = who
            if who == "reads":
                await page.locator(".jp-CodeCell").first.hover()
                reading = asyncio.create_task(read(page))
            elif who == "printed":
                await in_terminal(page, PRINTING)
                await page.context.close()
            elif who == "waits":
                await run_cell(page, code="print('begun', flush=True)\ninput('for nobody')")
                await output_of(page, 0, "begun")
            else:
                await page.evaluate(IN_SILENCE)
        ended: dict[str, str] = {}
        async with asyncio.timeout(180):
            while len(ended) < 4:
                ended = {ids[e["notebook"]]: e["reason"] for e in service.events if e["event"] == "notebook.reaping"}
                await asyncio.sleep(0.5)
        reading.cancel()
        assert ended == {"reads": "expired", "printed": "expired", "waits": "idle", "polls": "idle"}
        # Who reads has seen no notice but that of the end of its time.
        for who, reason in (("reads", "maximum time"), ("polls", "It was idle"), ("waits", "It was idle")):
            dialog = pages[who].locator("tmppool-notice").get_by_role("alertdialog")
            await dialog.wait_for(timeout=45_000)
            assert reason in await dialog.inner_text()


async def read(page: Page) -> None:
    """Scroll with the wheel, now and then."""
    while True:
        await page.mouse.wheel(0, 30)
        await asyncio.sleep(3)


async def in_terminal(page: Page, text: str) -> None:
    """Open a terminal in JupyterLab and type into it."""
    await page.goto(page.url.partition("/lab")[0] + "/terminals/1")
    await page.locator(".xterm-helper-textarea").first.wait_for(state="attached", timeout=60_000)
    await page.locator(".jp-Terminal").first.click()
    await asyncio.sleep(2)
    await page.keyboard.type(text)
    await asyncio.sleep(3)


async def test_after_the_reap_nothing_is_left_and_the_old_address_says_why(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=1", "--cull-timeout=3", "--cull-period=0.5") as service:
        taken = await service.spawn()
        url, key = taken.url, taken.key
        await service.until(lambda stats: stats["assigned"] == 0 and stats["warm"] == 1)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}api/kernels") as reply:
                facts = await reply.json()
                assert (reply.status, facts["reason"]) == (424, "idle")
                assert reply.headers["Access-Control-Allow-Origin"] == "*"
            async with session.get(f"{url}lab", headers={"Accept": "text/html"}) as reply:
                page = await reply.text()
                assert reply.status == 410
                assert 'href="/lab"' in page
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{url}api/kernels/x/channels")
            assert refused.value.status == 424
        listing = await asyncio.create_subprocess_exec(
            "docker", "ps", "-aq", "--filter", f"label=tmppool.key={key}", stdout=asyncio.subprocess.PIPE
        )
        assert (await listing.communicate())[0] == b""
