"""A page of a listed origin shows notebooks in a frame; there every cookie is kept apart by that page's site."""

import re
from http.cookies import SimpleCookie
from typing import Any

import pytest

from tests.web.guests import Answer, Guest, Place

LISTED = {"embed_origins": ("https://docs.example", "https://*.edu.example")}
ANCESTORS = "frame-ancestors 'self' https://docs.example https://*.edu.example"
FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "cross-site"}
INSIDE = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}
TLS = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "nb.example"}


def policies(answer: Answer) -> list[str]:
    return answer.headers.getall("Content-Security-Policy")


def frame_of(place: Place) -> Guest:
    """A frame on a listed page, over TLS."""
    return place.person(**{name.replace("-", "_"): value for name, value in {**FRAME, **TLS}.items()})


def cookies_of(answer: Answer) -> dict[str, str]:
    """Return what the answer's cookies are set to."""
    lines = answer.headers.getall("Set-Cookie", [])
    found = [SimpleCookie(each.replace("; Partitioned", "")) for each in lines]
    return {name: item.value for cookie in found for name, item in cookie.items()}


def line(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


@pytest.fixture
async def place(open_place: Any) -> Place:
    return await open_place(**LISTED, trusted_proxies=("127.0.0.1",))


async def test_the_launch_page_may_be_embedded_and_the_owners_page_may_not(place: Place) -> None:
    person = place.person()
    assert ANCESTORS in policies(await person.get("/"))[0]
    assert ANCESTORS in policies(await person.get("/nowhere"))[0]
    key = await person.start()
    assert "frame-ancestors 'none'" in policies(await person.get(f"/session/{key}"))[0]
    assert "frame-ancestors 'none'" in policies(await person.get("/hub/home"))[0]
    assert ANCESTORS in policies(await person.get(f"/user/{key}/lab"))


async def test_without_a_list_nobody_may_embed(open_place: Any) -> None:
    person = (await open_place()).person()
    assert "frame-ancestors 'none'" in policies(await person.get("/"))[0]
    key = await person.start()
    assert "frame-ancestors 'self'" in policies(await person.get(f"/user/{key}/lab"))
    assert (await person.get(f"/user/{key}/lab", Sec_Fetch_Dest="iframe", Sec_Fetch_Site="cross-site")).status == 403


async def test_who_may_call_the_api_embeds_nothing(open_place: Any) -> None:
    place: Place = await open_place(allow_origin="*", trusted_proxies=("127.0.0.1",))
    person = place.person()
    assert "frame-ancestors 'none'" in policies(await person.get("/"))[0]
    assert "Partitioned" not in str((await frame_of(place).get("/")).headers.getall("Set-Cookie"))
    key = await person.start()
    assert "frame-ancestors 'self'" in policies(await person.get(f"/user/{key}/lab"))
    inside = {"Sec_Fetch_Dest": "iframe", "Sec_Fetch_Site": "cross-site"}
    assert (await person.get(f"/user/{key}/lab", **inside)).status == 403


async def test_in_a_frame_each_cookie_is_partitioned_and_elsewhere_none_is(place: Place) -> None:
    elements = [({**FRAME, "Sec-Fetch-Dest": name}, True) for name in ("iframe", "frame", "object", "embed")]
    for headers, is_framed in (*elements, ({}, False)):
        page = await place.person().ask("GET", "/", {**headers, **TLS})
        found = page.headers.getall("Set-Cookie")
        assert len(found) == 2
        assert all(("SameSite=None; Partitioned" in each) is is_framed for each in found)
        assert all(("SameSite=Lax" in each) is not is_framed for each in found)
        assert all("Secure" in each and "HttpOnly" in each for each in found)


async def test_over_plain_http_no_cookie_can_be_partitioned(place: Place) -> None:
    page = await place.person().ask("GET", "/", FRAME)
    assert all("SameSite=Lax" in each for each in page.headers.getall("Set-Cookie"))


async def test_a_frame_gets_a_notebook_and_finds_it_again(place: Place) -> None:
    cookies: dict[str, str] = {}

    def note(answer: Answer) -> Answer:
        cookies.update(cookies_of(answer))
        return answer

    guest = place.person()
    page = note(await guest.ask("GET", "/lab/tree/a.ipynb", {**FRAME, **TLS}))
    form = page.form()
    fields = {**INSIDE, **TLS, "Cookie": line(cookies), "Origin": "https://nb.example"}
    given = note(await guest.ask("POST", form.pop("action"), fields, data=form))
    assert given.status == 303
    again = await guest.ask("GET", "/lab/tree/a.ipynb", {**FRAME, **TLS, "Cookie": line(cookies)})
    assert (again.status, again.key) == (303, given.key)
    inside = await guest.ask(
        "GET", given.location, {**FRAME, **TLS, "Cookie": line(cookies)}
    )  # as the redirect leads there
    assert inside.status == 200
    assert ANCESTORS in policies(inside)


async def test_two_frames_that_start_at_once_get_one_notebook(place: Place) -> None:
    """No frame can wait for its turn by itself where the browser blocks cookies: it is refused every lock."""
    guest = place.person()
    first = await guest.ask("GET", "/lab", {**FRAME, **TLS})
    old = cookies_of(first)
    second = await guest.ask("GET", "/tree", {**FRAME, **TLS, "Cookie": line(old)})
    forms = [page.form() for page in (second, first)]  # the browser's last ticket is that of the one that comes second
    fields = {**INSIDE, **TLS, "Cookie": line(old), "Origin": "https://nb.example"}
    given, other = [await guest.ask("POST", form.pop("action"), fields, data=form) for form in forms]
    assert (given.status, other.status, other.location) == (303, 303, "/spawn/lab")
    assert (await place.stats())["assigned"] == 1
    new = {**old, **cookies_of(given)}
    assert (await guest.ask("GET", other.location, {**INSIDE, **TLS, "Cookie": line(new)})).key == given.key


async def test_a_sandbox_in_which_no_notebook_works_is_told_from_a_foreign_page(place: Place) -> None:
    frame = frame_of(place)
    form = (await frame.get("/lab/tree/a.ipynb")).form()
    fields = {**FRAME, **TLS, "Origin": "null"}
    page = await frame.ask("POST", form["action"], fields, data={"ticket": form["ticket"]})
    assert (page.status, "allow-same-origin" in page.text) == (403, True)
    assert ANCESTORS in policies(page)[0]
    for other in (fields | {"Origin": "https://evil.example"}, fields | {"Sec-Fetch-Dest": "document"}):
        page = await frame.ask("POST", form["action"], other, data={"ticket": form["ticket"]})
        assert (page.status, "allow-same-origin" in page.text) == (403, False)
    assert (await place.stats())["assigned"] == 0


class OneSite:
    """A browser's tabs and frames on the service's own site: what a frame's answers leave there comes beside the rest.

    Chromium keeps a cookie and a partitioned one of the same name apart, and sends both.
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._kept: dict[tuple[str, bool], str] = {}

    async def ask(self, method: str, path: str, headers: dict[str, str], **more: Any) -> Answer:
        sent = "; ".join(f"{name}={value}" for (name, _), value in self._kept.items())
        answer = await self._guest.ask(method, path, {**TLS, "Cookie": sent, **headers}, **more)
        for each in answer.headers.getall("Set-Cookie", []):
            is_apart = "; Partitioned" in each
            for name, item in SimpleCookie(each.replace("; Partitioned", "")).items():
                self._kept[name, is_apart] = item.value
        return answer

    async def click(self, headers: dict[str, str]) -> Answer:
        """Follow a launch link and press the button, if there is one."""
        page = await self.ask("GET", "/lab/tree/a.ipynb", headers)
        if page.status == 303:
            return page
        form = page.form()
        inside = {**headers, "Sec-Fetch-Site": "same-origin", "Origin": "https://nb.example"}
        return await self.ask("POST", form.pop("action"), inside, data=form)


@pytest.mark.parametrize("is_frame_first", [True, False])
async def test_on_the_services_own_site_a_frame_and_a_tab_do_not_get_in_each_others_way(
    place: Place,
    is_frame_first: bool,  # noqa: FBT001
) -> None:
    browser, tab = OneSite(place.person()), {"Sec-Fetch-Dest": "document"}
    frame = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-site"}
    order = [frame, tab] if is_frame_first else [tab, frame]
    keys = [(await browser.click(each)).key for each in order]
    assert len(set(keys)) == 2
    for _ in range(2):
        assert [(await browser.click(each)).key for each in order] == keys
    for each in keys:
        ended = await browser.ask("DELETE", f"/api/session/{each}", {"Sec-Fetch-Site": "same-origin"})
        assert ended.status == 200
    again = [(await browser.click(each)).key for each in order]
    assert len({*again, *keys}) == 4
    assert [(await browser.click(each)).key for each in order] == again


async def test_a_frames_page_tells_when_the_notebook_ends(place: Place) -> None:
    """Nothing else would: the page around it is another's."""
    person = place.person()
    key = await person.start()
    page = await person.get(f"/user/{key}/lab", Sec_Fetch_Dest="iframe", Sec_Fetch_Site="cross-site")
    assert page.text.count("/static/session.js") == 1


async def test_a_frame_without_cookies_leads_to_a_new_tab_and_takes_nothing(place: Place) -> None:
    frame = frame_of(place)
    form = (await frame.get("/notebooks/a.ipynb?x=1")).form()
    frame.session.cookie_jar.clear()
    page = await frame.ask("POST", form.pop("action"), {**INSIDE, **TLS, "Origin": "https://nb.example"}, data=form)
    assert page.status == 403
    assert ANCESTORS in policies(page)[0]
    link = re.search(r'<a class="button" href="([^"]+)" target="_blank" rel="noopener" data-same-document>', page.text)
    assert link
    assert "/static/fragment.js" in page.text
    assert (await place.stats())["assigned"] == 0
    tab = await place.person().click(link[1])
    assert tab.location.endswith("/notebooks/a.ipynb?x=1")


async def test_a_browser_that_does_not_tell_of_the_frame_lets_the_script_tell(place: Place) -> None:
    for told, kind in (({"framed": "1"}, "new tab"), ({}, "allow cookies")):
        page = await place.person().post("/spawn/lab", {"ticket": "t", **told}, Sec_Fetch_Site="same-origin")
        assert page.status == 403
        assert kind in page.text


async def test_a_frames_navigation_may_not_change_anything(place: Place) -> None:
    person = place.person()
    key = await person.start()
    post = await person.post(f"/user/{key}/api/kernels", "{}", Sec_Fetch_Dest="iframe", Sec_Fetch_Site="cross-site")
    assert post.status == 403
    read = await person.get(f"/user/{key}/api/kernels", Sec_Fetch_Mode="cors", Sec_Fetch_Site="cross-site")
    assert read.status == 403


@pytest.mark.parametrize(
    ("origin", "is_friend"),
    [("https://docs.example", True), ("https://cs.edu.example", True), ("https://evil.example", False)],
)
async def test_a_listed_page_reads_the_api_and_starts_notebooks(place: Place, origin: str, is_friend: bool) -> None:  # noqa: FBT001
    page = place.program(Origin=origin, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
    stats = await page.get("/api/stats")
    assert stats.headers.get("Access-Control-Allow-Origin") == (origin if is_friend else None)
    assert ("Origin" in stats.headers.get("Vary", "")) is is_friend
    asked = await page.ask("OPTIONS", "/api/spawn", {"Access-Control-Request-Method": "POST"})
    assert ("POST" in asked.headers.get("Access-Control-Allow-Methods", "")) is is_friend
    spawned = await page.post("/api/spawn")
    assert spawned.status == (200 if is_friend else 403)
    assert spawned.headers.get("Access-Control-Allow-Origin") == (origin if is_friend else None)
