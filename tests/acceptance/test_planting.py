"""What a page in a notebook can do with the cookies of its browser: plant them, and push others out."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page

from tests.acceptance.harness import Service, chromium, claim, free_port, running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PLANTED = "planted-by-somebody-else"
PLANT = """async ([name, value, more]) => {
  for (let number = 0; number < 400; number++) {
    document.cookie = `junk${number}=x; path=/${more}`;
    if (number % 20 === 0) await new Promise(done => setTimeout(done, 20));
  }
  document.cookie = `${name}=${value}; path=/${more}`;
}"""


async def start(context: BrowserContext, url: str) -> Page:
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_url("**/user/**")
    return page


async def values(context: BrowserContext, name: str) -> list[str]:
    return [cookie.get("value", "") for cookie in await context.cookies() if cookie.get("name") == name]


async def certificate(home: Path) -> ssl.SSLContext:
    key, cert = home / "key.pem", home / "cert.pem"
    command = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost")
    child = await asyncio.create_subprocess_exec(
        "openssl", *command, "-keyout", str(key), "-out", str(cert), stderr=asyncio.subprocess.DEVNULL
    )
    assert await child.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def with_tls(home: Path) -> AsyncIterator[Service]:
    """A service behind something that terminates TLS."""
    port = free_port()
    async with running(home, "fake", f"--public-url=https://localhost:{port}") as service:

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", service.port)
            await asyncio.gather(pour(reader, inner_writer), pour(inner_reader, writer))

        server = await asyncio.start_server(carry, "127.0.0.1", port, ssl=await certificate(home))
        service.url = f"https://localhost:{port}"
        try:
            yield service
        finally:
            service.url = f"http://127.0.0.1:{service.port}"
            server.close()


async def test_over_https_no_page_plants_a_cookie_of_ours(tmp_path: Path) -> None:
    async with with_tls(tmp_path) as service, chromium() as browser:
        context = await browser.new_context(ignore_https_errors=True)
        page = await start(context, f"{service.url}/")
        name = f"__Host-Http-tmppool_{service.port}"
        assert len(await values(context, name)) == 1
        await page.evaluate(PLANT, [name, PLANTED, "; secure"])
        await page.evaluate(PLANT, ["__Host-other", PLANTED, "; secure"])
        assert await values(context, "__Host-other") == [PLANTED]
        assert await values(context, name) == []  # pushed out, and not replaced


async def test_with_a_host_for_each_notebook_who_lost_their_cookies_comes_back(tmp_path: Path) -> None:
    domain = "--domain-per-notebook=nb.localhost:{service_port}"
    async with running(tmp_path, "fake", domain, "--pool-size=3", warm=3) as service, chromium() as browser:
        main = f"http://nb.localhost:{service.port}"
        victim = await browser.new_context()
        page = await start(victim, f"{main}/lab/tree/a.ipynb")
        taken = await service.spawn()
        hostile = await victim.new_page()
        await claim(hostile, f"{taken.url}lab?token={taken.token}")
        await hostile.evaluate(PLANT, ["junk", "x", ""])
        cookies = [cookie.get("name", "") for cookie in await victim.cookies([main, page.url])]
        assert [name for name in cookies if name.startswith("tmppool")] == []
        reply = await page.reload()
        assert reply is not None
        assert reply.status == 403
        await page.get_by_role("link", name="Start your own notebook").click()
        await page.wait_for_url("**/user/**/a.ipynb")
        again = page.url
        assert again == (await start(victim, f"{main}/lab/tree/a.ipynb")).url
        assert again.split("/")[4] != taken.key
        assert (await service.stats())["assigned"] == 2
        assert await hostile.evaluate("Object.keys(localStorage)") == []


async def test_what_starts_with_a_planted_cookie_is_not_the_planters(tmp_path: Path) -> None:
    async with running(tmp_path, "fake", "--pool-size=4", warm=4) as service, chromium() as browser:
        planter, victim = await browser.new_context(), await browser.new_context()
        name = f"tmppool_{service.port}"
        page = await planter.new_page()
        await page.route("**/launch.js*", lambda route: route.abort())
        await page.goto(f"{service.url}/")
        (planted,), (ticket,) = await values(planter, name), await values(planter, f"{name}_ticket")

        inside = await start(victim, f"{service.url}/")
        await inside.evaluate(PLANT, [name, planted, ""])
        await inside.evaluate("cookie => { document.cookie = cookie; }", f"{name}_ticket={ticket}; path=/")
        assert (await values(victim, name), await values(victim, f"{name}_ticket")) == ([planted], [ticket])
        started = await start(victim, f"{service.url}/lab")
        assert started.url.split("/")[4] != inside.url.split("/")[4]
        assert planted not in await values(victim, name)
        reply = await page.goto(started.url)
        assert reply is not None
        assert reply.status == 403
        await page.goto(f"{service.url}/lab")
        assert "/user/" not in page.url
        await page.get_by_role("button").click()
        await page.wait_for_url("**/user/**")
        assert page.url.split("/")[4] != started.url.split("/")[4]
