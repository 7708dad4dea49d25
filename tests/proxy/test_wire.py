"""HTTP/1 on the wire: one grammar, and nothing that could be read in two ways."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy import wire
from tmppool.proxy.faults import Fault
from tmppool.proxy.wire import CHUNKED, UNTIL_CLOSE, BadMessageError, parse_request, parse_response

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def head(start: str, *lines: str) -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


def get(*lines: str) -> bytes:
    return head("GET / HTTP/1.1", "Host: h", *lines)


# Requests


@pytest.mark.parametrize("method", ["GET", "get", "M-SEARCH", "!#$%&'*+-.^_`|~9"])
@pytest.mark.parametrize("target", ["/", "/a?b", "/http://h/", "/a//", '/"<>^`{|}', "/x?%zz\\"])
@pytest.mark.parametrize("minor", [0, 1])
def test_a_request_line_is_read(method: str, target: str, minor: int) -> None:
    request = parse_request(head(f"{method} {target} HTTP/1.{minor}", "Host: h"))
    assert (request.method, request.target, request.minor) == (method.encode(), target, minor)
    assert request.length == 0


def test_only_options_asks_about_no_address_at_all() -> None:
    assert parse_request(head("OPTIONS * HTTP/1.1", "Host: h")).target == "*"


@pytest.mark.parametrize(
    "start",
    [
        "GET * HTTP/1.1", "GET http://i/ HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT http://h/ HTTP/1.1", "CONNECT /a b HTTP/1.1", "CONNECT h:443 HTTP/1.1", "GET h/ HTTP/1.1", "GET ?x HTTP/1.1", "OPTIONS *x HTTP/1.1",
        "", "GET", "GET /", "GET / ", "GET / HTTP/1", "GET / HTTP/1.2", "GET / HTTP/1.10", "GET / HTTP/2.0", "GET / http/1.1",
        "GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET\t/ HTTP/1.1", "GET /a HTTP/1.1 HTTP/1.1", "GET /a HTTP/1.0 /b HTTP/1.1", "GET b /a HTTP/1.1", "GET /a\tb HTTP/1.1",
        "GET # HTTP/1.1", "GET /\x00 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET http://h/\xe9 HTTP/1.1", "GET /\n HTTP/1.1",
        "G(ET / HTTP/1.1", "G\xe9T / HTTP/1.1", "GET  HTTP/1.1", "GET / HTTP/\u0661.1".encode().decode("latin-1"),
    ],
)  # fmt: skip
def test_what_is_no_request_line_is_refused(start: str) -> None:
    with pytest.raises(BadMessageError):
        parse_request(head(start, "Host: h"))


@pytest.mark.parametrize(
    ("start", "correction"),
    [
        ("GET //h/x HTTP/1.1", "/h/x"),
        ("HEAD /100%?y HTTP/1.1", "/100%25?y"),
        ("GET /a b HTTP/1.0", "/a%20b"),
        ("GET /\u00c3\u00a9 HTTP/1.1", "/%C3%A9"),
        ("GET /\u00e9 HTTP/1.1", ""),
        ("GET /# HTTP/1.1", ""),
        ("GET /a\\b HTTP/1.1", ""),
        ("POST //h/x HTTP/1.1", ""),
        ("PUT /a b HTTP/1.1", ""),
        ("OPTIONS /%zz HTTP/1.1", ""),
    ],
)
def test_a_path_that_is_refused_is_a_request_for_none_and_the_last_one(start: str, correction: str) -> None:
    request = parse_request(head(start, "Host: h", "Connection: keep-alive"))
    assert (request.target, request.correction, request.keeps_alive) == ("/", correction, False)


def test_a_path_that_is_taken_needs_no_correction() -> None:
    assert parse_request(get()).correction is None


FIELD_LINES = {
    "A: b": ("a", b"b"),
    "A:b": ("a", b"b"),
    "A:": ("a", b""),
    "A:  \t b c \t ": ("a", b"b c"),
    "A: b: c": ("a", b"b: c"),
    "A: \xe9\x80\xff": ("a", b"\xe9\x80\xff"),
    "!#$%&'*+-.^_`|~9: b": ("!#$%&'*+-.^_`|~9", b"b"),
}


@pytest.mark.parametrize(("line", "found"), FIELD_LINES.items(), ids=FIELD_LINES.keys())
def test_a_field_is_read(line: str, found: tuple[str, bytes]) -> None:
    fields = parse_request(get(line)).fields
    assert fields.lines[1] == (found[0].encode(), line.encode("latin-1"))
    assert fields.first[found[0].encode()] == found[1]


@pytest.mark.parametrize(
    "line", ["A : b", " A: b", "A", ": b", "", "A\t: b", "A(: b", "\xe9: b", "A: \x00", "A: \x0b", "A: \x7f", "A: b\rC: d", "A: b\nC: d", "A: b\n", "A: b\r", "\r\nA: b"]
)  # fmt: skip
def test_what_is_no_field_is_refused(line: str) -> None:
    with pytest.raises(BadMessageError):
        parse_request(get(line))


@pytest.mark.parametrize(
    "raw", [b"", b"\r\n\r\n", get()[:-2], get() + b"x", get() + get(), get().replace(b"\r\n", b"\n"), b"\r\n" + get()]
)
def test_what_is_not_one_whole_head_is_refused(raw: bytes) -> None:
    with pytest.raises(BadMessageError):
        parse_request(raw)


def test_a_host_is_asked_for_in_1_1_only() -> None:
    with pytest.raises(BadMessageError):
        parse_request(head("GET / HTTP/1.1"))
    assert parse_request(head("GET / HTTP/1.0")).minor == 0


@pytest.mark.parametrize(
    "name",
    ["Host", "Content-Length", "Transfer-Encoding", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Authorization", "Origin", "Expect"],
)  # fmt: skip
def test_what_may_come_once_may_not_come_twice(name: str) -> None:
    value = {"Content-Length": "1", "Transfer-Encoding": "chunked", "Expect": "100-continue"}.get(name, "h")
    lines = [f"{name}: {value}", f"{name.upper()}: {value}"]
    assert parse_request(head("POST / HTTP/1.1", *(["Host: h"] if name != "Host" else []), lines[0]))
    with pytest.raises(BadMessageError):
        parse_request(head("POST / HTTP/1.1", *(["Host: h"] if name != "Host" else []), *lines))


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (head("GET /" + "x" * 8000 + " HTTP/1.1", "Host: h"), Fault.TARGET_TOO_LONG),
        (get(*["A: b"] * wire.MAX_FIELDS), Fault.HEAD_TOO_LONG),
        (get("Expect: more"), Fault.UNKNOWN_EXPECTATION),
        (get("Expect: 100-continue, 100-continue"), Fault.UNKNOWN_EXPECTATION),
        (get("Content-Length: x"), Fault.MALFORMED_HEAD),
    ],
)
def test_a_refusal_names_its_fault(raw: bytes, fault: Fault) -> None:
    with pytest.raises(BadMessageError) as error:
        parse_request(raw)
    assert error.value.fault is fault


def test_the_limits_are_reached_without_refusal() -> None:
    assert len(parse_request(head("GET /" + "x" * 7999 + " HTTP/1.1", "Host: h")).target) == 8000
    assert len(parse_request(get(*["A: b"] * (wire.MAX_FIELDS - 1))).fields.lines) == wire.MAX_FIELDS


FRAMINGS = {
    "Content-Length: 0": 0,
    "Content-Length: 12": 12,
    "Content-Length: 00012": 12,
    "Content-Length: 999999999999999999": 999_999_999_999_999_999,
    "Content-Length:\t7 ": 7,
    "Transfer-Encoding: chunked": CHUNKED,
    "transfer-encoding: CHUNKED ": CHUNKED,
}


@pytest.mark.parametrize(("line", "length"), FRAMINGS.items(), ids=FRAMINGS.keys())
def test_a_framing_is_understood(line: str, length: int) -> None:
    assert parse_request(get(line)).length == length
    assert parse_response(head("HTTP/1.1 200 OK", line)).length == length


WRONG_FRAMINGS = [
    ["Content-Length: "], ["Content-Length: +1"], ["Content-Length: -0"], ["Content-Length: 0x1"], ["Content-Length: 1,1"],
    ["Content-Length: 1 1"], ["Content-Length: 1_0"], ["Content-Length: 1.0"], ["Content-Length: \xb2"],
    ["Content-Length: " + "9" * 19], ["Content-Length: 1", "Content-Length: 1"], ["Content-Length: 1", "content-length: 2"],
    ["Transfer-Encoding: chunked", "Content-Length: 1"], ["Content-Length: 1", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: "], ["Transfer-Encoding: identity"], ["Transfer-Encoding: gzip, chunked"],
    ["Transfer-Encoding: chunked, chunked"], ["Transfer-Encoding: xchunked"], ["Transfer-Encoding: chunked;x"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], ['Transfer-Encoding: "chunked"'],
]  # fmt: skip


@pytest.mark.parametrize("lines", WRONG_FRAMINGS, ids=" and ".join)
def test_a_framing_of_two_meanings_is_refused(lines: list[str]) -> None:
    with pytest.raises(BadMessageError):
        parse_request(get(*lines))
    with pytest.raises(BadMessageError):
        parse_response(head("HTTP/1.1 200 OK", *lines))


def test_there_are_no_chunks_in_1_0() -> None:
    with pytest.raises(BadMessageError):
        parse_request(head("POST / HTTP/1.0", "Transfer-Encoding: chunked"))
    with pytest.raises(BadMessageError):
        parse_response(head("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"))


@pytest.mark.parametrize(
    ("minor", "line", "keeps"),
    [
        (1, None, True), (1, "close", False), (1, "Close", False), (1, "a, CLOSE ,b", False), (1, "keep-alive", True),
        (1, "closed", True), (0, None, False), (0, "keep-alive", True), (0, "a,Keep-Alive", True), (0, "x", False),
    ],
)  # fmt: skip
def test_who_keeps_the_connection_open(minor: int, line: str | None, keeps: bool) -> None:  # noqa: FBT001
    lines = ["Host: h", "Content-Length: 0", *([f"Connection: {line}"] if line else [])]
    assert parse_request(head(f"GET / HTTP/1.{minor}", *lines)).keeps_alive is keeps
    assert parse_response(head(f"HTTP/1.{minor} 200 OK", *lines[1:])).keeps_alive is keeps


def test_a_word_of_a_list_is_found_in_any_of_its_lines() -> None:
    fields = parse_request(get("Connection: a , B", "Connection: Upgrade", "X: c")).fields
    assert [word in fields.elements(b"connection") for word in (b"a", b"b", b"upgrade", b"c", b"a , b")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_list_has_a_hundred_elements_and_the_rest() -> None:
    """However many fields it is in: what is asked of a list is asked of each element."""
    for lines in (["Connection: " + ",".join(["a"] * 200) + ",b"], ["Connection: a", "Connection: a,a"] * 40):
        found = parse_request(get(*lines)).fields.elements(b"connection")
        assert (len(found), set(found[:100])) == (101, {b"a"})
        assert found[100].startswith(b"a,a,a")


def test_fields_as_text_are_what_aiohttp_would_read() -> None:
    text = parse_request(get("A:  b ", "a: c", "B: \xff")).fields.text()
    assert text.getall("A") == ["b", "c"]
    assert text["b"].encode("utf-8", "surrogateescape") == b"\xff"


# Responses


@pytest.mark.parametrize(
    ("start", "status", "reason"),
    [
        ("HTTP/1.1 200 OK", 200, b"OK"), ("HTTP/1.0 404 Not  Found ", 404, b"Not  Found "), ("HTTP/1.1 200 ", 200, b""),
        ("HTTP/1.1 200", 200, b""), ("HTTP/1.1 101 \xe9", 101, b"\xe9"), ("HTTP/1.1 999 x", 999, b"x"),
    ],
)  # fmt: skip
def test_a_status_line_is_read(start: str, status: int, reason: bytes) -> None:
    response = parse_response(head(start))
    assert (response.status, response.reason, response.length) == (status, reason, UNTIL_CLOSE)
    assert not response.keeps_alive


@pytest.mark.parametrize(
    "start",
    ["", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1 020 X", "HTTP/1.1 2x0", "HTTP/1.1  200", "HTTP/2 200 OK",
     "HTTP/1.2 200 OK", "http/1.1 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK", "200 OK", "GET / HTTP/1.1"],
)  # fmt: skip
def test_what_is_no_status_line_is_refused(start: str) -> None:
    with pytest.raises(BadMessageError):
        parse_response(head(start))


FAULTS = {
    None,
    Fault.MALFORMED_HEAD,
    Fault.TARGET_TOO_LONG,
    Fault.UNKNOWN_EXPECTATION,
    Fault.HEAD_TOO_LONG,
}


def verdict(read: Callable[[bytes], object], data: bytes) -> Fault | None:
    """Return the fault of the refusal, None for none."""
    try:
        read(data)
    except BadMessageError as error:
        return error.fault
    return None


@given(st.binary(max_size=300))
def test_no_bytes_make_the_readers_fail_in_another_way(raw: bytes) -> None:
    for reader in (parse_request, parse_response):
        for data in (
            raw,
            raw + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\n" + raw + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n\r\n",
        ):
            assert verdict(reader, data) in FAULTS


names = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12).filter(
    lambda name: name.lower().encode() not in {*wire._ONCE, b"connection"}
)
values = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20)


@given(st.lists(st.tuples(names, values), max_size=8))
def test_what_is_read_can_be_written_again_byte_for_byte(pairs: list[tuple[str, str]]) -> None:
    raw = get(*(f"{name}:{value}" for name, value in pairs))
    assert b"\r\n".join([b"GET / HTTP/1.1", *(line for _, line in parse_request(raw).fields.lines), b"", b""]) == raw


# Dates


def test_the_date_is_one_that_http_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.time, "time", lambda: 784111777.9)
    assert wire.date_line() == b"Date: Sun, 06 Nov 1994 08:49:37 GMT"
    monkeypatch.setattr(wire.time, "time", lambda: 784111778.0)
    assert wire.date_line() == b"Date: Sun, 06 Nov 1994 08:49:38 GMT"


def test_the_values_of_a_field_come_in_their_order_without_their_blanks() -> None:
    fields = parse_request(get("Cookie: a=1", "Set: x", "COOKIE:b=2", "cookie:", "Cookie-Jar: c")).fields
    assert fields.values(b"cookie") == [b"a=1", b"b=2", b""]
    assert fields.values(b"absent") == []


@pytest.mark.parametrize(
    ("method", "is_safe"),
    [("GET", True), ("HEAD", True), ("OPTIONS", True), ("TRACE", False), ("get", False), ("POST", False)],
)
def test_a_safe_method_changes_nothing(method: str, is_safe: bool) -> None:  # noqa: FBT001
    assert parse_request(head(f"{method} / HTTP/1.1", "Host: h")).is_safe is is_safe


@pytest.mark.parametrize(
    ("minor", "lines", "expects"),
    [
        (1, ["Expect: 100-continue", "Content-Length: 1"], True),
        (1, ["expect: 100-Continue", "Transfer-Encoding: chunked"], True),
        (1, ["Expect: 100-continue", "Content-Length: 0"], False),
        (1, ["Expect: 100-continue"], False),
        (1, ["Content-Length: 1"], False),
        (0, ["Expect: 100-continue", "Content-Length: 1"], False),
    ],
)
def test_who_waits_with_a_body_until_told_to_go_on(minor: int, lines: list[str], expects: bool) -> None:  # noqa: FBT001
    assert parse_request(head(f"POST / HTTP/1.{minor}", "Host: h", *lines)).expects_continue is expects
