"""A target and a Host of one meaning each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tmppool.proxy.target import MAX_TARGET, correct, is_accepted, is_host, is_sendable, origin_form

HOSTS = ["h", "nb.example.org:8443", "127.0.0.1", "[::1]:8888", "[::ffff:1.2.3.4]", "my_service", "a-b~c", "h:1"]
NO_HOSTS = ["", "h,i", "u@h", "u:p@h", "h/x", "h x", "h?x", "h#x", "h\\x", "h:", "h:x", "h:123456", ":80", "::1", "[::1", "[g]", "h;x", "h%00", "\xe9", "h:80:80", "http://h", "h\t", "*", "'h'"]  # fmt: skip


@pytest.mark.parametrize("value", HOSTS)
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(value: str) -> None:
    assert is_host(value.encode())


@pytest.mark.parametrize("value", NO_HOSTS)
def test_anything_else_is_no_host(value: str) -> None:
    assert not is_host(value.encode("latin-1"))


PATHS = ["/", "/a//b/", "/a%2Fb", "/.../x", "/.a/..b/c..", "/a%2eb", "/%2ea", "/;x", "/a;./b", "/x?..", "/x?/../", "/x?\\%zz%00%5c", "/a%25%41", "/a.", "/?//", "/a%5Cb", "/a%5c", "/%5C", "/..a%5Cb..", "/%0A", "/a b"]  # fmt: skip
TWO_WAYS = [
    "//", "//h/x", "/.", "/..", "/../", "/a/./b", "/a/../b", "/a/..", "/a/.", "/%2e", "/a/%2E%2e/b", "/.%2e/", "/%2e./x", "/a/..;/b", "/a/.;x",
    "/a%2f..%2fb", "/a/..%2Fb", "/a%2f../b", "/a\\b", "/..%5Cb", "/a%5c..", "/a%5C.%5cb", "/%2e%2e%5Cb", "/a%2f..%5C", "/a%5C..;", "/%00", "/a%00b", "/%", "/%1", "/%zz", "/%u0041", "/a%%41", "/a/..?x", "", "a", "?x", "*",
]  # fmt: skip


@pytest.mark.parametrize("target", PATHS)
def test_a_path_of_one_meaning_stays_as_it_is(target: str) -> None:
    assert origin_form(target.encode(), b"h") == target.encode()


@pytest.mark.parametrize("target", TWO_WAYS)
def test_a_path_of_two_meanings_is_none(target: str) -> None:
    assert origin_form(target.encode(), b"h") is None


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://h/x?y", "/x?y"),
        ("HTTPS://H/", "/"),
        ("http://h", "/"),
        ("http://h?x", "/?x"),
        ("http://h/a%2Fb", "/a%2Fb"),
        ("http://i/", None),
        ("http://h:80/", None),
        ("http://u@h/", None),
        ("http:///x", None),
        ("http://h//x", None),
        ("http://h/../x", None),
        ("http://h\\x", None),
        ("ftp://h/", None),
        ("ws://h/", None),
        ("http:h/", None),
    ],
)
def test_an_absolute_target_is_a_path_where_it_names_the_host(target: str, path: str | None) -> None:
    assert origin_form(target.encode(), b"h") == (None if path is None else path.encode())


def test_an_absolute_target_without_a_host_names_no_place() -> None:
    assert origin_form(b"http://h/", None) is None


CORRECTED = {
    "//lab/tree/x.ipynb": "/lab/tree/x.ipynb",
    "///": "/",
    "//?x": "/?x",
    "//evil.example/x": "/evil.example/x",
    "/lab/tree/100%.ipynb": "/lab/tree/100%25.ipynb",
    "/50%%25%": "/50%25%25%25",
    "/a b?c d": "/a%20b?c%20d",
    "/caf\xe9?\xe9": "/caf%C3%A9?%C3%A9",
    "/\U0001f40d e\u0301": "/%F0%9F%90%8D%20e%CC%81",
    "/%unbelievable": "/%25unbelievable",
    "//100%/\xe9 x": "/100%25/%C3%A9%20x",
    "/x?100%": "/x?100%",
}
UNCLEAR = ["/a\\b", "//a\\b", "/\\h/x", "/a#b", "/a b#c", "/../x", "//../x", "///..", "/a/%2e%2e/", "/..%5C", "/%00", "/%u0041", "/100%/..", "x", "", "*", "http://h//x", " /x"]  # fmt: skip


@pytest.mark.parametrize(("target", "meant"), CORRECTED.items())
def test_what_can_only_mean_one_thing_is_known(target: str, meant: str) -> None:
    raw = target.encode()
    assert not is_accepted(raw) or raw == meant.encode()
    assert correct(raw) == meant.encode()
    assert is_accepted(meant.encode())


@pytest.mark.parametrize("target", UNCLEAR)
def test_what_may_mean_two_things_is_not_guessed(target: str) -> None:
    assert correct(target.encode()) is None
    assert not is_accepted(target.encode())


@pytest.mark.parametrize("target", [b"/\xe9", b"/\xed\xa0\x80", b"/\xff", b"/\xc3"])
def test_bytes_that_are_no_utf_8_have_no_certain_meaning(target: bytes) -> None:
    assert correct(target) is None


def test_a_target_is_as_long_as_a_request_may_have_it() -> None:
    assert is_accepted(b"/" * 1 + b"x" * (MAX_TARGET - 1))
    assert not is_accepted(b"/" + b"x" * MAX_TARGET)
    assert correct(b"/" + b" " * MAX_TARGET) is None


@given(st.binary(max_size=40) | st.lists(st.sampled_from(["/", "//", "%", "%2", "%2e", ".", "..", "\\", "%5c", " ", "\xe9", "?", "#", "%u0041", "x"]), max_size=10).map(lambda parts: "".join(parts).encode()))  # fmt: skip
def test_what_is_corrected_is_accepted_and_stays_on_this_host(rest: bytes) -> None:
    found = correct(b"/" + rest)
    if found is not None:
        assert is_accepted(found)
        assert is_sendable(found)
        assert found[:2] not in (b"//", b"/\\")
        assert correct(found) == found


PARTS = ["/", ".", "%2e", "%2F", "%5c", "\\", "%", "2", "a", ";", "?", "..", "%25"]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_what_is_accepted_means_the_same_to_who_normalises_it(rest: str) -> None:
    found = origin_form(f"/{rest}".encode(), b"h")
    if found is not None:
        path = found.decode().partition("?")[0]
        assert found.decode() == f"/{rest}"
        assert URL(f"http://h{path}", encoded=True).join(URL(path, encoded=True)).raw_path == path
