"""A notebook belongs to the browser that started it, until its owner shares it; restarts change nothing of that."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import Browser, Page

from tests.acceptance.harness import Service, chromium, claim, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

WITNESS = f"--command={sys.executable} {Path(__file__).with_name('witness.py')} {{base_path}} {{port}}"
MODES = [pytest.param((), id="path"), pytest.param(("--domain-per-notebook=nb.localhost:{service_port}",), id="domain")]


@pytest.fixture(params=MODES)
async def service(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    async with running(tmp_path, "process", "--pool-size=3", WITNESS, *request.param, warm=3) as made:
        yield made


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


async def profile(browser: Browser) -> Page:
    """A browser of somebody else."""
    return await (await browser.new_context()).new_page()


async def start(browser: Browser, service: Service) -> Page:
    page = await profile(browser)
    await page.goto(service.at("/lab/tree/welcome.ipynb"))
    await page.wait_for_url("**/user/**")
    assert await page.inner_text("h1") == "A notebook"
    return page


async def open_socket(page: Page) -> None:
    """Open a WebSocket to the notebook of this page, and use it."""
    base = "/".join(urlsplit(page.url).path.split("/")[:3])
    script = """base => new Promise((done, fail) => {
        window.socket = new WebSocket(base + '/api/kernels/1/channels');
        window.ended = new Promise(end => { window.socket.onclose = end; });
        window.socket.onmessage = event => done(event.data);
        window.socket.onerror = () => fail(new Error('refused'));
        window.socket.onopen = () => window.socket.send('hello');
    })"""
    assert await page.evaluate(script, base) == "hello"


async def is_refused(page: Page, url: str) -> bool:
    reply = await page.goto(url)
    assert reply is not None
    assert "token=" not in page.url or reply.status == 403
    return reply.status == 403 and await page.inner_text("h1") == "This notebook belongs to another browser"


async def share(owner: Page) -> tuple[Page, str]:
    """Share by the way that the notebook's page offers; returns the owner's page and the link."""
    way = owner.locator("tmppool-notice").get_by_role("link", name="Share this notebook")
    await way.wait_for(timeout=15_000)
    async with owner.context.expect_page() as opened:
        await way.click()
    about = await opened.value
    await about.get_by_role("button", name="Make a link").click()
    return about, await about.get_by_label("Link that shares this notebook").input_value()


@pytest.mark.browser
async def test_another_browser_is_out_until_the_owner_shares_and_again_when_they_stop(
    service: Service, browser: Browser, tmp_path: Path
) -> None:
    owner, other = await start(browser, service), await profile(browser)
    assert await is_refused(other, owner.url)
    assert "welcome.ipynb" in await other.inner_text("main")
    for width in (1280, 390):
        await other.set_viewport_size({"width": width, "height": 800})
        await other.screenshot(path=str(tmp_path / f"foreign-{width}.png"))
        assert await other.evaluate("document.documentElement.scrollWidth <= innerWidth")

    about, link = await share(owner)
    assert "/lab/tree/welcome.ipynb?token=" in link
    for width in (1280, 390):
        await about.set_viewport_size({"width": width, "height": 1000})
        await about.screenshot(path=str(tmp_path / f"session-{width}.png"), full_page=True)
        assert await about.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await owner.screenshot(path=str(tmp_path / "owner.png"))
    await other.goto(link)
    assert other.url == owner.url
    assert await other.inner_text("h1") == "A notebook"
    await open_socket(other)

    await service.kill()
    await service.start(warm=0)
    for page in (owner, other):
        await page.reload()
        assert await page.inner_text("h1") == "A notebook"
        await open_socket(page)
    third = await profile(browser)
    await third.goto(link)
    assert third.url == owner.url

    await about.reload()
    await about.get_by_role("button", name="Stop sharing").click()
    for page in (other, third):
        assert (
            await is_refused(page, owner.url) if page is third else await page.evaluate("window.ended.then(() => true)")
        )
        assert await is_refused(page, link)
    assert await owner.evaluate("window.socket.readyState") == 1
    await service.kill()
    await service.start(warm=0)
    assert await is_refused(other, owner.url)
    await owner.reload()
    assert await owner.inner_text("h1") == "A notebook"


@pytest.mark.browser
async def test_the_link_of_a_programs_notebook_is_the_first_browsers(service: Service, browser: Browser) -> None:
    taken = await service.spawn()
    link = f"{taken.url}lab?x=1&token={taken.token}"
    first, second = await profile(browser), await profile(browser)
    await claim(first, link)
    assert first.url == f"{taken.url}lab?x=1"
    assert await first.inner_text("h1") == "A notebook"
    assert await is_refused(second, link)
    await service.kill()
    await service.start(warm=0)
    assert await is_refused(second, link)
    await first.reload()
    assert await first.inner_text("h1") == "A notebook"


@pytest.mark.browser
async def test_the_owner_may_end_it_from_its_page(service: Service, browser: Browser) -> None:
    owner = await start(browser, service)
    about, _ = await share(owner)
    end = about.get_by_role("button", name="Yes, end it now")
    assert not await end.is_visible()
    await about.get_by_text("End this notebook", exact=True).click()
    await end.click()
    assert await about.inner_text("h1") == "This notebook has ended"
    fresh = await about.get_by_role("link", name="Start a fresh notebook").get_attribute("href")
    assert (fresh or "").endswith("/lab/tree/welcome.ipynb")


@pytest.mark.browser
@pytest.mark.parametrize(("is_touch", "least"), [(True, 44), (False, 28)])
async def test_the_way_to_sharing_is_as_large_as_who_points_needs(
    service: Service,
    browser: Browser,
    tmp_path: Path,
    is_touch: bool,  # noqa: FBT001
    least: int,
) -> None:
    context = await browser.new_context(
        has_touch=is_touch, is_mobile=is_touch, viewport={"width": 390, "height": 800} if is_touch else None
    )
    page = await context.new_page()
    await page.goto(service.at("/lab/tree/welcome.ipynb"))
    await page.wait_for_url("**/user/**")
    way = page.locator("tmppool-notice").get_by_role("link", name="Share this notebook")
    await way.wait_for(timeout=15_000)
    assert await way.evaluate("node => [node.offsetWidth, node.offsetHeight]") == [least, least]
    assert float(await way.evaluate("node => getComputedStyle(node).opacity")) >= 0.8
    await page.screenshot(path=str(tmp_path / "corner.png"))


async def test_a_program_with_the_token_needs_no_cookie(service: Service) -> None:
    taken = await service.spawn()
    parts = urlsplit(taken.url)
    url, host = f"{service.url}{parts.path}", {"Host": parts.netloc}
    for more, status in (
        ({}, 403),
        ({"Authorization": f"token {taken.token}"}, 200),
        ({"Authorization": "token x"}, 403),
    ):
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{url}api"]
        for name, value in {**host, **more}.items():
            command += ["-H", f"{name}: {value}"]
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert (await child.communicate())[0].decode() == str(status)
    async with aiohttp.ClientSession(headers=host) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{url}api/kernels/1/channels")
        assert refused.value.status == 403
        async with session.ws_connect(f"{url}api/kernels/1/channels?token={taken.token}") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
