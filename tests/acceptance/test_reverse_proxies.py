"""The configurations of docs/reverse-proxies.md: everything that visitors do works behind each of them."""

import asyncio
import contextlib
import html
import io
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import async_playwright
from yarl import URL

from tests.acceptance import fronts
from tests.acceptance.documented_fronts import PROGRAMS, started, written
from tests.acceptance.harness import CHROMIUM_FLAGS, Service, running
from tests.conftest import unavailable
from tests.proxy.stage import free_ports
from tests.web.guests import Everywhere, opened

pytestmark = [pytest.mark.fronts, pytest.mark.timeout(120)]

BODY = os.urandom(3 << 20)
SOME, MANY = 15, 700  # KiB of cookies: what a few pages leave, and a jar that a page has filled
FILL = """domain => {
  for (let number = 0; number < 170; number++)
    document.cookie = `c${number}=${"x".repeat(4000)}; domain=${domain}; path=/; secure`;
  return document.cookie.length;
}"""
MOST_OF_CURL = 60  # KiB of fields in one request by HTTP/2


class Visitor:
    """A browser by HTTP/1.1, and curl by any version with the same cookies."""

    def __init__(self, url: str, source: str = "") -> None:
        self.url = URL(url)
        self.source = source
        local = (source, 0) if source else None
        connector = aiohttp.TCPConnector(resolver=Everywhere(), ssl=fronts.any_certificate(), local_addr=local)
        self.session = aiohttp.ClientSession(connector=connector, headers={"Accept": "text/html"})

    async def click(self) -> URL:
        """Start a notebook by a launch link; return the URL of its base."""
        async with self.session.get(self.url / "lab") as reply:
            page = await reply.text()
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page))
        action = re.search(r'action="([^"]*)"', page)
        assert action is not None, page
        to, origin = self.url.join(URL(html.unescape(action[1]))), {"Origin": str(self.url.origin())}
        async with self.session.post(to, data=fields, headers=origin) as reply:
            assert reply.status == 200, await reply.text()
            base = re.match(r"/user/[^/]+/", reply.url.path)
            assert base is not None, reply.url
            return reply.url.with_path(base[0]).with_query(None)

    async def get(self, url: URL, cookies: int) -> tuple[str, str]:
        """Return version and status of an answer by HTTP/1.1, to a request with that many KiB of cookies."""
        field = {"Cookie": "; ".join(pairs(cookies))}
        async with asyncio.timeout(20), self.session.get(url, headers=field) as reply:
            return "1.1", str(reply.status)

    async def get_by_http2(self, url: URL, cookies: int, *, in_one: bool = False) -> tuple[str, str]:
        """Do so by HTTP/2: each cookie in a field of its own, as browsers send them, or all in one."""
        own = [f"{each.key}={each.value}" for each in self.session.cookie_jar.filter_cookies(url).values()]
        sent = [*own, *pairs(cookies)]
        lines = [f"Cookie: {text}" for text in (["; ".join(sent)] if in_one else sent)]
        running = await asyncio.create_subprocess_exec(
            "curl", "-sk", "--http2", "-m", "20", "-o", os.devnull, "-w", "%{http_version} %{http_code}", "-H", "@-",
            "--resolve", f"{url.host}:{url.port}:127.0.0.1", str(url),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await running.communicate("\n".join(lines).encode())
        version, status = out.decode().split()
        return version, status


def pairs(size: int) -> list[str]:
    """Return that many KiB of cookies, in as many as a browser may hold for one domain."""
    each = max(1, size // 170)
    return [f"c{number}={'x' * (each * 1024 - 10)}" for number in range(size // each)]


@contextlib.asynccontextmanager
async def visitor_at(url: str, source: str = "") -> AsyncIterator[Visitor]:
    visitor = Visitor(url, source)
    try:
        yield visitor
    finally:
        await visitor.session.close()


@contextlib.asynccontextmanager
async def behind(
    program: str, folder: Path, *options: str, has_domains: bool = False
) -> AsyncIterator[tuple[Service, str, Path]]:
    """The service behind a documented proxy, the URL for visitors, and what the proxy says."""
    plain, tls = free_ports(2)
    url = f"https://{fronts.NAME}:{tls}"
    domains = (f"--domain-per-notebook={fronts.NAME}:{tls}", f"--public-url={url}") if has_domains else ()
    text = written(program, has_domains=has_domains)
    async with (
        running(folder, "fake", "--ip=127.0.0.1", "--trusted-proxies=127.0.0.1", *domains, *options) as service,
        started(program, text, folder / program, service.port, (plain, tls)) as said,
    ):
        async with (
            visitor_at(f"http://{fronts.NAME}:{plain}") as visitor,
            visitor.session.get(visitor.url / "lab", allow_redirects=False) as reply,
        ):
            assert (reply.status // 100, reply.headers["Location"].partition(":")[0]) == (3, "https")
        yield service, url, said


@pytest.mark.parametrize("has_domains", [False, True], ids=["one host", "a host per notebook"])
@pytest.mark.parametrize("program", PROGRAMS)
async def test_everything_works_behind_each_documented_proxy(program: str, has_domains: bool, tmp_path: Path) -> None:  # noqa: FBT001
    async with behind(program, tmp_path, has_domains=has_domains) as (_, url, said), visitor_at(url) as visitor:
        base = await visitor.click()
        assert (base.host != fronts.NAME) == has_domains
        await talk(visitor, base)
        await upload(visitor, base)
        await stream(visitor, base / "events")
        await carry_cookies(visitor, base / "lab")
        assert await visitor.get_by_http2(visitor.url / "health", 0) == ("2", "200")
        assert "is DOWN" not in said.read_text()


async def talk(visitor: Visitor, base: URL) -> None:
    async with visitor.session.ws_connect(base / "api/kernels/1/channels", origin=str(base.origin())) as channel:
        await channel.send_str("hello")
        assert await channel.receive_str() == "hello"


async def upload(visitor: Visitor, base: URL) -> None:
    origin = {"Origin": str(base.origin())}
    async with visitor.session.put(base / "api/contents/big.ipynb", data=io.BytesIO(BODY), headers=origin) as reply:
        assert (reply.status, await reply.read()) == (200, BODY)


async def stream(visitor: Visitor, url: URL) -> None:
    """Each event comes although the response never ends."""
    async with asyncio.timeout(5), visitor.session.get(url) as reply:
        for number in range(3):
            assert await reply.content.readuntil(b"\n\n") == b"data: %d\n\n" % number


async def carry_cookies(visitor: Visitor, page: URL) -> None:
    for size in (SOME, MANY):
        assert await visitor.get(page, size) == ("1.1", "200"), size
    for size in (SOME, MOST_OF_CURL):
        assert await visitor.get_by_http2(page, size) == ("2", "200"), size
    assert await visitor.get_by_http2(page, SOME, in_one=True) == ("2", "200")


@pytest.mark.browser
@pytest.mark.parametrize("flags", [[], ["--disable-http2"]], ids=["HTTP/2", "HTTP/1.1"])
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_browser_whose_jar_a_page_has_filled_is_served(program: str, flags: list[str], tmp_path: Path) -> None:
    async with behind(program, tmp_path) as (_, url, _), async_playwright() as playwright:
        args = [*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {fronts.NAME} 127.0.0.1", *flags]
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=args)
        page = await (await browser.new_context(ignore_https_errors=True)).new_page()
        await page.goto(f"{url}/health")
        assert await page.evaluate(FILL, fronts.NAME) > MANY * 1000 * 0.95
        reply = await page.goto(f"{url}/health")
        assert reply is not None
        assert reply.status == 200
        version = await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        assert version == ("http/1.1" if flags else "h2")
        await browser.close()


@pytest.mark.parametrize(
    ("program", "line", "status"),
    [
        ("nginx", "large_client_header_buffers", "400"),
        ("haproxy", "tune.bufsize", "400"),
        ("nginx", "client_max_body_size", "413"),
    ],
)
async def test_without_its_line_a_visitor_is_refused(program: str, line: str, status: str, tmp_path: Path) -> None:
    """What the document says of these lines: it holds for its configurations without them."""
    text, count = re.subn(rf" *{re.escape(line)}.*\n", "", written(program))
    assert count == 1
    plain, tls = free_ports(2)
    async with (
        running(tmp_path, "fake", "--trusted-proxies=127.0.0.1") as service,
        started(program, text, tmp_path / program, service.port, (plain, tls)),
        visitor_at(f"https://{fronts.NAME}:{tls}") as visitor,
    ):
        base = await visitor.click()
        if status == "413":
            async with visitor.session.put(base / "a", data=io.BytesIO(BODY)) as reply:
                assert str(reply.status) == status
        else:
            assert await visitor.get(base / "lab", MOST_OF_CURL) == ("1.1", status)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_no_field_of_a_visitor_chooses_their_address(program: str, tmp_path: Path) -> None:
    async with behind(program, tmp_path, "--starts-per-hour=2") as (_, url, _):
        assert await starts(url, own_address()) == [200, 200, 429, 429]


async def test_a_proxy_that_sets_no_field_lets_visitors_choose_their_address(tmp_path: Path) -> None:
    """What the document warns of: it holds for this configuration without its line."""
    address = own_address()
    text = re.sub(r".*X-Forwarded-For.*\n", "", written("nginx"))
    plain, tls = free_ports(2)
    async with (
        running(tmp_path, "fake", "--trusted-proxies=127.0.0.1", "--starts-per-hour=2") as service,
        started("nginx", text, tmp_path / "nginx", service.port, (plain, tls)),
    ):
        assert await starts(f"https://{fronts.NAME}:{tls}", address) == [200, 200, 200, 200]


async def starts(url: str, source: str) -> list[int]:
    """Return the statuses of starts by one visitor, each of whose requests names another address."""
    async with visitor_at(url, source) as visitor:
        found = []
        for number in range(4):
            forged = f"203.0.113.{number}"
            fields = {"X-Forwarded-For": forged, "X-Real-IP": forged, "Forwarded": f"for={forged}"}
            async with visitor.session.post(visitor.url / "api/spawn", headers=fields) as reply:
                found.append(reply.status)
        return found


def own_address() -> str:
    """Return an address of this machine that is not loopback, as visitors have one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            unavailable("fronts", "this machine has no address but loopback")
        return str(asking.getsockname()[0])


@pytest.mark.parametrize("said", ["no", "yes", ""])
async def test_behind_nginx_with_defaults_an_app_streams_if_it_says_so(said: str, tmp_path: Path) -> None:
    text = re.sub(r".*proxy_buffering.*\n", "", written("nginx"))
    plain, tls = free_ports(2)
    async with (
        running(tmp_path, "fake", "--trusted-proxies=127.0.0.1") as service,
        started("nginx", text, tmp_path / "nginx", service.port, (plain, tls)),
        visitor_at(f"https://{fronts.NAME}:{tls}") as visitor,
    ):
        base = await visitor.click()
        url = (base / "events").with_query(buffering=said) if said else base / "events"
        if said == "no":
            await stream(visitor, url)
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await stream(visitor, url)


@pytest.mark.parametrize(
    ("check", "is_up"),
    [
        (r"\g<0>", True),
        ("", False),
        ("    http-check send meth GET uri /health ver HTTP/1.1\n", False),
    ],
    ids=["as documented", "without a line", "without a Host"],
)
async def test_haproxys_check_finds_the_service_alive(check: str, is_up: bool, tmp_path: Path) -> None:  # noqa: FBT001
    text, count = re.subn(r" *http-check send.*\n", check, written("haproxy"))
    assert count == 1
    if not is_up:
        text = re.sub(r" *http-check expect.*\n", "", text)
    ports = free_ports(2)
    async with (
        running(tmp_path, "fake", "--trusted-proxies=127.0.0.1") as service,
        started("haproxy", text, tmp_path / "haproxy", service.port, (ports[0], ports[1])) as said,
    ):
        await asyncio.sleep(4)  # two checks
        assert ("is DOWN" in said.read_text()) != is_up


@pytest.mark.parametrize("is_expected", [True, False], ids=["as documented", "without 503"])
async def test_haproxy_serves_on_while_no_notebook_can_start(
    is_expected: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = written("haproxy") if is_expected else re.sub(r" *http-check expect.*\n", "", written("haproxy"))
    plain, tls = free_ports(2)
    async with opened(tmp_path / "state", monkeypatch) as place:
        place.backend.is_ill = True
        place.backend._dead.put_nowait(None)  # it missed something, so the pool asks it what runs
        while (await place.program().get("/health")).status != 503:
            await asyncio.sleep(0.01)
        async with started("haproxy", text, tmp_path / "haproxy", place.port, (plain, tls)) as said:
            await asyncio.sleep(4)  # two checks
            assert ("is DOWN" in said.read_text()) != is_expected
            async with (
                visitor_at(f"https://{fronts.NAME}:{tls}") as visitor,
                visitor.session.get(visitor.url / "lab") as reply,
            ):
                assert ("<form" in await reply.text()) == is_expected
        place.backend.is_ill = False
