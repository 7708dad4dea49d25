"""Our own pages: each renders with its values, and lets nothing foreign in."""

import re
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest

from tests.web.guests import Place
from tmppool.web import pages as pages_module
from tmppool.web.kinds import Kind
from tmppool.web.pages import HEADERS, STATIC, Pages, words
from tmppool.web.snippets import Snippet

TEMPLATES = Path(pages_module.__file__).with_name("templates")
LAUNCH = {
    "action": "/spawn/lab",
    "ticket": "t",
    "document": "a.ipynb",
    "idle_minutes": 60,
    "lifetime_minutes": 240,
    "gives_up": False,
    "again": "",
    "anyway": "",
    "near": [],
    "preview": {},
}
SESSION = {
    "base": "/session/k",
    "path": "lab",
    "notebook_url": "/user/k/lab",
    "share_url": "",
    "document": "a",
    "embed_url": "/embed?document=a",
    "idle_minutes": 3.2,
    "lifetime_minutes": 90.0,
}
EMBED = {
    "text": "a.ipynb",
    "pools": ["tmppool"],
    "pool": "tmppool",
    "ways": ["notebook", "lab", "live", "frame"],
    "way": "notebook",
    "error": "",
    "example": "a.ipynb",
    "known": 1,
    "count": 1,
    "documents": [{"path": "a.ipynb", "parts": ["a.", "ipynb"], "title": "A"}],
    "link": "/notebooks/a.ipynb",
    "url": "nb.example/notebooks/a.ipynb",
    "title": "A",
    "document": "a.ipynb",
    "is_missing": False,
    "is_unchecked": False,
    "snippets": [Snippet("HTML", "Any page", "<a>"), Snippet("Tool", "conf.py", "x\ny", is_for_site=True)],
    "is_example": True,
    "is_closed": False,
    "origins": [],
    "is_open": False,
    "is_plain": False,
    "has_no_cookies": False,
    "is_local": False,
}
VALUES: dict[str, list[dict[str, Any]]] = {
    "launch": [
        LAUNCH | {"kind": "LAUNCH", "message": ""},
        LAUNCH
        | {
            "kind": "LAUNCH",
            "message": "",
            "preview": {name: f"/{name}" for name in ("title", "description", "url", "picture", "oembed")},
        },
        *(LAUNCH | {"kind": "TICKET", "message": Kind.TICKET.shape.message, "gives_up": no} for no in (False, True)),
        LAUNCH
        | {
            "kind": "NO_DOCUMENT",
            "message": Kind.NO_DOCUMENT.shape.message,
            "anyway": "/spawn/notebooks/a.ipynb",
            "near": [{"parts": ["b/", "c d.ipynb"], "url": "/notebooks/b/c%20d.ipynb"}],
        },
        LAUNCH | {"kind": "CRAWLER", "message": Kind.CRAWLER.shape.message},
        LAUNCH | {"kind": "LAUNCH", "message": "", "document": "", "idle_minutes": 0, "lifetime_minutes": 0},
    ],
    "framed": [
        {"message": Kind.FRAMED.shape.message, "url": "/spawn/lab", "document": name} for name in ("", "a.ipynb")
    ],
    "full": [LAUNCH | {"retry_after": 30, "capacity": 1}, LAUNCH | {"retry_after": 30, "capacity": 40}],
    "limited": [
        LAUNCH | {"cause": cause, "retry_after": retry_after, "has_code": has_code, "held": []}
        for cause, retry_after, has_code in (
            ("starts", 3600, True),
            ("starts", 1, False),
            ("code", None, True),
            ("guesses", 90, True),
        )
    ]
    + [
        LAUNCH | {"cause": "held", "retry_after": 60, "has_code": has_code, "held": held}
        for held, has_code in (([], True), (["/user/k/"], False), (["/user/k/", "/user/l/"], False))
    ],
    "warming": [
        LAUNCH | {"retry_after": 1, "warm": 0, "warm_target": 0, "cause": "warming"},
        LAUNCH | {"retry_after": 1, "warm": 0, "warm_target": 1, "cause": "warming"},
        LAUNCH | {"retry_after": 200, "warm": 2, "warm_target": 5, "cause": "backend ill"},
    ],
    "home": [
        {"notebooks": [], "starts": [{"url": "/", "name": ""}]},
        {
            "notebooks": [
                {
                    "url": "/user/k/",
                    "session_url": "/session/k",
                    "name": name,
                    "idle_minutes": 3.0,
                    "lifetime_minutes": None,
                }
                for name in ("r", "lab")
            ],
            "starts": [{"url": "/?pool=x", "name": "x"}],
        },
    ],
    "embed": [
        EMBED,
        EMBED
        | {
            "way": "live",
            "is_closed": True,
            "is_plain": True,
            "is_local": True,
            "pools": ["tmppool", "r"],
            "snippets": [],
        },
        EMBED | {"way": "frame", "origins": ["docs.example", "x.example"], "ways": ["notebook", "frame"]},
        EMBED | {"way": "frame", "is_open": True, "has_no_cookies": True},
        EMBED | {"text": "", "known": 0, "count": 0, "documents": [], "title": "", "document": "", "link": "/"},
        EMBED
        | {
            "known": 99,
            "count": 50,
            "is_missing": True,
            "title": "",
            "documents": [{"path": "b.md", "parts": ["b.", "md"], "title": ""}],
        },
        EMBED | {"error": "Why.", "link": "", "url": "", "snippets": []},
    ],
    "gone": [
        {
            "explanation": "Why.",
            "fresh_url": "/lab",
            "document": "a",
            "ended_at": "2026-01-02T03:04:05+00:00",
        },
        {"explanation": "Why.", "fresh_url": "/", "document": "", "ended_at": ""},
    ],
    "claim": [{"action": "/a", "ticket": "T", "document": "a"}, {"action": "/a", "ticket": "T", "document": ""}],
    "foreign": [{"fresh_url": "/lab", "document": "a"}, {"fresh_url": "/", "document": ""}],
    "session": [
        SESSION,
        SESSION | {"share_url": "S", "path": "", "document": "", "embed_url": "", "idle_minutes": None},
        SESSION | {"idle_minutes": None, "lifetime_minutes": None},
    ],
    "error": [
        {"title": "T", "message": "M", "detail": "", "home_url": "/"},
        {"title": "T", "message": "M", "detail": "D", "home_url": ""},
    ],
}
CASES = [(name, values) for name, cases in VALUES.items() for values in cases]


ENVIRONMENT = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True)
OF_EVERY_PAGE = {"static", "version", "isolated", "apart", "has_frames", "status"}
"""Values that ``Pages`` gives to each template itself."""


def parsed(template: str) -> jinja2.nodes.Template:
    return ENVIRONMENT.parse((TEMPLATES / template).read_text())


def with_its_parts(template: str) -> set[str]:
    """The template and all that it extends, includes and imports."""
    found = {template}
    for other in jinja2.meta.find_referenced_templates(parsed(template)):
        assert other is not None, f"{template} names a template by a variable"
        found |= with_its_parts(other)
    return found


def values_of(name: str) -> set[str]:
    """The values that a page needs from its handler: what its templates name and neither import nor define."""
    trees = [parsed(part) for part in with_its_parts(f"{name}.html")]
    named = {value for tree in trees for value in jinja2.meta.find_undeclared_variables(tree)}
    imported = {each.target for tree in trees for each in tree.find_all(jinja2.nodes.Import)}
    macros = {each.name for tree in trees for each in tree.find_all(jinja2.nodes.Macro)}
    stored = {each.name for tree in trees for each in tree.find_all(jinja2.nodes.Name) if each.ctx == "store"}
    return named - imported - macros - (stored - set(VALUES[name][0])) - OF_EVERY_PAGE


def test_every_template_is_tested() -> None:
    files = {path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*") if path.is_file()}
    assert files == {part for name in VALUES for part in with_its_parts(f"{name}.html")}


def test_every_page_has_a_handler_that_renders_it() -> None:
    code = "".join(path.read_text() for path in TEMPLATES.parent.rglob("*.py"))
    assert [name for name in VALUES if f'"{name}"' not in code] == []


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize(("name", "values"), CASES, ids=[name for name, _ in CASES])
def test_a_page_renders_and_holds_nothing_that_its_policy_forbids(
    name: str,
    values: dict[str, Any],
    isolated: bool,  # noqa: FBT001
) -> None:
    response = Pages(isolated=isolated).render(name, 200, **values)
    text = str(response.text)
    assert response.content_type == "text/html"
    assert text.startswith("<!doctype html>")
    assert ("not isolated" in text) is not isolated
    assert "{{" not in text
    assert "{%" not in text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=|javascript:", text)
    assert set(re.findall(r'<script[^>]*src="([^"?]*)', text)) <= {
        "/static/launch.js",
        "/static/copy.js",
        "/static/embed.js",
        "/static/fragment.js",
    }
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', text):
        assert address.startswith("/")
        assert not address.startswith("//")
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize(("name", "values"), CASES, ids=[name for name, _ in CASES])
def test_every_value_is_escaped(name: str, values: dict[str, Any]) -> None:
    hostile = {
        key: '"><script>alert(1)</script>'
        if isinstance(value, str) and value and key not in ("cause", "kind", "way")
        else value
        for key, value in values.items()
    }
    assert "<script>alert" not in str(Pages(isolated=True).render(name, 200, **hostile).text)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in VALUES for value in sorted(values_of(name))])
def test_a_value_that_is_missing_is_a_bug_not_a_gap(name: str, value: str) -> None:
    """In one of the cases at least, for some values are shown beside others only."""
    assert any(is_missed(name, case, value) for case in VALUES[name])


def is_missed(name: str, values: dict[str, Any], value: str) -> bool:
    """Return True if the page does not render without this value."""
    given = {key: each for key, each in values.items() if key != value}
    assert len(given) == len(values) - 1
    try:
        Pages(isolated=True).render(name, 200, **given)
    except jinja2.UndefinedError as error:
        return value in str(error)
    return False


@pytest.mark.parametrize(("name", "values"), [("foreign", {"fresh_url": "/", "document": ""}), ("home", {"notebooks": [], "starts": []})])  # fmt: skip
def test_who_comes_out_of_a_frame_reads_that_the_notebook_works_there_only(name: str, values: dict[str, Any]) -> None:
    for ancestors, is_said in (("'none'", False), ("'self' https://docs.example", True)):
        page = Pages(isolated=True, ancestors=ancestors).render(name, 200, **values)
        assert ("works in that frame only" in str(page.text)) is is_said


def test_an_owner_reads_what_an_end_takes_before_they_are_asked_to_confirm_it() -> None:
    before, _, _ = str(Pages(isolated=True).render("session", 200, **SESSION).text).partition("<details")
    assert "deletes its files and stops everything that runs in it" in before


def test_of_what_perhaps_never_was_no_page_says_that_it_ended_or_was_lost() -> None:
    ended, unknown = (str(Pages(isolated=True).render("gone", 200, **values).text) for values in VALUES["gone"])
    assert "<h1>This notebook has ended</h1>" in ended
    assert "nothing in it was kept" in ended
    assert "2026-01-02 at 03:04 UTC</time>.</p>" in ended
    assert "<h1>Notebook not found</h1>" in unknown
    assert not re.search("ended|was kept", unknown)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("intro", ["intro"]),
        ("day 1/machine_learning-2.ipynb", ["day 1/", "machine_", "learning-", "2.", "ipynb"]),
        ("a__b--c../.d", ["a__", "b--", "c../.", "d"]),
        ("dir/", ["dir/"]),
        ("", [""]),
    ],
)
def test_a_long_name_breaks_between_its_words(name: str, parts: list[str]) -> None:
    assert words(name) == parts


def test_a_name_that_may_break_is_escaped_as_ever() -> None:
    text = str(Pages(isolated=True).render("foreign", 200, fresh_url="/", document='a/<wbr>_&lt;"').text)
    assert '<span class="doc">a/<wbr>&lt;wbr&gt;_<wbr>&amp;lt;&#34;</span>' in text


FIELDS = {
    "Content-Type": "text/html; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}


@pytest.mark.parametrize(
    ("domain", "form_action"), [(None, "'self'"), ("nb.example", "'self' *.nb.example")], ids=["one host", "a domain"]
)
def test_pages_carry_exactly_this_policy_and_are_not_kept(domain: str | None, form_action: str) -> None:
    pages = Pages(isolated=True, domain=domain)
    for response in (
        pages.render("error", 404, title="T", message="M", detail="", home_url="/"),
        pages.render("launch", 404, **LAUNCH, kind="LAUNCH", message=""),
    ):
        assert response.status == 404
        fields = dict(response.headers)
        policy = dict(part.strip().split(" ", 1) for part in fields.pop("Content-Security-Policy").split(";"))
        assert policy == POLICY | {"form-action": form_action}
        assert fields == FIELDS


async def test_a_page_reaches_a_browser_with_that_policy(place: Place) -> None:
    for answer in (await place.person().get("/"), await place.person().get("/nowhere")):
        assert {name: answer.headers[name] for name in FIELDS} == FIELDS
        assert answer.headers.getall("Content-Security-Policy") == [HEADERS["Content-Security-Policy"]]


def test_the_launch_page_submits_itself_only_when_told() -> None:
    pages = Pages(isolated=True)
    assert "data-auto" in str(pages.render("launch", 200, **LAUNCH, kind="LAUNCH", message="").text)
    ticket = LAUNCH | {"kind": "TICKET", "message": "M"}
    assert "data-auto" in str(pages.render("launch", 403, **ticket).text)
    assert "data-auto" not in str(pages.render("launch", 403, **ticket | {"gives_up": True}).text)
    assert "data-auto" not in str(pages.render("launch", 403, **LAUNCH, kind="CRAWLER", message="M").text)


@pytest.mark.parametrize(("name", "values"), [case for case in CASES if case[0] in ("full", "warming")])
def test_who_has_to_wait_is_told_what_to_do_with_and_without_scripts(name: str, values: dict[str, Any]) -> None:
    text = str(Pages(isolated=True).render(name, 200, **values).text)
    assert '<span class="waits">This page tries again by itself.</span>' in text
    when = {1: "in 1 second", 30: "in 30 seconds", 200: "in 4 minutes"}[values["retry_after"]]
    assert f"<noscript>Please try again {when}.</noscript>" in text


def test_where_the_backend_fails_no_page_says_that_notebooks_are_ready() -> None:
    starting, _, ill = (str(Pages(isolated=True).render("warming", 200, **values).text) for values in VALUES["warming"])
    assert "Notebooks are starting" in starting
    assert not re.search("are starting|ready|<progress", ill)


@pytest.mark.parametrize(("idle", "life", "sentence"), [(60, 240, "after 1 hour without activity, and after 4 hours"), (1, 0, "after 1 minute without activity."), (0, 90, "ends after 90 minutes."), (0, 0, None)])  # fmt: skip
def test_limits_are_said_as_people_say_them(idle: int, life: int, sentence: str | None) -> None:
    text = str(
        Pages(isolated=True)
        .render("launch", 200, **LAUNCH | {"idle_minutes": idle, "lifetime_minutes": life}, kind="LAUNCH", message="")
        .text
    )
    assert sentence in text if sentence else "ends after" not in text


@pytest.mark.parametrize("name", sorted(path.name for path in STATIC.iterdir()))
async def test_static_files_are_served_and_call_nobody_else(place: Place, name: str) -> None:
    answer = await place.program().get(f"/static/{name}?v=1")
    assert answer.status == 200
    assert answer.body == (STATIC / name).read_bytes()
    wanted = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".png": "image/png"}[
        Path(name).suffix
    ]
    assert answer.headers["Content-Type"].startswith((wanted, "application/javascript"))
    foreign = re.findall(
        r"(?:https?:)?//[a-z0-9-]+\.[a-z]{2,}", re.sub(r"http://www\.w3\.org/\S*", "", answer.body.decode("latin-1"))
    )
    assert foreign == []


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/badge.svg", "image/svg+xml", "try it live"),
        ("/badge_logo.svg", "image/svg+xml", "try it live"),
        ("/live-cells.js", "text/javascript; charset=utf-8", "thebe"),
    ],
)
async def test_what_is_for_authors_may_stand_on_any_page(place: Place, path: str, kind: str, content: str) -> None:
    asked = {"Origin": "https://docs.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    answer = await place.program().ask("GET", path, asked)
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert content in answer.text
