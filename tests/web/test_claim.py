"""A notebook that a program started, and the browser that becomes its owner by one press of a button."""

import asyncio
import re
from typing import Any

import pytest
from yarl import URL

from tests.web.guests import MODES, Answer, Guest, Place
from tmppool.keys import id_of


@pytest.fixture(params=MODES, ids=("path", "domain"))
async def place(open_place: Any, request: pytest.FixtureRequest) -> Place:
    return await open_place(**request.param)


@pytest.fixture
async def link(place: Place) -> str:
    given = (await place.stranger().post("/api/spawn")).json
    key = given["url"].rstrip("/").rpartition("/")[2]
    return f"/user/{key}/lab/tree/a%20b.ipynb?x=1&token={given['token']}"


def key_of(link: str) -> str:
    return link.split("/")[2]


async def page_of(guest: Guest, link: str, **headers: str) -> Answer:
    _, page = await guest.follow(await guest.get(link, **headers), **headers)
    return page


async def test_a_link_alone_gives_nothing_wherever_it_comes_from(place: Place, link: str) -> None:
    for site in ("cross-site", "same-site", "same-origin", "none"):
        person = place.person()
        page = await page_of(person, link, Sec_Fetch_Site=site)
        assert (page.status, page.title) == (200, "Open this notebook?")
        assert "a b.<wbr>ipynb</span>" in page.text
        assert set(person.cookies()) == {f"{place.cookie}_{kind}-{id_of(key_of(link))}" for kind in ("claim", "ticket")}
    assert place.held(key_of(link)).visitor is None
    assert place.asked(key_of(link)) == []


async def test_the_page_without_the_links_cookie_asks_for_the_link(place: Place, link: str) -> None:
    """As where an address is copied, or a mail program opens its page in another browser."""
    address, _ = await place.person().follow(await place.person().get(link))
    answer = await place.person().get(address)
    assert (answer.status, answer.title) == (403, "Open the link again")
    assert "blocks the cookies of this site" in answer.text


async def test_no_page_elsewhere_presses_the_button(place: Place, link: str) -> None:
    person = place.person()
    page = await page_of(person, link)
    for site in ("cross-site", "same-site"):
        assert (await person.press(page, Sec_Fetch_Site=site)).status == 403
    old = place.stranger(Accept="text/html")
    fields = page.form()
    assert (await old.post(fields.pop("action"), fields, Origin="https://evil.example")).status == 403
    assert place.held(key_of(link)).visitor is None


async def test_a_press_without_the_pages_ticket_shows_the_page_again(place: Place, link: str) -> None:
    person = place.person()
    action = (await page_of(person, link)).form()["action"]
    other = place.person()
    launch = (await other.get("/")).form()["ticket"]
    for ticket in ("", "x", launch, place.entrances[0]._handoffs.issue(key_of(link))):
        again = await person.post(action, {"ticket": ticket}, Sec_Fetch_Site="same-origin")
        assert (again.status, again.title) == (200, "Open this notebook?")
    assert place.held(key_of(link)).visitor is None


async def test_a_second_press_leads_to_the_notebook_too(place: Place, link: str) -> None:
    person = place.person()
    page = await page_of(person, link)
    kept = person.cookies()
    await person.press(page)
    person.session.cookie_jar.clear()  # the browser gave up the first answer
    person.session.cookie_jar.update_cookies(kept, URL(place.url))
    address, opened = await person.follow(await person.press(page))
    assert opened.status == 200
    assert address == f"{place.origin(key_of(link))}/user/{key_of(link)}/lab/tree/a%20b.ipynb?x=1"


async def test_of_browsers_that_press_at_once_one_is_the_owner(place: Place, link: str) -> None:
    guests = [place.person() for _ in range(6)]
    pages = [await page_of(guest, link) for guest in guests]
    answers = await asyncio.gather(*(guest.press(page) for guest, page in zip(guests, pages, strict=True)))
    assert sorted(answer.status for answer in answers) == [303] + [403] * 5
    assert all("Set-Cookie" not in answer.headers for answer in answers if answer.status == 403)


async def test_a_claimed_notebook_answers_for_no_launch_link(place: Place, link: str) -> None:
    person = place.person()
    await person.get("/")
    before = person.cookies()[place.cookie]
    await person.follow(await person.claim(link))
    assert person.cookies()[place.cookie] == before
    assert (await person.get("/lab")).status == 200
    own = await person.start("/lab")
    assert own != key_of(link)
    await person.follow(await person.claim(link))
    assert (await person.get("/lab")).key == own


async def test_its_owner_shares_and_ends_it_like_any_other(place: Place, link: str) -> None:
    person, key = place.person(), key_of(link)
    await person.follow(await person.claim(link))
    assert (await person.get(f"/session/{key}")).title == "About this notebook"
    assert (await person.post(f"/session/{key}/share", Sec_Fetch_Site="same-origin")).status == 303
    assert place.held(key).shared is not None
    ended = await person.post(f"/session/{key}/end", Sec_Fetch_Site="same-origin")
    assert (await person.get(ended.location)).status == 410


async def test_the_owner_is_known_after_a_restart(place: Place, link: str) -> None:
    person = place.person()
    page = await page_of(person, link)
    await person.press(page)
    rows = place.ledger.rows()
    assert rows[key_of(link)].visitor == place.held(key_of(link)).visitor is not None


async def test_the_owner_who_comes_back_to_the_page_is_sent_on(place: Place, link: str) -> None:
    person = place.person()
    page = await page_of(person, link)
    await person.press(page)
    sent_on = await person.get(page.form()["action"])
    assert sent_on.status == 303
    assert f"tmppool-{id_of(key_of(link))}=" in str(sent_on.headers.getall("Set-Cookie"))
    _, opened = await person.follow(sent_on)
    assert opened.status == 200


@pytest.mark.parametrize("to", ["//evil.example/x", "%2F%2Fevil.example", "../../x", "%5Cevil.example", "a%0D%0Ab", "%00", "x" * 5000, "%22%3E%3Cscript%3Ealert(1)", "%3Fa%23b", "%ff"])  # fmt: skip
async def test_no_path_of_a_link_leads_elsewhere(place: Place, link: str, to: str) -> None:
    token = link.rpartition("=")[2]
    person = place.person()
    sent_on = await person.get(f"{place.url}/session/{key_of(link)}/claim?token={token}&to={to}")
    if sent_on.status == 400:  # no target of a request at all
        return
    assert re.fullmatch(rf"/session/{key_of(link)}/claim\?to=[\w.%-]*", sent_on.location)
    _, page = await person.follow(sent_on)
    assert page.status == 200
    assert "<script>alert" not in page.text
    pressed = await person.press(page)
    location = pressed.location.removeprefix(place.origin(key_of(link)))
    if place.domain:  # to where no page of the notebook sees the ticket
        assert re.fullmatch(rf"/user/{key_of(link)}\?token=[\w.-]+&to=[\w.%-]*", location)
        location = (await person.get(pressed.location)).location.removeprefix(place.origin(key_of(link)))
    assert location.startswith(f"/user/{key_of(link)}/")
    assert "#" not in location


async def test_two_tabs_of_one_browser_that_press_at_once_lead_to_the_notebook(place: Place, link: str) -> None:
    person, other = place.person(), place.person()
    pages = [await page_of(person, link) for _ in range(2)]
    late = await page_of(other, link)
    kept = person.cookies()
    await person.press(pages[0])
    person.session.cookie_jar.clear()  # the second press is sent before the answer to the first has come
    person.session.cookie_jar.update_cookies(kept, URL(place.url))
    assert (await person.follow(await person.press(pages[1])))[1].status == 200
    assert (await other.press(late)).status == 403


LONG = "/".join(["day%201"] * 300)  # 2400 characters, and 3900 in a query
TOO_LONG = "/".join(["day%201"] * 700)


@pytest.mark.parametrize(
    ("path", "opened"), [(f"lab/tree/{LONG}?x=1", f"lab/tree/{LONG}?x=1"), (f"lab/tree/{TOO_LONG}", "")]
)
async def test_a_long_link_keeps_its_document_or_leads_to_the_notebook(
    place: Place, link: str, path: str, opened: str
) -> None:
    key, person = key_of(link), place.person()
    token = link.rpartition("=")[2]
    page = await page_of(person, f"/user/{key}/{path}{'&' if '?' in path else '?'}token={token}")
    address, shown = await person.follow(await person.press(page))
    assert (address, shown.status) == (f"{place.origin(key)}/user/{key}/{opened}", 200)


async def test_the_document_is_not_lost_when_the_notebook_has_ended_or_is_anothers(place: Place, link: str) -> None:
    late, other = place.person(), place.person()
    address, _ = await late.follow(await late.get(link))
    await other.claim(link)
    for ending in (None, "DELETE"):
        if ending:
            await other.ask(ending, f"/api/session/{key_of(link)}", {"Sec-Fetch-Site": "same-origin"})
        for guest in (late, place.person()):
            answer = await guest.get(address)
            assert answer.status == (410 if ending else 403)
            assert 'href="/lab/tree/a%20b.ipynb?x=1' in answer.text
