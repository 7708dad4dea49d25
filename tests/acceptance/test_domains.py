"""What a page inside one notebook can do to another notebook that the same browser holds."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page

from tests.acceptance.harness import Service, chromium, claim, running
from tmppool.keys import id_of

pytestmark = [pytest.mark.process, pytest.mark.browser, pytest.mark.timeout(180)]

WITNESS = f"--command={sys.executable} {Path(__file__).with_name('witness.py')} {{base_path}} {{port}}"
DOMAIN = "--domain-per-notebook=nb.localhost:{service_port}"

ATTACK = """async ([origin, base, id, domain]) => {
  const url = origin + base;
  const told = {};
  const attempt = async (name, act) => {
    try { told[name] = String(await act()); } catch (error) { told[name] = 'failed: ' + error.name; }
  };
  const loaded = element => new Promise(done => {
    element.onload = () => done('loaded');
    element.onerror = () => done('failed: error');
    setTimeout(() => done('nothing'), 3000);
    document.body.append(element);
  });
  await attempt('read', async () => (await fetch(url + 'attack-read', {credentials: 'include'})).status);
  await attempt('blind read', async () => (await fetch(url + 'attack-blind', {credentials: 'include', mode: 'no-cors'})).type);
  await attempt('post', async () => (await fetch(url + 'attack-post', {method: 'POST', credentials: 'include', body: 'x'})).status);
  await attempt('blind post', async () =>
    (await fetch(url + 'attack-blind-post', {method: 'POST', credentials: 'include', mode: 'no-cors', body: 'x'})).type);
  await attempt('socket', () => new Promise((done, fail) => {
    const socket = new WebSocket(url.replace('http', 'ws') + 'api/kernels/1/channels');
    socket.onopen = () => done('open');
    socket.onerror = () => fail(new TypeError());
  }));
  await attempt('script', () => loaded(Object.assign(document.createElement('script'), {src: url + 'attack-script.js'})));
  await attempt('frame', async () => {
    const frame = Object.assign(document.createElement('iframe'), {src: url + 'attack-frame'});
    await loaded(frame);
    return frame.contentDocument ? frame.contentDocument.title : 'closed';
  });
  await attempt('form', async () => {
    const sink = Object.assign(document.createElement('iframe'), {name: 'sink'});
    const form = Object.assign(document.createElement('form'), {method: 'post', action: url + 'attack-form', target: 'sink'});
    document.body.append(sink, form);
    form.submit();
    await new Promise(done => setTimeout(done, 1000));
    return 'sent';
  });
  await attempt('worker', async () => (await navigator.serviceWorker.register(url + 'attack-worker.js', {scope: url})).scope);
  for (const name of [`tmppool-${id}`, 'tmppool'])
    for (const path of ['/', base]) document.cookie = `${name}=tossed; path=${path}` + (domain ? `; domain=${domain}` : '');
  return told;
}"""


async def start(context: BrowserContext, url: str, service: Service) -> Page:
    """A notebook more in this browser: as a program takes it, opened by its link."""
    taken = await service.spawn()
    page = await context.new_page()
    await claim(page, f"{taken.url}lab?token={taken.token}")
    assert page.url == f"{taken.url}lab"
    return page


def parts(page: Page) -> tuple[str, str, str]:
    found = urlsplit(page.url)
    key = found.path.split("/")[2]
    return f"{found.scheme}://{found.netloc}", f"/user/{key}/", id_of(key)


async def attack(page: Page, victim: Page, domain: str) -> dict[str, str]:
    return dict(await page.evaluate(ATTACK, [*parts(victim), domain]))


async def seen(victim: Page) -> list[str]:
    """What reached the victim's notebook, as its owner's page asks."""
    found: list[str] = await victim.evaluate("fetch('seen').then(reply => reply.json())")
    return [line for line in found if "attack" in line or "websocket" in line]


async def has_tossed(context: BrowserContext) -> bool:
    cookies: list[Any] = await context.cookies()
    return any(cookie["value"] == "tossed" for cookie in cookies)


async def test_with_a_host_for_each_notebook_none_can_touch_another(tmp_path: Path) -> None:
    async with running(tmp_path, "process", "--pool-size=2", WITNESS, DOMAIN, warm=2) as service, chromium() as browser:
        context = await browser.new_context()
        page, victim = [await start(context, service.url, service) for _ in range(2)]
        told = await attack(page, victim, "nb.localhost")
        assert await has_tossed(context)
        assert await seen(victim) == []
        assert told["blind read"] == told["blind post"] == "opaque"  # the browser does not say that they were refused
        for name in ("read", "post", "socket", "script", "worker"):
            assert told[name].startswith("failed: "), (name, told)
        assert told["frame"] == "closed"
        reply = await victim.reload()
        assert reply is not None
        assert reply.status == 200
        assert await victim.evaluate("fetch('api/x', {method: 'POST'}).then(reply => reply.status)") == 200
        registered = await victim.evaluate("navigator.serviceWorker.getRegistrations().then(found => found.length)")
        assert registered == 0


LEFT_BEHIND = """async ([key, main]) => {
  const told = {};
  const attempt = async (name, act) => {
    try { told[name] = String(await act()); } catch (error) { told[name] = 'failed: ' + error.name; }
  };
  const post = {method: 'POST', credentials: 'include'};
  const session = `/api/session/${key}`;
  await attempt('share', async () => (await fetch(session + '/share', post)).status);
  await attempt('end', async () => (await fetch(session, {...post, method: 'DELETE'})).status);
  for (const verb of ['share', 'unshare', 'end']) {
    await attempt('press ' + verb, async () => (await fetch(`/session/${key}/${verb}`, post)).status);
    await attempt('press at main ' + verb, async () => (await fetch(`${main}/session/${key}/${verb}`, post)).status);
    await attempt('blind ' + verb, async () =>
      (await fetch(`${main}/session/${key}/${verb}`, {...post, mode: 'no-cors'})).type);
    await attempt('form ' + verb, async () => {
      const sink = Object.assign(document.createElement('iframe'), {name: 'sink' + verb});
      const form = Object.assign(document.createElement('form'),
        {method: 'post', action: `${main}/session/${key}/${verb}`, target: 'sink' + verb});
      document.body.append(sink, form);
      form.submit();
      await new Promise(done => setTimeout(done, 500));
      return 'sent';
    });
  }
  await attempt('end at main', async () => (await fetch(main + session, {...post, method: 'DELETE'})).status);
  await attempt('share at main', async () => (await fetch(main + session + '/share', post)).status);
  await attempt('read', async () => (await fetch(`${main}/session/${key}`, {credentials: 'include'})).status);
  return told;
}"""


async def test_with_a_host_for_each_notebook_what_a_guest_left_there_neither_shares_nor_ends_it(tmp_path: Path) -> None:
    async with running(tmp_path, "process", WITNESS, DOMAIN) as service, chromium() as browser:
        main = f"http://nb.localhost:{service.port}"
        page = await (await browser.new_context()).new_page()
        await page.goto(service.at("/lab").replace("127.0.0.1", "nb.localhost"))
        await page.wait_for_url("**/user/**")
        origin, base, _ = parts(page)
        key = base.split("/")[2]
        told = await page.evaluate(LEFT_BEHIND, [key, main])
        for name in ("share", "end", "press share", "press unshare", "press end"):
            assert told[name] == "403", (name, told)
        for name in ("press at main share", "press at main end", "end at main", "share at main", "read"):
            assert told[name] == "failed: TypeError", (name, told)
        about = await page.context.new_page()
        await about.goto(f"{origin}/session/{key}")
        assert about.url == f"{main}/session/{key}"
        await about.get_by_role("button", name="Make a link").click()  # it was not shared, and it lives
        link = await about.get_by_label("Link that shares this notebook").input_value()
        guest = await (await browser.new_context()).new_page()
        await guest.goto(link)
        assert "/user/" in guest.url
        assert (await guest.evaluate(LEFT_BEHIND, [key, main]))["end"] == "403"
        await about.get_by_role("link", name="Back to the notebook").click()
        assert await about.inner_text("h1") == "A notebook"


async def test_at_one_host_a_page_of_another_origin_can_touch_none(tmp_path: Path) -> None:
    """The page is a notebook's too, of a service at another port: as near as another origin can be."""
    async with (
        running(tmp_path, "process", "--pool-size=1", WITNESS, name="one") as one,
        running(tmp_path, "process", "--pool-size=1", WITNESS, name="two") as two,
        chromium() as browser,
    ):
        context = await browser.new_context()
        page, victim = await start(context, one.url, one), await start(context, two.url, two)
        told = await attack(page, victim, "")
        assert await has_tossed(context)
        assert await seen(victim) == []
        for name in ("read", "post", "socket", "script", "worker"):
            assert told[name].startswith("failed: "), (name, told)
        reply = await victim.reload()
        assert reply is not None
        assert reply.status == 200


async def test_at_one_host_a_page_that_knows_anothers_address_can_use_it_in_the_same_browser(tmp_path: Path) -> None:
    """Not promised otherwise: one host is one origin to a browser. A host for each notebook is the remedy."""
    async with running(tmp_path, "process", "--pool-size=2", WITNESS, warm=2) as service, chromium() as browser:
        context = await browser.new_context()
        page, victim = [await start(context, service.url, service) for _ in range(2)]
        assert (await attack(page, victim, ""))["read"] == "200"
        assert f"GET {parts(victim)[1]}attack-read" in await seen(victim)
