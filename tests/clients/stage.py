"""Pages that authors publish, at a host of their own, and a reader of them.

The reader's browser sends no cookies to other sites than the one in the address bar, and reaches nobody but the pages
and the service: what pages load from networks of copies of packages comes from the packages that scripts/clients
fetched.
"""

import asyncio
import base64
import contextlib
import html
import json
import mimetypes
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Locator, Page, Route
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from tests.acceptance import fronts
from tests.acceptance.harness import Service, Taken, chromium, free_port, running
from tests.images import built

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
NO_THIRD_PARTY_COOKIES = "--test-third-party-cookie-phaseout"
REPOSITORY = "org/workshop"
DIRECTORY = "course"
"""Where the image has the files of the repository."""

DOCUMENTS = ("first.ipynb", "docs/second.ipynb", "notebooks/auto_examples/plot_third.ipynb")
PLACES = 2
SETTINGS = f"""
[[repositories]]
name = "gh/{REPOSITORY}"
directory = "{DIRECTORY}"
"""
_HERE = f"MAP {fronts.NAME} 127.0.0.1, MAP *.{fronts.NAME} 127.0.0.1"
_PACKAGE = re.compile(r"^/([\w.-]+)@([\w.-]+)/(.*)$")
_SNIPPET = r"<summary><strong>{name}</strong>.*?<textarea[^>]*>\n?(.*?)</textarea>"


@dataclass(frozen=True)
class Site:
    """``root`` is served at ``url``, whose host is no other's."""

    root: Path
    url: str

    def write(self, name: str, text: str) -> str:
        """Add a page; return its address."""
        (self.root / name).write_text(text, encoding="utf-8")
        return self.address(self.root / name)

    def address(self, page: Path) -> str:
        return f"{self.url}/{page.relative_to(self.root)}"


@contextlib.asynccontextmanager
async def published(root: Path, host: str = "docs.localhost") -> AsyncIterator[Site]:
    root.mkdir(exist_ok=True)
    port = free_port()
    app = web.Application()
    app.router.add_static("/", root)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield Site(root, f"http://{host}:{port}")
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class World:
    service: Service
    site: Site
    browser: Browser

    async def snippet(self, name: str, **wanted: str) -> str:
        """Return what an author copies at /embed."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.service.url}/embed?{urlencode(wanted)}") as reply,
        ):
            assert reply.status == 200
            text = await reply.text()
        found = re.search(_SNIPPET.format(name=re.escape(name)), text, re.DOTALL)
        assert found is not None, text
        return html.unescape(found[1])

    async def reader(self) -> BrowserContext:
        """Return a browser profile of its own."""
        context = await self.browser.new_context(ignore_https_errors=True)
        here = (self.site.url, self.service.url, "data:", "blob:")
        await context.route(lambda url: not url.startswith(here), _from_packages)
        return context

    async def assigned(self) -> int:
        return int((await self.service.stats())["assigned"])

    async def spawn(self) -> Taken:
        """Take a notebook as a program does, once one is warm."""
        await self.service.until(lambda stats: stats["warm"] >= 1)
        return await self.service.spawn()

    async def end_all(self) -> None:
        """End all that was assigned, as the operator may; return when the pool has room again."""
        async with self.service.operator() as session:
            for notebook in await self.service.notebooks():
                if notebook["state"] == "assigned":
                    await session.delete(f"{self.service.admin_url}/api/notebooks/{notebook['id']}")
        await self.service.until(lambda stats: stats["assigned"] == 0 and stats["warm"] >= 1)


async def _from_packages(route: Route) -> None:
    """Answer for unpkg.com with a file of a package, in the version that is asked for; nobody else answers."""
    parts = urlsplit(route.request.url)
    found = _PACKAGE.match(parts.path) if parts.hostname == "unpkg.com" else None
    path = PACKAGES / found[1] / found[3] if found and _version(found[1]) == found[2] else None
    if path is None or not path.is_file():
        await route.abort()
        return
    await route.fulfill(
        body=path.read_bytes(), content_type=mimetypes.guess_type(path)[0] or "application/octet-stream"
    )


def _version(package: str) -> str:
    about = PACKAGES / package / "package.json"
    return str(json.loads(about.read_bytes())["version"]) if about.is_file() else ""


def _line(name: str) -> str:
    """Return the line of a Dockerfile that adds a document."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None}
    text = f"print('this is', '{name}')"
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**cell, "source": text}]}
    path = Path("/home/jovyan", DIRECTORY, name)
    content = base64.b64encode(json.dumps(book).encode()).decode()
    return f"RUN mkdir -p {path.parent} && echo {content} | base64 -d > {path}"


@contextlib.asynccontextmanager
async def world(tmp_path: Path, *more: str) -> AsyncIterator[World]:
    """Serve an image that has the documents of the repository, each with one cell that says its name."""
    config = tmp_path / "tmppool.toml"
    config.write_text(SETTINGS, encoding="utf-8")
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(published(tmp_path / "site"))
        image = await stack.enter_async_context(built(*(_line(name) for name in DOCUMENTS)))
        options = (
            f"--embed-origins={site.url}",
            f"--config={config}",
            "--parallel-starts=1",
            f"--pool-size={PLACES}",
            "--starts-per-hour=0",  # all tests start theirs from one address
            "--trusted-proxies=127.0.0.1",
            *more,
        )
        service = await stack.enter_async_context(running(tmp_path, "docker", *options, image=image))
        browser = await stack.enter_async_context(chromium(NO_THIRD_PARTY_COOKIES, f"--host-resolver-rules={_HERE}"))
        yield World(service, site, browser)


@contextlib.asynccontextmanager
async def over_tls(place: World, reader: BrowserContext, folder: Path) -> AsyncIterator[str]:
    """Put a proxy before the service, as frames need one; yield the origin that the reader reaches."""
    tls = [front for front in fronts.FRONTS if front.id == "nginx-told-tls"]
    async with fronts.opened(folder, place.service.port, tls) as [front]:
        await allowed(reader, front.origin)
        yield front.origin


async def allowed(reader: BrowserContext, part: str) -> None:
    """Let the reader's browser reach the addresses that contain this."""
    await reader.route(lambda url: part in url, lambda route: route.continue_())


def run(*command: str | Path, cwd: Path, environment: Path = Path(sys.prefix)) -> str:
    """Run a tool of a Python environment that makes pages; returns what it says."""
    env = {**os.environ, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=cwd, env=env, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


async def in_thread(*command: str | Path, cwd: Path, environment: Path = Path(sys.prefix)) -> str:
    return await asyncio.to_thread(run, *command, cwd=cwd, environment=environment)


async def says(place: Locator, text: str, *, within: float = 60) -> str:
    """Return the text of an element once it contains this."""
    found = place.filter(has_text=text).first
    await found.wait_for(timeout=within * 1000)
    return await found.inner_text()


async def follow_badge(page: Page) -> None:
    """Click the badge of a link to the second document."""
    badge = page.get_by_alt_text("Try it live")
    assert await badge.evaluate("each => each.naturalWidth") == 100
    await badge.click()
    await says(page.locator(".jp-CodeCell"), "docs/second.ipynb")


async def run_framed_cell(page: Page) -> None:
    """Run the cell of the second document, which is in a frame of the page."""
    frame = page.frame_locator("iframe[src*='second.ipynb']")
    cell = frame.locator(".jp-CodeCell")
    await cell.wait_for(timeout=60_000)
    kernel = frame.locator('[data-jp-item-name="kernelName"]').filter(has_text="Python")
    idle = frame.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    for sign in (kernel, idle):  # which a narrow frame, as on pandoc's pages, puts into a menu
        await sign.first.wait_for(state="attached", timeout=60_000)
    await cell.locator(".cm-content").click()
    await page.keyboard.press("Control+Enter")
    await says(frame.locator(".jp-OutputArea-output"), "this is docs/second.ipynb")


async def chosen(page: Page, url: str, name: str) -> None:
    """Open a page, and choose from the menu of sphinx-book-theme."""
    await page.goto(url)
    await page.get_by_role("button", name="Launch interactive content").click()
    await page.locator(".dropdown-launch-buttons .dropdown-menu").get_by_text(name).click()


async def run_live_cell(page: Page, text: str = "hello 42") -> None:
    """Run the first cell that sphinx-thebe made live, once thebe has its kernel; its output contains the text."""
    try:
        await page.wait_for_function("window.thebe?.session?.kernel", timeout=40_000)
    except PlaywrightTimeoutError as error:
        raise AssertionError(await page.locator(".thebe-launch-button").inner_text()) from error
    await page.locator(".thebe-run-button").first.click()
    await says(page.locator(".thebe-cell .jp-OutputArea-output"), text)
