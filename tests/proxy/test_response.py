"""Responses on their way: every framing in, every framing out, and nothing that is broken off is complete."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy.body import UNLIMITED, Allowance
from tmppool.proxy.faults import Fault
from tmppool.proxy.response import ResponseReader, ResponseWriter
from tmppool.proxy.wire import (
    CHUNKED,
    MAX_RESPONSE_HEAD,
    UNTIL_CLOSE,
    BadMessageError,
    Request,
    Response,
    parse_request,
    parse_response,
)


def head(status: int, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Reason", *lines, "", ""]).encode()


def response(status: int = 200, *lines: str) -> Response:
    return parse_response(head(status, *lines))


def request(method: str = "GET", version: str = "1.1", *lines: str) -> Request:
    return parse_request("\r\n".join([f"{method} / HTTP/{version}", "Host: h", *lines, "", ""]).encode())


def read(reader: ResponseReader, *pieces: bytes) -> bytes:
    return b"".join([reader.feed(piece) for piece in pieces])


BY_LENGTH = head(200, "Content-Length: 5") + b"hello"
IN_CHUNKS = head(200, "Transfer-Encoding: chunked") + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n"
UNTIL_THE_END = head(200) + b"hello"


# Read


@pytest.mark.parametrize("raw", [BY_LENGTH, IN_CHUNKS])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_response_is_read_whole_in_pieces_of_any_size(raw: bytes, step: int) -> None:
    reader = ResponseReader(b"GET", UNLIMITED)
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)]
    assert read(reader, *pieces) == b"hello"
    assert (reader.is_done, reader.is_waiting, reader.is_in_head, reader.behind) == (True, False, False, b"")


@pytest.mark.parametrize("raw", [BY_LENGTH, IN_CHUNKS])
def test_what_comes_behind_an_answer_is_none_of_it(raw: bytes) -> None:
    reader = ResponseReader(b"GET", UNLIMITED)
    assert read(reader, raw + b"HTTP/1.1 200 OK\r\n") == b"hello"
    assert reader.behind == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("raw", [BY_LENGTH, IN_CHUNKS])
def test_a_response_that_is_broken_off_is_never_complete(raw: bytes) -> None:
    for end in range(len(raw)):
        reader = ResponseReader(b"GET", UNLIMITED)
        reader.feed(raw[:end])
        reader.end_of_stream()
        assert not reader.is_done, end


def test_a_response_without_a_length_is_complete_at_the_end_of_the_stream() -> None:
    reader = ResponseReader(b"GET", UNLIMITED)
    assert read(reader, UNTIL_THE_END, b" you") == b"hello you"
    assert not reader.is_done
    reader.end_of_stream()
    assert reader.is_done


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"HEAD", 404)])
@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked", "X: none"])
def test_a_response_without_content_ends_with_its_head_whatever_that_says(
    method: bytes, status: int, framing: str
) -> None:
    reader = ResponseReader(method, UNLIMITED)
    assert reader.feed(head(status, framing) + b"hello") == b""
    assert (reader.is_done, reader.has_body, reader.behind) == (True, False, b"hello")


def test_an_empty_answer_has_content_of_no_bytes() -> None:
    reader = ResponseReader(b"GET", UNLIMITED)
    reader.feed(head(200, "Content-Length: 0"))
    assert (reader.is_done, reader.has_body) == (True, True)


def test_interim_answers_are_dropped_and_a_switch_is_final() -> None:
    reader = ResponseReader(b"GET", UNLIMITED)
    assert read(reader, head(100), head(103, "Link: </x>") + BY_LENGTH[:20], BY_LENGTH[20:]) == b"hello"
    assert reader.response is not None
    assert reader.response.status == 200
    switched = ResponseReader(b"GET", UNLIMITED)
    assert switched.feed(head(101, "Upgrade: websocket") + b"\x81\x00") == b""
    assert switched.response is not None
    assert (switched.response.status, switched.behind, switched.is_done) == (101, b"\x81\x00", False)


def test_a_part_of_a_head_is_told_from_none_and_from_all_of_it() -> None:
    reader = ResponseReader(b"GET", UNLIMITED)
    seen = [reader.is_in_head]
    for piece in (b"H", BY_LENGTH[1:20], BY_LENGTH[20:]):
        reader.feed(piece)
        seen.append(reader.is_in_head)
    assert seen == [False, True, True, False]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"garbage\r\n\r\n", id="no HTTP"),
        pytest.param(head(200, "A: " + "x" * MAX_RESPONSE_HEAD), id="a head that is too long"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_RESPONSE_HEAD, id="a head that does not end"),
        pytest.param(head(200, *["A: b"] * 101), id="too many fields"),
        pytest.param(head(200, "Content-Length: 1", "Content-Length: 1"), id="two lengths"),
        pytest.param(head(200, "Content-Length: 1", "Transfer-Encoding: chunked"), id="length and chunks"),
        pytest.param(head(200, "Transfer-Encoding: chunked") + b"x\r\n", id="a chunk without size"),
        pytest.param(head(200, "Transfer-Encoding: chunked") + b"1\r\nab\r\n", id="a chunk longer than its size"),
        pytest.param(head(200, "Transfer-Encoding: chunked") + b"0\r\nno field\r\n\r\n", id="a bad trailer"),
        pytest.param(head(100) * 9 + BY_LENGTH, id="interim answers without end"),
    ],
)
def test_a_response_that_is_not_one_is_refused(raw: bytes) -> None:
    with pytest.raises(BadMessageError):
        ResponseReader(b"GET", UNLIMITED).feed(raw)


def test_a_fault_in_a_body_is_told_from_one_in_a_head() -> None:
    reader = ResponseReader(b"GET", UNLIMITED)
    reader.feed(head(200, "Transfer-Encoding: chunked"))
    with pytest.raises(BadMessageError) as error:
        reader.feed(b"x\r\n")
    assert error.value.fault is Fault.MALFORMED_BODY


def test_small_chunks_beyond_the_allowance_wait_and_what_comes_then_waits_behind_them() -> None:
    allowance = Allowance(2)
    reader = ResponseReader(b"GET", allowance)
    chunks = b"".join(b"1\r\n%c\r\n" % letter for letter in b"abcdef")
    assert reader.feed(head(200, "Transfer-Encoding: chunked") + chunks) == b"ab"
    assert reader.is_waiting
    assert reader.feed(b"0\r\n\r\n") == b""
    allowance.remaining = 3
    assert reader.go_on() == b"cde"
    allowance.remaining = 9
    assert reader.go_on() == b"f"
    assert (reader.is_done, reader.is_waiting) == (True, False)


# Write


def written(
    asked: Request, answer: Response, pieces: list[bytes], length: int, *, has_body: bool = True
) -> tuple[bytes, ResponseWriter]:
    sent: list[bytes] = []
    writer = ResponseWriter(asked, sent.append)
    writer.begin(answer, [b"A: b"], length, has_body=has_body)
    assert not writer.has_begun
    for piece in pieces[:-1]:
        writer.write(piece)
    writer.end(pieces[-1])
    assert writer.has_begun
    return b"".join(sent), writer


def fields(raw: bytes) -> tuple[str, list[str], bytes]:
    start, *lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return start, [line for line in lines if not line.startswith("Date: ")], raw.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_content_of_a_known_length_goes_by_length(version: str) -> None:
    raw, _ = written(request(version=version), response(), [b"he", b"llo"], 5)
    start, lines, content = fields(raw)
    assert start == "HTTP/1.1 200 Reason"
    assert {"A: b", "Content-Length: 5"} <= set(lines)
    assert content == b"hello"


def test_content_of_an_unknown_length_goes_in_chunks() -> None:
    raw, writer = written(request(), response(), [b"he", b"", b"llo"], UNTIL_CLOSE)
    _, lines, content = fields(raw)
    assert lines == ["A: b", "Transfer-Encoding: chunked"]
    assert content == b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    assert writer.keeps_alive


def test_to_http_1_0_content_of_an_unknown_length_ends_with_the_connection() -> None:
    raw, writer = written(request("GET", "1.0", "Connection: keep-alive"), response(), [b"he", b"llo"], CHUNKED)
    _, lines, content = fields(raw)
    assert lines == ["A: b", "Connection: close"]
    assert content == b"hello"
    assert not writer.keeps_alive


@pytest.mark.parametrize(
    ("version", "lines", "said", "keeps_alive"),
    [
        ("1.1", [], [], True),
        ("1.1", ["Connection: close"], ["Connection: close"], False),
        ("1.0", [], ["Connection: close"], False),
        ("1.0", ["Connection: keep-alive"], ["Connection: keep-alive"], True),
    ],
)
def test_the_visitor_is_told_what_becomes_of_the_connection(
    version: str,
    lines: list[str],
    said: list[str],
    keeps_alive: bool,  # noqa: FBT001
) -> None:
    raw, writer = written(request("GET", version, *lines), response(), [b"x"], 1)
    assert [line for line in fields(raw)[1] if line.startswith("Connection")] == said
    assert writer.keeps_alive is keeps_alive


@pytest.mark.parametrize(
    ("status", "length", "framing"),
    [
        (204, 0, []),
        (304, UNTIL_CLOSE, []),
        (304, CHUNKED, []),
        (200, UNTIL_CLOSE, []),  # to HEAD
        (200, 1234, ["Content-Length: 1234"]),  # to HEAD
    ],
)
def test_a_head_alone_is_framed_as_its_content_would_be_and_never_in_chunks(
    status: int, length: int, framing: list[str]
) -> None:
    raw, writer = written(request(), response(status), [b""], length, has_body=False)
    assert fields(raw)[1:] == (["A: b", *framing], b"")
    assert writer.keeps_alive


def test_a_date_is_added_where_the_answer_has_none() -> None:
    raw, _ = written(request(), response(), [b""], 0)
    assert len(re.findall(rb"\r\nDate: [^\r]+ GMT\r\n", raw)) == 1
    dated, _ = written(request(), response(200, "Date: then"), [b""], 0)
    assert b"Date" not in dated  # it is for the lines to hold the answer's own


def test_the_head_goes_with_the_first_content_and_nothing_goes_twice() -> None:
    sent: list[bytes] = []
    writer = ResponseWriter(request(), sent.append)
    writer.begin(response(), [b"A: b"], 2, has_body=True)
    assert sent == []
    writer.write(b"a")
    writer.write(b"")
    writer.end(b"b")
    assert sent[0].endswith(b"\r\n\r\na")
    assert sent[1:] == [b"b"]


@given(pieces=st.lists(st.binary(max_size=50), min_size=1), step=st.integers(1, 40))
def test_what_is_written_in_any_framing_reads_the_same(pieces: list[bytes], step: int) -> None:
    whole = b"".join(pieces)
    for length in (len(whole), UNTIL_CLOSE):
        raw, _ = written(request(), response(), pieces, length)
        reader = ResponseReader(b"GET", UNLIMITED)
        assert read(reader, *[raw[at : at + step] for at in range(0, len(raw), step)]) == whole
        assert (reader.is_done, reader.behind) == (True, b"")
