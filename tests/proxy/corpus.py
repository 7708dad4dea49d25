"""Requests that proxies and servers were found to read in two ways, as bytes, and what is to become of each.

Written from RFC 9110 and 9112, from what HTTP parsers test themselves with, and from published findings of request
smuggling. ``{base}`` stands for the path of a notebook, ``{host}`` for the service's host, ``{key}`` and ``{via}``
for the notebook's key and what the service calls itself. ``{owner}`` stands for the line that gives a request the right
to reach the notebook; where a case has none, its first request gets it, so that only its fault is judged. ``zq7`` marks what no refusal may repeat, ``gone`` what no
notebook may get, ``smuggled`` the request that hides in another.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

PASSED = "passed"  # one request for the notebook, on which three readers agree
OWN = "own"  # answered by the service itself, which keeps in step
REFUSED = "refused"  # a 4xx or 5xx, the connection closed, and nothing of it for the notebook
UNCLEAR = "unclear"  # a 400 of the service itself, the connection closed, and nothing of it for the notebook
MOVED = "moved"  # as UNCLEAR, but a navigation: a 308 to where the target can only have led
NO_PLACE = "no place"  # OWN or REFUSED, with 400, 403, 404 or 405
WAITS = "waits"  # for the rest of a request


@dataclass(frozen=True)
class Case:
    """``expect`` holds what becomes of each request in ``raw``. ``keeps``: another may follow on the connection.

    ``fault_in_body``: the head is good, so the notebook may see a beginning of it where it came in pieces.
    """

    id: str
    source: str
    raw: str
    expect: tuple[str, ...]
    keeps: bool = True
    fault_in_body: bool = False


SMUGGLED = "GET {base}smuggled HTTP/1.1\r\nHost: {host}\r\n{owner}\r\n\r\n"
LAST = "0\r\n\r\n"


def request(method: str, target: str, *lines: str, body: str = "", version: str = "HTTP/1.1") -> str:
    host = () if any(line.lower().startswith("host") for line in lines) else ("Host: {host}",)
    return "\r\n".join([f"{method} {target} {version}", *host, *lines, "", body])


def get(*lines: str, target: str = "{base}zq7") -> str:
    return request("GET", target, *lines)


def post(*lines: str, body: str = "") -> str:
    return request("POST", "{base}zq7", *lines, body=body)


def refused(rule: str, source: str, cases: Iterable[tuple[str, str]], *, fault_in_body: bool = False) -> Iterator[Case]:
    for name, raw in cases:
        yield Case(f"{rule} refused: {name}", source, raw, (REFUSED,), keeps=False, fault_in_body=fault_in_body)


def unclear(rule: str, source: str, cases: Iterable[tuple[str, str]], what: str = UNCLEAR) -> Iterator[Case]:
    for name, raw in cases:
        yield Case(f"{rule} {what}: {name}", source, raw, (what,), keeps=False)


def passed(rule: str, source: str, cases: Iterable[tuple[str, str]], *, keeps: bool = True) -> Iterator[Case]:
    for name, raw in cases:
        yield Case(f"{rule} passed: {name}", source, raw, (PASSED,), keeps=keeps)


# Targets


def targets() -> Iterator[Case]:
    source = "RFC 9112 section 3.2"
    yield from passed("H-01", f"{source}.2, absolute-form must be accepted", [
        ("absolute-form of this host", request("GET", "http://{host}{base}x")),
        ("absolute-form, other case", request("GET", "HTTP://{host}{base}x")),
        ("absolute-form, https behind a proxy", request("GET", "https://{host}{base}x?a=b")),
    ])  # fmt: skip
    yield Case("H-01 own: absolute-form of our own page", source, request("GET", "http://{host}/health"), (OWN,))
    yield Case("H-01 own: asterisk-form", f"{source}.4", request("OPTIONS", "*"), (OWN,))
    yield from refused("H-01", source, [
        ("absolute-form of another host", request("GET", "http://zq7.example{base}x")),
        ("absolute-form of another port", request("GET", "http://{host}1{base}x")),
        ("absolute-form with userinfo", request("GET", "http://zq7@{host}{base}x")),
        ("absolute-form, other scheme", request("GET", "ftp://{host}{base}x")),
        ("absolute-form, no authority", request("GET", "http://{base}x")),
        ("absolute-form, one slash", request("GET", "http:/{host}{base}x")),
        ("absolute-form with a path of two meanings", request("GET", "http://{host}/../user/{key}/x")),
        ("absolute-form with bytes of UTF-8", request("GET", "http://{host}{base}\xc3\xa9")),
        ("absolute-form without Host in 1.0", "GET http://{host}{base}x HTTP/1.0\r\n\r\n"),
        ("asterisk-form of GET", request("GET", "*")),
        ("asterisk with a path", request("OPTIONS", "*{base}x")),
        ("authority-form of GET", request("GET", "{host}")),
        ("CONNECT in authority-form", request("CONNECT", "{host}")),
        ("CONNECT in authority-form, tunnel begun", request("CONNECT", "{host}", body=SMUGGLED)),
        ("CONNECT in origin-form", request("CONNECT", "{base}x", body=SMUGGLED)),
        ("CONNECT of our own page", request("CONNECT", "/health", body=SMUGGLED)),
        ("no slash", request("GET", "user/{key}/x")),
        ("only a query", request("GET", "?x")),
        ("empty target", request("GET", "")),
    ])  # fmt: skip
    yield from (
        Case(f"H-27 own: method {method}", "no answer repeats what was asked", request(method, "/zq7"), (NO_PLACE,))
        for method in ("ZQ7", "get", "Get", "M!#$%&'*+-.^_`|~9", "GETT", "X" * 300)
    )
    yield Case("H-01 own: TRACE", "RFC 9110 section 9.3.8", request("TRACE", "{base}zq7", "Cookie: a=zq7"), (NO_PLACE,))
    yield from unclear("H-03", f"{source}, no fragment in any form", [
        (f"fragment {target}", request("GET", target)) for target in ("{base}x#zq7", "{base}x?y#zq7", "{base}#", "/#{base}x")
    ])  # fmt: skip
    yield from refused("H-03", f"{source}, no fragment in any form", [
        (f"fragment {target}", request("GET", target)) for target in ("#", "http://{host}{base}x#zq7")
    ])  # fmt: skip


def hosts() -> Iterator[Case]:
    source = "RFC 9112 section 3.2, RFC 9110 section 7.2"
    yield from passed("H-22", source, [
        ("Host as it is", get()),
        ("Host in another case of name", get("hOST: {host}")),
        ("Host of a proxy in front", get("Host: nb.example.org")),
        ("Host with an IPv6 address", get("Host: [::1]:8888")),
        ("Host with spaces around", get("Host:\t {host} \t")),
    ])  # fmt: skip
    yield from refused("H-02", source, [
        ("no Host", "GET {base}zq7 HTTP/1.1\r\n\r\n"),
        ("no Host but X-Forwarded-Host", "GET {base}zq7 HTTP/1.1\r\nX-Forwarded-Host: {host}\r\n\r\n"),
        ("Host twice", get("Host: {host}", "Host: {host}")),
        ("Host twice, another", get("Host: {host}", "Host: zq7.example")),
        ("Host twice, other case", get("Host: {host}", "HOST: zq7.example")),
        ("Host twice, apart", get("Host: {host}", "A: b", "host: {host}")),
        ("Host thrice in 1.0", request("GET", "{base}x", "Host: a", "Host: a", version="HTTP/1.0")),
        *((f"Host {value!r}", get(f"Host: {value}")) for value in (
            "", " ", "a, b", "a,b", "u@{host}", "{host}/zq7", "{host} zq7", "{host}\tzq7", "{host}?zq7", "{host}#zq7", "{host}\\zq7", "{host}:80",
            "a:", "a:b", "a:-1", "a:999999", ":80", "http://{host}", "[::1", "::1", "a%2fb", "a;b", "\xe9", "a|b", "'a'", '"a"', "a\x7fb", "(a)",
        )),
        ("folded Host", get("Host:\r\n {host}")),
        ("Host with a space before the colon", get("Host : {host}")),
    ])  # fmt: skip
    yield from passed("H-02", "RFC 9112 section 3.2: only 1.1 must name one",
        [("no Host in 1.0", "GET {base}x HTTP/1.0\r\n\r\n")], keeps=False)  # fmt: skip


def versions() -> Iterator[Case]:
    source = "RFC 9112 section 2.3"
    yield from refused("H-05", source, [
        *((f"version {version!r}", get().replace("HTTP/1.1", version)) for version in (
            "HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/2", "HTTP/3", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/1.10", "HTTP/01.1", "HTTP/1.01", "HTTP/11",
            "http/1.1", "Http/1.1", "HTTP /1.1", "HTTP/ 1.1", "HTTP/1 .1", "HTTP/1,1", "HTTP/+1.1", "HTTP/1.1x", "HTTPS/1.1", "ICE/1.0", "RTSP/1.0",
            "HTTP/1.\xd9\xa1", "HTTP/1.\xb9", "HTTP\\1.1", "HTTP/1.1 HTTP/1.1", "",
        )),
        ("HTTP/0.9", "GET {base}zq7\r\n\r\n"),
        ("HTTP/0.9, then another", "GET {base}zq7\r\n" + SMUGGLED),
        ("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("chunks in 1.0", request("POST", "{base}x", "Transfer-Encoding: chunked", body=LAST + SMUGGLED, version="HTTP/1.0")),
        ("chunks in 1.0 that keeps alive", request("POST", "{base}x", "Connection: keep-alive", "Transfer-Encoding: chunked", body=LAST, version="HTTP/1.0")),
        ("chunks and a length in 1.0", request("POST", "{base}x", "Content-Length: 5", "Transfer-Encoding: chunked", body=LAST + SMUGGLED, version="HTTP/1.0")),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 40 + "\r\n\r\n"),
        ("SSH", "SSH-2.0-zq7\r\n\r\n"), ("PROXY protocol", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" + SMUGGLED),
    ])  # fmt: skip
    yield from passed("H-05", source, [
        ("1.0 with a length", request("POST", "{base}x", "Content-Length: 2", body="ab", version="HTTP/1.0")),
    ], keeps=False)  # fmt: skip
    yield from passed("H-05", source, [
        ("1.0 that keeps alive", request("GET", "{base}x", "Connection: keep-alive", version="HTTP/1.0")),
    ])  # fmt: skip


def request_lines() -> Iterator[Case]:
    source = "RFC 9112 sections 2.2 and 3"
    good = get()
    yield from refused("H-10", source, [
        *((name, good.replace("GET ", start, 1)) for name, start in {
            "space first": " GET ", "tab first": "\tGET ", "two spaces": "GET  ", "tab": "GET\t", "vertical tab": "GET\x0b", "form feed": "GET\x0c",
            "no-break space": "GET\xa0", "method with a colon": "GE:T ", "method in brackets": "(GET) ", "method with a slash": "G/ET ", "method of high bytes": "G\xc9T ",
            "method in quotes": '"GET" ', "no method": " ", "method with an at": "GET@ ", "method with a comma": "GET,POST ", "BOM": "\xef\xbb\xbfGET ",
        }.items()),
        ("two spaces before the version", good.replace(" HTTP/1.1", "  HTTP/1.1")),
        ("tab before the version", good.replace(" HTTP/1.1", "\tHTTP/1.1")),
        ("space behind the version", good.replace("HTTP/1.1\r\n", "HTTP/1.1 \r\n")),
        ("tab behind the version", good.replace("HTTP/1.1\r\n", "HTTP/1.1\t\r\n")),
        ("another version in the target", get(target="/zq7 HTTP/1.0")), ("space before the target", get(target=" {base}zq7 b")),
        ("space in the target, no version", get(target="{base}zq7 b").replace(" HTTP/1.1", "", 1)),
        ("another request in the target", get(target="{base}zq7 HTTP/1.1 {base}smuggled")),
        ("only a version", "HTTP/1.1\r\n\r\n"), ("a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ("words", "zq7\r\n\r\n"),
        ("CR CR LF at the line's end", good.replace("HTTP/1.1\r\n", "HTTP/1.1\r\r\n")),
        ("LF before", "\n" + good), ("CR before", "\r" + good), ("space on a line before", " \r\n" + good), ("NUL before", "\x00" + good),
    ])  # fmt: skip
    yield from unclear("H-10", f"{source}, a target with a blank may be answered by a redirect and is not gone on with", [
        ("space in the target", get(target="{base}zq7 b")), ("spaces in the target", get(target="{base}zq7  b /c  d")),
        ("space in the query", get(target="{base}x?zq7 b")), ("space and a fragment", get(target="{base}x b#zq7")),
        ("space in the target of a POST", request("POST", "{base}zq7 b", "Content-Length: 3", body="abc")),
    ])  # fmt: skip
    yield from passed("H-10", f"{source}, empty lines before a request", [
        ("an empty line before", "\r\n" + good), ("two empty lines before", "\r\n\r\n" + good),
        *((f"method {method}", request(method, "{base}x", "Content-Length: 0")) for method in ("PUT", "PATCH", "PROPFIND", "M-SEARCH", "QUERY")),
    ])  # fmt: skip


def stray_bytes() -> Iterator[Case]:
    """Each control at each place where some parser takes it for a blank, an end, or nothing."""
    places = {
        "in the method": "GE{c}T {base}zq7 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "in the target": "GET {base}zq7{c}x HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "in the query": "GET {base}zq7?{c}x HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "in the version": "GET {base}zq7 HTTP/1.{c}1\r\nHost: {host}\r\n\r\n",
        "behind the version": "GET {base}zq7 HTTP/1.1{c}\r\nHost: {host}\r\n\r\n",
        "in a name": "GET {base}zq7 HTTP/1.1\r\nHost: {host}\r\nA{c}B: c\r\n\r\n",
        "before a name": "GET {base}zq7 HTTP/1.1\r\nHost: {host}\r\n{c}A: c\r\n\r\n",
        "before the colon": "GET {base}zq7 HTTP/1.1\r\nHost: {host}\r\nA{c}: c\r\n\r\n",
        "behind the colon": "GET {base}zq7 HTTP/1.1\r\nHost: {host}\r\nA:{c}c\r\n\r\n",
        "in a value": "GET {base}zq7 HTTP/1.1\r\nHost: {host}\r\nA: b{c}Gone: c\r\n\r\n",
        "behind a value": "GET {base}zq7 HTTP/1.1\r\nHost: {host}\r\nA: b{c}\r\n\r\n",
        "in the Host": "GET {base}zq7 HTTP/1.1\r\nHost: {host}{c}x\r\n\r\n",
    }
    controls = {"NUL": "\x00", "CR": "\r", "LF": "\n", "vertical tab": "\x0b", "escape": "\x1b", "DEL": "\x7f"}
    for place, raw in places.items():
        yield from refused("H-10", "RFC 9112 section 2.2, RFC 9110 section 5.5", [
            (f"{name} {place}", raw.replace("{c}", control) + SMUGGLED) for name, control in controls.items()
        ])  # fmt: skip


def fields() -> Iterator[Case]:
    source = "RFC 9112 section 5, RFC 9110 section 5.1"
    lines = (
        "A : zq7", "A\t: zq7", " A: zq7", "\tA: zq7", ": zq7", "A", "zq7", "A B: c", "A(: c", 'A": c', "A/: c", "A@: c", "[A]: c", "{A}: c", "A;: c", "A,: c",
        "A=: c", "A?: c", "A<: c", "A>: c", "A\\: c", "\xe9: c", "A\xa0: c", "\xc3\x84: c", "\xef\xbb\xbfA: c", "A: b\r\n c", "A: b\r\n\tc", "A:\r\n b", "A: b\r\n  ",
    )  # fmt: skip
    yield from refused("H-10", source, [(f"line {line!r}", get(line)) for line in lines])
    yield from refused("H-10", f"{source}.2, folding", [
        ("a fold before the first field", "GET {base}zq7 HTTP/1.1\r\n Host: {host}\r\nHost: {host}\r\n\r\n"),
        ("a length in a fold", post("A: b\r\n Content-Length: 5", body="12345")),
        ("a coding in a fold", post("A: b", "\tTransfer-Encoding: chunked", "Content-Length: 5", body=LAST)),
    ])  # fmt: skip
    yield from refused("H-10", "RFC 9112 section 2.2, line ends", [
        ("LF alone everywhere", "GET {base}zq7 HTTP/1.1\nHost: {host}\n\n" + SMUGGLED),
        ("LF alone between fields", "GET {base}zq7 HTTP/1.1\r\nA: b\nHost: {host}\r\n\r\n"),
        ("LF alone at the end", "GET {base}zq7 HTTP/1.1\r\nHost: {host}\r\n\n" + SMUGGLED),
        ("CR alone everywhere", "GET {base}zq7 HTTP/1.1\rHost: {host}\r\r" + SMUGGLED),
        ("CR CR LF", "GET {base}zq7 HTTP/1.1\r\r\nHost: {host}\r\r\n\r\r\n" + SMUGGLED),
        ("LF CR", "GET {base}zq7 HTTP/1.1\n\rHost: {host}\n\r\n\r" + SMUGGLED),
    ])  # fmt: skip
    yield from passed("H-10", source, [
        ("high bytes in a value", get("A: \x80\xff\xc3\xa9")), ("empty value", get("A:")), ("blank value", get("A: \t ")),
        ("colons in a value", get("A: b: c::")), ("no blank behind the colon", get("A:b")), ("tab in a value", get("A: b\tc")),
        ("name of all signs", get("!#$%&'*+-.^`|~9: b")), ("the same name twice", get("A: b", "a: c")),
    ])  # fmt: skip
    yield from passed("H-14", "names that gateways take for one another", [
        (f"underscore {line!r}", get(line))
        for line in ("X_Forwarded_For: gone", "Content_Length: gone", "_: gone", "Transfer_Encoding: gone", "HTTP_HOST: gone", "X-Forwarded_For: gone", "Remote_User: gone")
    ])  # fmt: skip
    yield from passed("H-14", "names that gateways take for one another", [
        ("a length with an underscore beside a length", post("Content-Length: 3", "Content_Length: 30", body="abc")),
        ("a coding with an underscore beside a length", post("Content-Length: 5", "Transfer_Encoding: chunked", body=LAST)),
    ])  # fmt: skip


def limits() -> Iterator[Case]:
    source = "RFC 9112 section 3, RFC 6585 section 5"
    many = "; ".join(f"c{number}={'x' * 900}" for number in range(30))
    yield from passed("H-04", source, [
        ("a target of nearly 8000 bytes", get(target="{base}" + "x" * 7900)),
        ("100 fields", get("{owner}", *(f"A{number}: b" for number in range(98)))),
        ("a head of nearly 16 KiB", get("A: " + "x" * 16_000)),
    ])  # fmt: skip
    yield from refused("H-04", source, [
        ("a target of more than 8000 bytes", get(target="{base}zq7" + "x" * 8000)),
        ("a target without end", "GET {base}zq7" + "x" * 40_000),
        ("101 fields", get("{owner}", *(f"A{number}: b" for number in range(99)))),
        ("fields without end", "GET {base}zq7 HTTP/1.1\r\n" + "A: b\r\n" * 10_000),
        ("a head of more than 16 KiB", get("A: " + "x" * 17_000)),
        ("a name of 17 KiB", get("A" * 17_000 + ": b")),
        ("a method of 17 KiB", request("G" * 17_000, "{base}x")),
        ("a field without end", "GET {base}zq7 HTTP/1.1\r\nA: " + "x" * 60_000),
        ("more cookies than a browser has", get("Cookie: " + many * 40)),
        ("empty lines without end, then a wrong one", "\r\n" * 2000 + " \r\n\r\n"),
    ])  # fmt: skip
    yield Case("H-04 own: a long head for our own page", source, get("A: " + "x" * 15_000, target="/health"), (OWN,))
    yield Case("H-04 own: a long target of our own", source, get(target="/api/stats?" + "x" * 7900), (OWN,))


# Framing


def lengths() -> Iterator[Case]:
    source = "RFC 9112 section 6.3, RFC 9110 section 8.6"
    values = (
        "+5", "-5", "-0", "0x5", "0b101", "0o5", "5_0", "5,5", "5, 5", "5,6", "5 5", "5;", "5.0", "5e0", "", " ", ",", ",5", "5,", "'5'", '"5"', "(5)", "NaN", "inf", "five", "5L", "5b",
        "\xd9\xa5", "\xef\xbc\x95", "\xb2", "\xa05", "5\xa0", "5\x85", "99999999999999999999", "18446744073709551621", "-18446744073709551611", "5\tx", "chunked", "0, 5", "5\r\n 5",
    )  # fmt: skip
    yield from refused(
        "H-08",
        source,
        [(f"length {value!r}", post(f"Content-Length: {value}", body="12345" + SMUGGLED)) for value in values],
    )
    yield from refused("H-08", source, [
        ("the same length twice", post("Content-Length: 5", "Content-Length: 5", body="12345")),
        ("two lengths", post("Content-Length: 5", "Content-Length: 0", body="12345" + SMUGGLED)),
        ("two lengths, the other first", post("Content-Length: 0", "Content-Length: 5", body="12345" + SMUGGLED)),
        ("two lengths, other case", post("Content-Length: 5", "content-LENGTH: 6", body="12345")),
        ("two lengths, apart", post("Content-Length: 5", "A: b", "Content-Length: 5", body="12345")),
        ("a length with a blank name's end", post("Content-Length : 5", body="12345" + SMUGGLED)),
        ("a length with a vertical tab", post("Content-Length\x0b: 5", body="12345" + SMUGGLED)),
        ("a length and one with a blank", post("Content-Length: 5", "Content-Length : 0", body="12345" + SMUGGLED)),
        ("a length on GET that is none", get("Content-Length: x")),
    ])  # fmt: skip
    yield from passed("H-08", source, [
        ("a length", post("Content-Length: 5", body="12345")), ("length 0", post("Content-Length: 0")),
        ("leading zeros, said anew", post("Content-Length: 0005", body="12345")), ("blanks around", post("Content-Length:\t5 ", body="12345")),
        ("other case", post("CONTENT-LENGTH: 5", body="12345")), ("a body that looks like a request", post("Content-Length: 3", body="GET")),
        ("GET with a body", request("GET", "{base}x", "Content-Length: 5", body="12345")),
        ("DELETE with a body", request("DELETE", "{base}x", "Content-Length: 5", body="12345")),
        ("OPTIONS with a body", request("OPTIONS", "{base}x", "Content-Length: 5", body="12345")),
        ("a name that is nearly a length", post("Content-Lengt: 50", "Content-Length: 5", body="12345")),
        ("HEAD without a body", request("HEAD", "{base}x")),
    ])  # fmt: skip
    in_body = f"Content-Length: {len('GET /user/0123456789abcdef/smuggled HTTP/1.1')}"
    yield from passed("H-08", "CL.0: a body is never the next request", [
        ("GET with a request for a body", request("GET", "{base}x", in_body, body="GET /user/0123456789abcdef/smuggled HTTP/1.1")),
        ("POST with a request for a body", post(in_body, body="GET /user/0123456789abcdef/smuggled HTTP/1.1")),
    ])  # fmt: skip
    yield Case("H-08 own: CL.0, our own page with a body", source,
        request("GET", "/health", "Content-Length: 34", body="GET /api/stats HTTP/1.1\r\nHost: h\r\n\r\n"[:34]), (OWN,))  # fmt: skip
    yield Case("H-08 own: CL.0, our own form with a body", source,
        request("POST", "/nowhere", "Content-Length: 5", body="12345"), (OWN,))  # fmt: skip
    yield Case("H-08: 0.CL, no length is no body", source, post() + get("{owner}"), (PASSED, PASSED))
    yield Case("H-08: a length that is not reached", source, post("Content-Length: 505", body="12345"), (WAITS,))
    yield from refused(
        "H-08", source, [("2^32 more than what comes", post("Content-Length: 4294967301", body="12345"))]
    )


WRONG_CODINGS = (
    "xchunked", "chunkedx", "chunke", "chu nked", '"chunked"', "'chunked'", "chunked, identity", "identity, chunked", "chunked,", ",chunked", ", chunked", "chunked, chunked",
    "chunked;q=1", "chunked; x", "gzip", "gzip, chunked", "chunked, gzip", "identity", "", " ", "cow", "chunked\x0b", "\x0bchunked", "\x0cchunked", "chunked\x00", "\x00chunked", "chunked\xa0",
    "\xa0chunked", "\x85chunked", "chun\xe2\x84\xaaed", "(chunked)", "chunked(", "\tchunked,", "chunked\r\n , identity", "\r\n chunked", "\r\n\tchunked", "deflate", "trailers", "0", "chunked\tx",
)  # fmt: skip


def codings() -> Iterator[Case]:
    source = "RFC 9112 sections 6.1 and 7"
    yield from refused(
        "H-07",
        source,
        [(f"coding {value!r}", post(f"Transfer-Encoding: {value}", body=LAST + SMUGGLED)) for value in WRONG_CODINGS],
    )
    yield from refused("H-06", f"TE.TE: {source}", [
        (f"coding {value!r} and a length", post(f"Transfer-Encoding: {value}", "Content-Length: 5", body=LAST + SMUGGLED))
        for value in ("chunked", *WRONG_CODINGS)
    ])  # fmt: skip
    names = (
        " Transfer-Encoding", "\tTransfer-Encoding", "Transfer-Encoding ", "Transfer-Encoding\t", "Transfer-Encoding\x0b", "Transfer-Encoding\x00", "Transfer-Encoding\xa0", "Transfer Encoding",
        "Transfer\x00-Encoding", "X: X\nTransfer-Encoding", "X: X\rTransfer-Encoding", "X: X\r\n\rTransfer-Encoding", "\x00Transfer-Encoding", "Tran\xc5\xbffer-Encoding", "Transfer\u2010Encoding".encode().decode("latin-1"),
        "Foo\r\n\r Transfer-Encoding", '"Transfer-Encoding"', "Transfer-Encoding;", "\xefTransfer-Encoding",
    )  # fmt: skip
    yield from refused("H-06", f"TE.TE: {source}", [
        (f"name {name!r} and a length", post("Content-Length: 5", f"{name}: chunked", body=LAST + SMUGGLED)) for name in names
    ])  # fmt: skip
    yield from refused("H-06", f"CL.TE and TE.CL: {source}, section 6.3", [
        ("a length, then chunks", post("Content-Length: 60", "Transfer-Encoding: chunked", body=LAST + SMUGGLED)),
        ("chunks, then a length", post("Transfer-Encoding: chunked", "Content-Length: 4", body="5c\r\n" + SMUGGLED + "\r\n" + LAST)),
        ("chunks and length 0", post("Transfer-Encoding: chunked", "Content-Length: 0", body=LAST)),
        ("chunks and the right length", post("Transfer-Encoding: chunked", "Content-Length: 5", body=LAST)),
        ("chunks between two lengths", post("Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 5", body=LAST)),
        ("chunks on GET and a length", request("GET", "{base}x", "Transfer-Encoding: chunked", "Content-Length: 5", body=LAST + SMUGGLED)),
        ("of our own page", request("POST", "/api/spawn", "Transfer-Encoding: chunked", "Content-Length: 5", body=LAST + SMUGGLED)),
    ])  # fmt: skip
    yield from refused("H-07", f"{source}, repeated", [
        (f"chunked and {other!r}, {order}", post(*lines[:: 1 if order == "first" else -1], body=LAST + SMUGGLED))
        for other in ("chunked", "identity", "", "gzip", "x")
        for lines in [[f"Transfer-Encoding: {other}", "transfer-encoding: chunked"]]
        for order in ("first", "last")
    ])  # fmt: skip
    yield from passed("H-07", source, [
        (f"coding {line!r}", post(line, body="3\r\nabc\r\n" + LAST))
        for line in ("Transfer-Encoding: chunked", "transfer-encoding: chunked", "TRANSFER-ENCODING: CHUNKED", "Transfer-Encoding:chunked", "Transfer-Encoding:\tChunked \t")
    ])  # fmt: skip
    yield from passed("H-07", "names that are nearly a coding are other names", [
        (f"{line!r} and a length", post("Content-Length: 5", line, body=LAST))
        for line in ("Transfer-Encodin: chunked", "X-Transfer-Encoding: chunked", "Transfer-Encoding-: chunked", "Content-Encoding: chunked", "TransferEncoding: chunked", "TE: gone")
    ])  # fmt: skip
    yield from passed(
        "H-07",
        source,
        [("GET with chunks", request("GET", "{base}x", "Transfer-Encoding: chunked", body="3\r\nabc\r\n" + LAST))],
    )


WRONG_CHUNKS = {
    "plus": "+5\r\nhello\r\n0\r\n\r\n", "minus": "-5\r\nhello\r\n0\r\n\r\n", "minus 0": "-0\r\n\r\n", "0x": "0x5\r\nhello\r\n0\r\n\r\n", "underscore": "0_5\r\nhello\r\n0\r\n\r\n",
    "space before": " 5\r\nhello\r\n0\r\n\r\n", "tab before": "\t5\r\nhello\r\n0\r\n\r\n", "space behind": "5 \r\nhello\r\n0\r\n\r\n", "tab behind": "5\t\r\nhello\r\n0\r\n\r\n",
    "no size": "\r\nhello\r\n0\r\n\r\n", "no digit": "g\r\nhello\r\n0\r\n\r\n", "digits and more": "5g\r\nhello\r\n0\r\n\r\n", "quotes": '"5"\r\nhello\r\n0\r\n\r\n', "decimal point": "5.0\r\nhello\r\n0\r\n\r\n",
    "digits of Unicode": "\xd9\xa5\r\nhello\r\n0\r\n\r\n", "h behind": "5h\r\nhello\r\n0\r\n\r\n", "2^64": "10000000000000000\r\nhello\r\n0\r\n\r\n", "2^64 + 5": "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "2^63": "8000000000000000\r\nhello\r\n", "2^32 + 5 with zeros": "0000000100000005x\r\nhello\r\n", "more than 2^40": "10000000001\r\nhello", "only zeros, many": "0" * 17 + "\r\n\r\n", "f without end": "f" * 2000,
    "LF behind the size": "5\nhello\r\n0\r\n\r\n", "CR behind the size": "5\rhello\r\n0\r\n\r\n", "CR CR LF behind the size": "5\r\r\nhello\r\n0\r\n\r\n", "NUL behind the size": "5\x00\r\nhello\r\n0\r\n\r\n",
    "LF behind the data": "5\r\nhello\n0\r\n\r\n", "CR behind the data": "5\r\nhello\r0\r\n\r\n", "nothing behind the data": "5\r\nhello0\r\n\r\n", "two bytes behind the data": "5\r\nhelloXX0\r\n\r\n",
    "data longer": "5\r\nhello!\r\n0\r\n\r\n", "data shorter": "6\r\nhello\r\n0\r\n\r\n", "space between": "5\r\nhello\r\n \r\n0\r\n\r\n", "empty line between": "5\r\nhello\r\n\r\n0\r\n\r\n",
    "LF in an extension": "5;a\nhello\r\n0\r\n\r\n", "CR in an extension": "5;a\rb\r\nhello\r\n0\r\n\r\n", "NUL in an extension": "5;a\x00\r\nhello\r\n0\r\n\r\n", "LF in a quoted extension": '5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "CR LF in a quoted extension": '5;a="\r\nhello"\r\nhello\r\n0\r\n\r\n', "an extension without a semicolon": "5 a=b\r\nhello\r\n0\r\n\r\n", "a comma": "5,a=b\r\nhello\r\n0\r\n\r\n", "an extension of 2 KiB": "5;" + "a" * 2048 + "\r\nhello\r\n0\r\n\r\n",
    "an extension without end": "5;" + "a" * 5000, "many extensions": "1;aaaaaaaaaaaaaaaa\r\nx\r\n" * 100 + "0\r\n\r\n", "LF behind the last chunk": "0\n\r\n", "LF for the last line": "0\r\n\n", "CR for the last line": "0\r\n\rX",
    "a trailer folded": "0\r\nA: b\r\n c\r\n\r\n", "a trailer without colon": "0\r\nzq7\r\n\r\n", "a trailer with a blank name's end": "0\r\nA : b\r\n\r\n", "a trailer with LF": "0\r\nA: b\nC: d\r\n\r\n",
    "a trailer with CR": "0\r\nA: b\rC: d\r\n\r\n", "a trailer with NUL": "0\r\nA: \x00\r\n\r\n", "a trailer of 2 KiB": "0\r\nA: " + "b" * 2048 + "\r\n\r\n", "trailers without end": "0\r\n" + "A: b\r\n" * 500, "a trailer of 9 KiB without end": "0\r\nA: " + "b" * 9000,
    "a request for a trailer": "0\r\nGET {base}smuggled HTTP/1.1\r\n\r\n", "vertical tab before": "\x0b5\r\nhello\r\n0\r\n\r\n", "vertical tab behind": "5\x0b\r\nhello\r\n0\r\n\r\n", "no-break space behind": "5\xa0\r\nhello\r\n0\r\n\r\n",
}  # fmt: skip

GOOD_CHUNKS = {
    "one": "5\r\nhello\r\n0\r\n\r\n", "none": "0\r\n\r\n", "two": "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "leading zeros": "0005\r\nhello\r\n000\r\n\r\n", "big letters": "A\r\n0123456789\r\n0\r\n\r\n", "small letters": "a\r\n0123456789\r\n0\r\n\r\n",
    "an extension": "5;a=b\r\nhello\r\n0;c\r\n\r\n", "blanks before an extension": "5 \t;a=b\r\nhello\r\n0\r\n\r\n", "a quoted extension": '5;a="b;c"\r\nhello\r\n0\r\n\r\n', "an empty extension": "5;\r\nhello\r\n0\r\n\r\n", "high bytes in an extension": "5;\xff\r\nhello\r\n0\r\n\r\n",
    "an open quote in an extension": '5;a="b\r\nhello\r\n0\r\n\r\n', "chunks inside a chunk": "f\r\n5\r\nhello\r\n0\r\n\r\n\r\n0\r\n\r\n", "CR LF for data": "2\r\n\r\n\r\n0\r\n\r\n",
    "a trailer": "0\r\nA: gone\r\n\r\n", "a length for a trailer": "0\r\nContent-Length: gone\r\n\r\n", "a Host for a trailer": "0\r\nHost: gone\r\n\r\n", "a cookie for a trailer": "0\r\nCookie: tmppool=gone\r\n\r\n", "a coding for a trailer": "0\r\nTransfer-Encoding: gone\r\n\r\n",
    "a token for a trailer": "0\r\nAuthorization: token gone\r\nX-Forwarded-For: gone\r\n\r\n", "an empty trailer": "0\r\nA:\r\n\r\n",
}  # fmt: skip


def chunks() -> Iterator[Case]:
    source = "RFC 9112 sections 7.1 to 7.1.2"
    chunked = "Transfer-Encoding: chunked"
    yield from refused(
        "H-09",
        source,
        [(name, post(chunked, body=body + SMUGGLED)) for name, body in WRONG_CHUNKS.items()],
        fault_in_body=True,
    )
    yield from passed(
        "H-11",
        f"{source}, framed anew and without trailers",
        [(name, post(chunked, body=body)) for name, body in GOOD_CHUNKS.items()],
    )
    yield Case(
        "H-11: a trailer that was announced",
        source,
        post(chunked, "Trailer: gone", "TE: gone", body="0\r\nA: gone\r\n\r\n"),
        (PASSED,),
    )
    yield Case("H-09: chunks without end", source, post(chunked, body="5\r\nhello\r\n"), (WAITS,))
    yield Case("H-09: chunks without the last line", source, post(chunked, body="5\r\nhello\r\n0\r\n"), (WAITS,))
    yield Case(
        "H-09 own: wrong chunks for our own page",
        source,
        request("POST", "/spawn", "Content-Type: application/x-www-form-urlencoded", chunked, body="x\r\n" + SMUGGLED),
        (REFUSED,),
        keeps=False,
        fault_in_body=True,
    )
    yield Case(
        "H-09 own: chunks for our own page",
        source,
        request("POST", "/nowhere", chunked, body="5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"),
        (OWN,),
    )


def pipelines() -> Iterator[Case]:
    source = "RFC 9112 section 9.3.2"
    bad = post("Content-Length: 5", "Transfer-Encoding: chunked", body=LAST)
    chunked = post("{owner}", "Transfer-Encoding: chunked", body="3\r\nabc\r\n" + LAST)
    own, theirs = get(target="/health"), get("{owner}")
    yield Case("H-12: what follows a refusal is never read", source, bad + SMUGGLED, (REFUSED,), keeps=False)
    yield Case("H-12: a refusal behind a request", source, get() + bad + SMUGGLED, (PASSED, REFUSED), keeps=False)
    yield Case("H-12: a refusal behind chunks", source, chunked + bad + SMUGGLED, (PASSED, REFUSED), keeps=False)
    yield Case("H-12: a refusal behind our own page", source, own + bad + SMUGGLED, (OWN, REFUSED), keeps=False)
    yield Case(
        "H-12: garbage behind a request", source, get() + "zq7\r\n\r\n" + SMUGGLED, (PASSED, REFUSED), keeps=False
    )
    yield Case(
        "H-12: garbage behind a length",
        source,
        post("Content-Length: 3", body="abcX\r\n\r\n") + SMUGGLED,
        (PASSED, REFUSED),
        keeps=False,
    )
    yield Case("H-12: garbage behind chunks", source, chunked + "X\r\n\r\n" + SMUGGLED, (PASSED, REFUSED), keeps=False)
    yield Case("H-12: requests in a row", source, theirs + chunked + theirs, (PASSED, PASSED, PASSED))
    yield Case("H-12: ours and theirs in a row", source, own + theirs + own + chunked, (OWN, PASSED, OWN, PASSED))
    yield Case("H-12: an empty line between", source, theirs + "\r\n" + theirs, (PASSED, PASSED))
    yield Case(
        "H-12: nothing after a close",
        "RFC 9112 section 9.6",
        get("Connection: close") + SMUGGLED,
        (PASSED,),
        keeps=False,
    )
    yield Case(
        "H-12: nothing after a close among others",
        source,
        get("Connection: a, CLOSE ,b") + SMUGGLED,
        (PASSED,),
        keeps=False,
    )
    yield Case(
        "H-12: nothing after a close of our own",
        source,
        get("Connection: close", target="/health") + SMUGGLED,
        (OWN,),
        keeps=False,
    )


# Fields with a meaning for proxies


def hop_by_hop() -> Iterator[Case]:
    source = "RFC 9110 section 7.6.1"
    yield from passed("H-15", f"{source}, GHSA-62c8-mh53-4cqv", [
        (f"Connection names {name}", get(f"Connection: {name}", f"{name}: gone"))
        for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Authorization", "A", "Forwarded", "Transfer-Encodin", "x-SCHEME")
    ])  # fmt: skip
    yield from passed("H-15", source, [
        ("Connection names the Host", get("Connection: Host")),
        ("Connection names the length", post("Connection: Content-Length", "Content-Length: 5", body="12345")),
        ("Connection names the coding", post("Connection: Transfer-Encoding", "Transfer-Encoding: chunked", body="3\r\nabc\r\n" + LAST)),
        ("Connection names the cookies", get("Connection: Cookie", "Cookie: a=b; tmppool=gone")),
        ("Connection names much", get("Connection: , a ,,\tB,keep-alive", "A: gone", "b: gone")),
        ("two Connections", get("Connection: a", "connection: b", "A: gone", "B: gone")),
        ("Connection names itself", get("Connection: connection, gone")),
        ("an empty Connection", get("Connection:")),
        ("a Connection that is no list", get('Connection: "a", b=c; gone')),
    ])  # fmt: skip
    yield from passed("H-16", source, [
        (line, get(line))
        for line in ("Keep-Alive: gone", "Proxy-Connection: gone", "Proxy-Authorization: gone", "Proxy-Authenticate: gone", "TE: trailers, gone", "Trailer: gone", "Upgrade: gone", "Proxy: gone")
    ])  # fmt: skip
    websocket = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    yield from passed(
        "H-17",
        "RFC 6455 section 4.1",
        [
            ("a handshake", get(*websocket)),
            ("a handshake in other case", get("connection: keep-alive, UPGRADE", "UPGRADE: WebSocket", *websocket[2:])),
        ],
    )
    yield from passed("H-17", "RFC 9110 section 7.8: other upgrades are taken no notice of", [
        ("h2c", get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: gone")),
        ("h2c without Connection", get("Upgrade: h2c")), ("TLS", get("Connection: Upgrade", "Upgrade: TLS/1.0")),
        ("h2c and websocket", get("Connection: Upgrade", "Upgrade: h2c, websocket")), ("websocket/13", get("Connection: Upgrade", "Upgrade: websocket/13")),
        ("an upgrade without Connection", get("Upgrade: websocket")), ("an upgrade with another Connection", get("Connection: keep-alive", "Upgrade: websocket")),
        ("an empty upgrade", get("Connection: Upgrade", "Upgrade:")), ("a Connection without upgrade", get("Connection: Upgrade")),
        ("h2c with a body", post("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3", body="abc")),
    ])  # fmt: skip
    yield from refused("H-17", "RFC 6455 section 4.2.1", [
        ("two upgrades", get("Connection: Upgrade", "Upgrade: websocket", "Upgrade: websocket")),
        ("POST", request("POST", "{base}x", "Content-Length: 0", *websocket)), ("1.0", request("GET", "{base}x", *websocket, version="HTTP/1.0")),
        ("with a body", request("GET", "{base}x", "Content-Length: 3", *websocket, body="abc")), ("with chunks", request("GET", "{base}x", "Transfer-Encoding: chunked", *websocket, body=LAST)),
        ("no version", get(*websocket[:2], websocket[3])), ("version 8", get(*websocket[:2], "Sec-WebSocket-Version: 8", websocket[3])), ("version 013", get(*websocket[:2], "Sec-WebSocket-Version: 013", websocket[3])),
        ("two versions", get(*websocket, "Sec-WebSocket-Version: 13")), ("no key", get(*websocket[:3])), ("empty key", get(*websocket[:3], "Sec-WebSocket-Key:")),
        ("short key", get(*websocket[:3], "Sec-WebSocket-Key: dGhl")), ("long key", get(*websocket[:3], "Sec-WebSocket-Key: " + "YWFh" * 8)), ("key of other signs", get(*websocket[:3], "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ-==")),
        ("two keys", get(*websocket, websocket[3])),
    ])  # fmt: skip
    yield Case(
        "H-17 own: an upgrade of our own page",
        source,
        get(*websocket, target="/health") + get(target="/api/stats"),
        (OWN, OWN),
    )
    yield Case(
        "H-17 own: h2c of our own page",
        source,
        get("Connection: Upgrade", "Upgrade: h2c", target="/health") + get(target="/api/stats"),
        (OWN, OWN),
    )
    yield Case(
        "H-17 own: a handshake to no notebook",
        source,
        get(*websocket, target="/user/0123456789abcdef/x") + get(target="/health"),
        (OWN, OWN),
    )
    yield from refused("H-19", "RFC 9110 section 10.1.1", [
        (f"Expect {value!r}", post(f"Expect: {value}", "Content-Length: 0"))
        for value in ("", "200-ok", "100", "100-continue, 100-continue", "100-continue;x", '"100-continue"', "100-continue=zq7", "100_continue", "zq7")
    ])  # fmt: skip
    yield from refused(
        "H-19",
        "RFC 9110 section 10.1.1",
        [("Expect twice", post("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 0"))],
    )
    yield from passed("H-19", "RFC 9110 section 10.1.1", [
        ("100-continue", post("Expect: 100-continue", "Content-Length: 3", body="abc")), ("100-continue in other case", post("Expect: 100-Continue", "Content-Length: 3", body="abc")),
        ("100-continue without a body", get("Expect: 100-continue")), ("100-continue with chunks", post("Expect: 100-continue", "Transfer-Encoding: chunked", body=LAST)),
    ])  # fmt: skip
    yield Case(
        "H-19 own: 100-continue to our own page",
        source,
        request("POST", "/nowhere", "Expect: 100-continue", "Content-Length: 3", body="abc"),
        (OWN,),
    )
    yield from refused("H-20", "RFC 9110 section 7.6.3", [("a loop", get("Via: 1.1 {via}")), ("a loop among others", get("Via: 2 a, 1.1 {via} (b), 1.1 c")), ("a loop in the second line", get("Via: 1.1 a", "via: HTTP/1.1 {via}")),
        ("a loop of our own page", get("Via: 1.1 {via}", target="/health"))])  # fmt: skip
    yield from passed("H-20", "RFC 9110 section 7.6.3", [("another proxy", get("Via: 1.1 nginx, 1.1 tmppool-other"))])


def identities() -> Iterator[Case]:
    names = (
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Ssl", "X-Forwarded-Client-Cert", "X-FORWARDED-FOR",
        "X-Real-IP", "X-Scheme", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Host", "X-Host", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Cluster-Client-IP",
        "Front-End-Https", "Remote-User", "X-Remote-User",
    )  # fmt: skip
    yield from passed(
        "H-21", "who a visitor is the proxy says", [(f"{name} of the visitor", get(f"{name}: gone")) for name in names]
    )
    yield from passed(
        "H-21",
        "who a visitor is the proxy says",
        [("Authorization for Jupyter", get("Authorization: gone", target="{base}api/zq7"))],
    )
    yield from passed(
        "H-21", "who a visitor is the proxy says", [("X-Forwarded-For thrice", get(*["X-Forwarded-For: gone"] * 3))]
    )
    yield from refused(
        "H-21", "one token at most", [("two Authorizations", get("Authorization: a", "Authorization: b"))]
    )
    cookies = ("tmppool=gone", "__Host-tmppool=gone", "__Secure-tmppool=gone", "tmppool-0123456789abcdef=gone", "__Host-tmppool-0123456789abcdef=gone", "a=b; tmppool=gone; c=d", "a=b;tmppool=gone", "  tmppool  =gone", 'a="b; tmppool=gone; c"',
               '"tmppool"=gone', "tmppool", "$Version=1; tmppool=gone; $Path=/", ";;tmppool=gone;;", "a=b; tmppool=gone; tmppool=gone")  # fmt: skip
    yield from passed(
        "3.4-2",
        "our cookies are no business of a notebook",
        [(f"Cookie {value!r}", get(f"Cookie: {value}")) for value in cookies],
    )
    yield from passed(
        "3.4-2",
        "our cookies are no business of a notebook",
        [("two Cookie lines", get("Cookie: a=b", "cookie: tmppool=gone; c=d"))],
    )
    yield from refused("3.4-7", "Service Workers section 4.5", [
        (f"a service worker at {target}", get("Service-Worker: script", target=target)) for target in ("/static/session.js", "/sw.js", "/user/0123456789abcdef/sw.js", "/health", "{base}sw.js", "{base}lab/sw.js")
    ])  # fmt: skip
    yield from passed(
        "3.4-7",
        "Service Workers section 4.5",
        [("a service worker of an app", get("Service-Worker: script", target="{base}proxy/8080/sw.js"))],
    )


# Paths


def paths() -> Iterator[Case]:
    source = "RFC 3986 sections 2.1, 3.3 and 5.2.4"
    yield from passed("H-23", f"{source}, byte for byte", [
        (f"path {path}", get(target="{base}" + path))
        for path in ("", "a%2Fb", "a%2fb%2Fc", "a%252Fb", "a//b", "a;b=c/d", "...", ".a", "a..b", "%7Ea", "caf%C3%A9", "%E2%80%AE", "a%20b+c", "a%0d%0ab", "~!$&'()*,=:@-._", "a|b^c`d{e}", '"<>', "a%5cb", "%5C", "a%5C%5Cb%5C", "a%5C.b", "..%5b", "a..%5Cb", ".....", "a.", "a..", "a. ".replace(" ", "%20"), "e%CC%81", "%F0%9F%90%8D", "%0A", "%09", "a#b".replace("#", "%23"), "50%25", "a+b&c;d", "'a'", "%F0%9F%90%8D" * 63, "~", "%EF%BC%8F..", "[a]", "a?b", "a?b?c", "?", "a?../..", "a?%zz", "a?\\", "a?%00", "a?//", "a%3Fb%23c", "a%25%32%46b")
    ])  # fmt: skip
    wrong = (
        "../x", "./x", "a/../x", "a/./b", "..", ".", "a/..", "%2e%2e/x", "%2E%2E/x", ".%2e/x", "%2e./x", "a/%2e/b", "%2e", "..%2fx", "%2e%2e%2fx", "a%2f..%2fb", "a%2F%2e%2e", "..;/x", ".;a/x", "%2e%2e;a=b/x",
        "a\\b", "..\\x", "a%5C..%5Cx", "..%5cx", "a%5c..", "..%5C..%5Cx", ".%5Cx", "a/..%5c/b", "%2e%2e%5C", "a%2f..%5C..%2Fb", "a%5C.;b", "%00", "a%00.ipynb", "%", "%2", "%zz", "%u002e", "%%32%65", "%-1", "%+1", "% 1",
    )  # fmt: skip
    yield from unclear("H-24", source, [(f"path {path!r}", get(target="{base}" + path)) for path in wrong])
    yield from unclear(
        "H-24",
        source,
        [(f"POST {path!r}", request("POST", "{base}" + path, "Content-Length: 3", body="abc")) for path in wrong[::5]],
    )
    yield from unclear("H-24", source, [
        (f"target {target!r}", get(target=target))
        for target in ("//user/{key}/x", "///user/{key}/x", "//zq7.example/user/{key}/x", "/./user/{key}/x", "/x/../user/{key}/x", "/%2e/user/{key}/x", "/user/./{key}/x", "/user/../user/{key}/x", "/user\\{key}/x", "/user/{key}/\xe9", "/user/{key}/\xc3\xa9", "/user/{key}/\x80", "/%00/user/{key}/x", "/%c0%ae%c0%ae/%")
    ])  # fmt: skip
    yield from refused("H-24", source, [("target with a backslash before", get(target="\\user/{key}/x"))])
    yield from unclear("H-24", "RFC 9112 section 3.2, URL Standard: what a browser would have sent", [
        (f"navigation to {target!r}", get("Accept: text/html", target=target))
        for target in ("//user/{key}/x", "///user/{key}/x", "{base}zq7 b", "{base}100%", "{base}100%.ipynb", "{base}50%%", "{base}caf\xc3\xa9", "{base}x?q=\xc3\xa9 \xf0\x9f\x90\x8d", "{base}%%32%65", "//zq7.example/x", "//zq7 b%/\xc3\xa9", "{base}%u00")
    ], what=MOVED)  # fmt: skip
    yield from unclear("H-24", "nobody can say what it means", [
        (f"navigation to {target!r}", get("Accept: text/html", target=target))
        for target in ("//{host}/../x", "{base}a\\b", "/\\zq7.example/", "//\\zq7.example", "{base}%00", "{base}..%2f", "{base}..%5C", "{base}caf\xe9", "{base}a#zq7", "{base}%u0041", "{base}100%/../x", "///..", "{base}\xed\xa0\x80")
    ])  # fmt: skip
    yield from (
        Case(f"H-23 no place: {target}", "a key has one spelling", get(target=target), (NO_PLACE,))
        for target in ("/user%2f{key}/x", "/user%5c{key}/x", "/%5cuser/{key}/x", "/%75ser/{key}/x", "/user/{key}%2fx", "/user/{key}%00/x", "/user/%{key}/x", "/user/{key}x/x", "/user/{key};a/x", "/user/{key}%20/x", "/USER/{key}/x", "/user//{key}/x", "/user/{key},/x", "/x/user/{key}/x", "/user/{key}./x", "/user/x/{key}/x", "/user/%41bcdefghijklmnop/x", "/user/", "/user/x/")
    )  # fmt: skip
    yield Case("H-23 own: a key without a slash", source, get(target="/user/{key}"), (OWN,))
    yield Case("H-23 own: a key with a query", source, get(target="/user/{key}?x"), (OWN,))
    yield from (
        Case(f"H-25 no 500: {target}", "malformed escapes are the visitor's mistake", get(target=target), (NO_PLACE,))
        for target in ("/%", "/%zz", "/static/%", "/static/%ff", "/static/%c3%28", "/api/session/%ff", "/api/session/%e0%80%80", "/api/%ff", "/%f0%28%8c%28", "/static/%2e%2e%2fpages.py", "/static/..%2f..%2fapp.py", "/static/%252e%252e%252fapp.py", "/api/session/a%0d%0ab", "/[", "/user/[x]/", "/{x}", "/api/session/" + "x" * 5000)
    )  # fmt: skip
    yield from (
        Case(f"H-27 own: {target}", "no answer repeats what was asked", get(target=target), (NO_PLACE,))
        for target in ("/zq7", "/zq7<script>", "/static/zq7", "/api/zq7", "/zq7?<script>zq7</script>", "/zq7%0d%0aSet-Cookie:%20zq7")
    )  # fmt: skip
    admin = ("/api/pool", "/api/notebooks", "/api/notebooks/{key}", "/metrics")
    spellings = ("{p}", "{p}/", "/{p}", "{p}?", "{p}?token=x", "{p};x", "{p}%20", "{p}%00", "{p}%2f", "{p}/.", "/x/..{p}", "/.{p}", "/%2e{p}", "{p}#", "/user/..{p}", "/%2f{p}", "{p}.json", "{p}%3f", "{p}%23", "/static/..{p}", "{p}//", "/x{p}")  # fmt: skip
    yield from (
        Case(f"admin no place: {method} {spelling.replace('{p}', path)}", "the operators' listener is another", request(method, spelling.replace("{p}", path)), (NO_PLACE,))
        for path in admin for spelling in spellings for method in (["DELETE"] if path.startswith("/api") and spelling == "{p}" else ["GET"])
    )  # fmt: skip
    yield from (
        Case(f"admin no place: {target}", "the operators' listener is another", get(target=target), (NO_PLACE,))
        for target in ("/API/POOL", "/api%2fpool", "/%61pi/pool", "/api/%70ool", "/api/poo%6c", "/%6detrics", "/metric%73", "/Metrics", "/api/pool%0a", "/api\\pool", "/api/notebooks%2f{key}", "/%2561pi/pool")
    )  # fmt: skip
    yield from (
        Case(f"admin no place: {line}", "the operators' listener is another", get(line, target="/metrics"), (NO_PLACE,))
        for line in ("Host: localhost", "X-Original-URL: /metrics", "X-Rewrite-URL: /api/pool", "X-Forwarded-For: 127.0.0.1", "Authorization: token x")
    )  # fmt: skip


CASES = [
    case
    for family in (targets, hosts, versions, request_lines, stray_bytes, fields, limits, lengths, codings, chunks, pipelines, hop_by_hop, identities, paths)
    for case in family()
]  # fmt: skip
