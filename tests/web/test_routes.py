"""The tables of addresses."""

from urllib.robotparser import RobotFileParser

from tests.web.guests import Place
from tmppool import jupyter_urls


async def test_each_place_of_jupyters_is_a_launch_link(place: Place) -> None:
    for prefix in jupyter_urls.DEEP_LINKS:
        for path in (f"/{prefix}", f"/{prefix}/", f"/{prefix}/a/b?c"):
            assert (await place.person().get(path)).status == 200, path


async def test_robots_are_asked_to_stay_away_but_those_that_show_previews(place: Place) -> None:
    answer = await place.program().get("/robots.txt")
    assert answer.status == 200
    rules = RobotFileParser()
    rules.parse(answer.text.splitlines())
    link = f"{place.url}/lab/tree/a.ipynb"
    assert all(rules.can_fetch(name, link) for name in ("Twitterbot/1.0", "facebookexternalhit/1.1", "LinkedInBot/1.0"))
    assert not any(rules.can_fetch(name, link) for name in ("Googlebot/2.1", "GPTBot/1.2", "curl"))


async def test_head_answers_as_get_without_a_body(place: Place) -> None:
    for path in ("/", "/spawn", "/lab", "/api/stats", "/stats", "/health", "/robots.txt", "/static/style.css"):
        got, looked = await place.person().get(path), await place.person().ask("HEAD", path)
        assert looked.status == got.status == 200, path
        assert looked.body == b""
        assert looked.headers["Content-Type"] == got.headers["Content-Type"]


ALLOWED = {
    "/": {"GET", "HEAD"},
    "/spawn": {"GET", "HEAD", "POST"},
    "/lab": {"GET", "HEAD"},
    "/api/spawn": {"POST", "OPTIONS"},
    "/api/stats": {"GET", "HEAD", "OPTIONS"},
    "/health": {"GET", "HEAD", "OPTIONS"},
    "/robots.txt": {"GET", "HEAD"},
}


async def test_no_address_takes_more_than_it_says(place: Place) -> None:
    for path, allowed in ALLOWED.items():
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allowed:
            answer = await place.program().ask(method, path)
            assert answer.status == 405, (method, path)
            assert {word.strip() for word in answer.headers["Allow"].split(",")} == allowed
    assert (await place.stats())["assigned"] == 0


async def test_an_address_is_a_page_of_ours_or_unknown_never_a_bug(place: Place) -> None:
    for path in ("/info", "/embed", "/badge.svg", "/versions", "/v2/gh/a/b/HEAD", "/hub/api/", "/hub/home"):
        assert (await place.person().get(path)).status in (200, 302, 303, 404), path


async def test_a_body_for_our_own_addresses_has_a_limit(place: Place) -> None:
    answer = await place.person().post("/spawn", {"ticket": "x" * 100_000}, Sec_Fetch_Site="same-origin")
    assert answer.status == 413
