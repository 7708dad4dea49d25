"""An app in a notebook that has credentials of its own, behind a real Jupyter and jupyter-server-proxy."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import encode_basic_auth, web

from tests.acceptance.harness import Service, chromium, free_port, running

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.timeout(180)]

STUDENT = encode_basic_auth("student", "secret")
AS_STUDENT = {"Authorization": STUDENT}
ASK = 'Basic realm="Lesson"'


@pytest.fixture
async def app() -> AsyncIterator[tuple[int, list[web.Request]]]:
    """A lesson on web authentication; returns its port, and what it was asked."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request)
        if request.path == "/lesson" and request.headers.get("Authorization") != STUDENT:
            return web.Response(status=401, headers={"WWW-Authenticate": ASK}, text="Who are you?")
        form = await request.post()
        text = f"<!doctype html><h1>{request.method} {request.query.get('token')} {form.get('token')}</h1>"
        return web.Response(text=text, content_type="text/html")

    made = web.Application()
    made.router.add_route("*", "/{rest:.*}", answer)
    runner, port = web.AppRunner(made), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port, asked
    await runner.cleanup()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    pytest.importorskip("jupyter_server_proxy")
    async with running(tmp_path, "process", "--pool-size=1") as made:
        yield made


async def test_a_lesson_on_web_authentication_runs_and_jupyter_stays_open(service: Service, app: Any) -> None:
    port, asked = app
    async with chromium() as browser:
        context = await browser.new_context(http_credentials={"username": "student", "password": "secret"})
        page = await context.new_page()
        await page.goto(service.at("/lab"))
        await page.wait_for_url("**/user/**")
        base = "/".join(page.url.split("/")[:5])
        reply = await page.goto(f"{base}/proxy/{port}/lesson?token=theirs&x=1")
        assert reply is not None
        assert reply.status == 200
        assert await page.inner_text("h1") == "GET theirs None"
        assert page.url.endswith("/lesson?token=theirs&x=1")
        sent = await page.evaluate(
            "fetch('api', {method: 'POST', headers: {Authorization: 'Bearer theirs'}}).then(reply => reply.status)"
        )
        assert sent == 200
        assert asked[-1].headers["Authorization"] == "Bearer theirs"
        # The browser sends what was typed wherever it likes; Jupyter is none the worse.
        await page.set_extra_http_headers({"Authorization": STUDENT})
        for path in ("/lab", "/tree", "/api/kernels", f"/proxy/{port}/", "/"):
            reply = await page.goto(base + path)
            assert reply is not None
            assert (path, reply.status) == (path, 200)


async def test_a_program_speaks_to_an_app_with_the_apps_credentials(service: Service, app: Any) -> None:
    """Without a cookie of Jupyter's, after a restart that has forgotten all of them, and in a form too."""
    port, asked = app
    taken = await service.spawn()
    url = f"{taken.url}proxy/{port}/"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        async with session.get(f"{url}lesson?token={taken.token}") as reply:
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, ASK)
        async with session.get(f"{url}lesson?token={taken.token}", headers=AS_STUDENT) as reply:
            assert reply.status == 200
        async with session.get(f"{url}?token={taken.token}&token=theirs", headers=AS_STUDENT) as reply:
            assert "GET theirs None" in await reply.text()
        ours = {"Authorization": f"token {taken.token}"}
        async with session.post(f"{url}?token=theirs", headers=ours, data={"token": "typed"}) as reply:
            assert "POST theirs typed" in await reply.text()
        await service.kill()
        await service.start(warm=0)
        async with session.get(f"{url}?token=theirs", headers=ours) as reply:
            assert reply.status == 200
    for request in asked:
        assert taken.token not in f"{request.rel_url} {dict(request.headers)}"
