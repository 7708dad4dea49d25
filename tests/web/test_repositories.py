"""The table of repositories: the first row counts, and a file is where the row says."""

from urllib.parse import quote

import pytest

from tmppool.web import peer_links
from tmppool.web.repositories import Place, Repositories, Row, UnknownRepositoryError, launch_link, unmatched

TABLE = Repositories(
    [
        Row("gh/o/book", pool="r", directory="work/the book", prefix="docs/notebooks"),
        Row("gh/o/*", pool="lab"),
        Row("GL/o/r", directory="x"),
    ]
)


def place(raw: str, table: Repositories = TABLE) -> Place:
    link = peer_links.parse(raw)
    assert link is not None
    return table.place(link)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/v2/gh/o/book/main", Place("r", "tree/work/the%20book")),
        ("/v2/gh/o/book/main?urlpath=/", Place("r", "tree/work/the%20book")),
        ("/v2/gh/o/book/main?urlpath=lab", Place("r", "lab/tree/work/the%20book")),
        ("/v2/gh/o/book/main?urlpath=lab/%3Freset", Place("r", "lab/tree/work/the%20book?reset")),
        ("/v2/gh/o/book/main?urlpath=lab/workspaces/w", Place("r", "lab/workspaces/w/tree/work/the%20book")),
        ("/v2/gh/o/book/main?urlpath=/tree", Place("r", "tree/work/the%20book")),
        ("/v2/gh/o/book/main?urlpath=labs", Place("r", "labs")),
        ("/v2/gh/o/book/main?urlpath=lab/docs/notebooks/a.ipynb?x", Place("r", "lab/tree/work/the%20book/a.ipynb?x")),
        (
            "/v2/gh/o/book/main?urlpath=voila/render/docs/notebooks/a.ipynb",
            Place("r", "voila/render/work/the%20book/a.ipynb"),
        ),
        ("/v2/gh/o/book/main?urlpath=retro/notebooks/b.ipynb", Place("r", "retro/notebooks/work/the%20book/b.ipynb")),
        ("/v2/gh/o/else/main", Place("lab", "")),
        ("/v2/gh/o/else/main?urlpath=lab", Place("lab", "lab")),
        ("/v2/gh/O/Book/main?urlpath=lab/tree/docs/notebooks/a.ipynb", Place("r", "lab/tree/work/the%20book/a.ipynb")),
        ("/v2/gh/o/book/main?urlpath=lab/tree/docs/notebooks", Place("r", "lab/tree/work/the%20book")),
        ("/v2/gh/o/book/main?filepath=other/a.ipynb", Place("r", "tree/work/the%20book/other/a.ipynb")),
        ("/v2/gh/o/book/main?urlpath=rstudio", Place("r", "rstudio")),
        ("/v2/gh/o/else/main?labpath=a.ipynb", Place("lab", "doc/tree/a.ipynb")),
        ("/v2/gl/o%2Fr/main?urlpath=tree/a.ipynb%3Fx%3D1", Place(None, "tree/x/a.ipynb?x=1")),
        ("/v2/gh/p/r/main?labpath=a.ipynb", Place(None, "doc/tree/a.ipynb")),
        ("/hub/user-redirect/lab/tree/a.ipynb", Place(None, "lab/tree/a.ipynb")),
    ],
)
def test_a_link_leads_to_a_pool_and_a_file_there(raw: str, expected: Place) -> None:
    assert place(raw) == expected


@pytest.mark.parametrize("name", ["c++", "R&D", "docs (old)", "Größe, Farbe"])
@pytest.mark.parametrize("safe", ["/", "/+&(),"])
def test_a_prefix_is_found_however_a_link_escapes_it(name: str, safe: str) -> None:
    table = Repositories([Row("gh/o/r", directory="work", prefix=name)])
    assert place(f"/v2/gh/o/r/main?urlpath={quote(quote(f'tree/{name}/a.ipynb', safe=safe))}", table) == Place(
        None, "tree/work/a.ipynb"
    )


def test_content_that_is_in_no_row_is_fetched_in_the_pool_of_its_environment() -> None:
    query = "repo%3Dhttps://github.com/p/r%26urlpath%3Dlab/tree/r/a.ipynb"
    assert place(f"/v2/gh/o/else/main?urlpath=git-pull%3F{query}") == Place(
        "lab", "git-pull?repo=https://github.com/p/r&urlpath=lab/tree/r/a.ipynb"
    )


def test_content_that_is_in_a_row_is_in_the_image() -> None:
    raw = "/hub/user-redirect/git-pull?repo=https://github.com/o/book&urlpath=lab/tree/book/docs/notebooks/a.ipynb"
    assert place(raw) == Place("r", "lab/tree/work/the%20book/a.ipynb")


def test_what_is_in_no_row_is_refused_where_the_settings_say_so() -> None:
    strict = Repositories(TABLE.rows, refuses_others=True)
    with pytest.raises(UnknownRepositoryError, match="gh/p/r"):
        place("/v2/gh/p/r/main", strict)
    assert place("/v2/gh/o/x/main", strict) == Place("lab", "")
    assert place("/hub/user-redirect/lab", strict) == Place(None, "lab")  # it names no repository


TWO_PARTS = "a name of gh/ has two parts, as in gh/org/repo, and no ref"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("git/https://github.com/O/R", "links call this repository gh/o/r"),
        ("git/https://www.gitlab.com/a/b/c", "links call this repository gl/a/b/c"),
        ("git/https://git.example:443/o/r", "links call this repository git/https://git.example/o/r"),
        ("git/https://me@git.example/o/r", "links call this repository git/https://git.example/o/r"),
        ("git/https://git.example", "the link names no repository"),
        ("gh/org", "the link names no repository after gh/"),
        *((name, TWO_PARTS) for name in ("gh/org/repo/main", "gh/https://github.com/o/r", "gh/org/*/main")),
        ("gist/u/0123/master", TWO_PARTS.replace("gh/", "gist/")),
        ("git/https://github.com/*", "links call these repositories gh/…"),
        ("git/https://www.gitlab.com/group/r*", "links call these repositories gl/group/r…"),
        ("git/ssh://git.example:22/*", "links call these repositories git/https://git.example/…"),
        *((name, "") for name in ("gh/O/r", "gl/a/b/c", "gist/u/0123", "git/https://git.example:3000/O/r")),
        *((name, "") for name in ("zenodo/10.5281/zenodo.1", "gh/*", "gh/*/*", "git/*", "g*")),
        *((name, "") for name in ("git/https://git.example/*", "git/https://*/o/r", "git/*github.com/*", "gl/a/*/c")),
    ],
)
def test_a_pattern_that_no_link_can_match_is_known(pattern: str, why: str) -> None:
    assert unmatched(pattern) == why


@pytest.mark.parametrize(
    ("where", "link"),
    [
        (Place(None, ""), "/"),
        (Place("r", ""), "/?pool=r"),
        (Place("r", "lab/tree/a.ipynb?x=1"), "/lab/tree/a.ipynb?x=1&pool=r"),
        (Place(None, "rstudio"), "/spawn/rstudio"),
    ],
)
def test_the_launch_link_of_a_place(where: Place, link: str) -> None:
    assert launch_link(where) == link


@pytest.mark.parametrize(
    ("pool", "names"),
    [("r", ["gh/o/book"]), ("lab", []), (None, ["gl/o/r", "gh/org/repo"]), ("none", [])],
)
def test_a_pool_is_reached_by_the_repositories_that_are_named(pool: str | None, names: list[str]) -> None:
    assert [each.name for each in TABLE.examples(pool)] == names


def test_a_row_that_an_earlier_one_covers_reaches_nothing() -> None:
    table = Repositories([Row("gh/o/*", pool="a"), Row("gh/o/r", pool="b")], refuses_others=True)
    assert [each.name for each in table.examples("a")] == ["gh/o/r"]
    assert list(table.examples("b")) == list(table.examples(None)) == []
