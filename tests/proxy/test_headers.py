"""Which header fields pass, and which the proxy says itself."""

import pytest

from tmppool.proxy import headers
from tmppool.proxy.cookies import Jar
from tmppool.proxy.faults import Fault
from tmppool.proxy.forwarded import Client
from tmppool.proxy.headers import cache_line, identity, is_plain_challenge, to_notebook, to_visitor
from tmppool.proxy.wire import BadMessageError, Fields, parse_request, parse_response

SAID = b"Authorization: token t\r\n"
BASE = "/user/0123456789abcdef/"


def request(*lines: str) -> Fields:
    return parse_request("\r\n".join(["GET / HTTP/1.1", "Host: h", *lines, "", ""]).encode("latin-1")).fields


def response(*lines: str) -> Fields:
    return parse_response("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1")).fields


def passed(*lines: str, jar: Jar | None = None) -> list[str]:
    """What a notebook gets besides the Host and what the proxy says; ``jar``: what it has set."""
    sent = to_notebook(request(*lines), SAID, jar or Jar()).decode("latin-1")
    assert sent.startswith("Host: h\r\n")
    assert sent.endswith(SAID.decode())
    return sent.split("\r\n")[1:-2]


def answered(*lines: str, is_app: bool = False) -> list[str]:
    return [line.decode("latin-1") for line in to_visitor(response(*lines), BASE, Jar(), is_app=is_app)]


HOP_BY_HOP = ["Connection: x", "Keep-Alive: 5", "Proxy-Connection: x", "Proxy-Authenticate: x", "Proxy-Authorization: x", "TE: trailers",
              "Trailer: x", "Transfer-Encoding: chunked", "Upgrade: h2c", "Content-Length: 5"]  # fmt: skip
IDENTITY = ["Forwarded: for=1", "X-Forwarded-For: 1", "x-forwarded-host: h", "X-FORWARDED-PROTO: https", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /",
            "X-Forwarded-Server: s", "X-Forwarded-Scheme: s", "X-Real-IP: 1", "X-Scheme: s", "X-Original-URL: /", "X-Rewrite-URL: /",
            "X-HTTP-Method-Override: DELETE", "Authorization: token x", "Expect: 100-continue", "X-Forwarded-User: root",
            "X-Forwarded-Anything: x", "True-Client-IP: 1", "CF-Connecting-IP: 1", "Remote-User: root", "X-Method-Override: PUT", "Proxy: http://x"]  # fmt: skip
NOT_FOR_BROWSERS = ['Clear-Site-Data: "*"', "Strict-Transport-Security: max-age=1", "Public-Key-Pins: x", "Alt-Svc: x", "Service-Worker-Allowed: /",
                    "NEL: x", "Report-To: x", "Reporting-Endpoints: x", "Accept-CH: x", "Critical-CH: x", "Origin-Agent-Cluster: ?1", "Expect-CT: x",
                    "Refresh: 0", "Server: x", "Via: x", "WWW-Authenticate: Basic", "X-Accel-Redirect: /etc", "X-Accel-Buffering: yes", "X-Accel-Charset: no", "X-Accel-Limit-Rate: no", "X-Sendfile: /etc",
                    "X-Accel-Expires: 1", "X-LiteSpeed-Location: /etc", "X-Reproxy-URL: /etc", "X-Lighttpd-Send-File: /etc", "Surrogate-Control: x",
                    "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "Set-Cookie2: a=b", "Set-Login: logged-in",
                    "Use-As-Dictionary: match=/*", "Shared-Storage-Write: clear", "Secure-Session-Registration: x", "Referrer-Policy: unsafe-url",
                    "X-Content-Type-Options: sniff"]  # fmt: skip


@pytest.mark.parametrize("line", [*HOP_BY_HOP, *IDENTITY], ids=lambda line: line.partition(":")[0])
def test_what_concerns_one_hop_or_who_one_is_does_not_reach_the_notebook(line: str) -> None:
    assert passed("A: b", line) == ["A: b"]


@pytest.mark.parametrize("line", [*HOP_BY_HOP, *NOT_FOR_BROWSERS], ids=lambda line: line.partition(":")[0])
def test_what_concerns_one_hop_or_the_whole_origin_does_not_reach_the_visitor(line: str) -> None:
    assert answered("Link: b", line) == ["Link: b"]


@pytest.mark.parametrize(
    "line", ["Content-Type: x", "Location: /elsewhere", "ETag: x", "Content-Security-Policy: sandbox", "Permissions-Policy: x",
             "Content-Encoding: gzip", "X-App-Anything: x", "Link: x", "Content-Disposition: attachment", "Vary: x", "Date: x"]
)  # fmt: skip
def test_what_concerns_the_answer_reaches_the_visitor(line: str) -> None:
    assert answered(line) == [line]


def test_what_connection_names_goes_too_in_both_directions() -> None:
    assert passed("A: 1", "B: 2", "c: 3", "Connection: a, close ,, C", "Connection: x") == ["B: 2"]
    assert answered("Allow: 1", "Vary: 2", "date: 3", "Connection: allow, close ,, DATE", "Connection: x") == [
        "Vary: 2"
    ]


def test_connection_takes_away_nothing_that_the_proxy_says() -> None:
    sent = to_notebook(request("Connection: authorization, x-forwarded-for, host, cookie", "Cookie: a=b"), SAID, Jar())
    assert sent.endswith(SAID)


def test_a_host_is_not_removed_because_connection_names_it() -> None:
    assert b"Host: h" in to_notebook(request("Connection: host"), SAID, Jar())


@pytest.mark.parametrize("line", ["X_Forwarded_For: 1", "Content_Length: 5", "_: x", "A_: x"])
def test_names_with_an_underscore_are_dropped(line: str) -> None:
    assert passed(line, "X-A: b_c") == ["X-A: b_c"]


def test_fields_keep_their_order_spelling_and_bytes() -> None:
    lines = ["b: 2", "A:1", "B:  3\t", "accept:", "C: \xff\xfe"]
    assert passed(*lines) == lines
    lines = ["vary: 2", "ETag:1", "LINK:  3\t", "allow:", "Location: \xff\xfe"]
    assert answered(*lines) == lines


def test_what_is_not_listed_does_not_reach_the_visitor_whatever_it_means_to_a_proxy_in_front() -> None:
    assert answered("X-Sendfile2: /etc/passwd 0-", "X-Some-Later-Proxys: x", "Vary: b", "NoSuchField: x") == ["Vary: b"]


@pytest.mark.parametrize("value", ["no", " no", "\tno  "])
def test_an_app_may_ask_a_proxy_in_front_not_to_hold_back_its_events(value: str) -> None:
    assert answered(f"X-Accel-Buffering:{value}") == [f"X-Accel-Buffering:{value}"]


@pytest.mark.parametrize("value", ["yes", "", "No", "no,yes", "no yes", "\xa0no", "0", '"no"', "no;"])
def test_and_may_say_nothing_else_of_buffering(value: str) -> None:
    assert answered("Vary: b", f"X-Accel-Buffering: {value}") == ["Vary: b"]
    assert answered(f"X-Accel-Buffering: {value}", "X-Accel-Buffering: no") == ["X-Accel-Buffering: no"]
    assert answered("Connection: x-accel-buffering", "X-Accel-Buffering: no") == []


def test_no_shared_cache_may_store_an_answer() -> None:
    assert cache_line(response()) == b"Cache-Control: private"
    assert cache_line(response("Cache-Control: public, max-age=60", "cache-control: s-maxage=9, no-transform")) == (
        b"Cache-Control: private, max-age=60, no-transform"
    )
    assert cache_line(response("Cache-Control: " + "a," * 600)) == b"Cache-Control: private, no-store"


# Who the visitor is


def test_the_proxy_says_who_the_visitor_is() -> None:
    assert identity(Client("203.0.113.7", "https", "h"), b"token secret") == (
        b"Authorization: token secret\r\nX-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n"
        b"X-Forwarded-Proto: https\r\nX-Scheme: https\r\nVia: 1.1 %b\r\n" % headers._PSEUDONYM
    )


def test_a_request_without_other_fields_still_says_it_and_has_a_host() -> None:
    fields = parse_request(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n").fields
    assert to_notebook(fields, SAID, Jar()) == b"Host: localhost\r\n" + SAID


@pytest.mark.parametrize(
    ("challenge", "passes"),
    [
        ('Basic realm="lesson, one", charset="UTF-8"', True),
        ("bearer", True),
        ('Digest realm="a", nonce="b=", Basic realm="Negotiate"', True),
        ('Basic realm="a\\", Negotiate"', True),
        ("Negotiate", False),
        ("NTLM TlRMTVNTUAAC", False),
        ('Basic realm="x", negotiate', False),
        ("Basic realm=x,NTLM", False),
        ("Basic, Kerberos abc==", False),
        ("Hobo x=y", False),
        ('Basic realm="a, Negotiate', False),
        ('Basic realm="a\\', False),
        ("", False),
    ],
)
def test_an_app_may_ask_for_what_somebody_types(challenge: str, passes: bool) -> None:  # noqa: FBT001
    line = f"WWW-Authenticate: {challenge}"
    assert answered("ETag: b", line, is_app=True) == (["ETag: b", line] if passes else ["ETag: b"])
    assert answered("ETag: b", line) == ["ETag: b"]


def test_a_challenge_of_any_length_is_read_once() -> None:
    """Quadratic, it would take hours."""
    assert not is_plain_challenge(b'Basic realm="' + b'\\"' * 500_000)
    assert is_plain_challenge(b'Basic realm="' + b'\\"' * 500_000 + b'"')
    assert not is_plain_challenge(b'Basic x="' + b'"' * 500_000)


# Cookies


def test_jupyters_login_is_added_to_the_visitors_cookies_and_replaces_none() -> None:
    jar = Jar()
    jar.note(b"a=b")
    jar.note(b"login=theirs")
    login = b"login=1; more=2"
    for lines, wanted in (
        ((), b"login=1; more=2"),
        (("Cookie: a=b; x=y",), b"a=b; login=1; more=2"),
        (("Cookie: login=theirs",), b"login=theirs; more=2"),
    ):
        sent = to_notebook(request(*lines), SAID, jar, login)
        assert b"\r\nCookie: %b\r\n" % wanted in sent


def test_a_notebook_is_sent_the_cookies_that_it_set_and_no_others() -> None:
    jar = Jar()
    set_cookies = ["Set-Cookie: a=b; Path=/", "Set-Cookie: c=d", "Set-Cookie: tmppool=evil", "Set-Cookie: e=f"]
    to_visitor(response(*set_cookies), BASE, jar)
    lines = ("Cookie: a=b; theirs=secret; a=c; tmppool=secret", "cookie:tmppool=evil;c=d")
    assert passed("A: b", *lines, jar=jar) == ["A: b", "Cookie: a=b; c=d"]
    assert passed("Cookie: theirs=secret", jar=jar) == []
    assert passed(*lines) == []


def test_cookies_that_connection_names_are_no_way_around_the_removal() -> None:
    jar = Jar()
    jar.note(b"a=b")
    assert passed("Connection: cookie", "Cookie: theirs=secret; a=b", jar=jar) == ["Cookie: a=b"]


def test_a_notebook_may_set_so_many_cookies_and_no_more() -> None:
    assert len(answered(*(f"Set-Cookie: c{number}=x" for number in range(100)))) == headers._MAX_COOKIES


def test_each_cookie_has_a_field_of_its_own_that_a_browser_reads_as_one() -> None:
    assert answered("Set-Cookie: a=b", "Vary: b", "set-cookie: c=d; Path=/") == [
        "Vary: b",
        f"Set-Cookie: a=b; Path={BASE}",
        f"Set-Cookie: c=d; Path={BASE}",
    ]


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
    assert error.value.fault is Fault.LOOP


def test_what_the_proxy_says_of_itself_is_seen_when_it_comes_back() -> None:
    with pytest.raises(BadMessageError):
        headers.refuse_loop(request(*identity(Client("1.1.1.1", "http", "h"), b"t").decode().split("\r\n")[:-1]))


def test_a_service_worker_is_told_apart_from_other_scripts() -> None:
    headers.refuse_worker(request("Sec-Fetch-Dest: script"))
    with pytest.raises(BadMessageError) as error:
        headers.refuse_worker(request("Service-Worker: script"))
    assert error.value.fault is Fault.SERVICE_WORKER


# What Jupyter asks for where it knows no token


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        pytest.param([], ["X-XSRFToken: tmppool", "Cookie: _xsrf=tmppool"], id="a program"),
        pytest.param(
            ["Cookie: _xsrf=2|a|b; other=x"],
            ["X-XSRFToken: 2|a|b", "Cookie: _xsrf=2|a|b"],
            id="a program with a cookie jar",
        ),
        pytest.param(
            ["Cookie: _xsrf=2|a|b", "X-XSRFToken: mine"],
            ["X-XSRFToken: mine", "Cookie: _xsrf=2|a|b"],
            id="a page of Jupyter's",
        ),
    ],
)
def test_a_request_whose_origin_was_judged_has_both_halves_of_the_double_submit(
    lines: list[str], sent: list[str]
) -> None:
    jar = Jar()
    jar.note(b"_xsrf=2|a|b")
    found = to_notebook(request(*lines), SAID, jar, is_judged=True).decode().split("\r\n")[1:-2]
    assert found == sent


def test_any_other_request_has_neither() -> None:
    assert passed("A: b") == ["A: b"]
