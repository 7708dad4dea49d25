"""Which header fields pass, and which the proxy says itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy import headers
from tmppool.proxy.forwarded import Client
from tmppool.proxy.headers import confine_cookie, identity, to_notebook, to_visitor
from tmppool.proxy.wire import BadMessageError, Fields, parse_request, parse_response

SAID = b"Authorization: token t\r\n"
BASE = "/user/0123456789abcdef/"


def request(*lines: str) -> Fields:
    return parse_request("\r\n".join(["GET / HTTP/1.1", "Host: h", *lines, "", ""]).encode("latin-1")).fields


def response(*lines: str) -> Fields:
    return parse_response("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1")).fields


def passed(*lines: str) -> list[str]:
    """What a notebook gets besides the Host and what the proxy says."""
    sent = to_notebook(request(*lines), SAID).decode("latin-1")
    assert sent.startswith("Host: h\r\n")
    assert sent.endswith(SAID.decode())
    return sent.split("\r\n")[1:-2]


def answered(*lines: str) -> list[str]:
    return [line.decode("latin-1") for line in to_visitor(response(*lines), BASE)]


HOP_BY_HOP = ["Connection: x", "Keep-Alive: 5", "Proxy-Connection: x", "Proxy-Authenticate: x", "Proxy-Authorization: x", "TE: trailers",
              "Trailer: x", "Transfer-Encoding: chunked", "Upgrade: h2c", "Content-Length: 5"]  # fmt: skip
IDENTITY = ["Forwarded: for=1", "X-Forwarded-For: 1", "x-forwarded-host: h", "X-FORWARDED-PROTO: https", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /",
            "X-Forwarded-Server: s", "X-Forwarded-Scheme: s", "X-Real-IP: 1", "X-Scheme: s", "X-Original-URL: /", "X-Rewrite-URL: /",
            "X-HTTP-Method-Override: DELETE", "Authorization: token x", "Expect: 100-continue", "X-Forwarded-User: root",
            "X-Forwarded-Anything: x", "True-Client-IP: 1", "CF-Connecting-IP: 1", "Remote-User: root", "X-Method-Override: PUT", "Proxy: http://x"]  # fmt: skip
NOT_FOR_BROWSERS = ['Clear-Site-Data: "*"', "Strict-Transport-Security: max-age=1", "Public-Key-Pins: x", "Alt-Svc: x", "Service-Worker-Allowed: /",
                    "NEL: x", "Report-To: x", "Reporting-Endpoints: x", "Accept-CH: x", "Critical-CH: x", "Origin-Agent-Cluster: ?1", "Expect-CT: x",
                    "Refresh: 0", "Server: x", "Via: x", "WWW-Authenticate: Basic", "X-Accel-Redirect: /etc", "X-Accel-Buffering: no", "X-Sendfile: /etc",
                    "X-Accel-Expires: 1", "X-LiteSpeed-Location: /etc", "X-Reproxy-URL: /etc", "X-Lighttpd-Send-File: /etc", "Surrogate-Control: x",
                    "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "Set-Cookie2: a=b", "Set-Login: logged-in",
                    "Use-As-Dictionary: match=/*", "Shared-Storage-Write: clear", "Secure-Session-Registration: x", "Referrer-Policy: unsafe-url",
                    "X-Content-Type-Options: sniff"]  # fmt: skip


@pytest.mark.parametrize("line", [*HOP_BY_HOP, *IDENTITY], ids=lambda line: line.partition(":")[0])
def test_what_concerns_one_hop_or_who_one_is_does_not_reach_the_notebook(line: str) -> None:
    assert passed("A: b", line) == ["A: b"]


@pytest.mark.parametrize("line", [*HOP_BY_HOP, *NOT_FOR_BROWSERS], ids=lambda line: line.partition(":")[0])
def test_what_concerns_one_hop_or_the_whole_origin_does_not_reach_the_visitor(line: str) -> None:
    assert answered("A: b", line) == ["A: b"]


@pytest.mark.parametrize(
    "line", ["Content-Type: x", "Location: /elsewhere", "ETag: x", "Content-Security-Policy: sandbox", "Permissions-Policy: x",
             "Content-Encoding: gzip", "Cache-Control: x", "Link: x", "Content-Disposition: attachment", "Vary: x", "Date: x"]
)  # fmt: skip
def test_what_concerns_the_answer_reaches_the_visitor(line: str) -> None:
    assert answered(line) == [line]


def test_what_connection_names_goes_too_in_both_directions() -> None:
    assert passed("A: 1", "B: 2", "c: 3", "Connection: a, close ,, C", "Connection: x") == ["B: 2"]
    assert answered("A: 1", "B: 2", "c: 3", "Connection: a, close ,, C", "Connection: x") == ["B: 2"]


def test_connection_takes_away_nothing_that_the_proxy_says() -> None:
    sent = to_notebook(request("Connection: authorization, x-forwarded-for, host, cookie", "Cookie: a=b"), SAID)
    assert sent.endswith(SAID)


def test_a_host_is_not_removed_because_connection_names_it() -> None:
    assert b"Host: h" in to_notebook(request("Connection: host"), SAID)


@pytest.mark.parametrize("line", ["X_Forwarded_For: 1", "Content_Length: 5", "_: x", "A_: x"])
def test_names_with_an_underscore_are_dropped(line: str) -> None:
    assert passed(line, "X-A: b_c") == ["X-A: b_c"]


def test_fields_keep_their_order_spelling_and_bytes() -> None:
    lines = ["b: 2", "A:1", "B:  3\t", "accept:", "C: \xff\xfe"]
    assert passed(*lines) == lines
    assert answered(*lines) == lines


# Who the visitor is


def test_the_proxy_says_who_the_visitor_is() -> None:
    assert identity(Client("203.0.113.7", "https", "h"), "secret") == (
        b"Authorization: token secret\r\nX-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n"
        b"X-Forwarded-Proto: https\r\nX-Scheme: https\r\nVia: 1.1 %b\r\n" % headers._PSEUDONYM
    )


def test_a_request_without_other_fields_still_says_it_and_has_a_host() -> None:
    fields = parse_request(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n").fields
    assert to_notebook(fields, SAID) == b"Host: localhost\r\n" + SAID


# Cookies of the visitor


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        (["Cookie: tmppool=x"], []),
        (["Cookie: __Host-tmppool=x"], []),
        (["Cookie: tmppool=x; a=b; __Host-tmppool=y"], ["Cookie: a=b"]),
        (["Cookie: a=b;tmppool=x;c=d"], ["Cookie: a=b; c=d"]),
        (["Cookie: a=b", "Cookie: tmppool=x; c=d"], ["Cookie: a=b; c=d"]),
        (["Cookie:   tmppool = x ;  a=b"], ["Cookie: a=b"]),
        (["Cookie: a=tmppool=x"], ["Cookie: a=tmppool=x"]),
        (["Cookie: tmppool-0123456789abcdef=x; a=b"], ["Cookie: a=b"]),
        (["Cookie: __Host-tmppool-0123456789abcdef=x; a=b"], ["Cookie: a=b"]),
        (["Cookie: __Secure-tmppool=x; a=b"], ["Cookie: a=b"]),
        (['Cookie: "tmppool"=x; \ttmppool\t=y; tmppool; a=b'], ["Cookie: a=b"]),
        (['Cookie: $Version=1; a="x; tmppool=secret; b=y"'], ['Cookie: $Version=1; a="x; b=y"']),
        (["Cookie: atmppool=x; TMPPOOL=y"], ["Cookie: atmppool=x; TMPPOOL=y"]),
        (["Cookie: _xsrf=2|a|b|1"], ["Cookie: _xsrf=2|a|b|1"]),
        (['Cookie: a="b c"'], ['Cookie: a="b c"']),
        (["Cookie: ;; ;"], []),
        (["Cookie:"], []),
        (["COOKIE: tmppool=x"], []),
    ],
)
def test_our_own_cookie_does_not_reach_the_notebook_and_others_do(lines: list[str], sent: list[str]) -> None:
    assert passed(*lines) == sent


def test_cookies_that_connection_names_are_no_way_around_the_removal() -> None:
    assert not any("secret" in line for line in passed("Connection: cookie", "Cookie: tmppool=secret; a=b"))


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
    "__Secure-x=1; Secure": None,
    "=tmppool=1": None,
    "__Http-x=1": None,
    "\u00a0tmppool=1": None,
    "\u2003__Host-tmppool=1": None,
    '"tmppool"=1': None,
    "a b=1": None,
    f"a=b; Path={BASE}{'x' * 1024}": f"a=b; Path={BASE}",
    f'a=b; Path="{BASE}"': f"a=b; Path={BASE}",
    f"a=b; Path ={BASE}x": f"a=b; Path={BASE}x",
    "a=b, tmppool=c; Domain\t=x": f"a=b, tmppool=c; Path={BASE}",
    "a=b; Path=/; Path=/user/0123456789abcdeg/": f"a=b; Path={BASE}",
    "=1": None,
    "": None,
    "; Path=/": None,
    "a=" + "x" * 5000: None,
}


@pytest.mark.parametrize(("cookie", "confined"), COOKIES.items(), ids=[name[:40] or "nothing" for name in COOKIES])
def test_a_cookie_of_the_notebook_is_confined_to_it(cookie: str, confined: str | None) -> None:
    found = confine_cookie(cookie.encode(), BASE.encode())
    assert found == (None if confined is None else confined.encode())


def test_a_notebook_may_set_so_many_cookies_and_no_more() -> None:
    assert len(answered(*(f"Set-Cookie: c{number}=x" for number in range(100)))) == headers._MAX_COOKIES


def test_each_cookie_has_a_field_of_its_own_that_a_browser_reads_as_one() -> None:
    assert answered("Set-Cookie: a=b", "A: b", "set-cookie: c=d; Path=/") == [
        "A: b",
        f"Set-Cookie: a=b; Path={BASE}",
        f"Set-Cookie: c=d; Path={BASE}",
    ]


@given(st.binary(max_size=80).filter(lambda data: not set(data) & set(b"\r\n\x00")))
def test_whatever_a_cookie_says_it_stays_below_the_notebook(cookie: bytes) -> None:
    for found in (confine_cookie(cookie, BASE.encode()), confine_cookie(b"a=b;" + cookie, BASE.encode())):
        if found is not None:
            pair, *attributes = [part.strip() for part in found.split(b";")]
            names = [attribute.partition(b"=")[0].strip().lower() for attribute in attributes]
            assert names.count(b"path") == 1
            assert b"domain" not in names
            assert attributes[-1].startswith(b"Path=" + BASE.encode())
            assert not pair.lower().startswith((b"tmppool", b"__host-", b"__secure-"))


# What all that comes from a notebook is under


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (f"http://127.0.0.1:8888{BASE}tree?a=http://x/", f"{BASE}tree?a=http://x/"),
        (f"HTTPS://notebook{BASE}", BASE),
        (f"http://[::1]:8888{BASE}lab#x", f"{BASE}lab#x"),
        (f"{BASE}tree", None),
        ("http://127.0.0.1:8888/user/other/tree", None),
        (f"https://elsewhere.example/?next=http://h{BASE}", None),
        (f"https://elsewhere.example/x{BASE}", None),
        (f"//elsewhere.example{BASE}", None),
        ("../tree", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("name", ["Location", "content-location"])
def test_a_place_is_told_without_the_notebooks_inner_origin_and_as_it_is_elsewhere(
    name: str, value: str, seen: str | None
) -> None:
    assert answered(f"{name}: {value}") == [f"{name}: {value if seen is None else seen}"]


# Requests that go no further


def test_a_request_that_was_here_before_is_a_loop_and_one_of_another_proxy_is_none() -> None:
    headers.refuse_loop(request("Via: 1.1 tmppool-00000000, 2 cache"))
    with pytest.raises(BadMessageError) as error:
        headers.refuse_loop(request("Via: 2 cache", f"via: 1.1 other,1.1 {headers._PSEUDONYM.decode()} (x)"))
    assert error.value.status == 508


def test_what_the_proxy_says_of_itself_is_seen_when_it_comes_back() -> None:
    with pytest.raises(BadMessageError):
        headers.refuse_loop(request(*identity(Client("1.1.1.1", "http", "h"), "t").decode().split("\r\n")[:-1]))


def test_a_service_worker_is_told_apart_from_other_scripts() -> None:
    headers.refuse_worker(request("Sec-Fetch-Dest: script"))
    with pytest.raises(BadMessageError) as error:
        headers.refuse_worker(request("Service-Worker: script"))
    assert error.value.status == 403


# Too many cookies

HEAD = b"GET / HTTP/1.1\r\nHost: h\r\n"
MANY = b"a=" + b"x" * 20_000


@pytest.mark.parametrize(
    ("head", "is_freed"),
    [
        (HEAD + b"Cookie: " + MANY, True),
        (HEAD + b"COOKIE: " + MANY + b"\r\nA: b\r\n\r\n", True),
        (HEAD + b"Cookie: " + MANY[:9000] + b"\r\nCookie: " + MANY[:9000] + b"\r\n\r\n", True),
        (HEAD + b"X-Cookie: " + MANY, False),
        (HEAD + b"A: " + MANY + b"\r\nCookie: a=b", False),
        (HEAD + b"A: " + MANY + b"\r\nCookie: " + MANY, False),
        (b"GET /?Cookie:" + MANY, False),
    ],
)
def test_cookies_are_emptied_only_where_they_alone_are_too_many(head: bytes, is_freed: bool) -> None:  # noqa: FBT001
    assert headers.relief(head) == (b'Clear-Site-Data: "cookies"\r\n' if is_freed else b"")


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
    assert headers.own_cookie(lines, "tmppool") == value
