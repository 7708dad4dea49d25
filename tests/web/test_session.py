"""The life of one session: asked for, kept, ended and shared by those who hold it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import WSServerHandshakeError

from tests.proxy.stage import eventually
from tests.web.guests import MODES, PATIENCE, Guest, Place
from tmppool.tasks import spawn
from tmppool.web.own_cookies import visitor_id
from tmppool.web.tokens import session_token

OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(params=MODES, ids=("path", "domain"))
async def place(open_place: Any, request: pytest.FixtureRequest) -> Place:
    return await open_place(**request.param)


@pytest.fixture
async def owner(place: Place) -> Guest:
    return place.person()


@pytest.fixture
async def key(owner: Guest) -> str:
    return await owner.start()


async def share(owner: Guest, key: str, query: str = "") -> str:
    answer = await owner.ask("POST", f"/api/session/{key}/share{query}", OWN)
    assert answer.status == 200
    return str(answer.json["url"])


async def joined(place: Place, url: str) -> Guest:
    guest = place.person()
    _, page = await guest.follow(await guest.get(url))
    assert page.status == 200
    return guest


# For whom


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("lab/workspaces/auto-1/tree/a%20b.ipynb", "/lab/tree/a%20b.ipynb"),
        ("doc/tree/a.ipynb", "/doc/tree/a.ipynb"),
        ("", "/"),
        ("api/contents", "/"),
        ("//evil.example/lab", "/"),
    ],
)
async def test_a_page_whose_notebook_has_ended_learns_where_its_document_opens_anew(
    place: Place, owner: Guest, key: str, path: str, link: str
) -> None:
    await owner.ask("DELETE", f"/api/session/{key}", OWN)
    script = {"Accept": "application/json", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    gone = await owner.ask("GET", f"/api/session/{key}?path={quote(path, safe='')}", script)
    assert gone.status == 424
    assert gone.json["fresh_url"].removeprefix(place.url) == link


async def test_who_does_not_hold_a_session_learns_and_changes_nothing(place: Place, owner: Guest, key: str) -> None:
    for method, path in (
        ("GET", ""),
        ("POST", "/extend"),
        ("POST", "/touch"),
        ("DELETE", ""),
        ("POST", "/share"),
        ("DELETE", "/share"),
    ):
        answer = await place.stranger().ask(method, f"/api/session/{key}{path}")
        assert (answer.status, answer.json["state"]) == (403, "foreign")
        assert "expires_at" not in answer.json
    for method, path in (("GET", ""), ("POST", "/share"), ("POST", "/unshare"), ("POST", "/end")):
        answer = await place.person().ask(method, f"/session/{key}{path}", OWN)
        assert answer.status == 403
        assert answer.title == "This notebook belongs to another browser"
    assert (await owner.get(f"/api/session/{key}")).json["role"] == "owner"
    assert place.held(key).shared is None


async def test_a_page_elsewhere_shares_and_ends_nothing(place: Place, owner: Guest, key: str) -> None:
    for path in (f"/session/{key}/share", f"/session/{key}/end", f"/api/session/{key}/share"):
        for headers in (
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        ):
            assert (await owner.ask("POST", path, headers)).status == 403
    assert place.held(key).is_live
    assert place.held(key).shared is None


# Sharing


async def test_a_shared_notebook_lets_in_whoever_has_the_link_until_it_is_no_longer_shared(
    place: Place, owner: Guest, key: str
) -> None:
    url = await share(owner, key, "?path=lab%2Ftree%2Fa%2520b.ipynb")
    assert url.startswith(f"{place.origin(key)}/user/{key}/lab/tree/a%20b.ipynb?token=")
    guests = [await joined(place, url) for _ in range(2)]
    for guest in guests:
        assert (await guest.get(f"/api/session/{key}")).json["role"] == "guest"
        assert (await guest.ask("POST", f"/api/session/{key}/touch", OWN)).status == 200
        assert (await guest.ask("PUT", f"/user/{key}/x", OWN, data=b"y")).body == b"y"
    channels = f"/user/{key}/api/kernels/1/channels"
    async with (
        guests[0].session.ws_connect(place.origin(key) + channels) as theirs,
        owner.session.ws_connect(place.origin(key) + channels) as mine,
    ):
        await theirs.send_str("ours")
        assert await theirs.receive_str() == "ours"
        stopped = await owner.ask("DELETE", f"/api/session/{key}/share", OWN)
        assert stopped.json == {"url": None}
        assert (await theirs.receive(PATIENCE)).type.name in ("CLOSE", "CLOSED", "ERROR")
        await mine.send_str("mine")
        assert await mine.receive_str() == "mine"
    for guest in guests:
        assert (await guest.get(f"/user/{key}/lab")).status == 403
        assert (await guest.get(url)).status == 403
        assert (await guest.get(f"/api/session/{key}")).status == 403
        with pytest.raises(WSServerHandshakeError) as refused:
            await guest.session.ws_connect(place.origin(key) + channels)
        assert refused.value.status == 403
    assert (await owner.get(f"/user/{key}/lab")).status == 200


async def test_what_a_guest_has_under_way_ends_with_the_sharing(place: Place, owner: Guest, key: str) -> None:
    guest = await joined(place, await share(owner, key))

    async def endless() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.sleep(PATIENCE)

    uploading = spawn(guest.ask("PUT", f"/user/{key}/x", OWN, data=endless()), "upload")
    await eventually(lambda: any(line.startswith("PUT") for line in place.backend.notebooks[key].requests))
    await owner.ask("DELETE", f"/api/session/{key}/share", OWN)
    assert (await asyncio.wait_for(uploading, PATIENCE / 2)).status == 502


async def test_a_later_sharing_has_another_link(place: Place, owner: Guest, key: str) -> None:
    first = await share(owner, key)
    assert await share(owner, key) == first
    guest = await joined(place, first)
    await owner.ask("DELETE", f"/api/session/{key}/share", OWN)
    second = await share(owner, key)
    assert second != first
    assert (await guest.get(first)).status == 403
    assert (await guest.get(f"/user/{key}/lab")).status == 403
    assert (await joined(place, second)).cookies() != guest.cookies()


async def test_a_guest_who_comes_in_while_the_sharing_ends_is_let_in_nowhere(
    place: Place, owner: Guest, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrance, guest = place.entrances[0], place.person()
    enter = entrance.enter

    async def enter_too_late(*what: Any) -> Any:
        place.held(key).share(None)
        return await enter(*what)

    url = await share(owner, key)
    monkeypatch.setattr(entrance, "enter", enter_too_late)
    _, page = await guest.follow(await guest.get(url))
    assert page.status == 403
    assert session_token(place.held(key)) not in guest.cookies().values()
    assert (await guest.ask("DELETE", f"/api/session/{key}", OWN)).status == 403


@pytest.mark.parametrize("end", ["share", ""])
async def test_a_request_whose_body_is_complete_after_the_right_ended_does_nothing(
    place: Place, owner: Guest, key: str, end: str
) -> None:
    token = (await share(owner, key)).rpartition("token=")[2]
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    host = place.origin(key).removeprefix("http://")
    head = f"POST /api/session/{key}/extend HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {token}\r\n"
    writer.write(f"{head}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    notebook = place.held(key)
    used = notebook.active_at
    assert (await owner.ask("DELETE", f"/api/session/{key}/{end}".rstrip("/"), OWN)).status == 200
    writer.write(b"{}")
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403 " if end else b"HTTP/1.1 424 ")
    assert notebook.active_at == used


async def test_a_guest_is_no_owner(place: Place, owner: Guest, key: str) -> None:
    guest = await joined(place, await share(owner, key))
    for method, path in (("DELETE", ""), ("POST", "/share"), ("DELETE", "/share")):
        assert (await guest.ask(method, f"/api/session/{key}{path}", OWN)).status == 403
    for method, path in (("GET", ""), ("POST", "/end"), ("POST", "/unshare")):
        assert (await guest.ask(method, f"/session/{key}{path}", OWN)).status == 403
    assert place.held(key).shared is not None
    assert place.held(key).visitor != visitor_id(guest.cookies().get("tmppool", ""))


async def test_the_owner_who_opens_their_own_link_stays_the_owner(place: Place, owner: Guest, key: str) -> None:
    _, page = await owner.follow(await owner.get(await share(owner, key)))
    assert page.status == 200
    assert (await owner.get(f"/api/session/{key}")).json["role"] == "owner"


async def test_the_first_guest_of_a_programs_notebook_is_not_its_owner(place: Place) -> None:
    program = place.program()
    await program.post("/api/spawn")
    key = next(iter(place.tokens))
    await joined(place, (await program.post(f"/api/session/{key}/share")).json["url"])
    assert place.held(key).visitor is None


async def test_whether_it_is_shared_is_written_down(place: Place, owner: Guest, key: str) -> None:
    await share(owner, key)
    assert place.ledger.rows()[key].shared == place.held(key).shared is not None
    await owner.ask("DELETE", f"/api/session/{key}/share", OWN)
    assert place.ledger.rows()[key].shared is None


# The owner's page


async def test_the_owners_page_does_it_all_without_a_script(place: Place, owner: Guest, key: str) -> None:
    path = "?path=lab%2Ftree%2Fa.ipynb"
    page = await owner.get(f"/session/{key}{path}")
    assert page.status == 200
    assert "in 1 hour unless you use it, and in 4 hours at the latest" in page.text
    inside = (
        f"/user/{key}/lab/tree/a.ipynb" if place.domain is None else f"{place.origin(key)}/user/{key}/lab/tree/a.ipynb"
    )
    assert f'href="{inside}"' in page.text
    assert f'action="/session/{key}/share?path=lab/tree/a.ipynb"' in page.text
    assert "token=" not in page.text

    again = await owner.ask("POST", f"/session/{key}/share?path=lab/tree/a.ipynb", OWN)
    assert (again.status, again.location) == (303, f"/session/{key}?path=lab/tree/a.ipynb")
    page = await owner.get(f"/session/{key}{path}")
    link = page.text.partition('readonly value="')[2].partition('"')[0]
    assert link == await share(owner, key, path)
    assert "can do everything" in page.text
    guest = await joined(place, link)

    await owner.ask("POST", f"/session/{key}/unshare", OWN)
    assert (await guest.get(f"/user/{key}/lab")).status == 403
    assert "token=" not in (await owner.get(f"/session/{key}")).text

    folded = page.text.partition("<details")[2].partition("</details>")[0]
    assert f'action="/session/{key}/end?path=lab/tree/a.ipynb"' in folded
    assert page.text.count("/end?") == 1
    ended = await owner.ask("POST", f"/session/{key}/end?path=lab/tree/a.ipynb", OWN)
    assert (ended.status, ended.location) == (303, inside)
    assert (await owner.get(ended.location)).status == 410
    assert (await owner.get(f"/session/{key}")).status == 410


@pytest.mark.parametrize(
    "path",
    [
        '"><script>alert(1)</script>',
        "//evil.example/x",
        "a\r\nSet-Cookie: x=1",
        "x" * 5000,
        "?a#b",
        "../../x",
        "\u00e9",
    ],
)
async def test_no_path_breaks_the_owners_page(place: Place, owner: Guest, key: str, path: str) -> None:
    for method, where in (("GET", ""), ("POST", "/share"), ("GET", "")):
        answer = await owner.ask(method, f"/session/{key}{where}?path={quote(path, safe='')}", OWN)
        assert answer.status in (200, 303)
        assert "<script>alert" not in answer.text
        assert "evil.example" not in answer.headers.get("Location", "").partition("?")[0]
        assert "Set-Cookie" not in answer.headers
    url = await share(owner, key, f"?path={quote(path, safe='')}")
    assert url.startswith(f"{place.origin(key)}/user/{key}/")
    assert "#" not in url


async def test_without_limits_the_owners_page_says_that_it_runs_on(open_place: Any) -> None:
    place = await open_place(cull_timeout=0, cull_max=0)
    owner = place.person()
    assert "until you end it" in (await owner.get(f"/session/{await owner.start()}")).text
