"""Cookies: which are the service's own, which a notebook's, and that all others stay with their visitor."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy import cookies
from tmppool.proxy.cookies import Jar, confine, own, own_value

BASE = "/user/0123456789abcdef/"


# What a notebook has set


def jar_of(*said: str) -> Jar:
    jar = Jar()
    for cookie in said:
        jar.note(cookie.encode("latin-1"))
    return jar


@pytest.mark.parametrize(
    ("said", "lines", "sent"),
    [
        (["a=b"], ["a=b"], "a=b"),
        (["a=b; HttpOnly; Path=/user/x/"], ["a=b"], "a=b"),
        (["a=b"], ["a=c"], ""),
        (["a=b"], ["session=secret; a=b;x=y"], "a=b"),
        (["a=b", "c=d"], ["c=d", " a=b ;e"], "c=d; a=b"),
        (["a=b", "a=c"], ["a=b; a=c; a=d"], "a=b; a=c"),
        (["a = b"], ["a=b"], "a=b"),
        (["a"], ["a; =a; a="], "a"),
        (["a="], ["a=; a"], "a="),
        (['a="b c"'], ['a="b c"; a=b c'], 'a="b c"'),
        (["_xsrf=2|a|b|1"], ["_xsrf=2|a|b|1; tmppool=x"], "_xsrf=2|a|b|1"),
        (["a=b=c"], ["a=b=c; a=b"], "a=b=c"),
        (["a=\xe9"], ["a=\xe9; a=e"], "a=\xe9"),
        (["a=b"], [";; ;", ""], ""),
        (["a=b"], [], ""),
        ([], ["a=b"], ""),
    ],
)
def test_a_notebook_knows_its_own_pairs_and_no_others(said: list[str], lines: list[str], sent: str) -> None:
    assert jar_of(*said).of(line.encode("latin-1") for line in lines) == sent.encode("latin-1")


def test_of_many_cookies_the_last_are_known() -> None:
    pairs = [f"c{number:02}={'x' * 4000}" for number in range(20)]
    jar = jar_of(*pairs, pairs[5], "new=x", "newer=x" * 700)
    known = jar.of("; ".join([*pairs, "new=x"]).encode().split(b","))
    assert [pair[:3] for pair in known.split(b"; ")] == [
        b"c05",
        *(b"c%02d" % number for number in range(7, 20)),
        b"new",
    ]
    assert jar._size == sum(len(pair) + cookies._EACH for pair in jar._known) <= cookies._MAX_KNOWN


def test_many_small_cookies_are_bounded_too() -> None:
    jar = jar_of(*(f"{number}" for number in range(5000)))
    assert len(jar._known) < 1000


# Cookies of the notebook


COOKIES = {
    "a=b": f"a=b; Path={BASE}",
    "a=b; Path=/": f"a=b; Path={BASE}",
    "a=b; path=/user/other/": f"a=b; Path={BASE}",
    "a=b; Path=": f"a=b; Path={BASE}",
    "a=b; Path": f"a=b; Path={BASE}",
    f"a=b; PATH={BASE}": f"a=b; Path={BASE}",
    f"a=b; Path={BASE}api; HttpOnly": f"a=b; HttpOnly; Path={BASE}api",
    f"a=b; Path={BASE}; Path=/": f"a=b; Path={BASE}",
    f"a=b; Path=/; Path={BASE}x": f"a=b; Path={BASE}x",
    f"a=b; Path={BASE[:-1]}": f"a=b; Path={BASE}",
    "a=b; Domain=example.org; Secure": f"a=b; Secure; Path={BASE}",
    "a=b;domain = .example.org ; Max-Age=5;": f"a=b; Max-Age=5; Path={BASE}",
    "  a = b ;HttpOnly;SameSite=Lax": f"a = b; HttpOnly; SameSite=Lax; Path={BASE}",
    'a="b"; Expires=Wed, 01 Jan 2020 00:00:00 GMT': f'a="b"; Expires=Wed, 01 Jan 2020 00:00:00 GMT; Path={BASE}',
    "a": f"a; Path={BASE}",
    "xtmppool=1": f"xtmppool=1; Path={BASE}",
    "tmppool=stolen": None,
    "TMPPOOL=stolen": None,
    " tmppool =stolen": None,
    "tmppool": None,
    "tmppool-anything=1": None,
    "__Host-x=1; Path=/; Secure": None,
    "__host-tmppool=1": None,
    "__Secure-next-auth.session-token=1; Path=/; Secure": f"__Secure-next-auth.session-token=1; Secure; Path={BASE}",
    "__Http-x=1; HttpOnly; Secure": f"__Http-x=1; HttpOnly; Secure; Path={BASE}",
    "__Host-Http-x=1; HttpOnly; Secure; Path=/": None,
    "__Secure-tmppool=1; Secure": None,
    "__HTTP-TMPPOOL=1": None,
    "user[0]=1": f"user[0]=1; Path={BASE}",
    "rs:x=1": f"rs:x=1; Path={BASE}",
    "a,b=1": None,
    "a\\b=1": None,
    "=tmppool=1": None,
    "\u00a0tmppool=1": None,
    "\u2003__Host-tmppool=1": None,
    '"tmppool"=1': None,
    "a b=1": None,
    f"a=b; Path={BASE}{'x' * 1024}": f"a=b; Path={BASE}",
    f'a=b; Path="{BASE}"': f"a=b; Path={BASE}",
    f"a=b; Path ={BASE}x": f"a=b; Path={BASE}x",
    "a=b, tmppool=c; Domain\t=x": f"a=b, tmppool=c; Path={BASE}",
    "a=b; Path=/; Path=/user/0123456789abcdeg/": f"a=b; Path={BASE}",
    "a=b; Secure" + ";x" * 1000 + "; Path=/": "a=b; Secure" + "; x" * 18 + f"; Path={BASE}",
    "=1": None,
    "": None,
    "; Path=/": None,
    "a=" + "x" * 5000: None,
}


@pytest.mark.parametrize(("cookie", "confined"), COOKIES.items(), ids=[name[:40] or "nothing" for name in COOKIES])
def test_a_cookie_of_the_notebook_is_confined_to_it(cookie: str, confined: str | None) -> None:
    found = confine(cookie.encode(), BASE.encode())
    assert found == (None if confined is None else confined.encode())


@given(st.binary(max_size=80).filter(lambda data: not set(data) & set(b"\r\n\x00")))
def test_whatever_a_cookie_says_it_stays_below_the_notebook(cookie: bytes) -> None:
    for found in (confine(cookie, BASE.encode()), confine(b"a=b;" + cookie, BASE.encode())):
        if found is not None:
            pair, *attributes = [part.strip() for part in found.split(b";")]
            names = [attribute.partition(b"=")[0].strip().lower() for attribute in attributes]
            assert names.count(b"path") == 1
            assert b"domain" not in names
            assert attributes[-1].startswith(b"Path=" + BASE.encode())
            assert not pair.lower().startswith((b"tmppool", b"__host-", b"__secure-tmppool", b"__http-tmppool"))


# What may be the service's own


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("tmppool=a", ["tmppool=a"]),
        (" __Host-tmppool=" + "a-_Z9" * 4, ["__Host-tmppool=" + "a-_Z9" * 4]),
        ("a=b;tmppool-0123456789=x; c=d;__Secure-tmppool-a=y ;e", ["tmppool-0123456789=x", "__Secure-tmppool-a=y"]),
        ("tmppool=" + "x" * 32, ["tmppool=" + "x" * 32]),
        ("tmppool=" + "x" * 33, []),
        ("tmppool_1_ticket=" + "x" * 112, ["tmppool_1_ticket=" + "x" * 112]),
        ("tmppool_1_ticket-0123456789=x", ["tmppool_1_ticket-0123456789=x"]),
        ("tmppool_ticket=" + "x" * 113, []),
        ("tmppool=", []),
        ("tmppool", []),
        ("tmppool=a b", []),
        ("tmppool=a/b", []),
        ("tmppool-=a; tmppool-01234567890=a; tmppool-A=a; tmppool2=a; TMPPOOL=a; atmppool=a; __Http-tmppool=a", []),
        ('a="x; tmppool=a; y"', ["tmppool=a"]),
        (";;;", []),
        ("", []),
    ],
)
def test_what_looks_like_ours_is_told_apart(value: str, found: list[str]) -> None:
    assert own(value.encode()) == [pair.encode() for pair in found]


@pytest.mark.parametrize("value", ["a\x00b", "a\rb", "a\nb", "a\x7f"])
def test_what_is_no_fields_value_is_none(value: str) -> None:
    assert own(value.encode("latin-1")) is None


def test_as_many_of_ours_as_a_browser_holds_fit_into_a_head() -> None:
    longest = [f"__Host-Http-tmppool-{number:010}=" + "x" * 32 for number in range(180)]
    assert own("; ".join(longest).encode()) == [pair.encode() for pair in longest]
    assert len("; ".join(longest)) < 12 * 1024
    longest.append("__Host-Http-tmppool_65535_framed_ticket-0123456789=" + "x" * 112)
    assert own(longest[-1].encode()) == [longest[-1].encode()]
    assert max(map(len, itertools.chain(longest, ["__Secure-" + longest[0]]))) + 16 <= cookies.OWN_SIZE


# Our own cookie, which pages in notebooks would like to set


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (["tmppool=good"], "good"),
        (["a=b; tmppool=good;c=d"], "good"),
        (["a=b", "c=d;\ttmppool = good "], "good"),
        (["tmppool=good; tmppool=good"], "good"),
        (["tmppool=evil; tmppool=good"], ""),
        (["\u00a0tmppool=evil; tmppool=good"], "good"),
        (["\u2003tmppool=evil"], ""),
        (["tmppool\u3000=evil; tmppool=good"], "good"),
        (['a="x; tmppool=good; b=y"'], "good"),
        (["TMPPOOL=evil; tmppool2=evil; atmppool=evil; $tmppool=evil"], ""),
        (["=tmppool=evil", "tmppool"], ""),
        ([""], ""),
        ([], ""),
    ],
)
def test_our_own_cookie_is_read_as_browsers_write_it(lines: list[str], value: str) -> None:
    assert own_value(lines, "tmppool") == value


@pytest.mark.parametrize(
    ("pairs", "value"),
    [(b"", b""), (b"a=b", b"b"), (b"x=y; a=b=c; a=d", b"b=c"), (b"aa=b", b""), (b"a", b""), (b" a=b ", b"b")],
)
def test_the_value_of_a_pair(pairs: bytes, value: bytes) -> None:
    assert cookies.value_of(pairs, b"a") == value
