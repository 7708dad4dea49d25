"""What page authors copy says the same in every language, whatever a document is called."""

import ast
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
import yaml
from docutils import nodes
from docutils.core import publish_doctree
from markdown_it import MarkdownIt

from tmppool.web import pasted, peer_links, snippets
from tmppool.web.peer_links import Repository
from tmppool.web.snippets import LABEL, Snippet, Subject, Way

ORIGIN = "https://nb.example"
BADGE = f"{ORIGIN}/badge.svg"
REPOSITORY = Repository("gh/o/r", "dev")
NAMES = (
    "intro.ipynb",
    "a \"b\" <c> & 'd' [e](f) `g`.ipynb",
    "ünïcode 日本 😀.ipynb",
    "a#b?c=d&copy;e=f.ipynb",
    "100%.ipynb",
    "%2e%2e.ipynb",
    "back\\slash\\.ipynb",
    "</script><!-- --><script>.ipynb",
    "{{ x }} {% y %} ${z} {=html} `r 6 * 7` `{python} 1`.ipynb",
    "*a* _b_ ~c~ |d| ^e^ $f$ @g :h: ::: ```.ipynb",
    ": - # 'yaml' \"\"\" ''' .ipynb",
    "ends with_",
    " - ",
)


def subject(name: str = "intro.ipynb", **more: Any) -> Subject:
    link = f"{ORIGIN}/notebooks/{pasted.read(name, [name]).path}?pool=r#cell-id=1"
    return Subject(**{"origin": ORIGIN, "link": link, "title": name, "directory": name, **more})


def made(way: Way, **more: Any) -> dict[str, Snippet]:
    found = snippets.make(way, subject(**{"repository": REPOSITORY, "file": "docs/a%20b.ipynb", **more}))
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def text_of(tool: str, way: Way, **more: Any) -> str:
    return made(way, **more)[tool].text


class Elements(HTMLParser):
    """The elements of a text with their attributes, and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag = self.found[-1][0] if self.found else ""
        self.inside[tag] = self.inside.get(tag, "") + data


def is_link_to(name: str, link: str | None) -> bool:
    found = urlsplit(link or "")
    return (found.scheme, found.netloc, unquote(found.path), found.query, found.fragment) == (
        "https",
        "nb.example",
        f"/notebooks/{name}",
        "pool=r",
        "cell-id=1",
    )


# Links


@pytest.mark.parametrize("name", NAMES)
def test_html_shows_the_badge_as_a_link(name: str) -> None:
    (anchor, link), (image, picture) = Elements(text_of("HTML", Way.NOTEBOOK, name=name)).found
    assert (anchor, image, set(link)) == ("a", "img", {"href"})
    assert is_link_to(name, link["href"])
    assert picture == {"src": BADGE, "alt": LABEL, "width": "100", "height": "20"}


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_the_badge_as_a_link(name: str) -> None:
    paragraph, inline, _ = MarkdownIt("commonmark").parse(text_of("Markdown", Way.NOTEBOOK, name=name))
    assert paragraph.type == "paragraph_open"
    assert inline.children is not None
    link, image, _ = inline.children
    assert (link.type, image.type) == ("link_open", "image")
    assert is_link_to(name, str(link.attrs["href"]))
    assert (image.attrs["src"], image.content) == (BADGE, LABEL)


@pytest.mark.parametrize("name", NAMES)
def test_restructuredtext_shows_the_badge_as_a_link(name: str) -> None:
    (link,) = restructured(text_of("reStructuredText", Way.NOTEBOOK, name=name)).children
    assert isinstance(link, nodes.reference)
    assert is_link_to(name, link["refuri"])
    (image,) = link.children
    assert (image["uri"], image["alt"]) == (BADGE, LABEL)


def restructured(text: str) -> nodes.document:
    return publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 1})


@pytest.mark.parametrize("name", NAMES)
def test_myst_and_quarto_are_told_of_the_link_in_front_matter(name: str) -> None:
    assert is_link_to(name, front_matter(text_of("MyST", Way.NOTEBOOK, name=name))["binder"])
    (link,) = front_matter(text_of("Quarto", Way.NOTEBOOK, name=name))["code-links"]
    assert (is_link_to(name, link.pop("href")), link) == (True, {"text": LABEL, "icon": "play-circle"})


def front_matter(text: str) -> Any:
    found = re.fullmatch(r"---\n(.*)\n---", text, re.DOTALL)
    assert found is not None
    return yaml.safe_load(found[1])


# Frames


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_is_one_element_in_each_language(name: str) -> None:
    found = made(Way.FRAME, name=name)
    element = found["HTML and Markdown"].text
    ((tag, attributes),) = Elements(element).found
    assert (tag, attributes["title"], is_link_to(name, attributes["src"])) == ("iframe", name, True)
    assert attributes["allow"] == "clipboard-write; local-network-access"
    assert not re.search("[{`]", element)  # which templates, knitr and Quarto run wherever it stands
    (block,) = MarkdownIt("commonmark").parse(element)
    assert (block.type, block.content) == ("html_block", element)
    (raw,) = restructured(found["reStructuredText"].text).children
    assert isinstance(raw, nodes.raw)
    assert (raw["format"], raw.astext()) == ("html", element)
    (fence,) = MarkdownIt("commonmark").parse(found["Quarto"].text)
    assert (fence.type, fence.info, fence.content) == ("fence", "{=html}", f"{element}\n")
    directive = re.fullmatch(r":::\{iframe\} (\S+)\n:width: 100%\n:::", found["MyST"].text)
    assert directive is not None
    assert is_link_to(name, directive[1])


def test_a_frame_may_be_as_large_as_a_site_allows() -> None:
    ((_, attributes),) = Elements(snippets.frame("/a", "A", 500, 300)).found
    assert (attributes["width"], attributes["height"]) == ("500", "300")


# Live cells


@pytest.mark.parametrize("name", NAMES)
def test_thebe_is_told_of_the_service_and_the_directory(name: str) -> None:
    text = text_of("HTML and Markdown", Way.LIVE, name=name)
    elements = Elements(text)
    assert [tag for tag, _ in elements.found] == ["script", "link", "script", "script", "div", "div", "pre"]
    settings, _, thebe, script, activate, status, cell = (attributes for _, attributes in elements.found)
    assert settings == {"type": "text/x-thebe-config"}
    assert json.loads(elements.inside["script"]) == {
        "binderOptions": {"binderUrl": ORIGIN, "repo": "o/r", "ref": "dev"},
        "kernelOptions": {"kernelName": "python3", "path": name},
    }
    assert not re.search(r"\{[^\n]|`", text)  # which templates, knitr and Quarto run in a script too
    sources = ("https://unpkg.com/thebe@0.9.3/lib/index.js", f"{ORIGIN}/live-cells.js")
    assert (thebe["src"], script["src"]) == sources
    assert (activate["class"], status["class"]) == ("thebe-activate", "thebe-status")
    assert "data-executable" in cell
    assert {token.type for token in MarkdownIt("commonmark").parse(text)} == {"html_block"}
    (fence,) = MarkdownIt("commonmark").parse(text_of("Quarto", Way.LIVE, name=name))
    assert (fence.info, fence.content) == ("{=html}", f"{text}\n")


def test_live_cells_of_documents_in_the_home_itself_run_there() -> None:
    found = json.loads(Elements(text_of("HTML and Markdown", Way.LIVE, directory="")).inside["script"])
    assert found["kernelOptions"] == {"kernelName": "python3"}


@pytest.mark.parametrize(
    ("repository", "thebe", "myst", "url"),
    [
        (Repository("gh/o/r"), {"repo": "o/r", "ref": "HEAD"}, {"repo": "o/r"}, "https://github.com/o/r"),
        (REPOSITORY, {"repo": "o/r", "ref": "dev"}, {"repo": "o/r", "ref": "dev"}, "https://github.com/o/r"),
        (
            Repository("gl/a/b/c", "v1"),
            {"repo": "a/b/c", "ref": "v1", "repoProvider": "gitlab"},
            {"repo": "a/b/c", "ref": "v1", "provider": "gitlab"},
            "https://gitlab.com/a/b/c",
        ),
        (
            Repository("git/https://git.example/x"),
            {"repo": "https://git.example/x", "ref": "HEAD", "repoProvider": "git"},
            {"repo": "https://git.example/x", "provider": "git"},
            "https://git.example/x",
        ),
    ],
)
def test_a_repository_is_named_in_the_words_of_each_tool(
    repository: Repository, thebe: dict[str, str], myst: dict[str, str], url: str
) -> None:
    found = made(Way.LIVE, repository=repository)
    settings = json.loads(Elements(found["HTML and Markdown"].text).inside["script"])
    assert settings["binderOptions"] == {"binderUrl": ORIGIN, **thebe}
    project = yaml.safe_load(found["MyST"].text)["project"]
    assert project == {"jupyter": {"binder": {"url": f"{ORIGIN}/", **myst}}}
    assert yaml.safe_load(found["Jupyter Book 1"].text)["repository"]["url"] == url
    assert conf(found["sphinx-book-theme"].text)["html_theme_options"]["repository_url"] == url
    assert ("sphinx-thebe" in found) is repository.name.startswith("gh/")
    assert snippets.is_usable(repository)


@pytest.mark.parametrize("name", ["gist/u/1", "zenodo/10.5281/zenodo.1"])
def test_an_archive_is_no_repository_for_tools(name: str) -> None:
    assert not snippets.is_usable(Repository(name))


# Tools


def conf(text: str) -> dict[str, Any]:
    """The settings in a conf.py, which are all constants."""
    return {
        target.id: ast.literal_eval(each.value)
        for each in ast.parse(text).body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }


OWN_HUB = {"binderOptions": {"binderUrl": ORIGIN}}


def test_sphinx_thebe_is_told_of_another_hub_beside_its_settings() -> None:
    found = conf(text_of("sphinx-thebe", Way.LIVE))
    assert found["thebe_config"] == {"repository_url": "https://github.com/o/r", "repository_branch": "dev"}
    assert found["extensions"] == ["sphinx_thebe"]
    (name, attributes), *scripts = found["html_js_files"]
    assert (name, attributes["type"], json.loads(attributes["body"])) == (None, "text/x-thebe-config", OWN_HUB)
    files = ("https://unpkg.com/thebe@0.9.3/lib/index.js", f"{ORIGIN}/live-cells.js")
    assert scripts == [(file, {"defer": "defer"}) for file in files]


@pytest.mark.parametrize(
    ("way", "more"),
    [
        (Way.NOTEBOOK, {"notebook_interface": "classic"}),
        (Way.LAB, {"notebook_interface": "jupyterlab"}),
        (Way.LIVE, {"thebe": True}),
    ],
)
def test_a_book_gets_a_button_on_its_pages(way: Way, more: dict[str, Any]) -> None:
    theme = conf(text_of("sphinx-book-theme", way))
    assert theme["html_theme"] == "sphinx_book_theme"
    assert theme["html_theme_options"]["launch_buttons"] == {"binderhub_url": ORIGIN, **more}
    assert theme["html_theme_options"]["repository_branch"] == "dev"
    assert ("html_js_files" in theme) is ("extensions" in theme) is (way is Way.LIVE)
    book = yaml.safe_load(text_of("Jupyter Book 1", way))
    assert book["launch_buttons"] == {"binderhub_url": ORIGIN, **more}
    assert book["repository"] == {"url": "https://github.com/o/r", "branch": "dev"}
    footer = book["html"]["extra_footer"].splitlines() if way is Way.LIVE else [""]
    assert json.loads(Elements(footer[0]).inside.get("script", "null")) == (OWN_HUB if way is Way.LIVE else None)


@pytest.mark.parametrize(("way", "is_lab"), [(Way.NOTEBOOK, False), (Way.LAB, True)])
def test_a_gallery_gets_a_button_on_its_examples(way: Way, is_lab: bool) -> None:  # noqa: FBT001
    assert conf(text_of("sphinx-gallery", way))["sphinx_gallery_conf"]["binder"] == {
        "binderhub_url": ORIGIN,
        "org": "o",
        "repo": "r",
        "branch": "dev",
        "notebooks_dir": "notebooks",
        "dependencies": "requirements.txt",
        "use_jupyter_lab": is_lab,
    }


@pytest.mark.parametrize(("way", "page"), [(Way.NOTEBOOK, "tree"), (Way.LAB, "lab/tree")])
def test_a_link_of_nbgitpullers_names_repository_and_file(way: Way, page: str) -> None:
    found = urlsplit(text_of("nbgitpuller", way))
    assert (found.netloc, found.path) == ("nb.example", "/hub/user-redirect/git-pull")
    assert parse_qs(found.query) == {
        "repo": ["https://github.com/o/r"],
        "branch": ["dev"],
        "urlpath": [f"{page}/r/docs/a%20b.ipynb#cell-id=1"],
    }
    assert "nbgitpuller" not in made(way, file="")


@pytest.mark.parametrize("name", NAMES)
def test_a_link_of_nbgitpullers_opens_that_file_here(name: str) -> None:
    link = urlsplit(text_of("nbgitpuller", Way.LAB, name=name, file=quote(name)))
    found = peer_links.parse(f"{link.path}?{link.query}")
    assert found is not None
    assert (unquote(found.path), found.fragment) == (f"lab/tree/{name}", "#cell-id=1")
    assert "?" not in found.path


def test_without_a_repository_there_are_links_and_frames_but_no_settings() -> None:
    for way in (Way.NOTEBOOK, Way.LAB, Way.FRAME):
        found = made(way, repository=None)
        assert len(found) > 3
        assert not any(each.is_for_site for each in found.values())
    assert made(Way.LIVE, repository=None) == {}


@pytest.mark.parametrize("way", Way)
def test_each_snippet_says_where_it_goes(way: Way) -> None:
    for each in made(way).values():
        assert each.name
        assert each.place
        assert not each.place.endswith(".")
        assert each.text == each.text.strip()
