"""A whole session with canaries for secrets: none of them is in any line of the log or in a metric."""

import asyncio
import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.web.guests import Guest, Place, eventually
from tmppool import log
from tmppool.keys import id_of

ADDRESS = "203.0.113.77"
ADMIN_TOKEN = "canary-of-the-operator-4711"
API_TOKEN = "canary-of-the-api-0815"
OTHERS = ["canary-in-a-query-1234", "canary-in-a-cookie-1234", "canary-in-a-password-1234", "canary-in-a-body-1234"]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Log as the service does, at its most talkative level."""
    root, handlers, level, configured = (
        logging.getLogger(),
        logging.getLogger().handlers[:],
        logging.getLogger().level,
        structlog.get_config(),
    )
    configure = structlog.configure
    # A logger that is kept for ever would be kept by the other tests too.
    monkeypatch.setattr(
        structlog, "configure", lambda **options: configure(**options | {"cache_logger_on_first_use": False})
    )
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(sys, "stdout", said)
    log.configure(level="debug", json=True)
    yield said
    for handler in root.handlers:
        handler.close()
    for name in ("apscheduler", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.handlers = handlers
    root.setLevel(level)
    configure(**configured)


async def share(place: Place, person: Guest, key: str) -> list[str]:
    """Let others in by every way there is, and keep some out; returns what was secret."""
    own = {"Sec-Fetch-Site": "same-origin"}
    url = (await person.ask("POST", f"/api/session/{key}/share", own)).json["url"]
    await person.ask("POST", f"/session/{key}/share", own)
    guest = place.person()
    await guest.follow(await guest.get(url))
    await guest.ask("DELETE", f"/api/session/{key}", own)
    await person.get(f"/session/{key}?path={OTHERS[0]}")
    given = (await place.stranger().post("/api/spawn")).json
    for browser in (place.person(), place.person()):
        await browser.get(f"{given['url']}lab?token={given['token']}")
    await place.stranger(Authorization=f"Bearer {given['token']}").get(f"{given['url']}api")
    await person.ask("DELETE", f"/api/session/{key}/share", own)
    await guest.get(url)
    token = url.partition("token=")[2]
    assert token
    session_token = person.cookies()[f"tmppool-{id_of(key)}"]
    return [token, session_token, given["token"], given["url"].split("/")[2]]


async def live(place: Place) -> list[str]:
    """Do everything that visitors, programs and operators do, and much that goes wrong; returns what was secret."""
    person = place.person(X_Forwarded_For=ADDRESS)
    page = await person.get(f"/lab/tree/a.ipynb?token={OTHERS[0]}")
    ticket, cookie = page.form()["ticket"], next(iter(person.cookies().values()))
    key = (await person.press(page)).key
    notebook = place.notebook(key)
    base, headers = f"/user/{key}/", {"Cookie": f"session={OTHERS[1]}", "Authorization": f"Basic {OTHERS[2]}"}
    await person.ask("GET", f"{base}lab?code={OTHERS[0]}", headers)
    await person.ask(
        "PUT", f"{base}api/contents/a.ipynb", headers | {"Sec-Fetch-Site": "same-origin"}, data=OTHERS[3].encode()
    )
    await person.ask("POST", f"{base}api/kernels", {"Origin": "https://evil.example"}, data=OTHERS[3].encode())
    async with person.session.ws_connect(f"{place.url}{base}api/kernels/1/channels?session_id={OTHERS[0]}") as socket:
        await socket.send_str(OTHERS[3])
        await socket.receive_str()
    await person.post("/spawn", {"ticket": ticket}, Sec_Fetch_Site="same-origin")
    await place.person().post("/spawn", {"ticket": ticket}, Sec_Fetch_Site="same-origin")
    await person.get(f"/api/session/{key}")
    others = await share(place, person, key)
    await person.post(f"/api/session/{key}/extend", Sec_Fetch_Site="same-origin")
    await notebook.runner.cleanup()  # it does not answer any more
    await person.get(f"{base}lab?code={OTHERS[0]}")
    await place.backend.kill(key)
    await eventually(lambda: key not in place.backend.notebooks)
    await person.get(f"{base}tree")
    for value in (f"token {ADMIN_TOKEN}", f"token {API_TOKEN}", "token wrong-but-somebodys-secret"):
        for path in ("/api/notebooks", "/metrics"):
            await place.operator(Authorization=value).get(path)
    for line in (
        f"GET {base}a b HTTP/1.1",
        f"GET {base} HTTP/9",
        f"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: {OTHERS[0]}",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(f"{line}\r\nX-Forwarded-For: {ADDRESS}\r\nCookie: tmppool={cookie}\r\n\r\n".encode())
        await reader.read()
        writer.close()
    return [
        key,
        *others,
        ticket,
        cookie,
        notebook.running.token,
        ADDRESS,
        ADMIN_TOKEN,
        API_TOKEN,
        *OTHERS,
        "wrong-but-somebodys-secret",
    ]


async def test_no_secret_is_logged_or_measured(open_place: Any, logged: io.StringIO) -> None:
    place = await open_place(trusted_proxies=("127.0.0.1",), admin_auth_token=ADMIN_TOKEN)
    secrets = await live(place)
    metrics = (await place.operator(Authorization=f"token {ADMIN_TOKEN}").get("/metrics")).text
    assert "tmppool_notebooks" in metrics
    log.flush()
    said = logged.getvalue()
    assert '"event": "notebook.assigned"' in said  # it was listened to
    assert re.search(r'"notebook": "[0-9a-f]{10}", .*"event": "upstream.failed"', said)
    for secret in secrets:
        assert secret not in metrics
        assert secret not in said, [line for line in said.splitlines() if secret in line][:3]


async def test_the_token_of_the_api_is_not_logged(open_place: Any, logged: io.StringIO) -> None:
    place = await open_place(api_auth_token=API_TOKEN)
    key = (await place.program(Authorization=f"token {API_TOKEN}").post("/api/spawn")).json["url"].split("/")[2]
    assert (await place.program(Authorization=f"token {API_TOKEN}x").post("/api/spawn")).status == 403
    log.flush()
    said = logged.getvalue()
    assert '"event": "notebook.assigned"' in said
    assert API_TOKEN not in said
    assert key not in said


async def test_a_bug_that_holds_a_secret_is_logged_without_it(
    open_place: Any, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await open_place()
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    token = place.notebook(key).running.token

    def fail(*_: object) -> None:
        raise RuntimeError(f"GET /user/{key}/lab?token={OTHERS[0]} Authorization: token {token}")

    monkeypatch.setattr("tmppool.web.session.Session._live", fail)
    assert (await place.program().get(f"/api/session/{key}")).status == 500
    log.flush()
    said = logged.getvalue()
    assert '"event": "request.failed"' in said
    for secret in (key, token, OTHERS[0]):
        assert secret not in said
