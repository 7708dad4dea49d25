"""The page for page authors finds what they mean, and gives it in each language; it takes nothing."""

import html
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.web.guests import MODES, Answer, Place
from tmppool.document_index import DocumentIndex
from tmppool.image_documents import Document
from tmppool.pool_settings import PoolSettings, RepositorySettings
from tmppool.web.pages import STATIC
from tmppool.web.repositories import Repositories

HOSTILE = "a \"b\" <c> & 'd' [e](f) `g`.ipynb"
KNOWN = (
    Document("intro.ipynb", "A first notebook"),
    Document("day 1/first steps.ipynb", "First steps <with> Python"),
    Document("day 1/plots.ipynb", "Drawing"),
    Document("text.md", "A text"),
    Document(HOSTILE, 'A "title" </textarea><script>'),
)
ROWS = (
    RepositorySettings(name="gh/o/book", pool="r", directory="day 1", prefix="docs"),
    RepositorySettings(name="gh/w/*", pool="wild"),
)
POOLS = {name: PoolSettings(pool_size=1) for name in ("r", "wild", "lone")}


@pytest.fixture
def open_library(open_place: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: KNOWN)
    return open_place


@dataclass
class Page(HTMLParser):
    """What a person finds on the page."""

    fields: dict[str, str] = field(default_factory=dict)
    ways: list[str] = field(default_factory=list)
    way: str = ""
    pool: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    said: str = ""
    _in: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self._in.append((tag, known))
        if tag == "input" and known.get("type") == "radio":
            self.ways.append(str(known["value"]))
            self.way = str(known["value"]) if "checked" in known else self.way
        elif tag == "input":
            self.fields[str(known["name"])] = str(known["value"])
        elif tag == "a":
            self.links.append(str(known["href"]))

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop()[0] != tag:
            """An element that ends by itself."""

    def handle_data(self, data: str) -> None:
        tag, known = self._in[-1] if self._in else ("", {})
        if tag == "textarea":
            name = str(known["aria-label"])
            self.texts[name] = (self.texts.get(name, "") + data).removeprefix("\n")
        if tag == "option" and "selected" in known:
            self.pool = data
        if known.get("id") == "found":
            self.said = data


async def show(place: Place, **fields: str) -> tuple[Page, Answer]:
    """Submit the page's form as a browser without scripts does."""
    answer = await place.person().get(f"/embed?{urlencode({name.strip('_'): value for name, value in fields.items()})}")
    assert answer.status == 200
    page = Page()
    page.feed(answer.text)
    return page, answer


@pytest.mark.parametrize("mode", MODES)
async def test_without_a_document_there_is_what_opens_the_landing(open_library: Any, mode: dict[str, str]) -> None:
    place: Place = await open_library(**mode)
    page, _ = await show(place)
    assert page.texts["Link"] == f"{place.url}/"
    assert page.texts["Markdown"] == f"[![Try it live]({place.url}/badge.svg)]({place.url}/)"
    assert (page.ways, page.way) == (["notebook", "lab", "live", "frame"], "notebook")
    assert (page.fields, page.pool) == ({"document": ""}, "")
    lab, _ = await show(place, as_="lab")
    assert lab.texts["Link"] == f"{place.url}/lab"


@pytest.mark.parametrize(
    ("text", "way", "link"),
    [
        ("intro.ipynb", "notebook", "/notebooks/intro.ipynb"),
        ("intro.ipynb", "lab", "/lab/tree/intro.ipynb"),
        ("intro.ipynb#cell-id=4f2a", "lab", "/lab/tree/intro.ipynb#cell-id=4f2a"),
        ("day 1/first steps.ipynb", "notebook", "/notebooks/day%201/first%20steps.ipynb"),
        ("day 1", "notebook", "/tree/day%201"),
        ("text.md", "notebook", "/notebooks/text.md"),
        ("data.csv", "notebook", "/tree/data.csv"),
        ("/lab/tree/intro.ipynb", "notebook", "/notebooks/intro.ipynb"),
        ("/lab/tree/intro.ipynb", "", "/lab/tree/intro.ipynb"),
        ("/notebooks/intro.ipynb?x=1", "lab", "/lab/tree/intro.ipynb?x=1"),
        ("/lab/intro.ipynb?x=1", "", "/lab/tree/intro.ipynb?x=1"),
        ("https://mybinder.org/v2/gh/a/b/HEAD?urlpath=doc%2Fintro.ipynb", "notebook", "/notebooks/intro.ipynb"),
        ("/edit/a.py", "notebook", "/edit/a.py"),
        ("/edit/a.py", "lab", "/lab/tree/a.py"),
        ("/files/a.pdf", "lab", "/files/a.pdf"),
        ("/terminals/1", "lab", "/terminals/1"),
        ("/lab", "notebook", "/tree"),
        ("/tree", "lab", "/lab"),
        ("/spawn/dashboard?x=1", "notebook", "/spawn/dashboard?x=1"),
        ("/?code=monday", "notebook", "/?code=monday"),
        ("https://mybinder.org/v2/gh/a/b/HEAD?urlpath=lab%2Ftree%2Fintro.ipynb", "", "/lab/tree/intro.ipynb"),
        ("https://github.com/a/b/blob/main/intro.ipynb", "notebook", "/notebooks/intro.ipynb"),
        ("[![x](https://mybinder.org/x.svg)](https://mybinder.org/v2/gh/a/b/HEAD)", "", "/"),
        ("intro.ipynb?x=1&token=t", "lab", "/lab/tree/intro.ipynb?x=1"),
    ],
)
async def test_a_text_becomes_the_link_that_opens_it(open_library: Any, text: str, way: str, link: str) -> None:
    place: Place = await open_library()
    page, _ = await show(place, document=text, as_=way)
    assert page.texts["Link"] == place.url + link
    assert link in page.links
    assert page.fields["document"] == text


async def test_each_link_opens_and_nothing_is_taken(open_library: Any) -> None:
    place: Place = await open_library()
    for document in KNOWN:
        for way in ("notebook", "lab"):
            page, _ = await show(place, document=document.path, as_=way)
            opened = await place.person().get(page.texts["Link"].removeprefix(place.url))
            assert (opened.status, document.path in html.unescape(opened.text.replace("<wbr>", ""))) == (200, True)
        for way in ("live", "frame"):
            await show(place, document=document.path, as_=way)
    for method in ("GET", "HEAD"):
        assert (await place.program().ask(method, "/embed")).status == 200
    assert (await place.person().post("/embed", Sec_Fetch_Site="same-origin")).status == 405
    assert (await place.stats())["assigned"] == 0


async def test_a_document_is_known_by_its_title(open_library: Any) -> None:
    place: Place = await open_library()
    page, _ = await show(place, document="day 1/first steps.ipynb")
    assert page.said == "First steps <with> Python"
    frame, _ = await show(place, document="day 1/first steps.ipynb", as_="frame")
    assert 'title="First steps &lt;with&gt; Python"' in frame.texts["HTML and Markdown"]
    live, _ = await show(place, document="day 1/first steps.ipynb", as_="live")
    assert '"path": "day 1"' in live.texts["HTML and Markdown"]


async def test_a_hostile_name_stays_a_name(open_library: Any) -> None:
    place: Place = await open_library(embed_origins=("*",))
    for way in ("notebook", "lab", "live", "frame"):
        page, answer = await show(place, document=HOSTILE, as_=way)
        assert page.fields["document"] == HOSTILE
        assert page.said == 'A "title" </textarea><script>'
        assert answer.text.count("<script") == answer.text.count("</script") == 2
        assert "<c>" not in answer.text
        assert all("\n" not in link and "<" not in link for link in page.links)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [document.path for document in KNOWN]),
        ("intro.ipynb", [document.path for document in KNOWN]),
        ("PLOT", ["day 1/plots.ipynb"]),
        ("python first", ["day 1/first steps.ipynb"]),
        ("drawing", ["day 1/plots.ipynb"]),
        ("intor.ipynb", ["intro.ipynb"]),
        ("zzzzzzzzzz", [document.path for document in KNOWN]),
    ],
)
async def test_the_documents_to_choose_from_are_those_that_the_text_may_mean(
    open_library: Any, text: str, found: list[str]
) -> None:
    place: Place = await open_library()
    page, answer = await show(place, document=text, as_="lab")
    assert [html.unescape(each) for each in re.findall(r'<option value="([^"]*)"', answer.text)] == found
    assert [link for link in page.links if link.startswith("/embed?")] == [
        f"/embed?document={quote(path)}&as=lab#copy" for path in found
    ]


async def test_a_document_that_is_not_there_is_said_and_linked_all_the_same(open_library: Any) -> None:
    place: Place = await open_library()
    page, answer = await show(place, document="plots.ipynb")
    assert page.said == "There is no document “plots.ipynb” in these notebooks."
    assert '<details class="choose" open>' in answer.text
    assert page.texts["Link"] == f"{place.url}/notebooks/plots.ipynb"
    before, mark, _ = answer.text.partition("Not in these notebooks.")
    assert (mark != "", "<textarea" in before) == (True, False)
    for text in ("plots", "data.csv", ".hidden/a.ipynb", "day 1", "intro.ipynb", "/lab", ""):
        page, answer = await show(place, document=text)
        assert "There is no document" not in page.said
        assert "Not in these notebooks" not in answer.text
        is_unchecked = text in ("plots", "data.csv", ".hidden/a.ipynb")
        assert ("Not checked" in page.said) is is_unchecked
        assert ('<details class="choose" open>' in answer.text) is is_unchecked


@pytest.mark.parametrize(
    ("landing", "first"),
    [(None, "intro.ipynb"), ("/lab/tree/text.md", "text.md"), ("/lab/tree/gone.md", "intro.ipynb")],
)
async def test_the_example_is_what_the_image_begins_with(open_library: Any, landing: str | None, first: str) -> None:
    place: Place = await open_library(**({} if landing is None else {"redirect_uri": landing}))
    _, answer = await show(place)
    assert f'placeholder="{first}"' in answer.text


async def test_a_text_that_is_too_long_is_not_looked_for(open_library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place: Place = await open_library()

    def looked(*_: object) -> object:
        pytest.fail("it was looked for")

    monkeypatch.setattr(DocumentIndex, "having", looked)
    monkeypatch.setattr(DocumentIndex, "near", looked)
    page, answer = await show(place, document="i n " * 1000)
    assert page.said == "This is longer than a link may be."
    assert answer.text.count("<option value=") == len(KNOWN)


async def test_where_no_documents_are_known_any_may_be_typed(place: Place) -> None:
    page, answer = await show(place, document="plots.ipynb")
    assert (page.said, page.texts["Link"]) == ("", f"{place.url}/notebooks/plots.ipynb")
    assert "to choose from" not in answer.text


@pytest.mark.parametrize("text", ["a\nb.ipynb", "../x.ipynb", "https://example.org/", "x" * 5000])
async def test_what_cannot_be_linked_to_is_told_and_nothing_is_given_to_copy(open_library: Any, text: str) -> None:
    place: Place = await open_library()
    page, _ = await show(place, document=text, as_="frame")
    assert page.said.endswith(".")
    assert page.texts == {}
    assert page.fields["document"] == text.replace("\n", "\n")
    assert page.way == "frame"


# Pools and repositories


async def test_a_pool_is_in_each_link_to_it(open_library: Any) -> None:
    place: Place = await open_library(pools=POOLS, repositories=ROWS)
    page, _ = await show(place, document="intro.ipynb", as_="lab", pool="lone")
    assert (page.pool, page.texts["Link"]) == ("lone", f"{place.url}/lab/tree/intro.ipynb?pool=lone")
    page, _ = await show(place, document="intro.ipynb#x", pool="tmppool")
    assert (page.pool, page.texts["Link"]) == ("tmppool", f"{place.url}/notebooks/intro.ipynb#x")
    page, _ = await show(place, document="", pool="r")
    assert page.texts["Link"] == f"{place.url}/?pool=r"
    page, _ = await show(place, document="/lab?pool=r", pool="lone")
    assert (page.pool, page.texts["Link"]) == ("r", f"{place.url}/lab?pool=r")
    assert (await place.person().get("/embed?pool=nothing")).status == 404
    page, _ = await show(place, document="/lab?pool=nothing")
    assert page.said == "This link names a kind of notebook that is not offered here."


async def test_a_link_of_a_repository_leads_to_its_pool_and_files(open_library: Any) -> None:
    place: Place = await open_library(pools=POOLS, repositories=ROWS)
    text = "https://github.com/O/Book/blob/dev/docs/plots.ipynb"
    page, _ = await show(place, document=text, as_="lab")
    assert (page.pool, page.said) == ("r", "Drawing")
    assert page.texts["Link"] == f"{place.url}/lab/tree/day%201/plots.ipynb?pool=r"
    assert page.texts["nbgitpuller"] == (
        f"{place.url}/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgithub.com%2FO%2FBook&branch=dev"
        "&urlpath=lab%2Ftree%2FBook%2Fdocs%2Fplots.ipynb"
    )
    live, _ = await show(place, document=text, as_="live")
    assert '"repo": "O/Book",\n    "ref": "dev"' in live.texts["HTML and Markdown"]
    assert '"path": "day 1"' in live.texts["HTML and Markdown"]


@pytest.mark.parametrize(
    ("pool", "repo", "is_example"),
    [("tmppool", "org/repo", True), ("r", "o/book", False), ("wild", None, False), ("lone", None, False)],
)
async def test_live_cells_name_a_repository_that_leads_to_the_pool(
    open_library: Any,
    pool: str,
    repo: str | None,
    is_example: bool,  # noqa: FBT001
) -> None:
    place: Place = await open_library(pools=POOLS, repositories=ROWS)
    page, answer = await show(place, document="intro.ipynb", as_="live", pool=pool)
    assert ("none leads to these notebooks" in answer.text) is (repo is None)
    assert (f'"repo": "{repo}"' in page.texts.get("HTML and Markdown", "")) is (repo is not None)
    assert ("Write your own repository in place of" in answer.text) is is_example


async def test_the_table_is_not_compared_with_itself_for_a_look(
    open_library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = await open_library(pools=POOLS, repositories=ROWS)
    monkeypatch.setattr(Repositories, "examples", lambda *_: pytest.fail("it was"))
    page, _ = await show(place, document="intro.ipynb", as_="live", pool="r")
    assert '"repo": "o/book"' in page.texts["HTML and Markdown"]


async def test_a_repository_that_is_refused_is_told(open_library: Any) -> None:
    place: Place = await open_library(pools=POOLS, repositories=ROWS, unknown_repositories="refuse")
    page, _ = await show(place, document="https://github.com/a/b")
    assert page.said == "This service has no notebooks for the repository gh/a/b."
    _, answer = await show(place, as_="live")
    assert "none leads to these notebooks" in answer.text


async def test_an_archive_is_linked_to_and_tools_are_told_another_repository(open_library: Any) -> None:
    place: Place = await open_library()
    text = "https://mybinder.org/v2/zenodo/10.5281/zenodo.1?labpath=intro.ipynb"
    page, _ = await show(place, document=text)
    assert page.texts["Link"] == f"{place.url}/notebooks/intro.ipynb"
    assert "https://github.com/org/repo" in page.texts["Jupyter Book 1"]
    assert "nbgitpuller" not in page.texts


async def test_other_applications_are_shown_as_links_and_frames(open_place: Any) -> None:
    place: Place = await open_place(fake={"is_jupyter": False})
    await place.until(warm=4)
    page, _ = await show(place, document="dashboard", as_="lab")
    assert (page.ways, page.way) == (["notebook", "frame"], "notebook")
    assert page.texts["Link"] == f"{place.url}/spawn/dashboard"


@pytest.mark.parametrize(
    ("way", "words"), [("lab", "Try it in a new tab"), ("live", "Of the document only the folder")]
)
async def test_what_is_tried_and_where_the_guides_are_is_said(open_library: Any, way: str, words: str) -> None:
    _, answer = await show(await open_library(), document="intro.ipynb", as_=way)
    assert words in answer.text
    assert ("Open the notebook itself" in answer.text) is (way == "live")
    assert "docs/authors/README.md" in answer.text


# What keeps pages from showing notebooks


@pytest.mark.parametrize("way", ["notebook", "lab", "live", "frame"])
async def test_what_the_operator_has_to_allow_is_said_where_it_matters(open_library: Any, way: str) -> None:
    place: Place = await open_library()
    _, answer = await show(place, document="intro.ipynb", as_=way)
    is_in_page = way in ("live", "frame")
    assert ("Not allowed yet." in answer.text) is ("--embed-origins" in answer.text) is is_in_page


async def test_the_origins_that_may_embed_are_named(open_library: Any) -> None:
    place: Place = await open_library(embed_origins=("https://docs.example", "https://*.x.example"))
    _, answer = await show(place, as_="frame")
    assert "Works on pages of <code>https://docs.example</code>, <code>https://*.x.example</code>." in answer.text
    assert "Not allowed yet." not in answer.text
    _, answer = await show(place, as_="lab")
    assert "docs.example" not in answer.text


async def test_where_every_page_may_embed_that_is_said(open_library: Any) -> None:
    place: Place = await open_library(embed_origins=("*",))
    _, answer = await show(place, as_="frame")
    assert "Works on pages of every site." in answer.text
    assert "--embed-origins" not in answer.text


@pytest.mark.parametrize(
    ("public_url", "is_said"), [("http://nb.example", True), ("https://nb.example", False), (None, False)]
)
async def test_a_service_without_https_says_where_its_frames_do_not_work(
    open_library: Any,
    public_url: str | None,
    is_said: bool,  # noqa: FBT001
) -> None:
    place: Place = await open_library(public_url=public_url, embed_origins=("*",))
    page, answer = await show(place, as_="frame")
    assert ("Not on pages with https." in answer.text) is is_said
    assert f'src="{public_url or place.url}/"' in page.texts["HTML and Markdown"]


@pytest.mark.parametrize(
    ("public_url", "way", "said"),
    [
        ("http://nb.example", "frame", ["Frames need https.", "Not on pages with https."]),
        ("http://nb.example", "live", ["Not on pages with https."]),
        ("http://nb.example", "lab", []),
        ("https://nb.example", "frame", []),
        (None, "frame", ["On this machine only.", "Frames need https."]),
        (None, "live", ["On this machine only."]),
        (None, "notebook", ["On this machine only."]),
    ],
)
async def test_what_the_services_address_keeps_from_working_is_said(
    open_library: Any, public_url: str | None, way: str, said: list[str]
) -> None:
    place: Place = await open_library(public_url=public_url, embed_origins=("*",))
    _, answer = await show(place, as_=way)
    assert re.findall(r'<p class="note"><strong>(.*?)</strong>', answer.text) == said


# The page itself


async def test_the_page_is_under_the_policy_of_the_others_and_in_no_frame(open_library: Any) -> None:
    place: Place = await open_library(embed_origins=("*",))
    answer = await place.person().get("/embed")
    assert (
        answer.headers["Content-Security-Policy"]
        == (await place.person().get("/hub/home")).headers["Content-Security-Policy"]
    )
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_page_is_small_however_many_documents_there_are(
    open_place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tuple(
        Document(f"chapter {n}/a rather long name of a document {n}.ipynb", "A title " * 8) for n in range(2000)
    )
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: many)
    place: Place = await open_place(pools={"r": PoolSettings(pool_size=1)})
    files = sum(
        (STATIC / name).stat().st_size for name in ("style.css", "copy.js", "embed.js", "badge.svg", "favicon.svg")
    )
    for way in ("notebook", "live"):
        _, answer = await show(place, document=many[0].path, as_=way)
        assert "These are the first 40." in answer.text
        assert len(answer.body) + files < 50_000


async def test_too_many_fields_are_none(open_library: Any) -> None:
    place: Place = await open_library()
    answer = await place.person().get("/embed?" + "&".join(f"a{n}=1" for n in range(500)) + "&document=intro.ipynb")
    assert (answer.status, 'name="document" list="documents" value=""' in answer.text) == (200, True)


async def test_where_programs_alone_start_notebooks_there_is_no_such_page(open_place: Any) -> None:
    place: Place = await open_place(api_auth_token="secret" * 6, fake={})
    program = place.program(Authorization=f"token {'secret' * 6}")
    assert (await program.get("/embed")).status == 404


async def test_owners_are_led_here_with_what_they_have_open(open_library: Any) -> None:
    place: Place = await open_library(pools=POOLS)
    person = place.person()
    key = await person.start("/lab/tree/intro.ipynb?pool=r")
    page = Page()
    page.feed((await person.get(f"/session/{key}?path=lab/tree/intro.ipynb")).text)
    (link,) = [link for link in page.links if link.startswith("/embed")]
    answer = await person.get(link)
    page = Page()
    page.feed(answer.text)
    assert page.texts["Link"] == f"{place.url}/lab/tree/intro.ipynb?pool=r"
    assert 'href="/embed"' in (await person.get("/hub/home")).text
