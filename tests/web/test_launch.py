"""The launch page takes nothing; its form, with a ticket, gives a notebook."""

import asyncio
import contextlib
import html
import re
from typing import Any

import pytest
from structlog.testing import capture_logs
from yarl import URL

from tests.web.guests import MODES, PERSON, Guest, Place, eventually
from tmppool import clocks, jupyter_urls
from tmppool.image_documents import Document
from tmppool.ledger import Ledger
from tmppool.pool_settings import PoolSettings
from tmppool.web.kinds import Kind
from tmppool.web.own_cookies import Scope, visitor_id
from tmppool.web.tickets import LIFETIME

Open = Any


# A look takes nothing


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_look_is_answered_at_once_and_takes_nothing(place: Place, method: str) -> None:
    before = await place.stats()
    for path in (
        "/",
        "/?x=1",
        "/spawn",
        "/spawn/",
        "/lab/tree/a.ipynb",
        *(f"/{prefix}" for prefix in jupyter_urls.DEEP_LINKS),
    ):
        answer = await place.person().ask(method, path)
        assert answer.status == 200, path
        assert answer.headers["Content-Type"].startswith("text/html")
        assert answer.headers["Cache-Control"] == "no-store"
    assert await place.stats() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Moz": "prefetch"},
        {"User-Agent": "Slackbot-LinkExpanding 1.0"},
        {"User-Agent": "facebookexternalhit/1.1"},
    ],
    ids=str,
)
async def test_prefetchers_and_robots_take_nothing(place: Place, headers: dict[str, str]) -> None:
    before = await place.stats()
    for _ in range(10):
        assert (await place.person().ask("GET", "/lab/tree/a.ipynb", headers)).status == 200
    assert await place.stats() == before


async def test_the_launch_page_is_one_form_that_needs_no_script(person: Guest) -> None:
    page = await person.get("/lab/tree/a%20b.ipynb?x=1&y=<b>")
    assert page.form()["action"] == "/spawn/lab/tree/a%20b.ipynb?x=1&y=<b>"
    assert set(page.form()) == {"action", "ticket"}
    assert "a b.ipynb" in page.text
    assert "<b>" not in page.text


async def test_the_launch_page_says_when_a_notebook_ends(open_place: Open) -> None:
    place = await open_place(cull_timeout=600, cull_max=7200)
    text = (await place.person().get("/")).text
    assert "10 minutes" in text
    assert "2 hours" in text


async def test_what_a_link_says_cannot_become_part_of_the_page(person: Guest) -> None:
    for path in (
        "/lab/tree/%3Cscript%3Ealert(1)%3C/script%3E.ipynb",
        '/tree/"><script>alert(1)</script>.ipynb',
        "/tree/{{7*7}}.ipynb",
    ):
        text = (await person.get(path)).text
        assert "<script>" not in text
        assert "49.ipynb" not in text


# The form gives a notebook


async def test_the_form_gives_a_notebook_and_the_look_a_cookie(place: Place, person: Guest) -> None:
    page = await person.get("/")
    cookie = page.headers["Set-Cookie"]
    assert re.fullmatch(rf"{place.cookie}=[\w-]{{22}}; HttpOnly; Max-Age=\d+; Path=/; SameSite=Lax", cookie)
    answer = await person.press(page)
    assert answer.status == 303
    assert answer.location == f"/user/{answer.key}/tree"
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await place.stats())["assigned"] == 1
    notebook = await person.get(answer.location)
    assert b"GET fake notebook" in notebook.body
    assert place.asked(answer.key)[-1] == "GET tree"


async def test_the_landing_is_the_operators_choice(open_place: Open) -> None:
    place = await open_place(redirect_uri="/lab?reset")
    person = place.person()
    assert (await person.click("/")).location.endswith("/lab?reset")
    assert (await person.get("/?x=1")).location.endswith("/lab?reset&x=1")


async def test_another_web_application_is_not_opened_at_a_page_of_jupyters(open_place: Open) -> None:
    place = await open_place(fake={"is_jupyter": False})
    await place.until(warm=4)
    person = place.person()
    answer = await person.click("/")
    assert answer.location == f"/user/{answer.key}/"
    assert (await person.get("/?x=1")).location == f"/user/{answer.key}/?x=1"
    assert (await person.get("/spawn/bk/app?y")).location == f"/user/{answer.key}/bk/app?y"
    assert (await person.get("/files/a")).location == f"/user/{answer.key}/files/a"


async def test_the_operator_may_open_any_page_of_another_web_application(open_place: Open) -> None:
    place = await open_place(fake={"is_jupyter": False}, redirect_uri="/lab")
    await place.until(warm=4)
    assert (await place.person().click("/")).location.endswith("/lab")


NAMES = ["a%5Cb", "%5C", "100%25", "what%3F", "%23hash", "a;b", "a+b&c", "'it'", "%22it%22", "%F0%9F%90%8D" * 62, "e%CC%81", "%C3%A9", "..foo", "...", "a..b", "a.", "%2Ffoo", "a%0Ab", '{a}|"b"^`', "~"]  # fmt: skip


async def test_a_link_to_a_document_of_any_name_leads_there(open_place: Open) -> None:
    place = await open_place(pool_size=len(NAMES))
    for name in NAMES:
        deep = f"/lab/tree/{name}.ipynb"
        person = place.person()
        answer = await person.click(deep)
        assert (answer.status, answer.location) == (303, f"/user/{answer.key}{deep}")
        assert (await person.get(answer.location)).status == 200
        assert f"GET {deep[1:]}" in place.asked(answer.key)


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (b"//lab/tree/x.ipynb", "/lab/tree/x.ipynb"),
        (b"/lab/tree/100%.ipynb?x=%", "/lab/tree/100%25.ipynb?x=%"),
        (b"/lab/tree/a b.ipynb", "/lab/tree/a%20b.ipynb"),
        ("/lab/tree/caf\xe9.ipynb".encode(), "/lab/tree/caf%C3%A9.ipynb"),
        (b"//evil.example/%2f", "/evil.example/%2f"),
    ],
)
async def test_a_link_that_can_only_mean_one_thing_leads_there(place: Place, target: bytes, meant: str) -> None:
    for method in (b"GET", b"HEAD"):
        answer = await said(place, method, target, b"Accept: text/html")
        assert answer.startswith(b"HTTP/1.1 308 ")
        assert f"\r\nLocation: {meant}\r\n".encode() in answer
    answer = await said(place, b"GET", target)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"message": "This URL could be read in two ways' in answer
    assert (await said(place, b"POST", target, b"Accept: text/html", b"Content-Length: 0")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("target", [b"/lab/tree/a\\b.ipynb", b"/lab/tree/a#b.ipynb", b"/lab/tree/a%00", b"//\\evil.example", b"/lab/..%2f", b"/lab/tree/caf\xe9"])  # fmt: skip
async def test_a_link_of_two_meanings_leads_to_a_page_that_says_so(place: Place, target: bytes) -> None:
    answer = await said(place, b"GET", target, b"Accept: text/html")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: text/html" in answer
    assert b"This URL could be read in two ways" in answer
    assert target not in answer
    assert (await place.stats())["assigned"] == 0


async def test_a_link_that_leaves_no_room_for_a_notebooks_address_says_so_and_takes_nothing(place: Place) -> None:
    form = (await place.person().get("/lab")).form()
    long = "/lab/tree/" + "x" * 7965
    for answer in (await place.person().get(long), await place.person().post(f"/spawn{long}", form)):
        assert (answer.status, "This link is too long" in answer.text) == (414, True)
    assert (await place.stats())["assigned"] == 0
    assert (await place.person().click("/lab/tree/" + "x" * 7800)).status == 303


async def said(place: Place, method: bytes, target: bytes, *lines: bytes) -> bytes:
    """Return the whole answer to a request that no client would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    writer.write(b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: nb.example", *lines, b"", b""]))
    answer = await asyncio.wait_for(reader.read(), 30)  # until it is closed
    writer.close()
    return answer


@pytest.mark.parametrize("lead", ["", "/spawn"])
async def test_a_deep_link_leads_to_its_document_byte_for_byte(open_place: Open, lead: str) -> None:
    place = await open_place(pool_size=len(jupyter_urls.DEEP_LINKS))
    for prefix in jupyter_urls.DEEP_LINKS:
        deep = f"/{prefix}/a%2Fb/c%20d;e?x=1&y=%26&&z"
        answer = await place.person().click(lead + deep)
        assert answer.status == 303
        assert answer.location == f"/user/{answer.key}{deep}"


async def test_a_link_with_encoded_letters_is_the_link_without_them(person: Guest) -> None:
    for link in ("/%73pawn/lab/tree/a%2Fb.ipynb", "/spawn/l%61b/tree/a%2Fb.ipynb", "/%6Cab/tree/a%2Fb.ipynb"):
        page = await person.get(link)
        assert page.form()["action"] == "/spawn/lab/tree/a%2Fb.ipynb"
    assert (await person.press(page)).location.endswith("/lab/tree/a%2Fb.ipynb")


async def test_the_kernel_of_a_linked_notebook_is_started_beside_the_answer(place: Place, person: Guest) -> None:
    key = (await person.click("/lab/tree/day%201/a.ipynb?x=1")).key
    await eventually(lambda: "POST api/sessions" in place.asked(key))
    assert place.asked(key)[-2:] == ["GET api/contents/day%201/a.ipynb?type=notebook&content=1", "POST api/sessions"]


async def test_without_a_notebook_in_the_link_no_kernel_is_started(place: Place, person: Guest) -> None:
    key = (await person.click("/lab/tree/readme.md")).key
    await person.get(f"/user/{key}/api/kernels")
    assert not any(line.startswith("POST") for line in place.asked(key))


async def test_a_kernel_that_does_not_start_is_the_visitors_no_trouble(place: Place, person: Guest) -> None:
    page = await person.get("/notebooks/a.ipynb")
    async with contextlib.AsyncExitStack() as stack:
        for notebook in place.backend.notebooks.values():
            await notebook.runner.cleanup()  # it takes connections and does not answer any more
            port = notebook.running.dial.port
            server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
            stack.callback(server.close)
        with capture_logs() as logs:
            assert (await person.press(page)).status == 303
            await eventually(lambda: any(entry["event"] == "kernel.start_failed" for entry in logs))


# The same visitor, again


@pytest.mark.parametrize("path", ["/", "/lab/tree/a.ipynb", "/spawn/tree?x"])
async def test_a_look_by_who_holds_a_notebook_leads_back_to_it(place: Place, person: Guest, path: str) -> None:
    key = (await person.click("/")).key
    again = await person.get(path)
    assert (again.status, again.key) == (303, key)
    assert again.location.endswith(path.removeprefix("/spawn") if path != "/" else "/tree")
    assert (await place.stats())["assigned"] == 1


async def test_a_second_press_leads_to_the_same_notebook(place: Place, person: Guest) -> None:
    page = await person.get("/")
    first, second = await person.press(page), await person.press(page)
    assert first.location == second.location
    assert (await place.stats())["assigned"] == 1


async def test_ten_presses_at_once_lead_to_one_notebook(place: Place, person: Guest) -> None:
    page = await person.get("/")
    pressed = await asyncio.gather(*(person.press(page) for _ in range(10)))
    assert {answer.status for answer in pressed} == {303}
    assert len({answer.key for answer in pressed}) == 1
    assert (await place.stats())["assigned"] == 1


async def test_two_tabs_of_a_browser_share_its_notebook(place: Place, person: Guest) -> None:
    one, other = await person.get("/lab"), await person.get("/tree")
    assert (await person.press(one)).key == (await person.press(other)).key


async def test_two_browsers_get_two_notebooks(place: Place) -> None:
    assert (await place.person().click()).key != (await place.person().click()).key


async def test_a_new_notebook_after_the_old_one_ended(place: Place, person: Guest) -> None:
    old = (await person.click()).key
    await person.ask("DELETE", f"/api/session/{old}", {"Sec-Fetch-Site": "same-origin"})
    assert (await person.get("/")).status == 200
    assert (await person.click()).key != old


async def test_a_cookie_of_the_visitors_own_making_gives_nobody_elses_notebook(place: Place, person: Guest) -> None:
    await person.click()
    for value in ("", "x", "x" * 22, "../../x", "\xff" * 30):
        stranger = place.person(Cookie=f"{place.cookie}={value}")
        assert (await stranger.get("/")).status == 200


# Cookies that somebody else has planted


def planted(guest: Guest, cookie: str) -> Guest:
    name = Scope(is_secure=False, port=URL(guest.url).port).visitor
    guest.session.cookie_jar.update_cookies({name: cookie}, URL(guest.url))
    return guest


async def test_who_planted_a_visitors_cookie_has_nothing_of_what_they_start(place: Place, person: Guest) -> None:
    planter = place.person()
    own_page = await planter.get("/")
    cookie = planter.cookies()[place.cookie]
    key = await planted(person, cookie).start("/lab")
    assert person.cookies()[place.cookie] != cookie
    assert (await person.get("/lab")).key == key
    assert (await planter.get("/")).status == 200
    assert (await planter.get(f"/user/{key}/lab")).status == 403
    assert (await planter.get(f"/session/{key}")).status == 403
    assert (await planter.press(own_page)).key != key


async def test_a_used_ticket_leads_nobody_but_its_visitor_to_the_notebook(place: Place, person: Guest) -> None:
    page = await person.get("/")
    key = (await person.press(page)).key
    thief = place.person()
    assert (await thief.press(page)).status == 403
    await thief.get("/")
    assert (await thief.press(page)).status == 403
    assert (await person.press(page)).key == key


async def test_a_ticket_that_somebody_planted_leads_nobody_to_their_notebook_and_starts_none(
    place: Place, person: Guest
) -> None:
    planter = place.person()
    used, unused = await planter.get("/"), await planter.get("/")
    cookie, key = planter.cookies()[place.cookie], (await planter.press(used)).key
    await person.get("/")
    for page in (used, unused):
        person.session.cookie_jar.update_cookies({f"{place.cookie}_ticket": page.form()["ticket"]}, URL(person.url))
        assert (await person.get("/")).status == 200
    victim = planted(place.person(), cookie)
    victim.session.cookie_jar.update_cookies({f"{place.cookie}_ticket": unused.form()["ticket"]}, URL(victim.url))
    started = (await victim.click("/")).key
    assert started != key
    assert (await planted(planter, cookie).press(unused)).key != started


def forget_answer(guest: Guest, kept: dict[str, str]) -> None:
    """The browser was sent elsewhere before the answer to its last request came."""
    guest.session.cookie_jar.clear()
    guest.session.cookie_jar.update_cookies(kept, URL(guest.url))


@pytest.mark.parametrize("mode", MODES, ids=("path", "domain"))
async def test_who_loads_the_page_anew_while_the_start_is_under_way_has_one_notebook(
    open_place: Open, mode: dict[str, str]
) -> None:
    place = await open_place(**mode)
    person = place.person()
    page = await person.get("/lab")
    kept = person.cookies()
    key = (await person.press(page)).key
    forget_answer(person, kept)
    again = await person.get("/lab/tree/a.ipynb")
    assert (again.key, (await person.follow(again))[1].status) == (key, 200)
    assert (await person.get("/lab")).key == key
    assert (await place.stats())["assigned"] == 1
    assert (await place.person(Cookie=f"{place.cookie}={kept[place.cookie]}").get("/lab")).status == 200


async def test_who_leaves_during_a_start_keeps_the_notebooks_of_other_pools(
    open_place: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await open_place(pools={"r": {"pool_size": 1}})
    await eventually(lambda: all(backend.notebooks for backend in place.backends))
    person = place.person()
    of_r = (await person.click("/?pool=r")).key
    page = await person.get("/")
    written = asyncio.Event()
    flush = Ledger.flush

    async def flush_later(self: Ledger) -> None:
        await written.wait()
        await flush(self)

    monkeypatch.setattr(Ledger, "flush", flush_later)
    press = asyncio.ensure_future(person.press(page))
    while not any(notebook.visitor for notebook in place.pools.default if notebook.is_live):
        await asyncio.sleep(0.005)
    press.cancel()
    await asyncio.sleep(0.1)  # the service learns of it
    written.set()
    key = (await person.get("/")).key
    assert (await person.get("/?pool=r")).key == of_r
    assert (await person.get("/")).key == key != of_r


@pytest.mark.parametrize("mode", MODES, ids=("path", "domain"))
async def test_a_browser_that_lost_its_cookies_comes_back_by_its_tickets_where_it_may_keep_them(
    open_place: Open, mode: dict[str, str]
) -> None:
    place = await open_place(**mode)
    person = place.person()
    page = await person.get("/lab")
    key = (await person.press(page)).key
    person.session.cookie_jar.clear()
    fields = (await person.get("/lab")).form()
    assert fields.get("returns") == (None if place.domain is None else "")
    fields["returns"] = f"an-old-one {page.form()['ticket']}"
    back = await person.post(fields.pop("action"), fields, Sec_Fetch_Site="same-origin")
    assert (back.key == key) is (place.domain is not None)
    assert (await person.get("/lab")).key == back.key
    assert (await person.follow(back))[1].status == 200


async def test_a_visitor_keeps_the_notebooks_of_all_pools(open_place: Open) -> None:
    place = await open_place(pools={"r": {"pool_size": 1}})
    await eventually(lambda: all(backend.notebooks for backend in place.backends))
    person = place.person()
    keys = [(await person.click(link)).key for link in ("/lab", "/lab?pool=r")]
    assert [(await person.get(link)).key for link in ("/lab", "/lab?pool=r")] == keys
    rows = place.ledger.rows()
    assert {rows[key].visitor for key in keys} == {visitor_id(person.cookies()[place.cookie])}


# Tickets


async def test_a_press_without_ticket_gives_the_page_again_and_no_notebook(place: Place, person: Guest) -> None:
    await person.get("/")
    for data in ({}, {"ticket": ""}, {"ticket": "nonsense"}, {"ticket": "a.b.c"}):
        answer = await person.post("/spawn", data, Sec_Fetch_Site="same-origin")
        assert answer.status == 403
        assert "data-auto" in answer.text
        assert "button again" in answer.text
        answer = await person.post("/spawn", {**data, "again": "1"}, Sec_Fetch_Site="same-origin")
        assert answer.status == 403
        assert "data-auto" not in answer.text  # a page submits itself once
    assert (await place.stats())["assigned"] == 0


async def test_frames_that_bring_each_other_new_cookies_go_on_trying_and_not_for_ever(place: Place) -> None:
    """Each frame of a page that a browser shows for the first time gets a cookie, and the last one counts."""
    frame, others = place.person(), [place.person() for _ in range(8)]
    page = await frame.get("/")
    for number, other in enumerate(others):
        await other.get("/")
        frame.session.cookie_jar.update_cookies(other.cookies(), URL(place.url))  # as its page has come meanwhile
        page = await frame.press(page)
        assert page.status == 403
        assert ("data-auto" in page.text) is (number < 6)
    assert (await frame.press(page)).status == 303
    assert (await place.stats())["assigned"] == 1


async def test_the_page_after_a_bad_ticket_holds_a_good_one(person: Guest) -> None:
    await person.get("/lab")
    refused = await person.post("/spawn/lab", {"ticket": "old"}, Sec_Fetch_Site="same-origin")
    assert (await person.press(refused)).location.endswith("/lab")


async def test_a_ticket_is_its_visitors_own(place: Place, person: Guest) -> None:
    page, thief = await person.get("/"), place.person()
    assert (await thief.press(page)).status == 403
    await thief.get("/")
    assert (await thief.press(page)).status == 403
    assert (await person.press(page)).status == 303


async def test_a_ticket_gives_one_notebook_ever(place: Place, person: Guest) -> None:
    page = await person.get("/")
    key = (await person.press(page)).key
    await person.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
    assert (await person.press(page)).status == 403
    assert (await person.click()).status == 303


async def test_a_ticket_gives_one_notebook_in_all_pools_together(open_place: Open) -> None:
    place = await open_place(pools={"r": {"pool_size": 1}})
    await eventually(lambda: all(backend.notebooks for backend in place.backends))
    person = place.person()
    page = await person.get("/")
    fields = page.form()
    assert (await person.press(page)).status == 303
    assert (await person.post("/spawn?pool=r", fields, Sec_Fetch_Site="same-origin")).status == 403


async def test_pages_that_were_opened_before_the_first_start_stay_good(open_place: Open) -> None:
    """Each start gives the browser another cookie."""
    place = await open_place(pools={"r": {"pool_size": 1}, "s": {"pool_size": 1}})
    await eventually(lambda: all(backend.notebooks for backend in place.backends))
    person, thief = place.person(), place.person()
    pages = [await person.get(link) for link in ("/", "/?pool=r", "/?pool=s")]
    await thief.get("/")
    assert [(await person.press(page)).status for page in pages] == [303, 303, 303]
    assert (await thief.press(pages[1])).status == 403


async def test_a_second_press_while_the_first_is_under_way_leads_to_the_same_notebook(
    place: Place, person: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is slow: the first press waits for it when the second comes."""
    written = asyncio.Event()

    async def flush(self: Ledger) -> None:
        await written.wait()

    page = await person.get("/")
    monkeypatch.setattr(Ledger, "flush", flush)
    first = asyncio.ensure_future(person.press(page))
    while not (await place.stats())["assigned"]:
        await asyncio.sleep(0.005)
    second = await person.press(page)
    assert not first.done()
    written.set()
    assert (await first).location == second.location
    assert (await place.stats())["assigned"] == 1


async def test_the_way_back_to_the_launch_page_leads_to_the_same_notebook(place: Place, person: Guest) -> None:
    key = (await person.click("/lab")).key
    for path in ("/lab", "/spawn/lab", "/"):  # as the button "back" asks for it
        assert (await person.get(path)).key == key
    assert (await place.stats())["assigned"] == 1


async def test_an_old_ticket_is_no_good(person: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    page = await person.get("/")
    now = clocks.since_boot
    monkeypatch.setattr(clocks, "since_boot", lambda: now() + LIFETIME + 1)
    assert (await person.press(page)).status == 403


async def test_a_visitor_without_cookies_is_told_so(place: Place) -> None:
    page = await place.person().get("/")
    answer = await place.person().press(page)
    assert answer.status == 403
    assert "cookies" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
    ],
    ids=str,
)
async def test_a_page_elsewhere_cannot_press_the_button(place: Place, person: Guest, headers: dict[str, str]) -> None:
    assert (await person.press(await person.get("/"), **headers)).status == 403
    assert (await place.stats())["assigned"] == 0


async def test_without_fetch_metadata_the_origin_decides(place: Place) -> None:
    old = place.program(Accept="text/html")
    for origin, status in (("https://evil.example", 403), ("null", 403), (f"http://127.0.0.1:{place.port}", 303)):
        page = await old.get("/")
        fields = page.form()
        assert (await old.post(fields.pop("action"), fields, Origin=origin)).status == status


FORMS = {
    "an unknown charset": ("application/x-www-form-urlencoded; charset=nonsense", b"ticket=x"),
    "bytes that are no text": ("application/x-www-form-urlencoded", b"ticket=\xff\xfe"),
    "an empty multipart": ("multipart/form-data; boundary=x", b""),
    "a multipart without boundary": ("multipart/form-data", b"--x\r\n"),
    "a multipart that is none": ("multipart/form-data; boundary=x", b"nonsense"),
    "a multipart that is cut": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="ticket"\r\n\r\nabc',
    ),
    "a file for a ticket": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="ticket"; filename="t"\r\n\r\nabc\r\n--x--\r\n',
    ),
    "a nested multipart": (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n--x--\r\n",
    ),
    "another encoding": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Transfer-Encoding: nonsense\r\nContent-Disposition: form-data; name="ticket"\r\n\r\nabc\r\n--x--\r\n',
    ),
    "JSON": ("application/json", b'{"ticket": "x"}'),
    "nothing": ("application/x-www-form-urlencoded", b""),
    "a content type that is none": (";;;", b"x"),
    "packed": ("application/x-www-form-urlencoded", b"\x1f\x8b nonsense"),
}


@pytest.mark.parametrize("name", FORMS)
async def test_no_form_makes_the_service_fail(place: Place, person: Guest, name: str) -> None:
    await person.get("/")
    content_type, data = FORMS[name]
    headers = {"Content-Type": content_type, "Sec-Fetch-Site": "same-origin"}
    if name == "packed":
        headers["Content-Encoding"] = "gzip"
    with capture_logs() as logs:
        answer = await person.ask("POST", "/spawn", headers, data=data)
    assert 400 <= answer.status < 500
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    assert (await place.stats())["assigned"] == 0


async def test_a_form_that_is_too_large_is_refused(place: Place, person: Guest) -> None:
    answer = await person.post(
        "/spawn",
        b"ticket=" + b"x" * 100_000,
        Sec_Fetch_Site="same-origin",
        Content_Type="application/x-www-form-urlencoded",
    )
    assert answer.status == 413
    assert (await place.stats())["assigned"] == 0


# When there is none to give


async def test_while_notebooks_are_warming_the_form_says_so_and_keeps_the_ticket(open_place: Open) -> None:
    place = await open_place(pool_size=2, fake={"delay": 60.0})
    person = place.person()
    answer = await person.click("/lab/tree/a.ipynb")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.title.startswith("Warming up")
    assert f'data-retry-after="{answer.headers["Retry-After"]}"' in answer.text
    assert answer.form()["action"] == "/spawn/lab/tree/a.ipynb"


async def test_a_ticket_that_got_nothing_is_good_again(open_place: Open) -> None:
    place = await open_place(pool_size=1)
    first, second = place.person(), place.person()
    page = await second.get("/")
    key = (await first.click()).key
    assert (await second.press(page)).status == 429
    await first.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
    await place.until(warm=1)
    assert (await second.press(page)).status == 303


async def test_when_all_are_taken_the_form_says_so(open_place: Open) -> None:
    place = await open_place(pool_size=2)
    for _ in range(2):
        assert (await place.person().click()).status == 303
    person = place.person()
    answer = await person.click("/lab/tree/a.ipynb?x")
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "There are 2, and each is temporary" in answer.text
    assert answer.form()["action"] == "/spawn/lab/tree/a.ipynb?x"


async def test_who_holds_a_notebook_is_served_when_all_are_taken(open_place: Open) -> None:
    place = await open_place(pool_size=1)
    person = place.person()
    key = (await person.click()).key
    assert (await person.get("/lab")).key == key


async def test_fifty_visitors_at_once_get_fifty_notebooks(open_place: Open) -> None:
    place = await open_place(pool_size=50)
    people = [place.person() for _ in range(50)]
    pages = await asyncio.gather(*(person.get("/lab/tree/a.ipynb") for person in people))
    answers = await asyncio.gather(*(person.press(page) for person, page in zip(people, pages, strict=True)))
    assert [answer.status for answer in answers] == [303] * 50
    assert len({answer.key for answer in answers}) == 50
    seen = await asyncio.gather(*(person.get(answer.location) for person, answer in zip(people, answers, strict=True)))
    assert all(b"fake notebook" in answer.body for answer in seen)
    assert (await place.person().click()).status == 429


# Several pools


async def test_a_link_may_name_a_pool(open_place: Open) -> None:
    place = await open_place(pools={"r": {"pool_size": 1, "redirect_uri": "/lab"}})
    await eventually(lambda: all(backend.notebooks for backend in place.backends))
    person = place.person()
    page = await person.get("/?pool=r")
    assert page.form()["action"] == "/spawn?pool=r"
    in_r = await person.press(page)
    assert in_r.location == f"/user/{in_r.key}/lab"
    assert in_r.key in place.backends[1].notebooks
    assert (await person.click("/")).key != in_r.key
    assert (await person.get("/?pool=r")).key == in_r.key
    deep = await person.get("/lab/tree/a.ipynb?x=1&pool=r&y=2")
    assert deep.location.endswith("/lab/tree/a.ipynb?x=1&y=2")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_pool_that_is_not_there_is_said(person: Guest, method: str) -> None:
    path = "/?pool=none" if method == "GET" else "/spawn?pool=none"
    answer = await person.ask(method, path, {"Sec-Fetch-Site": "same-origin"})
    assert answer.status == 404
    assert Kind.NO_POOL.shape.message in answer.text


# Behind a proxy that ends TLS


async def test_behind_a_trusted_proxy_with_tls_the_cookie_is_bound_to_the_host(open_place: Open) -> None:
    place = await open_place(trusted_proxies=("127.0.0.1",))
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7", "Host": "nb.example.org"}
    page = await place.person().ask("GET", "/", said)
    cookie = page.headers["Set-Cookie"]
    assert re.fullmatch(
        rf"__Host-Http-{place.cookie}=[\w-]{{22}}; HttpOnly; Max-Age=\d+; Path=/; SameSite=Lax; Secure", cookie
    )
    fields = page.form()
    back = {**said, "Cookie": cookie.partition(";")[0], "Sec-Fetch-Site": "same-origin"}
    started = await place.person().ask("POST", fields.pop("action"), back, data=fields)
    assert started.status == 303
    mine = [cookie.partition(";")[0] for cookie in started.headers.getall("Set-Cookie")]
    assert all(cookie.startswith("__Host-Http-tmppool") for cookie in mine)
    again = await place.person().ask("GET", "/", back | {"Cookie": "; ".join(mine)})
    assert again.status == 303


async def test_what_an_untrusted_peer_says_of_itself_changes_nothing(place: Place) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "evil.example"}
    page = await place.person().ask("GET", "/", said)
    assert page.headers["Set-Cookie"].startswith(f"{place.cookie}=")
    assert "Secure" not in page.headers["Set-Cookie"]
    person = place.person()
    answer = await person.click("/", **{name.replace("-", "_"): value for name, value in said.items()})
    await person.ask("GET", answer.location, said)
    seen = place.notebook(answer.key).headers[-1]
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "http")
    assert "X-Forwarded-Host" not in seen


async def test_the_public_url_says_how_the_visitor_came(open_place: Open) -> None:
    place = await open_place(public_url="https://nb.example.org")
    page = await place.person().get("/")
    assert page.headers["Set-Cookie"].startswith(f"__Host-Http-{place.cookie}=")
    fields = page.form()
    headers = {
        "Origin": "https://nb.example.org",
        "Cookie": page.headers["Set-Cookie"].partition(";")[0],
        "Accept": PERSON["Accept"],
    }
    program = place.program()
    assert (await program.ask("POST", fields.pop("action"), headers, data=fields)).status == 303


# A document that is not there


@pytest.fixture
async def library(open_place: Open, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A service whose image is known to have a few documents."""
    known = tuple(Document(path) for path in ("intro.ipynb", "models/linear fit.ipynb", "notes.md"))
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: known)
    return await open_place()


@pytest.mark.parametrize(
    "path",
    [
        "/notebooks/intro.ipynb",
        "/lab/tree/models/linear%20fit.ipynb",
        "/lab",
        "/tree/models",
        "/files/x.csv",
        "/files/notes.md",
        "/edit/notes.md?x=1",
        "/lab/tree/.hidden/a.ipynb",
    ],
)
async def test_what_is_there_or_is_no_document_starts_as_ever(library: Place, path: str) -> None:
    page = await library.person().get(path)
    assert (page.status, "data-auto" in page.text) == (200, True)


async def test_a_document_that_is_not_there_is_said_before_anything_is_taken(library: Place) -> None:
    person = library.person()
    page = await person.get("/lab/tree/models/linearfit.ipynb")
    assert (page.status, page.title) == (404, "Your notebook \u2013 models/linearfit.ipynb")
    assert "no document of that name" in page.text
    assert 'href="/lab/tree/models/linear%20fit.ipynb"' in page.text
    assert "data-auto" not in page.text
    assert (await library.stats())["assigned"] == 0


@pytest.mark.parametrize(
    ("path", "opened"),
    [
        ("/lab/tree/models/linearfit.ipynb", "/lab/tree/models"),
        ("/notebooks/models/deeper/none.ipynb?pool=tmppool", "/tree/models"),
        ("/doc/tree/none.ipynb", "/tree"),
        ("/lab/tree/mod/none.ipynb?x=1", "/tree"),
    ],
)
async def test_who_starts_without_the_document_gets_the_nearest_folder(library: Place, path: str, opened: str) -> None:
    person = library.person()
    page = await person.get(path)
    assert page.status == 404
    started = await person.press(page)
    assert (started.status, started.location) == (303, f"/user/{started.key}{opened}")
    assert library.asked(started.key) == []  # and no kernel is started


async def test_a_document_without_its_page_is_opened_in_it_or_is_not_there(library: Place) -> None:
    person = library.person()
    started = await person.click("/lab/models/linear%20fit.ipynb?x=1")
    place = "/lab/tree/models/linear%20fit.ipynb?x=1"
    assert (started.status, started.location) == (303, f"/user/{started.key}{place}")
    assert (await person.get("/spawn/lab/notes.md")).location == f"/user/{started.key}/lab/tree/notes.md"
    page = await library.person().get("/doc/intros.ipynb")
    assert (page.status, 'href="/notebooks/intro.ipynb"' in page.text) == (404, True)


async def test_who_knows_better_opens_the_link_all_the_same(library: Place) -> None:
    person = library.person()
    page = await person.get("/notebooks/course/week1.ipynb?x=1")
    found = re.search(r'formaction="([^"]*)">Open the link all the same<', page.text)
    assert found is not None
    started = await person.post(
        html.unescape(found[1]), {"ticket": page.form()["ticket"]}, Sec_Fetch_Site="same-origin"
    )
    assert (started.status, started.location) == (303, f"/user/{started.key}/notebooks/course/week1.ipynb?x=1")
    assert "formaction" not in (await library.person().get("/notebooks/intro.ipynb")).text


async def test_where_a_command_may_fetch_documents_none_is_called_missing(
    open_place: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: (Document("intro.ipynb"),))
    pools = {"plain": PoolSettings(pool_size=1)}
    place: Place = await open_place(command="git clone URL course; exec jupyter lab {base_path}", pools=pools)
    assert (await place.person().get("/notebooks/course/week1.ipynb")).status == 200
    assert (await place.person().get("/notebooks/course/week1.ipynb?pool=plain")).status == 404
    assert (await place.program().get("/api/documents")).json["is_complete"] is False


async def test_a_landing_that_is_missing_is_replaced_by_the_home(
    open_place: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: (Document("intro.ipynb"),))
    person = (await open_place(redirect_uri="/lab/tree/none.ipynb")).person()
    page = await person.get("/")
    assert page.status == 404
    assert (await person.press(page)).location.endswith("/tree")


@pytest.mark.parametrize(
    "path",
    [
        "/files/no.ipynb",
        "/notebooks/no.ipynb/",
        "/notebooks//no.ipynb",
        "/not%65books/no.ipynb",
        "/lab/workspaces/a/tree/no.ipynb?x=1",
        "/spawn/notebooks/no.ipynb",
        "/edit/no.md",
        "/notebooks/%0Ano.ipynb",
    ],
)
async def test_a_document_that_is_not_there_is_said_for_every_page_that_opens_one(library: Place, path: str) -> None:
    page = await library.person().get(path)
    assert (page.status, "data-auto" in page.text) == (404, False)


async def test_who_has_a_notebook_is_led_to_it_also_for_a_document_of_their_own(library: Place) -> None:
    person = library.person()
    key = await person.start("/lab")
    again = await person.get("/lab/tree/mine.ipynb")
    assert (again.status, again.location) == (303, f"/user/{key}/lab/tree/mine.ipynb")
