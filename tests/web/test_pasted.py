"""Whatever a page author types or pastes names one path in a notebook, or a sentence says why it does not."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tmppool.proxy import target
from tmppool.web import pasted
from tmppool.web.pasted import Pasted, PastedError
from tmppool.web.peer_links import PeerLink, Repository

OWN = "nb.example:8000"
KNOWN = ("intro.ipynb", "day 1/first steps.ipynb", "notebooks/a.ipynb", "c#.ipynb", "100%25.ipynb", " x.ipynb")


def read(text: str) -> Pasted:
    return pasted.read(text, KNOWN, OWN)


@pytest.mark.parametrize(
    ("text", "path", "fragment"),
    [
        ("intro.ipynb", "intro.ipynb", ""),
        ("  intro.ipynb ", "intro.ipynb", ""),
        ("/intro.ipynb", "intro.ipynb", ""),
        ("day 1//first steps.ipynb", "day%201/first%20steps.ipynb", ""),
        ("day%201/first%20steps.ipynb", "day%201/first%20steps.ipynb", ""),
        ("day 1/", "day%201", ""),
        ("new.ipynb", "new.ipynb", ""),
        ("new%20.ipynb", "new%2520.ipynb", ""),
        ("notebooks/a.ipynb", "notebooks/a.ipynb", ""),
        (" x.ipynb", "%20x.ipynb", ""),
        ("100%25.ipynb", "100%2525.ipynb", ""),
        ("c#.ipynb", "c%23.ipynb", ""),
        ("intro.ipynb#cell-id=4f2a", "intro.ipynb", "cell-id=4f2a"),
        ("intro.ipynb#Last Section (2)", "intro.ipynb", "Last%20Section%20%282%29"),
        ("c#.ipynb#x", "c%23.ipynb", "x"),
        ("a#b.csv", "a%23b.csv", ""),
        ("data.csv?x", "data.csv%3Fx", ""),
        ("ünï `c`.ipynb", "%C3%BCn%C3%AF%20%60c%60.ipynb", ""),
        ("a\\b.ipynb", "a%5Cb.ipynb", ""),
        ("/home/user/jo/x.ipynb", "home/user/jo/x.ipynb", ""),
        ("github.computer/x.ipynb", "github.computer/x.ipynb", ""),
    ],
)
def test_a_path_names_a_file_in_the_home(text: str, path: str, fragment: str) -> None:
    assert read(text) == Pasted(path, fragment, is_name=True)


@pytest.mark.parametrize("text", ["", " ", "/", f"http://{OWN}/", f"http://{OWN}", f"http://{OWN}/spawn"])
def test_nothing_is_the_landing(text: str) -> None:
    assert read(text) == Pasted()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/lab/tree/a%20b.ipynb", Pasted("lab/tree/a%20b.ipynb")),
        ("/lab/tree/a b.ipynb#Part-2", Pasted("lab/tree/a%20b.ipynb", "Part-2")),
        ("lab/tree/intro.ipynb", Pasted("lab/tree/intro.ipynb")),
        ("notebooks/day 1/first steps.ipynb#x", Pasted("notebooks/day%201/first%20steps.ipynb", "x")),
        (f"http://{OWN}/notebooks/a.ipynb?pool=r&x=1", Pasted("notebooks/a.ipynb?x=1", pool="r")),
        (f"http://{OWN}/?pool=r&code=monday", Pasted("?code=monday", pool="r")),
        (f"http://{OWN}/spawn/dashboard/?x=1", Pasted("dashboard/?x=1")),
        (f"http://{OWN}/user/KEY/lab/tree/a.ipynb?token=SECRET#b", Pasted("lab/tree/a.ipynb", "b")),
        (f"http://{OWN}/user/KEY/lab/workspaces/auto-x/tree/a.ipynb", Pasted("lab/tree/a.ipynb")),
        (f"http://{OWN}/user/KEY/proxy/8080/", Pasted("proxy/8080/")),
        (f"http://{OWN}/user/KEY", Pasted()),
        ("http://localhost:8888/lab/tree/a.ipynb?token=SECRET", Pasted("lab/tree/a.ipynb")),
        ("https://hub.example/user/jo/notebooks/a.ipynb", Pasted("notebooks/a.ipynb")),
        ("https://hub.example/base/user/jo@x.example/tree/a", Pasted("tree/a")),
        ("https://other.example/lab/tree/a(1).ipynb", Pasted("lab/tree/a%281%29.ipynb")),
    ],
)
def test_a_link_to_a_page_of_jupyters_names_it(text: str, expected: Pasted) -> None:
    assert read(text) == expected


BOOK = Repository("gh/o/book", "main")


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("https://github.com/o/book/blob/main/docs/a%20b.ipynb", PeerLink(BOOK, "tree/docs/a%20b.ipynb")),
        ("github.com/O/Book/blob/main/docs/a.ipynb", PeerLink(BOOK, "tree/docs/a.ipynb")),
        ("https://github.com/o/book/tree/main/docs", PeerLink(BOOK, "tree/docs")),
        ("https://www.github.com/o/book/tree/main", PeerLink(BOOK)),
        ("https://github.com/o/book", PeerLink(Repository("gh/o/book"))),
        ("https://github.com/o/book.git", PeerLink(Repository("gh/o/book"))),
        ("https://github.com/o/book/issues/7", PeerLink(Repository("gh/o/book"))),
        ("https://raw.githubusercontent.com/o/book/main/a.ipynb", PeerLink(BOOK, "tree/a.ipynb")),
        ("https://raw.githubusercontent.com/o/book/refs/heads/main/a.ipynb", PeerLink(BOOK, "tree/a.ipynb")),
        ("https://gist.github.com/jo/0123abcd", PeerLink(Repository("gist/jo/0123abcd"))),
        ("https://gitlab.com/a/b/c/-/blob/v1/x/y.ipynb", PeerLink(Repository("gl/a/b/c", "v1"), "tree/x/y.ipynb")),
        ("https://gitlab.com/a/b", PeerLink(Repository("gl/a/b"))),
        ("https://gitlab.com/a/b/-/issues", PeerLink(Repository("gl/a/b"))),
        ("https://nbviewer.org/github/o/book/blob/main/a.ipynb", PeerLink(BOOK, "tree/a.ipynb")),
        ("https://colab.research.google.com/github/o/book/blob/main/a.ipynb", PeerLink(BOOK, "tree/a.ipynb")),
        ("https://mybinder.org/v2/gh/o/book/main?labpath=a.ipynb", PeerLink(BOOK, "doc/tree/a.ipynb")),
        ("mybinder.org/v2/gh/o/book/main", PeerLink(BOOK)),
        (
            "https://mybinder.org/v2/git/https://git.example/o/r/main",
            PeerLink(Repository("git/https://git.example/o/r", "main")),
        ),
        ("https://hub.example/services/binder/v2/gh/o/book/main", PeerLink(BOOK)),
        ("https://hub.example/services/binder/repo/o/book", PeerLink(Repository("gh/o/book"))),
        ("/v2/gh/o/book/main?urlpath=lab%2Ftree%2Fa.ipynb", PeerLink(BOOK, "lab/tree/a.ipynb")),
        ("https://hub.example/hub/user-redirect/lab/tree/a.ipynb", PeerLink(None, "lab/tree/a.ipynb")),
        ("https://hub.example/hub/lti/launch?next=%2Flab%2Ftree%2Fa.ipynb", PeerLink(None, "lab/tree/a.ipynb")),
        ("https://hub.example/hub/spawn", PeerLink(None)),
    ],
)
def test_a_link_of_another_service_names_a_repository(text: str, peer: PeerLink) -> None:
    assert read(text) == Pasted(peer=peer)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("https://mybinder.org/v2/gh/o/book/main?urlpath=lab%2Ftree%2Fa.ipynb%23Section", "Section"),
        ("/v2/gh/o/book/main?urlpath=lab%2Ftree%2Fa.ipynb%23Section", "Section"),
        ("https://hub.example/hub/spawn?next=%2Flab%2Ftree%2Fa.ipynb%23Section", "Section"),
        ("https://mybinder.org/v2/gh/o/book/main?urlpath=lab%2Ftree%2Fa.ipynb%23(1)#Other", "%281%29"),
        ("https://mybinder.org/v2/gh/o/book/main?urlpath=lab%2Ftree%2Fa.ipynb#Other", "Other"),
    ],
)
def test_a_fragment_may_be_in_the_path_that_a_link_names(text: str, fragment: str) -> None:
    assert read(text).fragment == fragment


def test_a_link_of_nbgitpullers_names_its_content() -> None:
    found = read(
        "https://hub.example/hub/user-redirect/git-pull?repo=https://github.com/o/book&urlpath=tree/book/a.ipynb"
    )
    assert found.peer is not None
    assert (found.peer.content, found.peer.path) == (Repository("gh/o/book"), "tree/a.ipynb")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb.ipynb", "line break"),
        ("a.ipynb\n", "line break"),
        ("a\rb.ipynb", "line break"),
        ("a\u2028b.ipynb", "line break"),
        ("a\x00b.ipynb", "control character"),
        ("a\tb.ipynb", "control character"),
        ("a\x7fb.ipynb", "control character"),
        ("a\ufffeb.ipynb", "control character"),
        ("/notebooks/a%0Ab.ipynb", "line break"),
        ("a%0Ab.ipynb?pool=r", "line break"),
        (f"http://{OWN}/lab/tree/a%E2%80%A8b.ipynb", "line break"),
        ("https://mybinder.org/v2/gh/o/r/main?labpath=a%250Ab.ipynb", "line break"),
        ("a" * 2001, "longer than a link may be"),
        ("é" * 2000, "longer than a link may be"),
        ("../x.ipynb", "leads out"),
        ("a/../../x.ipynb", "leads out"),
        ("/lab/tree/../x", "leads out"),
        (f"http://{OWN}/lab/tree/%2e%2e/x", "leads out"),
        ("https://github.com/o/r/blob/main/../../x", "leads out"),
        ("https://example.org/", "none of the forms"),
        ("https://example.org/course/page.html", "none of the forms"),
        ("https://example.org/user/jo/dashboard", "none of the forms"),
        ("https://[::1/lab", "cannot be read"),
        ("https://mybinder.org/v2/bb/o/r/main", "no provider of repositories"),
        ("https://mybinder.org/v2/gh/o", "names no repository"),
        ("https://mybinder.org/v2/gh/o/r/main?filepath=../../x", "leads out"),
    ],
)
def test_what_cannot_be_linked_to_is_told_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(PastedError) as refused:
        read(text)
    said = str(refused.value)
    assert words in said
    assert re.fullmatch(r"[A-Z'].*\.", said)


BINDER = "https://mybinder.org/v2/gh/org/repo/main?labpath=docs%2Fintro.ipynb"
PICTURE = "https://mybinder.org/badge_logo.svg"


@pytest.mark.parametrize(
    "text",
    [
        f"[![Binder]({PICTURE})]({BINDER})",
        f'[![Binder]({PICTURE} "Binder")]( <{BINDER}> "Binder") ',
        f"see [the notebook]({BINDER}).",
        f'<a href="{BINDER}"><img src="{PICTURE}"></a>',
        f"<a target=_blank href={BINDER}>try</a>",
        f"<iframe src='{BINDER.replace('?', '?x=1&amp;')}'></iframe>",
        f".. image:: {PICTURE}\n   :target: {BINDER}\n   :alt: Binder",
        f".. image:: {PICTURE} :target: {BINDER}",  # as a field of one line takes it
        f"`try <{BINDER}>`_",
        f"<{BINDER}>",
        f'<script src="https://unpkg.com/thebe@0.9.3/lib/index.js"></script><a href="{BINDER}">try</a>',
        f'<a href="{BINDER}">try</a><script src="https://unpkg.com/thebe@0.9.3/lib/index.js"></script>',
    ],
)
def test_a_link_is_found_in_the_markup_of_a_page(text: str) -> None:
    assert read(text) == Pasted(peer=PeerLink(Repository("gh/org/repo", "main"), "doc/tree/docs/intro.ipynb"))


def test_markup_without_a_link_that_is_known_says_so() -> None:
    with pytest.raises(PastedError, match="none of the forms"):
        read("[a](https://example.org/) and [b](https://example.com/)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x](intro.ipynb)", Pasted("intro.ipynb", is_name=True)),
        ("./intro.ipynb", Pasted("intro.ipynb", is_name=True)),
        ("intro.ipynb?pool=r", Pasted("intro.ipynb", pool="r", is_name=True)),
        ("day 1/new.ipynb?x=1&pool=r#Part", Pasted("day%201/new.ipynb?x=1", "Part", pool="r", is_name=True)),
        ("lab/tree/new.ipynb?pool=r", Pasted("lab/tree/new.ipynb", pool="r")),
        (f"{OWN}/notebooks/intro.ipynb", Pasted("notebooks/intro.ipynb")),
        (f"{OWN.upper()}/v2/gh/o/r", Pasted(peer=PeerLink(Repository("gh/o/r")))),
    ],
)
def test_the_end_of_a_link_is_enough(text: str, expected: Pasted) -> None:
    assert read(text) == expected


TAME = re.compile(r"[A-Za-z0-9_.~/?&=:+,%-]*")
PARTS = st.sampled_from(
    ["/", "//", "..", "%2e", "%2F", "%", "?", "#", "&", "lab", "tree", "user", "v2", "gh", "hub", "user-redirect", "spawn",
     "github", "https://", "http://", OWN, "github.com", "gitlab.com", "-", "blob", "a.ipynb", "é", " ", "\\", "'", '"', ")",
     "<", "git-pull", "repo=", "urlpath=", "intro.ipynb", "day 1", ":", "@", "[", "]", "token=x", "pool=r", "\n", "😀"]
)  # fmt: skip


@given(
    st.one_of(
        st.text(max_size=60), st.lists(PARTS, max_size=12).map("".join), st.lists(PARTS, max_size=8).map("/".join)
    )
)
@example("https://github.com/a/b/blob/main/%")
@example("/user/x/%zz")
def test_whatever_is_pasted_gives_a_tame_path_that_the_proxy_takes_or_a_sentence(text: str) -> None:
    try:
        found = read(text)
    except PastedError:
        return
    for part in (found.path, found.fragment):
        assert TAME.fullmatch(part)
    assert target.is_accepted(f"/{found.path}".encode())
    assert "token=" not in unquote(found.path.partition("?")[2]).split("&")
    if found.is_name and text in KNOWN:
        assert unquote(found.path) == text
