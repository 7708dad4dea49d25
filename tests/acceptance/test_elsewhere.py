"""A page of another origin that holds a notebook's token, as thebe's pages do, in a real browser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.harness import Service, chromium, free_port, running

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.timeout(180)]
MODES = [pytest.param((), id="path"), pytest.param(("--domain-per-notebook=nb.localhost:{service_port}",), id="domain")]

USE = """async ([url, session, token]) => {
  const told = {};
  const attempt = async (name, act) => {
    try { told[name] = await act(); } catch (error) { told[name] = 'failed: ' + error.name; }
  };
  const said = {Authorization: 'token ' + token, 'Content-Type': 'application/json', 'X-XSRFToken': 'x'};
  const ask = async (where, more = {}) => (await fetch(where, {headers: said, ...more})).status;
  await attempt('kernels', () => ask(url + 'api/kernels'));
  await attempt('kernels by query', async () => (await fetch(url + 'api/kernels?token=' + token)).status);
  await attempt('kernel', async () => {
    const reply = await fetch(url + 'api/kernels', {method: 'POST', headers: said, body: '{}'});
    window.kernel = await reply.json();
    return reply.status + ' ' + Boolean(reply.headers.get('Location'));
  });
  await attempt('result', () => new Promise((done, fail) => {
    const where = url.replace('http', 'ws') + `api/kernels/${window.kernel.id}/channels?token=` + token;
    const socket = new WebSocket(where);
    const header = {msg_id: '1', username: '', session: 's', msg_type: 'execute_request', version: '5.3', date: ''};
    const content = {code: '6 * 7', silent: false, store_history: true, user_expressions: {}, allow_stdin: false};
    socket.onopen = () => socket.send(JSON.stringify(
      {header, content, parent_header: {}, metadata: {}, buffers: [], channel: 'shell'}));
    socket.onmessage = event => {
      const message = JSON.parse(event.data);
      if (message.msg_type === 'execute_result') done(message.content.data['text/plain']);
    };
    socket.onerror = () => fail(new TypeError());
  }));
  await attempt('session', async () => (await (await fetch(session, {headers: said})).json()).role);
  await attempt('extend', () => ask(session + '/extend', {method: 'POST'}));
  await attempt('wrong token', async () => {
    const reply = await fetch(url + 'api/kernels', {headers: {Authorization: 'token wrong'}});
    return reply.status + ' ' + (await reply.json()).state;
  });
  await attempt('with cookies', () => ask(url + 'api/kernels', {credentials: 'include'}));
  await attempt('end', () => ask(session, {method: 'DELETE'}));
  await attempt('ended', async () => {
    const reply = await fetch(url + 'api/kernels', {headers: said});
    return reply.status + ' ' + (await reply.json()).reason;
  });
  return told;
}"""


@pytest.fixture(params=MODES)
async def service(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    async with running(tmp_path, "process", "--pool-size=1", *request.param) as made:
        yield made


@pytest.fixture
async def elsewhere() -> AsyncIterator[str]:
    """The URL of a page of another origin."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>A lesson</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://lesson.localhost:{port}/"
    await runner.cleanup()


async def test_a_page_of_another_origin_that_holds_the_token_uses_the_notebook(
    service: Service, elsewhere: str
) -> None:
    taken = await service.spawn()
    async with chromium() as browser:
        page = await (await browser.new_context()).new_page()
        await page.goto(elsewhere)
        told = await page.evaluate(
            USE, [taken.url, f"{taken.url.replace('/user/', '/api/session/')[:-1]}", taken.token]
        )
    assert told == {
        "kernels": 200,
        "kernels by query": 200,
        "kernel": "201 true",
        "result": "42",
        "session": "owner",
        "extend": 200,
        "wrong token": "403 foreign",
        "with cookies": "failed: TypeError",
        "end": 200,
        "ended": "424 ended",
    }
