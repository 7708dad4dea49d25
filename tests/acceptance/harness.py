"""The service as an operator runs it, and a browser as a visitor has it."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.proxy.stage import free_ports

ROOT = Path(__file__).parents[2]
IMAGE = "tmppool/debian:latest"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


PRINTED = re.compile(r"^(https?://\S+/)(?:\?token=(\S+))?$", re.MULTILINE)


def free_port() -> int:
    return free_ports(1)[0]


@dataclass(frozen=True)
class Taken:
    """A notebook's whole URL, and what a program has to say to use it."""

    url: str
    token: str

    @property
    def key(self) -> str:
        return self.url.rstrip("/").rpartition("/")[2]

    def at(self, path: str) -> str:
        """Return the whole address of a path below the notebook, which opens it for a program."""
        return f"{self.url}{path}{'&' if '?' in path else '?'}token={self.token}"

    def client(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"Authorization": f"token {self.token}"})


class Service:
    """One ``python -m tmppool`` in a process of its own; ``log`` holds all that it wrote.

    ``link`` is what it printed for whoever started it, ``headers`` what a program of theirs sends. With processes both
    hold the secret of this start.
    """

    def __init__(self, home: Path, backend: str, *options: str, name: str = "test", env: dict[str, str] | None = None):
        self.home = home
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.log_path = home / f"{name}-{self.port}.log"
        self.name = f"{name}-{os.getpid()}-{self.port}"
        self.env = {**os.environ, **(env or {})}
        self.options = [
            f"--backend={backend}",
            f"--port={self.port}",
            f"--admin-port={self.admin_port}",
            f"--pool-name={self.name}",
            f"--state-dir={home / self.name}",
            "--notebooks-per-address=0",  # all that tests take, they take from one
            *(option.replace("{service_port}", str(self.port)) for option in options),
            *(["--allow-root"] if backend == "process" else []),
        ]
        self.process: asyncio.subprocess.Process | None = None
        self._begun = 0  # where in the log this start begins

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    @property
    def printed(self) -> re.Match[str] | None:
        """What this start has printed: an address, and the secret that is in it."""
        return PRINTED.search(self.log_path.read_bytes()[self._begun :].decode()) if self.log_path.exists() else None

    @property
    def link(self) -> str:
        assert self.printed is not None, "it has printed no address yet"
        return self.printed[0]

    @property
    def secret(self) -> str:
        return (self.printed[2] or "") if self.printed else ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.secret}"} if self.secret else {}

    def at(self, path: str) -> str:
        """Return the whole address of a launch link, which opens it for whoever started the service."""
        assert self.printed is not None, "it has printed no address yet"
        secret = f"{'&' if '?' in path else '?'}token={self.secret}" if self.secret else ""
        return f"{self.printed[1]}{path.lstrip('/')}{secret}"

    def operator(self) -> aiohttp.ClientSession:
        """Return a session of whoever can read the state directory, or the URL that was printed."""
        file = self.home / self.name / "admin-token"
        token = self.secret or (file.read_text().strip() if file.exists() else "")
        return aiohttp.ClientSession(headers={"Authorization": f"token {token}"})

    async def launch(self, *more: str) -> asyncio.subprocess.Process:
        """Start, and do not wait until it serves."""
        self._begun = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tmppool", *self.options, *more, stdout=log, stderr=log, cwd=ROOT, env=self.env,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # also where the tests run by nohup
            )  # fmt: skip
        return self.process

    async def start(self, *, warm: int = 1, within: float = 60) -> None:
        """Start; return when ``warm`` notebooks are warm."""
        await self.launch()
        async with asyncio.timeout(within):
            await self.until(lambda stats: stats["warm"] >= warm)

    async def until(self, wanted: Any, *, within: float = 120) -> dict[str, Any]:
        """Return the stats once they are as wanted; fail with what they are instead after ``within`` seconds."""
        stats: dict[str, Any] | None = None
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            assert self.process is not None
            assert self.process.returncode is None, self.log
            with contextlib.suppress(aiohttp.ClientError):
                stats = await self.stats() if self.printed else None
                if stats is not None and wanted(stats):
                    return stats
            await asyncio.sleep(0.1)
        pytest.fail(f"after {within} s it is not as wanted: {stats}")

    async def stats(self) -> dict[str, Any]:
        program = aiohttp.ClientSession(headers=self.headers)
        async with program as session, session.get(f"{self.url}/api/stats") as reply:
            assert reply.status == 200, await reply.text()
            return dict(await reply.json())

    async def spawn(self) -> "Taken":
        """Take a notebook as a program does."""
        program = aiohttp.ClientSession(headers=self.headers)
        async with program as session, session.post(f"{self.url}/api/spawn") as reply:
            assert reply.status == 200, await reply.text()
            given = await reply.json()
            return Taken(urljoin(self.url, given["url"]), given["token"])

    async def kill(self) -> None:
        """As the kernel's out-of-memory killer would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)
            await asyncio.wait_for(self.process.wait(), 60)

    async def remove(self) -> None:
        """End the service and every notebook of it."""
        if self.process is not None and self.process.returncode is None:
            async with self.operator() as session:
                with contextlib.suppress(aiohttp.ClientError):
                    for notebook in await self.notebooks():
                        await session.delete(f"{self.admin_url}/api/notebooks/{notebook['id']}")
        await self.stop()
        last = await self.launch("--on-exit=stop", "--warm=1")
        with contextlib.suppress(AssertionError, TimeoutError):
            async with asyncio.timeout(30):
                await self.until(lambda _stats: True)  # who answers has adopted what there is
        if last.returncode is None:
            last.terminate()
        await asyncio.wait_for(last.wait(), 60)

    async def notebooks(self) -> list[dict[str, Any]]:
        async with self.operator() as session, session.get(f"{self.admin_url}/api/notebooks") as reply:
            return list((await reply.json())["notebooks"])


@contextlib.asynccontextmanager
async def running(
    home: Path, backend: str, *options: str, warm: int = 1, image: str = IMAGE, **more: Any
) -> AsyncIterator[Service]:
    if backend == "docker":
        options = (f"--image={image}", *options)
    service = Service(home, backend, *options, **more)
    try:
        await service.start(warm=warm)
        yield service
    finally:
        await service.remove()


@contextlib.asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    assert path, "Chromium is not installed: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


async def claim(page: Page, link: str) -> None:
    """Open the link of a notebook that a program started, as the first browser."""
    await page.goto(link)
    await page.get_by_role("button", name="Open the notebook").click()
    await page.wait_for_url("**/user/**")


async def run_cell(page: Page, number: int = 0, *, code: str | None = None) -> None:
    """Execute a code cell of the open notebook, with new code when given; waits for its kernel first."""
    # Jupyter asks which kernel to use when a cell is run before it has found the one that runs.
    kernel = page.locator('[data-jp-item-name="kernelName"]').filter(has_text="Python")
    await kernel.first.wait_for(timeout=60_000)
    indicator = page.locator(".jp-Notebook-ExecutionIndicator")
    await indicator.first.wait_for(timeout=60_000)
    async with asyncio.timeout(60):
        # "unknown" is what Jupyter shows after it has found a kernel again, until that says something.
        while await indicator.first.get_attribute("data-status") not in ("idle", "unknown"):
            await asyncio.sleep(0.1)
    cell = page.locator(".jp-CodeCell").nth(number)
    await cell.locator(".cm-content").click()
    if code is not None:
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.insert_text(code)
    await page.keyboard.press("Control+Enter")


async def output_of(page: Page, number: int, containing: str) -> str:
    """Return the text of a cell's output once it contains this."""
    output = page.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea-output").filter(has_text=containing)
    await output.first.wait_for(timeout=60_000)
    return await output.first.inner_text()
