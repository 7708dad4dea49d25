"""Launch links: what they open, where their form posts, on raw paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool import jupyter_urls
from tmppool.proxy import target
from tmppool.web import links

TARGETS = {
    "/": "/tree",
    "/spawn": "/tree",
    "/spawn/": "/tree",
    "/?x=1": "/tree?x=1",
    "/spawn?x=1": "/tree?x=1",
    "/?": "/tree",
    "/lab": "/lab",
    "/lab/tree/a.ipynb": "/lab/tree/a.ipynb",
    "/spawn/lab/tree/a.ipynb": "/lab/tree/a.ipynb",
    "/lab/tree/a%2Fb%20c.ipynb?x=%26&y": "/lab/tree/a%2Fb%20c.ipynb?x=%26&y",
    "/git-pull?repo=https%3A%2F%2Fx%2Fy&urlpath=lab/tree/z": "/git-pull?repo=https%3A%2F%2Fx%2Fy&urlpath=lab/tree/z",
    "/tree?next=http://x/?y": "/tree?next=http://x/?y",
    "/spawn/spawn/x": "/spawn/x",
    "/spawning": "/spawning",
    "/tree?pool=r": "/tree",
    "/tree?pool=": "/tree",
    "/tree?pool=r&x=1": "/tree?x=1",
    "/tree?x=1&pool=r": "/tree?x=1",
    "/tree?x=1&pool=r&y=2": "/tree?x=1&y=2",
    "/tree?xpool=r": "/tree?xpool=r",
    "/tree?pool": "/tree?pool",
    "/tree/pool=r": "/tree/pool=r",
}


@pytest.mark.parametrize(("raw", "target"), TARGETS.items(), ids=TARGETS.keys())
def test_where_a_link_leads_below_the_notebook(raw: str, target: str) -> None:
    assert links.target_of(raw, "/tree") == target


@pytest.mark.parametrize(
    ("path", "opened"),
    [
        ("/lab/a%20b.ipynb?x=1", "/lab/tree/a%20b.ipynb?x=1"),
        ("/doc/d/a.md", "/doc/tree/d/a.md"),
        ("/nbclassic/tree.ipynb", "/nbclassic/tree/tree.ipynb"),
        *((path, path) for path in ("/lab", "/lab/tree/a.ipynb", "/lab/workspaces/w/tree/a.ipynb", "/lab/a.csv")),
        *((path, path) for path in ("/nbclassic/notebooks/a.ipynb", "/notebooks/a.ipynb", "/lab?a.ipynb", "/x/a.md")),
    ],
)
def test_a_document_behind_an_application_alone_gets_the_page_that_opens_it(path: str, opened: str) -> None:
    assert links.with_tree(path) == opened


def test_a_landing_with_a_query_is_joined_by_the_links_own() -> None:
    assert links.target_of("/?x=1", "/lab?reset") == "/lab?reset&x=1"
    assert links.target_of("/", "/lab?reset") == "/lab?reset"


@pytest.mark.parametrize(
    ("landing", "in_an_app"),
    [
        (links.Landing("/tree"), "/"),
        (links.Landing("/notebooks/welcome.ipynb"), "/"),
        (links.Landing("/lab?reset"), "/"),
        (links.Landing("/lab/tree/a.ipynb?reset"), "/"),
        (links.Landing("/"), "/"),
        (links.Landing("/bk?x=1"), "/bk?x=1"),
        (links.Landing("/static/index.html"), "/static/index.html"),
        (links.Landing("/tree", is_chosen=True), "/tree"),
    ],
)
def test_a_landing_of_jupyters_is_none_for_another_web_application(landing: links.Landing, in_an_app: str) -> None:
    assert landing.in_a(is_jupyter=True) == landing.path
    assert landing.in_a(is_jupyter=False) == in_an_app


@pytest.mark.parametrize(
    "raw", ["/spawn//evil.example/x", "//evil.example", "/spawn/\\evil.example", "/spawn/http://evil.example"]
)
def test_no_link_leads_away_from_the_notebook(raw: str) -> None:
    location = "/user/key/" + links.target_of(raw, "/tree").lstrip("/")
    assert location.startswith("/user/key/")
    assert not location.startswith("//")


POOLS = {
    "/": None,
    "/?x=pool": None,
    "/?pool=r": "r",
    "/?pool=r&pool=s": "r",
    "/?x=1&pool=r%2Ds": "r-s",
    "/?pool=": "",
    "/?x=1&amp;pool=r": "r",
    "/?xpool=r": None,
    "/?xamp;pool=r": None,
    "/tree/pool=r": None,
    "/?pool=%zz%ff": "%zz\ufffd",
}


@pytest.mark.parametrize(("raw", "pool"), POOLS.items(), ids=POOLS.keys())
def test_which_pool_a_link_names(raw: str, pool: str | None) -> None:
    assert links.pool_of(raw) == pool


ACTIONS = {
    "/": "/spawn",
    "/?x=1": "/spawn?x=1",
    "/lab/tree/a%20b.ipynb?x=1": "/spawn/lab/tree/a%20b.ipynb?x=1",
    "/spawn": "/spawn",
    "/spawn/": "/spawn/",
    "/spawn?x": "/spawn?x",
    "/spawn/lab": "/spawn/lab",
    "/spawning": "/spawn/spawning",
}


@pytest.mark.parametrize(("raw", "action"), ACTIONS.items(), ids=ACTIONS.keys())
def test_where_the_form_of_a_link_posts(raw: str, action: str) -> None:
    assert links.action_of(raw) == action


raws = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40).map(lambda text: "/" + text)


@given(raws | st.text(max_size=40))
def test_no_link_makes_a_failure(raw: str) -> None:
    links.pool_of(raw)
    jupyter_urls.document_of(links.target_of(raw, "/tree"))
    links.action_of(raw)


@given(raws)
def test_the_form_leads_where_the_link_did(raw: str) -> None:
    assert links.target_of(links.action_of(raw), "/tree") == links.target_of(raw, "/tree")
    assert links.pool_of(links.action_of(raw)) == links.pool_of(raw)
    assert links.action_of(raw).startswith("/spawn")


@pytest.mark.parametrize(
    ("raw", "code", "without"),
    [
        ("/", "", "/"),
        ("/?", "", "/"),
        ("/?code=monday", "monday", "/"),
        ("/lab?x=1&code=a%20b+c&y=%2F&&z", "a b c", "/lab?x=1&y=%2F&&z"),
        ("/lab?x=1&amp;code=a&amp;y", "a", "/lab?x=1&amp;y"),
        ("/lab?code=", "", "/lab"),
        ("/lab?code=a&x&code=b", "a", "/lab?x"),
        ("/lab?code=a&code=b", "a", "/lab"),
        ("/lab?barcode=1&codes=2&Code=3", "", "/lab?barcode=1&codes=2&Code=3"),
        ("/code=1?code", "", "/code=1?code"),
        ("/lab?x?code=1", "", "/lab?x?code=1"),
        ("/lab?code=%ff", "\ufffd", "/lab"),
    ],
)
def test_the_workshop_code_of_a_link(raw: str, code: str, without: str) -> None:
    assert links.code_of(raw) == code
    assert links.without_code(raw) == without


@pytest.mark.parametrize(
    ("path", "pool", "link"),
    [
        ("lab/tree/a.ipynb", None, "/lab/tree/a.ipynb"),
        ("tree", None, "/tree"),
        ("notebooks/a%20b.ipynb", "r", "/notebooks/a%20b.ipynb?pool=r"),
        ("api/kernels", None, "/"),
        ("", "r", "/?pool=r"),
        ("/evil.example/lab", None, "/"),
        ("labyrinth", None, "/"),
        ("lab/workspaces/auto-1/tree/a.ipynb?reset", None, "/lab/tree/a.ipynb?reset"),
    ],
)
def test_what_a_fresh_start_opens(path: str, pool: str | None, link: str) -> None:
    assert links.fresh(path, pool) == link


@given(
    st.text("ab/%&=?", max_size=30).map(lambda text: f"lab/{text}") | st.integers(0, 9000).map("x".__mul__),
    st.booleans(),
)
def test_a_link_to_claim_or_to_enter_leads_where_it_was_made_for_or_to_the_notebook(path: str, is_claim: bool) -> None:  # noqa: FBT001
    link = links.to_claim("k" * 22, path, "t" * 43) if is_claim else links.to_enter("k" * 22, "t" * 100, path)
    assert len(link) <= target.MAX_TARGET
    assert links.names_path(link)
    is_kept = len(path) < 7000 and target.is_accepted(f"/{path}".encode())
    assert links.claimed_path(link) == (path if is_kept else "") or 7000 <= len(path) < 8000
