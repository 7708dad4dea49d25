"""Who may use a notebook: by cookie, by Authorization, by the query, and nobody else."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notebooks import notebook_of
from tmppool.notebook import Notebook
from tmppool.web import tokens
from tmppool.web.authorization import bearer_token
from tmppool.web.own_cookies import notebook_name
from tmppool.web.tokens import Access, Role

KEY = "k" * 22


def notebook(
    key: str = KEY, token: str = "jupyters", secret: str = "known outside", shared: str | None = None
) -> Notebook:
    made = notebook_of(key, token=token, secret=secret)
    made.shared = shared
    return made


def cookie(made: Notebook, value: str | None = None, *, is_secure: bool = False) -> bytes:
    name = notebook_name(made.key, is_secure=is_secure)
    return f"{name}={tokens.session_token(made) if value is None else value}".encode()


def admits(
    made: Notebook, *cookies: bytes, authorization: bytes = b"", query: str = "", is_secure: bool = False
) -> Access | None:
    """What such a request may do; None when it may do nothing."""
    found = tokens.access(made, cookies, bearer_token(authorization), tokens.tokens_in(query), is_secure=is_secure)
    return None if found.role is None else found


OWNER = Access(by_cookie=Role.OWNER)
SAYS_OWNER = Access(by_token=Role.OWNER)


# Tokens


def test_a_token_is_the_same_after_a_restart_and_another_for_each_notebook_and_purpose() -> None:
    assert tokens.session_token(notebook()) == tokens.session_token(notebook())
    shared = notebook(shared="1")
    found = {
        tokens.session_token(notebook()),
        tokens.session_token(notebook(secret="another")),
        tokens.session_token(notebook(secret="")),
        tokens.share_token(shared),
        tokens.share_token(notebook(shared="2")),
    }
    assert len(found) == 5
    assert all(len(token or "") == 22 for token in found)


def test_what_is_seen_inside_a_notebook_does_not_tell_its_tokens() -> None:
    """A guest may read Jupyter's own token, and must not be the owner by that."""
    assert tokens.session_token(notebook(token="a")) == tokens.session_token(notebook(token="b"))


def test_where_nothing_is_known_outside_alone_jupyters_token_is_what_they_are_derived_from() -> None:
    assert tokens.session_token(notebook(secret="", token="a")) != tokens.session_token(notebook(secret="", token="b"))


def test_a_long_secret_is_as_good() -> None:
    assert len(tokens.session_token(notebook(secret="s" * 1000))) == 22


def test_a_notebook_that_is_not_shared_has_no_share_token() -> None:
    assert tokens.share_token(notebook()) is None
    assert tokens.role_token(notebook(), Role.OWNER) == tokens.session_token(notebook())
    assert tokens.role_token(notebook(shared="1"), Role.GUEST) == tokens.share_token(notebook(shared="1"))
    with pytest.raises(ValueError, match="no guests"):
        tokens.role_token(notebook(), Role.GUEST)


# Carriers


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_cookie_admits(is_secure: bool) -> None:  # noqa: FBT001
    made = notebook()
    right = cookie(made, is_secure=is_secure)
    for sent in (b" " + right, b"a=b; " + right, right + b"; c=d", b"x;;" + right + b";", b"\xff=\xfe; " + right):
        assert admits(made, sent, is_secure=is_secure) == OWNER
    assert admits(made, b"a=b", right, is_secure=is_secure) == OWNER


@pytest.mark.parametrize("before", [b"", b"a=b; ", b";", b"\t"])
def test_over_tls_a_cookie_without_the_prefix_admits_nobody(before: bytes) -> None:
    """Any host of the domain can set one."""
    made = notebook()
    assert admits(made, before + cookie(made), is_secure=True) is None
    assert admits(made, before + cookie(made, is_secure=True)) == OWNER  # where a proxy does not tell of TLS


@pytest.mark.parametrize("before", [b"x", b"a ", b"__Host-Http-a\t", b"__Secure-", b"=", b"a=b, "])
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_cookie_whose_name_ends_as_ours_does_is_another(before: bytes, is_secure: bool) -> None:  # noqa: FBT001
    made = notebook()
    assert admits(made, before + cookie(made, is_secure=is_secure), is_secure=is_secure) is None


def test_of_several_cookies_of_the_name_any_right_one_counts() -> None:
    made = notebook()
    for sent in (
        [cookie(made, "tossed") + b"; " + cookie(made)],
        [cookie(made) + b"; " + cookie(made, "")],
        [cookie(made, "x"), cookie(made)],
    ):
        assert admits(made, *sent) == OWNER


def test_a_guests_cookie_that_was_tossed_in_makes_no_guest_of_the_owner() -> None:
    made = notebook(shared="1")
    guests = cookie(made, tokens.share_token(made))
    for sent in ([guests + b"; " + cookie(made)], [cookie(made) + b"; " + guests], [guests, cookie(made)]):
        assert admits(made, *sent) == OWNER
    assert admits(made, guests + b"; " + cookie(made, "x")) == Access(by_cookie=Role.GUEST)


WRONG = ["", "x", "x" * 22, "\u00e9", '"', "=", tokens.session_token(notebook(secret="of another"))]


@pytest.mark.parametrize("value", WRONG)
def test_nothing_else_admits(value: str) -> None:
    made = notebook(shared="1")
    assert admits(made) is None
    assert admits(made, cookie(made, value)) is None
    assert admits(made, authorization=b"token " + value.encode()) is None
    assert admits(made, query=f"?token={value}") is None


def test_the_key_and_jupyters_token_do_not_admit() -> None:
    made = notebook()
    for value in (KEY, "jupyters", "known outside", made.id):
        assert (
            admits(made, cookie(made, value), authorization=f"token {value}".encode(), query=f"?token={value}") is None
        )


def test_a_cookie_of_another_notebook_or_name_does_not_admit() -> None:
    made, other = notebook(), notebook("o" * 22, secret="other")
    assert admits(made, cookie(other)) is None
    token = tokens.session_token(made).encode()
    for name in (b"tmppool", b"__Host-tmppool", b"tmppool-" + made.id.encode() + b"x"):
        assert admits(made, name + b"=" + token) is None


@pytest.mark.parametrize("scheme", [b"token", b"Token", b"Bearer", b"bearer"])
def test_authorization_admits(scheme: bytes) -> None:
    made = notebook()
    token = tokens.session_token(made).encode()
    assert admits(made, authorization=scheme + b" " + token) == SAYS_OWNER
    assert admits(made, authorization=scheme + b"  " + token + b" ") == SAYS_OWNER
    assert admits(made, authorization=b"Basic " + token) is None
    assert admits(made, authorization=token) is None


@pytest.mark.parametrize("query", ["?token={}", "?a=1&token={}", "?token={}&b", "?token=wrong&token={}"])
def test_the_query_admits(query: str) -> None:
    made = notebook()
    token = tokens.session_token(made)
    assert admits(made, query=query.format(token)) == SAYS_OWNER
    assert admits(made, query=query.format(token).replace("token=", "xtoken=")) is None


def test_a_wrong_word_beside_the_cookie_changes_nothing() -> None:
    """Jupyter's own pages send Jupyter's own token."""
    made = notebook()
    assert admits(made, cookie(made), authorization=b"token jupyters", query="?token=jupyters") == OWNER


def test_a_share_token_admits_a_guest_while_that_sharing_is_on() -> None:
    made = notebook(shared="1")
    token = tokens.share_token(made)
    assert admits(made, cookie(made, token)) == Access(by_cookie=Role.GUEST)
    assert admits(made, query=f"?token={token}") == Access(by_token=Role.GUEST)
    assert admits(made, cookie(made)) == OWNER
    for later in (None, "2"):
        assert admits(notebook(shared=later), cookie(made, token), query=f"?token={token}") is None


# Reading


TARGETS = {
    "/p?token=t": "/p",
    "/p?token=t&a=1": "/p?a=1",
    "/p?a=1&token=t": "/p?a=1",
    "/p?a=1&token=t&b=%26&&c": "/p?a=1&b=%26&&c",
    "/p?token=t&token=u": "/p",
    "/p?token=": "/p",
    "/p?xtoken=t&token": "/p?xtoken=t&token",
    "/p?": "/p?",
    "/p": "/p",
    "/token=t?a": "/token=t?a",
    "?token=t&x": "?x",
}


@pytest.mark.parametrize(("target", "rest"), TARGETS.items())
def test_the_token_is_taken_out_and_every_other_byte_stays(target: str, rest: str) -> None:
    assert tokens.without_token(target) == rest
    assert tokens.tokens_in(rest) == []


def test_few_tokens_are_compared_and_the_rest_are_taken_out_with_ours() -> None:
    asked: list[str] = []

    def is_ours(value: str) -> bool:
        asked.append(value)
        return value == "1"

    query = "&".join(f"token={number}" for number in range(1000))
    assert (
        tokens.without_token(f"/p?a&{query}&b", is_ours)
        == "/p?a&token=0&" + "&".join(f"token={number}" for number in range(2, 8)) + "&b"
    )
    assert len(asked) == 8


@given(st.lists(st.text("ab=%/?;+token", max_size=12), min_size=1))
def test_no_query_keeps_a_token_nor_loses_anything_else(pairs: list[str]) -> None:
    query = "&".join(pair.replace("&", "") for pair in pairs)
    rest = tokens.without_token(f"/p?{query}")
    assert tokens.tokens_in(rest) == []
    kept = [pair for pair in query.split("&") if not pair.startswith("token=")]
    assert rest == (f"/p?{'&'.join(kept)}" if kept else "/p")
    assert len(tokens.tokens_in(f"/p?{query}")) == min(8, len(query.split("&")) - len(kept))


# The tests themselves

REPLACED = re.compile(r"""setattr\(\s*(?:"tmppool\.web\.|\w*)(?:tokens|judge|lock|authorization)\b""")


def test_no_test_replaces_what_decides_on_access() -> None:
    """Else what the proxy's tests show would be shown of a service without an access check."""
    tests = Path(__file__).parents[1]
    assert [str(path) for path in tests.rglob("*.py") if REPLACED.search(path.read_text())] == []
