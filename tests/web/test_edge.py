"""From the socket to a notebook: who is let through, and what passes."""

import asyncio
import re
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError
from yarl import URL

from tests.notebooks import notebook_of
from tests.web.guests import MODES, Place, eventually
from tests.web.heads import visit
from tmppool import __version__, app
from tmppool.proxy.upstream import Upstream
from tmppool.running import Dial
from tmppool.web import edge


@pytest.fixture(params=MODES, ids=("path", "domain"))
async def place(open_place: Any, request: pytest.FixtureRequest) -> Place:
    return await open_place(**request.param)


@pytest.fixture
async def key(place: Place) -> str:
    program = place.program()
    await program.post("/api/spawn")
    return next(iter(place.tokens))


async def test_a_notebook_is_told_the_visitors_address_in_its_plain_form(place: Place, key: str) -> None:
    await place.program().get(f"/user/{key}/tree")
    headers = place.notebook(key).headers[-1]
    assert (headers["X-Real-IP"], headers["X-Forwarded-For"]) == ("127.0.0.1", "127.0.0.1")


async def test_a_notebook_is_told_what_a_trusted_proxy_says(open_place: Any) -> None:
    place = await open_place(trusted_proxies=("127.0.0.1",))
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    for address in ("203.0.113.7", "203.0.113.8", "203.0.113.7"):
        await place.program().ask(
            "GET", f"/user/{key}/tree", {"X-Forwarded-For": f"6.6.6.6, {address}", "X-Forwarded-Proto": "https"}
        )
        headers = place.notebook(key).headers[-1]
        assert (headers["X-Real-IP"], headers["X-Forwarded-For"], headers["X-Forwarded-Proto"]) == (
            address,
            address,
            "https",
        )


@pytest.mark.parametrize("said", ["fe80::1%\xff", "fe80::1%a b", "\xff\xfe", "1.2.3.4\t", "x" * 5000])
async def test_no_address_that_a_proxy_passes_on_makes_the_service_fail(open_place: Any, said: str) -> None:
    place = await open_place(trusted_proxies=("127.0.0.1",))
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(
        f"GET /user/{key}/tree?token={place.tokens[key]} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        f"X-Forwarded-For: {said}\r\n\r\n".encode("latin-1")
    )
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("said", ["\xff\xfe", "\xed\xa0\x80", "evil.example/<b>", "a b"])
async def test_no_host_that_a_proxy_passes_on_is_in_a_link_or_makes_the_service_fail(
    open_place: Any, said: str
) -> None:
    place = await open_place(trusted_proxies=("127.0.0.1",))
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    await place.owner().ask("POST", f"/api/session/{key}/share", {"Sec-Fetch-Site": "same-origin"})
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(
        f"GET /session/{key}?token={place.tokens[key]} HTTP/1.1\r\nHost: here.example\r\nConnection: close\r\n"
        f"X-Forwarded-Host: {said}\r\n\r\n".encode("latin-1")
    )
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f"http://here.example/user/{key}/".encode() in answer


def test_the_lines_of_a_bounded_number_of_clients_are_kept_and_all_are_told_rightly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One visitor may come from any number of addresses."""
    monkeypatch.setattr(edge, "_MOST_CLIENTS", 2)
    relay = edge._Relay(notebook_of("k" * 22), "id", "/user/k/", Upstream(Dial("127.0.0.1", 1)), b"")
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.3"):
        assert f"X-Real-IP: {address}\r\n".encode() in relay.identity(visit(peer=address), None)
    assert {address for address, _ in relay.identities} == {"192.0.2.1", "192.0.2.2"}


async def test_a_program_that_changes_something_uses_its_notebook_and_one_that_looks_does_not(
    place: Place, key: str
) -> None:
    """A program is told by its token, an owner's browser by its cookie: of that, only what our script reports counts."""
    browser, program = place.owner(), place.program()
    has_token = {"Authorization": f"token {place.tokens[key]}"}

    async def end() -> float:
        await asyncio.sleep(0.02)
        return float((await browser.get(f"/api/session/{key}")).json["idle_expires_at"])

    await program.get(f"/user/{key}/api/kernels")
    first = await end()
    for headers in ({}, has_token):
        await program.ask("GET", f"/user/{key}/api/kernels", headers)
        await program.ask("PUT", f"/user/{key}/api/contents/a.ipynb", headers, data=b"{}")
        await program.ask("PUT", f"/user/{key}/lab/api/workspaces/default", headers, data=b"{}")
    for path in ("api/sessions", "git/status", "proxy/5006/poll"):
        await program.post(f"/user/{key}/{path}", b"{}", Content_Type="application/json")
    assert (await browser.get(f"/user/{key}/lab")).status == 200
    assert await end() == pytest.approx(first, abs=0.01)
    await program.ask("POST", f"/user/{key}/api/sessions", has_token | {"Content-Type": "application/json"}, data=b"{}")
    second = await end()
    assert second > first + 0.015
    await browser.ask("POST", f"/api/session/{key}/touch", {"Sec-Fetch-Site": "same-origin"})
    assert await end() > second + 0.015


async def test_another_web_application_is_used_and_answers_like_an_app_at_every_path(open_place: Any) -> None:
    """JupyterLab's own chatter, its login, ``nosniff`` and the owner's button belong to Jupyter alone."""
    place = await open_place(fake={"is_jupyter": False})
    await place.until(warm=4)
    program = place.program()
    await program.post("/api/spawn")
    (key,) = place.tokens
    has_token = {"Authorization": f"token {place.tokens[key]}"}
    notebook = next(iter(place.pools)).find(key)
    assert not notebook.is_jupyter
    for path in ("lab/api/workspaces/x", "api/contents/a", "api/events", "api/security/csp-report"):
        before = notebook.active_at
        await asyncio.sleep(0.01)
        await program.ask("PUT", f"/user/{key}/{path}", has_token, data=b"{}")
        assert notebook.active_at > before
        await program.ask("GET", f"/user/{key}/{path}", has_token)
    reply = await program.ask("GET", f"/user/{key}/login?token=theirs", has_token)
    assert "X-Content-Type-Options" not in reply.headers
    asked = place.backend.notebooks[key].requests
    assert asked[-1] == f"GET /user/{key}/login?token=theirs"
    assert [request for request in asked if "api/status" in request] == []
    page = await place.owner().get(f"/user/{key}/lab")
    assert ' data-app=""' in page.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "X-OWN"])
async def test_a_page_elsewhere_changes_nothing(place: Place, key: str, method: str) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": place.origin(key)},
    ):
        answer = await place.program().ask(method, f"/user/{key}/api/kernels", headers)
        assert answer.status in (400, 403) if method == "X-OWN" else answer.status == 403
    assert not [line for line in place.asked(key) if line.startswith(method)]


async def test_a_page_elsewhere_may_be_linked_from(place: Place, key: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await place.program().ask("GET", f"/user/{key}/tree", headers)).status == 200


@pytest.mark.parametrize(
    ("mode", "dest", "site", "status"),
    [
        ("navigate", "document", "cross-site", 200),
        ("navigate", "document", "same-site", 200),
        ("navigate", "iframe", "same-site", 403),
        ("navigate", "embed", "cross-site", 403),
        ("no-cors", "image", "same-site", 403),
        ("no-cors", "script", "cross-site", 403),
        ("cors", "empty", "same-site", 403),
        ("cors", "empty", "same-origin", 200),
        ("no-cors", "image", "same-origin", 200),
        ("navigate", "iframe", "same-origin", 200),
        ("navigate", "document", "none", 200),
    ],
)
async def test_a_page_elsewhere_reads_frames_and_includes_nothing(
    place: Place, key: str, mode: str, dest: str, site: str, status: int
) -> None:
    headers = {"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest, "Sec-Fetch-Site": site}
    assert (await place.program().ask("GET", f"/user/{key}/x", headers)).status == status
    assert ("GET x" in place.asked(key)) is (status == 200)


async def test_our_own_pages_change_what_they_like(place: Place, key: str) -> None:
    for headers in (
        {"Origin": place.origin(key)},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
    ):
        assert (await place.program().ask("PUT", f"/user/{key}/x", headers, data=b"y")).body == b"y"


async def test_behind_a_trusted_proxy_the_host_that_it_names_is_our_own(open_place: Any) -> None:
    place = await open_place(trusted_proxies=("127.0.0.1",))
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    said = {"X-Forwarded-Host": "nb.example.org", "X-Forwarded-Proto": "https"}
    for origin, status in (
        ("https://nb.example.org", 200),
        ("https://NB.Example.org", 200),
        (f"http://127.0.0.1:{place.port}", 403),
    ):
        assert (
            await place.program().ask("PUT", f"/user/{key}/x", {**said, "Origin": origin}, data=b"y")
        ).status == status


@pytest.mark.parametrize(("public_url", "origin"), [("https://nb.example.org", "https://nb.example.org"), ("https://nb.example.org:8443", "https://nb.example.org:8443"), ("http://nb.example.org", "http://nb.example.org")])  # fmt: skip
async def test_the_public_urls_own_pages_change_what_they_like(open_place: Any, public_url: str, origin: str) -> None:
    place = await open_place(public_url=public_url)
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    assert (
        await place.program().ask("PUT", f"/user/{key}/x", {"Origin": "https://evil.example"}, data=b"y")
    ).status == 403
    assert (await place.program().ask("PUT", f"/user/{key}/x", {"Origin": origin}, data=b"y")).status == 200


async def test_a_notebooks_pages_carry_the_notice_of_their_session(place: Place, key: str) -> None:
    page = await place.owner().get(f"/user/{key}/lab/tree/a.ipynb")
    scripts = (
        f'<script src="/static/activity.js?v={__version__}" data-touch="/api/session/{key}"></script>',
        f'<script src="/static/session.js?v={__version__}" data-session="/api/session/{key}" async=""></script>',
    )
    for script in scripts:
        assert page.text.count(script) == 1
        assert page.text.index(script) < page.text.index("</head>")
    assert int(page.headers["Content-Length"]) == len(page.body)
    app = await place.owner().get(f"/user/{key}/proxy/5006/app")
    assert app.text.count("<script") == 2
    frame = await place.owner().get(f"/user/{key}/lab", Sec_Fetch_Dest="iframe", Sec_Fetch_Site="same-origin")
    assert (frame.text.count(scripts[0]), frame.text.count("<script")) == (1, 1)


async def test_who_is_no_browser_gets_pages_as_they_are(place: Place, key: str) -> None:
    whole = (await place.program().get(f"/user/{key}/lab")).body
    has_token = {"Authorization": f"token {place.tokens[key]}", "Accept": "text/html"}
    assert b"<script" not in whole
    assert (await place.program().ask("GET", f"/user/{key}/lab", has_token)).body == whole


async def test_the_scripts_of_a_page_are_served_where_the_page_is(place: Place, key: str) -> None:
    page = await place.owner().get(f"/user/{key}/lab")
    for path in re.findall(r'<script src="([^"]+)"', page.text):
        found = await place.owner().get(str(URL(page.url).join(URL(path))))
        assert (found.status, found.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")


async def test_a_websocket_reaches_the_notebook_and_ends_with_it(place: Place, key: str) -> None:
    program = place.program()
    url = program.whole(f"/user/{key}/api/kernels/1/channels")
    async with program.session.ws_connect(url) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
        await program.ask("DELETE", f"/api/session/{key}")
        assert (await socket.receive()).type.name in ("CLOSE", "CLOSED", "ERROR")
    with pytest.raises(WSServerHandshakeError) as error:
        await program.session.ws_connect(url)
    assert error.value.status == 424


async def test_a_reaped_notebook_leaves_nothing_behind_at_the_edge(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges: list[Any] = []
    make = app.Edge
    monkeypatch.setattr(app, "Edge", lambda *parts: edges.append(make(*parts)) or edges[-1])
    place = await open_place()
    program = place.program()
    key = (await program.post("/api/spawn")).json["url"].split("/")[2]
    await program.get(f"/user/{key}/tree")
    assert edges[0]._relays[key].identities
    await program.ask("DELETE", f"/api/session/{key}")
    await eventually(lambda: not edges[0]._relays)
