"""The service behind nginx, HAProxy and Caddy: cells run, or everybody is told why they do not."""

import asyncio
import html
import json
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import async_playwright

from tests.acceptance import fronts
from tests.acceptance.fronts import FRONTS, Front, Place
from tests.acceptance.harness import CHROMIUM_FLAGS, output_of, run_cell, running
from tests.web.guests import Everywhere

pytestmark = [pytest.mark.fronts, pytest.mark.timeout(240)]

CHANGED = next(front for front in FRONTS if front.id == "nginx-forwarded-host")
LOST_PORT = Front("nginx-lost-port", "nginx", FRONTS[6].rules, keeps_host=False)


class Visitor:
    """A browser that sends no Fetch Metadata, as Chromium does for WebSockets and over http."""

    def __init__(self, place: Place) -> None:
        self.place = place
        connector = aiohttp.TCPConnector(resolver=Everywhere(), ssl=fronts.any_certificate())
        self.session = aiohttp.ClientSession(connector=connector, headers={"Host": place.host, "Accept": "text/html"})

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, str, str]:
        """Return status, location and body of an answer."""
        origin = {} if method == "GET" else {"Origin": self.place.origin}
        url, headers = self.place.url + path, origin | more.pop("headers", {})
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **more) as reply:
            return reply.status, reply.headers.get("Location", ""), await reply.text()

    async def click(self, path: str) -> str:
        """Start a notebook by a launch link; return its path."""
        _, _, page = await self.ask("GET", path)
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page))
        action = re.search(r'action="([^"]*)"', page)
        assert action is not None, page
        status, location, page = await self.ask("POST", html.unescape(action[1]), data=fields)
        assert status == 303, page
        return location

    def socket(self, path: str) -> Any:
        return self.session.ws_connect(f"{self.place.url.replace('http', 'ws', 1)}{path}", origin=self.place.origin)


@pytest.fixture
async def visit() -> AsyncIterator[Any]:
    visitors: list[Visitor] = []

    def make(place: Place) -> Visitor:
        visitors.append(Visitor(place))
        return visitors[-1]

    yield make
    for visitor in visitors:
        await visitor.session.close()


async def test_behind_every_proxy_that_is_trusted_a_notebook_starts_and_talks(tmp_path: Path, visit: Any) -> None:
    count = len(FRONTS)
    options = (f"--pool-size={count}", "--trusted-proxies=127.0.0.1", "--starts-per-hour=0")
    async with (
        running(tmp_path, "fake", *options, warm=count) as service,
        fronts.opened(tmp_path / "f", service.port) as places,
    ):
        for place in places:
            await talk(visit(place))


async def talk(visitor: Visitor) -> None:
    name = visitor.place.front.id
    path = await visitor.click("/lab/tree/a%5Cb%20c.ipynb")
    base = path[: path.index("/lab/") + 1]
    assert (await visitor.ask("GET", path))[0] == 200, name
    status, _, said = await visitor.ask("POST", f"{base}api/sessions", data="{}")
    assert status == 201, (name, said)
    async with visitor.socket(f"{base}api/kernels/1/channels") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello", name
    # The link for guests is the one that their browsers can open.
    key = base.split("/")[2]
    _, _, said = await visitor.ask("POST", f"/api/session/{key}/share")
    shared = urlsplit(json.loads(said)["url"])
    port = shared.port or {"http": 80, "https": 443}[shared.scheme]
    if "silent" not in name and "inner-port" not in name:  # nobody tells the service of TLS there
        assert (shared.scheme, (shared.hostname or "").rstrip(".")) == (visitor.place.scheme, fronts.NAME), name
        assert port == (visitor.place.port if ":" in visitor.place.host else 443), name
    # Another page's origin is still another.
    for origin in ("https://evil.example", "null", f"https://{fronts.NAME}:1"):
        status, _, _ = await visitor.ask("POST", f"{base}api/sessions", data="{}", headers={"Origin": origin})
        assert status == 403, (name, origin)


async def test_behind_a_proxy_that_is_not_trusted_the_host_alone_is_enough(tmp_path: Path, visit: Any) -> None:
    kept = [front for front in FRONTS if front.keeps_host]
    options = (f"--pool-size={len(kept)}", "--starts-per-hour=0")
    async with running(tmp_path, "fake", *options, warm=len(kept)) as service:
        async with fronts.opened(tmp_path / "f", service.port, kept) as places:
            for place in places:
                visitor = visit(place)
                path = await visitor.click("/lab")
                async with visitor.socket(f"{path.removesuffix('lab')}api/kernels/1/channels") as socket:
                    await socket.send_str("hello")
                    assert await socket.receive_str() == "hello", place.front.id
        assert "origin.refused" not in service.log


async def test_what_is_refused_is_told_to_the_operator_and_the_visitor_and_goes_with_a_public_url(
    tmp_path: Path, visit: Any
) -> None:
    async with (
        running(tmp_path, "fake", "--pool-size=2", "--starts-per-hour=0") as service,
        fronts.opened(tmp_path / "f", service.port, [CHANGED]) as (place,),
    ):
        visitor = visit(place)
        _, _, page = await visitor.ask("GET", "/")
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page))
        for _ in range(3):
            status, _, page = await visitor.ask("POST", "/spawn", data=fields)
            assert (status, "the proxy in front of it changes its address" in page) == (403, True)
        (line,) = [line for line in service.events if line["event"] == "origin.refused"]
        assert (line["origin"], line["expected"]) == (place.origin, f"http://127.0.0.1:{service.port}")
        assert "--public-url" in line["message"]
        await service.stop()
        await service.launch(f"--public-url={place.origin}")
        await service.until(lambda stats: stats["warm"] >= 1)
        path = await visitor.click("/lab")
        async with visitor.socket(f"{path.removesuffix('lab')}api/kernels/1/channels") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"


@pytest.mark.parametrize("rules", ["", "proxy_http_version 1.1;"], ids=["HTTP/1.0", "HTTP/1.1"])
async def test_a_proxy_that_removes_upgrade_is_told_of(rules: str, tmp_path: Path, visit: Any) -> None:
    bare = Front("nginx-bare", "nginx", f"proxy_set_header Host $http_host; {rules}", has_tls=False)
    async with (
        running(tmp_path, "fake", "--starts-per-hour=0") as service,
        fronts.opened(tmp_path / "f", service.port, [bare]) as (place,),
    ):
        visitor = visit(place)
        path = await visitor.click("/lab")
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with visitor.socket(f"{path.removesuffix('lab')}api/kernels/1/channels"):
                    pass
            assert caught.value.status == 400
        (line,) = [line for line in service.events if line["event"] == "websocket.no_upgrade"]
        assert "proxy_set_header Upgrade $http_upgrade" in line["message"]
        _, _, said = await visitor.ask("GET", f"/api/session/{path.split('/')[2]}")
        assert json.loads(said)["cut_off"] is True


@pytest.mark.engine
async def test_a_cell_runs_behind_every_proxy(tmp_path: Path, visit: Any) -> None:
    async with running(tmp_path, "docker", "--pool-size=1", "--trusted-proxies=127.0.0.1") as service:
        taken = await service.spawn()
        async with taken.client() as program, program.post(f"{service.url}/api/session/{taken.key}/share") as reply:
            token = urlsplit((await reply.json())["url"]).query
        async with fronts.opened(tmp_path / "f", service.port) as places:
            for place in places:
                visitor = visit(place)
                status, location, said = await visitor.ask("GET", f"/user/{taken.key}/lab?{token}")
                assert status == 303, (place.front.id, said)
                assert (await visitor.ask("GET", location))[0] == 200
                assert await compute(visitor, f"/user/{taken.key}/") == "42", place.front.id


async def compute(visitor: Visitor, base: str) -> str:
    """Run a cell as a page does: a session, its kernel's WebSocket, one request."""
    kernel = {"type": "console", "name": "x", "path": uuid.uuid4().hex, "kernel": {"name": "python3"}}
    status, _, said = await visitor.ask("POST", f"{base}api/sessions", json=kernel)
    assert status == 201, said
    content = {
        "code": "print(6 * 7)",
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
    }
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": "s",
        "username": "",
        "version": "5.3",
        "date": "",
    }
    request = {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }
    async with visitor.socket(f"{base}api/kernels/{json.loads(said)['kernel']['id']}/channels") as socket:
        await socket.send_json(request)
        async with asyncio.timeout(60):
            while True:
                message = await socket.receive_json()
                if message["msg_type"] == "stream":
                    return str(message["content"]["text"]).strip()


@pytest.mark.engine
@pytest.mark.browser
async def test_in_a_browser_a_cell_runs_or_the_page_says_that_it_cannot(tmp_path: Path) -> None:
    """By HTTP/2 and TLS on a port of its own; the second proxy drops that port."""
    wanted = [FRONTS[3], LOST_PORT]
    async with running(
        tmp_path, "docker", "--pool-size=2", "--starts-per-hour=0", "--trusted-proxies=127.0.0.1", warm=2
    ) as service:
        async with fronts.opened(tmp_path / "f", service.port, wanted) as places, async_playwright() as playwright:
            flags = [*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {fronts.NAME} 127.0.0.1"]
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
            good, bad = [await (await browser.new_context(ignore_https_errors=True)).new_page() for _ in places]
            await good.goto(f"{places[0].url}/lab/tree/welcome.ipynb")
            await good.wait_for_url("**/user/**")
            await run_cell(good, 0, code="print(6 * 7)")
            assert "42" in await output_of(good, 0, "42")
            await bad.goto(f"{places[1].url}/lab/tree/welcome.ipynb")
            await bad.wait_for_url("**/user/**")
            await bad.get_by_text("Cells cannot run here").wait_for(timeout=60_000)
            await browser.close()
        assert "origin.refused" in service.log
