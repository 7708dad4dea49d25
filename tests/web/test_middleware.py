"""Errors become answers: a page for a person, JSON for a program, never a traceback."""

import contextlib
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from structlog.testing import capture_logs

from tests.web.guests import PERSON, Answer, Guest, Place
from tmppool.web import edge, listener, middleware
from tmppool.web.answers import AnswerError, Answers
from tmppool.web.kinds import Kind
from tmppool.web.pages import Pages
from tmppool.web.start_limits import WRONG_CODES_PER_HOUR

SECRET = "a secret of the inside"


async def fail(request: web.Request) -> web.Response:
    raise RuntimeError(SECRET)


async def refuse(request: web.Request) -> web.Response:
    raise AnswerError(Kind.NOT_OWNER, message="Only <b>on Sundays</b>.")


ADMIN_TOKEN = "token-of-the-operator"


async def redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere")


async def leave(request: web.Request) -> web.Response:
    raise ConnectionResetError


@pytest.fixture
async def guest() -> AsyncIterator[Guest]:
    """A guest of a listener whose handlers are those above."""
    answers = Answers(Pages(isolated=True), {})
    app = web.Application(middlewares=[middleware.errors(answers), middleware.carry_out(answers)])
    for name, handler in (("fail", fail), ("refuse", refuse), ("redirect", redirect), ("leave", leave)):
        app.router.add_get(f"/{name}/{{secret:.*}}", handler)
    async with contextlib.AsyncExitStack() as stack:
        sock = stack.enter_context(listener.bind("127.0.0.1", 0))
        await listener.serve(stack, app, sock, edge.admin_decide(ADMIN_TOKEN, "127.0.0.1"))
        made = Guest(f"http://127.0.0.1:{sock.getsockname()[1]}", {"Authorization": f"token {ADMIN_TOKEN}"})
        stack.push_async_callback(made.session.close)
        yield made


async def test_a_bug_is_a_page_and_a_line_in_the_log(guest: Guest) -> None:
    with capture_logs() as logs:
        answer = await guest.ask("GET", "/fail/key-of-somebody", PERSON)
        text = answer.text
    assert answer.status == 500
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Status 500" in text
    assert SECRET not in text
    assert "Traceback" not in text
    (entry,) = logs
    assert (entry["event"], entry["method"], entry["log_level"]) == ("request.failed", "GET", "error")
    assert entry["exc_info"]
    assert "key-of-somebody" not in str(entry)


async def test_a_bug_is_json_for_a_program(guest: Guest) -> None:
    with capture_logs():
        answer = await guest.get("/fail/x")
    assert answer.status == 500
    assert set(answer.json) == {"message"}
    assert SECRET not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_refusal_says_why_and_quotes_nothing_raw(guest: Guest) -> None:
    page = await guest.ask("GET", "/refuse/x", PERSON)
    assert page.status == 403
    assert "Only &lt;b&gt;on Sundays&lt;/b&gt;." in page.text
    assert (await guest.get("/refuse/x")).json["message"] == "Only <b>on Sundays</b>."


async def test_a_redirect_is_no_error(guest: Guest) -> None:
    answer = await guest.get("/redirect/x")
    assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")


async def test_a_visitor_who_left_is_no_bug(guest: Guest) -> None:
    with capture_logs() as logs, contextlib.suppress(aiohttp.ClientError):
        await guest.get("/leave/x")
    assert [entry for entry in logs if entry["event"] == "request.failed"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/api/nowhere",
        "/spawned",
        "/static/none.css",
        "/static/",
        "/static/..%252fpages.py",
        "/favicon.ico",
        "/.git/config",
    ],
)
async def test_an_unknown_address_is_a_page_for_a_person_and_json_for_a_program(place: Place, path: str) -> None:
    page = await place.person().get(path)
    assert page.status in (403, 404)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "Back to the start" in page.text
    found = await place.program(Accept="*/*").get(path)
    assert found.status in (403, 404)
    assert set(found.json) == {"message"}


async def test_a_wrong_method_says_which_are_right(place: Place) -> None:
    answer = await place.program().ask("DELETE", "/health")
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]


async def test_an_address_is_never_quoted_raw(place: Place) -> None:
    for guest in (place.person(), place.program()):
        answer = await guest.get("/<script>alert(1)</script>")
        assert "<script>alert" not in answer.text


HOSTILE = [
    ("GET", "/api/stats?pool=%ff%fe"), ("GET", "/?pool=%00"), ("GET", "/%ff%fe"), ("GET", "/lab/%zz"), ("GET", "/spawn/%"), ("GET", "/tree/%2e%2e/%2e%2e"),
    ("GET", "/" + "a/" * 2000), ("POST", "/api/session//extend"), ("DELETE", "/api/session/%ff"), ("GET", "/api/session/%00"),
    ("GET", "/static/%00"), ("GET", "/static/" + "x" * 5000), ("GET", "/static/..%2fpages.py"), ("GET", "/;"), ("GET", "/?" + "&" * 5000),
]  # fmt: skip


async def test_no_address_makes_the_service_fail(place: Place) -> None:
    with capture_logs() as logs:
        for guest, (method, path) in itertools.product((place.person(), place.program()), HOSTILE):
            answer = await guest.ask(method, path)
            assert answer.status < 500, path[:50]
            assert "Traceback" not in answer.text
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


FIELDS = [
    ("Cookie", "\xff\xfe; tmppool=\xff"), ("Cookie", "tmppool=" + "x" * 8000), ("Cookie", ";;=;=;"), ("Accept", "\xff"), ("Origin", "\xff://"),
                        ("Sec-Fetch-Mode", "\xff"), ("Authorization", "\xff"), ("Host", ""), ("Host", "a b"), ("Host", "[::1"), ("Host", "h:99999999"), ("Range", "bytes=9-1"),
                        ("If-Modified-Since", "nonsense"), ("Accept-Encoding", "\xff"), ("Content-Type", "text/html; charset=\xff"), ("X-Forwarded-For", "\xff"),
]  # fmt: skip


async def test_no_field_makes_the_service_fail(place: Place) -> None:
    paths = (
        "/",
        "/lab/tree/a.ipynb",
        "/api/stats",
        "/health",
        "/static/style.css",
        "/nowhere",
        "/user/" + "x" * 22 + "/lab",
    )
    with capture_logs() as logs:
        for (name, value), path in itertools.product(FIELDS, paths):
            answer = await place.program().ask(
                "GET", path, {name: value.encode("latin-1").decode("utf-8", "surrogateescape")}
            )
            assert answer.status < 500, (name, value, path)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


# Nothing of a request comes back in an answer


MARKED = "z~q7"  # the tilde stands in no ticket and no cookie of ours, and is escaped nowhere
MARK = MARKED + "\"><i>'&{{7*7}}"
HOST = "zq7.example"
CODED = quote(MARK, safe="")
ADDRESSES = [
    "/", "/spawn", f"/spawn/{CODED}", f"/lab/tree/{CODED}.ipynb", f"/tree/{CODED}", "/api/spawn", "/api/stats", "/stats", "/health", "/robots.txt",
    f"/api/session/{CODED}", f"/api/session/{CODED}/extend", f"/api/session/{CODED}/{CODED}", f"/static/{CODED}", "/static/style.css", f"/{CODED}", f"/hub/{CODED}",
    f"/user/{CODED}/", f"/user/{'x' * 22}/lab/tree/{CODED}.ipynb", f"/user/{'x' * 22}/api/{CODED}",
]  # fmt: skip
ADMIN_ADDRESSES = ["/api/pool", "/api/notebooks", f"/api/notebooks/{CODED}", "/metrics", f"/{CODED}"]
SAID = dict.fromkeys(("Accept-Language", "Authorization", "Origin", "Referer", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "Range", "If-None-Match", "Access-Control-Request-Method", "Access-Control-Request-Headers"), MARK)  # fmt: skip
LINK = re.compile(
    r' action="[^"<>]*"| href="[^"<>]*"|<meta property="og:(?:url|title|image)" content="[^"<>]*">| title="[^"<>]*"|'
    r'<span class="doc">([^<>]|<wbr>)*</span>|<title>[^<>]*</title>|"fresh_url": "[^"<>]*(\\"[^"]*)*"'
)
"""Where a page holds the link itself: the form's action, what a fresh start opens, what previews show, and the
document's name."""


def reflected(answer: Answer) -> str:
    """Return what of the mark stands in an answer beside the link."""
    text = LINK.sub("", answer.text) + "".join(
        f"{name}: {value}" for name, value in answer.headers.items() if name != "Location"
    )
    is_page = answer.headers.get("Content-Type", "").startswith("text/html")
    # Escaped, the link's own text is harmless; as it came it is not.
    found = re.search(f"{MARKED}|{re.escape(HOST)}", text)
    return text[found.start() - 40 :][:90] if found else "raw" if is_page and MARK in answer.text else ""


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
async def test_an_answer_reflects_nothing_of_the_request(open_place: Any, method: str) -> None:
    place = await open_place(pool_size=2, workshop_code="monday", starts_per_hour=1)
    for address, accept in itertools.product(ADDRESSES, ("text/html", "*/*", MARK)):
        for headers in (
            {"Accept": accept},
            {"Accept": accept, "Cookie": f"tmppool={CODED}; {CODED}={CODED}"},
            {"Accept": accept} | SAID,
        ):
            data = urlencode({"ticket": MARK, "code": MARK, MARK: MARK}) if method in ("POST", "PUT") else None
            more = {"Content-Type": "application/x-www-form-urlencoded"} if data else {}
            answer = await place.program().ask(
                method, f"{address}?pool=tmppool&x={CODED}&{CODED}", headers | more, data=data
            )
            assert not reflected(answer), (address, headers)
            answer = await place.program().ask(method, f"{address}?pool={CODED}", headers | more, data=data)
            assert not reflected(answer), (address, headers)
    for address in ADMIN_ADDRESSES:
        for headers in ({}, {"Accept": "text/html"}, SAID, {"Host": HOST}):
            assert not reflected(await place.operator().ask(method, f"{address}?{CODED}", headers)), address


async def test_no_page_of_a_start_reflects_anything_but_its_link(open_place: Any) -> None:
    place = await open_place(pool_size=1, workshop_code="monday", starts_per_hour=1)
    link = f"/lab/tree/{CODED}.ipynb?x={CODED}&y"

    async def page(code: str, query: str = "", **headers: str) -> Answer:
        person = place.person(Referer=MARK)
        form = (await person.look(link + query, **headers)).form() | ({"code": code} if code else {})
        answer = await person.post(form.pop("action"), form, Sec_Fetch_Site="same-origin", **headers)
        assert not reflected(answer), answer.text
        return answer

    assert (await page("", User_Agent="Slackbot z~q7")).status == 403
    assert (await page("", f"&code={CODED}")).title == "Wrong workshop code"
    assert (await page(MARK)).title == "Wrong workshop code"
    assert (await page("")).status == 303
    assert (await page("", f"&{CODED}")).title == "Too many starts from your network"
    assert (await page("monday")).title == "All notebooks are in use"
    for number in range(WRONG_CODES_PER_HOUR):
        answer = await page(f"{MARK} {number}")
    assert (answer.status, answer.title) == (429, "Too many wrong codes")


def test_the_look_for_reflections_finds_them() -> None:
    def answer(text: str, **headers: str) -> Answer:
        return Answer(200, CIMultiDictProxy(CIMultiDict({"Content-Type": "text/html"} | headers)), text.encode())

    assert not reflected(answer('<form action="/spawn/z~q7%22"><span class="doc">z~q7&#34;&gt;</span>'))
    assert reflected(answer("<p>There is no z~q7.</p>"))
    assert reflected(answer("<p></p>", Etag="z~q7"))
    assert reflected(answer(f'<span class="doc">{MARK}</span>'))
    assert reflected(answer(f'<form action="/spawn/{MARK}">'))


@pytest.mark.parametrize("path", ["/", "/api/stats", "/health", "/robots.txt", "/nowhere", "/static/style.css"])
async def test_no_answer_tells_what_it_was_made_with_or_is_taken_for_something_else(place: Place, path: str) -> None:
    answer = await place.program().get(path)
    assert answer.headers["Server"] == "tmppool"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
