"""What is told of requests that were refused for their origin, to whom, and how often."""

import html
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from tests.conftest import Clock
from tests.web.guests import PERSON
from tests.web.heads import visit
from tmppool.web.kinds import Kind
from tmppool.web.refusals import Refusals
from tmppool.web.visit import PublicAddress

KEY = "0123456789abcdefghijk_"
OTHER = {"Origin": "https://nb.example:8443"}


def lines(refusals: Refusals, *fields: dict[str, str], public: PublicAddress | None = None) -> list[Any]:
    with capture_logs() as logs:
        for each in fields:
            refusals.note(visit(f"/user/{KEY}/x", each, method="POST", public=public), Kind.OTHER_ORIGIN)
    return logs


def test_both_origins_are_logged_with_what_to_set_once_a_minute(clock: Clock) -> None:
    refusals = Refusals(clock=clock)
    (line,) = lines(refusals, OTHER, OTHER, {"Origin": "https://evil.example"})
    assert (line["event"], line["log_level"]) == ("origin.refused", "warning")
    assert (line["origin"], line["expected"]) == ("https://nb.example:8443", "http://nb.example")
    for remedy in ("--public-url", "proxy_set_header Host $http_host", "--trusted-proxies"):
        assert remedy in line["message"]
    clock.now += 59
    assert lines(refusals, OTHER) == []
    clock.now += 1
    assert len(lines(refusals, OTHER, OTHER)) == 1


def test_what_the_browser_says_is_another_site_is_told_apart_and_hides_nothing(clock: Clock) -> None:
    refusals = Refusals(clock=clock)
    cross = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    one, other = lines(refusals, cross, OTHER, cross)
    assert (one["origin"], other["origin"]) == ("https://evil.example", "https://nb.example:8443")
    assert "nothing has to be set" in one["message"]
    assert "--public-url" in other["message"]


def test_where_the_public_url_is_set_it_is_what_is_wrong(clock: Clock) -> None:
    public = PublicAddress(public_url="https://nb.example")
    (line,) = lines(Refusals(has_public_url=True, clock=clock), {"Origin": "https://www.nb.example"}, public=public)
    assert (line["origin"], line["expected"]) == ("https://www.nb.example", "https://nb.example")
    assert "--public-url is not the URL in the browser" in line["message"]


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("null", "null"),
        ("https://user:secret@nb.example", "not an origin"),
        (f"https://nb.example/user/{KEY}/", "not an origin"),
        ("https://nb.example\x9b31m", "not an origin"),
        ("x" * 5000, "not an origin"),
        ("https://" + "x" * 5000, "https://" + "x" * 192),
    ],
)
def test_nothing_that_a_visitor_likes_to_write_is_logged(origin: str, shown: str, clock: Clock) -> None:
    (line,) = lines(Refusals(clock=clock), {"Origin": origin})
    assert line["origin"] == shown


def test_a_host_of_any_length_is_logged_in_part(clock: Clock) -> None:
    (line,) = lines(Refusals(clock=clock), {**OTHER, "Host": "x" * 5000})
    assert len(line["expected"]) == 200


def test_a_notebook_that_may_be_cut_off_is_remembered_for_a_minute(clock: Clock) -> None:
    refusals = Refusals(clock=clock)
    lines(refusals, {"Sec-Fetch-Site": "cross-site"})
    assert not refusals.cuts_off(KEY)
    lines(refusals, OTHER)
    assert refusals.cuts_off(KEY)
    clock.now += 61
    assert not refusals.cuts_off(KEY)


async def test_whoever_is_refused_gets_a_sentence_and_the_notebooks_page_is_told(open_place: Any) -> None:
    place = await open_place()
    key = (await place.program().post("/api/spawn")).json["url"].split("/")[2]
    owner = place.owner()
    assert "cut_off" not in (await owner.get(f"/api/session/{key}")).json
    wrong = {"Origin": "https://nb.example", "Sec-Fetch-Mode": ""}
    with capture_logs() as logs:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            # A browser without Fetch Metadata, as Chromium is for WebSockets.
            await place.program().session.ws_connect(
                place.program().whole(f"/user/{key}/api/kernels/1/channels"), origin="https://nb.example"
            )
        assert caught.value.status == 403
        answer = await place.program().ask("POST", f"/user/{key}/api/sessions", wrong, data=b"{}")
        page = await place.person().ask("POST", "/spawn", {"Origin": "null", "Sec-Fetch-Site": "cross-site"}, data=b"")
        form = await place.program(Accept="text/html").ask("POST", "/spawn", {"Origin": "http://elsewhere.example"})
    assert (answer.status, answer.json["message"]) == (403, Kind.OTHER_ORIGIN.shape.message)
    assert (page.status, Kind.CROSS_SITE_OWN.shape.message in html.unescape(page.text)) == (403, True)
    assert (form.status, Kind.OTHER_ORIGIN.shape.message in html.unescape(form.text)) == (403, True)
    assert [line["origin"] for line in logs if line["event"] == "origin.refused"] == ["https://nb.example", "null"]
    assert not place.asked(key) or all("api/kernels/1" not in line for line in place.asked(key))
    assert (await owner.get(f"/api/session/{key}")).json["cut_off"] is True


async def test_a_proxy_that_loses_a_notebooks_host_is_told_of(open_place: Any) -> None:
    place = await open_place(domain_per_notebook="nb.localhost:{port}")
    person = place.person()
    sent = URL((await person.click("/lab")).location)
    with capture_logs() as logs:
        for _ in range(2):
            answer = await person.ask("GET", sent.raw_path_qs, PERSON | {"Host": person.domain})
            assert (answer.status, "set up wrongly" in answer.text) == (421, True)
    (line,) = [line for line in logs if line["event"] == "host.lost"]
    assert "proxy_set_header Host $http_host" in line["message"]


async def test_on_the_operators_listener_it_is_logged_too(open_place: Any) -> None:
    place = await open_place()
    with capture_logs() as logs:
        answer = await place.operator().ask("GET", "/metrics", {"Origin": "https://evil.example"})
    assert answer.status == 403
    assert [line["origin"] for line in logs if line["event"] == "origin.refused"] == ["https://evil.example"]
