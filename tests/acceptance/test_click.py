"""A click gives a live notebook, in a real browser, on both backends."""

import asyncio
import hashlib
import json
import os
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, Route

from tests.acceptance.harness import Service, chromium, free_port, output_of, run_cell, running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
engine = pytest.param("docker", marks=pytest.mark.engine)
process = pytest.param("process", marks=pytest.mark.process)

BIG = 200 * 2**20  # bytes
READ = "url => fetch(url, {cache: 'no-store'}).then((reply) => reply.text())"


async def visit(browser: Browser, url: str) -> Page:
    """Open a launch link in a browser profile of its own; returns the page once its notebook shows a cell."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_url("**/user/**")
    await page.locator(".jp-CodeCell").first.wait_for(timeout=60_000)
    return page


async def follow_link(browser: Browser, service: Service) -> Page:
    """Click a link on a workshop page of another origin, in a browser that has opened what the start printed."""
    port = free_port()

    async def workshop(_request: web.Request) -> web.Response:
        text = f'<!doctype html><title>Workshop</title><a href="{service.url}/">try it live</a>'
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", workshop)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        context = await browser.new_context(accept_downloads=True)
        await context.request.get(service.link, max_redirects=0)
        page = await context.new_page()
        await page.goto(f"http://localhost:{port}/")
        await page.get_by_text("try it live").click()
        await page.wait_for_url("**/user/**")
        await page.locator(".jp-CodeCell").first.wait_for(timeout=60_000)
        return page
    finally:
        await runner.cleanup()


async def click_and_compute(browser: Browser, service: Service) -> Page:
    """Click, draw what the landing page's first cell draws, and compute in the second."""
    page = await follow_link(browser, service)
    await run_cell(page)
    await page.locator(".jp-OutputArea-output img").first.wait_for(timeout=60_000)
    await run_cell(page, 1, code="print(6 * 7, 'is the answer')")
    assert "42 is the answer" in await output_of(page, 1, "answer")
    refused = [event for event in service.events if event["level"] == "error"]
    assert refused == []
    return page


@pytest.mark.parametrize("backend", [process, engine])
async def test_a_click_ends_in_an_executed_cell_and_a_plot(backend: str, tmp_path: Path) -> None:
    async with running(tmp_path, backend, "--pool-size=2") as service, chromium() as browser:
        await click_and_compute(browser, service)


@pytest.mark.engine
async def test_three_browsers_have_three_containers_and_three_homes(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=3", warm=3) as service, chromium() as browser:
        pages = [await visit(browser, service.url) for _ in range(3)]
        for number, page in enumerate(pages):
            code = f"open('mine', 'w').write('{number}'); import os, socket; print('net', os.readlink('/proc/self/ns/net'))"
            await run_cell(page, code=code)
        namespaces = {await output_of(page, 0, "net") for page in pages}
        for number, page in enumerate(pages):
            await run_cell(page, 1, code="import glob; print('home', glob.glob('mine*'), open('mine').read())")
            assert f"home ['mine'] {number}" in await output_of(page, 1, "home")
        cookies = [{c["name"]: c["value"] for c in await page.context.cookies()} for page in pages]
        keys = {page.url.split("/user/")[1].split("/")[0] for page in pages}

        assert len(namespaces) == len(keys) == len({jar[f"tmppool_{service.port}"] for jar in cookies}) == 3
        for page in pages:
            names = await page.evaluate("document.cookie")
            assert "tmppool" not in names
        assert {notebook["state"] for notebook in await service.notebooks()} == {"assigned"}


@pytest.mark.engine
async def test_a_notebook_cannot_reach_its_neighbour(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=2", warm=2) as service, chromium() as browser:
        page = await visit(browser, service.url)
        probe = f"""
import socket
def reach(host, port):
    try:
        socket.create_connection((host, port), 2).close()
        return 'open'
    except OSError as error:
        return 'closed'
print('probe', reach('127.0.0.1', {service.port}), reach('172.17.0.1', 22), reach('169.254.169.254', 80), reach('10.0.0.1', 53))
"""
        await run_cell(page, code=probe)
        assert "probe closed closed closed closed" in await output_of(page, 0, "probe")


@pytest.mark.parametrize("backend", [process, engine])
async def test_typed_text_survives_a_reload_and_a_second_click_returns(backend: str, tmp_path: Path) -> None:
    async with running(tmp_path, backend, "--pool-size=2") as service, chromium() as browser:
        page = await visit(browser, service.link)
        await run_cell(page, code="kept = 'typed by a visitor'; print(kept)")
        await output_of(page, 0, "typed by a visitor")
        await page.keyboard.press("ControlOrMeta+s")
        first = page.url
        saved = first.replace("/notebooks/", "/api/contents/")
        async with asyncio.timeout(30):
            while "typed by a visitor" not in await page.evaluate(READ, saved):
                await asyncio.sleep(0.1)
        await page.reload()
        await page.locator(".cm-content").filter(has_text="typed by a visitor").first.wait_for(timeout=60_000)

        again = await page.context.new_page()
        await again.goto(service.url)
        await again.wait_for_url("**/user/**")
        assert again.url == first
        assert (await service.stats())["assigned"] == 1


@pytest.mark.parametrize("earlier", [1, 0], ids=["a cookie", "no cookie"])
async def test_launch_pages_opened_at_the_same_moment_get_one_notebook(earlier: int, tmp_path: Path) -> None:
    """Without a cookie, each GET issues one, and the tickets of all but one belong to another visitor."""
    async with running(tmp_path, "fake", "--pool-size=4", warm=4) as service, chromium() as browser:
        context = await browser.new_context()
        pages = [await context.new_page() for _ in range(4)]
        are_open = asyncio.Barrier(4)
        opened = asyncio.Event()

        async def press(route: Route) -> None:
            if route.request.method == "POST":
                await opened.wait()
            await route.continue_()

        async def start(page: Page) -> str:
            await page.goto(f"{service.url}/lab", wait_until="commit")
            await are_open.wait()
            opened.set()
            await page.wait_for_url("**/user/**")
            return page.url

        for _ in range(earlier):
            await context.request.get(f"{service.url}/")
        await context.route("**/*", press)
        assert len(set(await asyncio.gather(*map(start, pages)))) == 1
        assert (await service.stats())["assigned"] == 1


async def test_where_cookies_are_blocked_the_launch_page_tries_twice_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, "fake", warm=1) as service, chromium() as browser:
        context = await browser.new_context()
        page = await context.new_page()
        presses = []

        async def without_cookies(route: Route) -> None:
            if route.request.method == "POST":
                presses.append(route.request.url)
                await context.clear_cookies()
            await route.continue_()

        await page.route("**/*", without_cookies)
        # As browsers do where cookies are blocked by a setting.
        await page.add_init_script(
            "navigator.locks.request = () => Promise.reject(new DOMException('', 'SecurityError'))"
        )
        await page.goto(f"{service.url}/")
        await page.get_by_text("allow cookies for this site").wait_for()
        await page.get_by_role("button", name="Start the notebook").wait_for()
        assert len(presses) == 2
        assert (await service.stats())["assigned"] == 0


@pytest.mark.engine
async def test_a_terminal_works(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=1") as service, chromium() as browser:
        page = await visit(browser, service.url)
        base = page.url.split("/notebooks/")[0]
        await page.goto(f"{base}/terminals/1")
        await page.locator(".jp-Terminal").first.wait_for(timeout=60_000)
        await page.locator(".xterm-helper-textarea").first.wait_for(state="attached", timeout=60_000)
        await asyncio.sleep(2)
        await page.locator(".jp-Terminal").first.click()
        await page.keyboard.type("echo from-$((40+2))-terminal > seen.txt\n")
        text = ""
        for _ in range(100):
            text = await page.evaluate(f"fetch('{base}/files/seen.txt').then(r => r.ok ? r.text() : '')")
            if text:
                break
            await asyncio.sleep(0.2)
        assert text.strip() == "from-42-terminal"


@pytest.mark.engine
async def test_200_megabytes_go_up_and_come_down_byte_for_byte(tmp_path: Path) -> None:
    data = os.urandom(BIG // 8) * 8
    wanted = hashlib.sha256(data).hexdigest()
    (tmp_path / "big.bin").write_bytes(data)
    del data
    options = ("--pool-size=1", "--home-size=512m", "--mem-limit=2g")
    async with running(tmp_path, "docker", *options) as service, chromium() as browser:
        page = await visit(browser, service.url)
        base = page.url.split("/notebooks/")[0]
        await page.goto(f"{base}/tree")
        async with page.expect_file_chooser() as chooser:
            await page.get_by_text("Upload", exact=True).first.click()
        await (await chooser.value).set_files(str(tmp_path / "big.bin"))
        # Jupyter asks before it takes a large file, and sends it in pieces.
        accept = page.locator(".jp-Dialog .jp-mod-accept")
        await accept.wait_for(timeout=30_000)
        await accept.click()
        async with asyncio.timeout(120):
            while await _size(page, base) < BIG:
                await asyncio.sleep(0.5)
        async with page.expect_download(timeout=120_000) as download:
            await page.evaluate(
                f"() => {{ const a = document.createElement('a'); a.href = '{base}/files/big.bin?download=1';"
                " a.download = 'big.bin'; document.body.append(a); a.click(); }"
            )
        path = await (await download.value).path()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == wanted


async def _size(page: Page, base: str) -> int:
    text = await page.evaluate(f"fetch('{base}/api/contents/big.bin?content=0').then(r => r.ok ? r.text() : '{{}}')")
    return int(json.loads(text).get("size") or 0)


@pytest.mark.process
async def test_without_containers_the_pages_say_so_and_nothing_listens_publicly(tmp_path: Path) -> None:
    async with running(tmp_path, "process", "--pool-size=1") as service:
        looks = [(service.url, 403), (service.link, 200), (service.url, 200), (f"{service.url}/nothing", 404)]
        jar = aiohttp.CookieJar(unsafe=True)  # also for an address without a name
        async with aiohttp.ClientSession(headers={"Accept": "text/html"}, cookie_jar=jar) as session:
            for address, status in looks:
                async with session.get(address) as reply:
                    assert (reply.status, "token" in str(reply.url)) == (status, False)
                    assert "not isolated" in await reply.text()
        assert service.process is not None
        connections = psutil.Process(service.process.pid).net_connections("tcp")
        listening = {connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", service.port), ("127.0.0.1", service.admin_port)}
