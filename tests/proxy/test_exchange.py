"""One request to a notebook and its answer, byte by byte, with a stranger for a notebook."""

import asyncio
import gzip
import hashlib
import random
import re
import resource
import socket
import types
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.stage import HTML, OK, CutError, House, Peer, eventually
from tmppool.proxy import headers
from tmppool.proxy import upstream as upstream_module
from tmppool.proxy.exchange import STAGES, Exchange, Stage
from tmppool.proxy.fairness import Turn, TurnQueue
from tmppool.proxy.route import ToNotebook
from tmppool.proxy.upstream import Upstream
from tmppool.proxy.wire import parse_request
from tmppool.running import Dial

MEGABYTE = 2**20


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# The request


TARGETS = [
    "api/contents/a%2Fb",
    "api/contents/a%2fb",
    "a//b///c",
    "a;v=1/b;x",
    "a/.../b/.c",
    "caf%C3%A9%25%0A%ff",
    "a%20b+c",
    "~!$&'()*,=:@-._",
    '<>"{}|^`',
    "?",
    "tree?",
    "tree?a=1&a=2&&b",
    "tree?a=%26%zz?/#"[:-1],
    "tree?a=../%2e%2e/\\%00%",
    "tree?next=http://x/y?z",
]


async def test_path_and_query_reach_the_notebook_byte_for_byte(house: House) -> None:
    for path in TARGETS:
        assert (await house.ask("GET", path)).status == 200
    assert [request.target for request in house.stranger.requests] == [house.base + path for path in TARGETS]


async def test_any_method_passes(house: House) -> None:
    methods = ["GET", "OPTIONS", "DELETE", "PATCH", "PUT", "POST", "PROPFIND", "X-Own", "get", "M!#$%&'*+-.^_`|~9"]
    for method in methods:
        assert (await house.ask(method, "x")).body == b"ok"
    assert [request.method for request in house.stranger.requests] == methods


async def test_the_host_that_the_visitor_used_reaches_the_notebook(house: House) -> None:
    await house.ask("GET", "x", "Host: nb.example.org:8443")
    assert house.stranger.requests[0].fields.getall("Host") == ["nb.example.org:8443"]


async def test_the_notebook_gets_its_token_and_the_visitors_address_from_the_proxy_alone(house: House) -> None:
    await house.ask(
        "GET", "x", "Authorization: token stolen", "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6",
        "X-Forwarded-Proto: https", "X-Scheme: https", "Forwarded: for=6.6.6.6", "Connection: authorization, x-real-ip",
        "X_Real_IP: 6.6.6.6",
    )  # fmt: skip
    (request,) = house.stranger.requests
    assert request.fields.getall("Authorization") == [f"token token-of-{house.key}"]
    assert request.fields.getall("X-Forwarded-For") == request.fields.getall("X-Real-IP") == ["127.0.0.1"]
    assert request.fields.getall("X-Forwarded-Proto") == request.fields.getall("X-Scheme") == ["http"]
    assert not any("6.6.6.6" in line or "stolen" in line for line in request.lines)


async def test_fields_pass_in_their_order_and_spelling(house: House) -> None:
    await house.ask("GET", "x", "aCCept: a", "X-B:two", "X-A:  one ", "X-B: \xff", "X-Empty:")
    assert house.stranger.requests[0].lines[1:6] == ["aCCept: a", "X-B:two", "X-A:  one ", "X-B: \xff", "X-Empty:"]


async def test_a_body_of_known_length_passes_with_its_length(house: House) -> None:
    await house.ask("POST", "x", "Content-Length: 0000005", body=b"12345")
    (request,) = house.stranger.requests
    assert (request.fields.getall("Content-Length"), request.body) == (["5"], b"12345")
    assert "Transfer-Encoding" not in request.fields


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_an_empty_body_says_that_it_is_empty(house: House, method: str) -> None:
    await house.ask(method, "x", "Content-Length: 0")
    assert house.stranger.requests[0].fields["Content-Length"] == "0"


async def test_a_chunked_body_is_framed_anew(house: House) -> None:
    body = b"5;ext=1\r\nhello\r\n001\r\n \r\n0006\r\nworld!\r\n000\r\nTrailer: gone\r\n\r\n"
    await house.ask("POST", "x", "Transfer-Encoding: CHUNKED", "Trailer: Trailer", "TE: trailers", body=body)
    (request,) = house.stranger.requests
    assert request.framing == "chunked"
    assert request.body == b"hello world!"
    assert "Content-Length" not in request.fields
    assert "Trailer" not in request.fields
    assert "TE" not in request.fields


async def test_a_chunked_body_that_comes_byte_by_byte_arrives(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("POST", "x", "Transfer-Encoding: chunked"))
    for byte in b"3\r\nabc\r\n10;x\r\n0123456789abcdef\r\n0\r\n\r\n":
        await visitor.send(bytes([byte]))
    assert (await visitor.answer()).body == b"ok"
    assert house.stranger.requests[0].body == b"abc0123456789abcdef"


@pytest.mark.parametrize(
    "body", [b"x\r\n", b"5\r\nhelloX", b"5\nhello\r\n", b"-1\r\n", b"0\r\nbad trailer\r\n\r\n", b"5;" + b"x" * 2000]
)
async def test_a_bad_chunk_ends_the_request_at_both_ends(house: House, body: bytes) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("POST", "x", "Transfer-Encoding: chunked") + b"2\r\nok\r\n")
    await eventually(lambda: house.stranger.connections)
    await visitor.send(body)
    assert (await visitor.answer()).status == 400
    assert await visitor.is_closed()
    await eventually(lambda: house.stranger.cuts)
    assert house.stranger.requests == []  # the notebook does not take half a body for a whole one


async def test_a_bad_chunk_after_the_answer_began_puts_nothing_of_ours_into_it(house: House) -> None:
    async def early(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nbegun")
        await connection.rest()

    house.stranger.script = early
    visitor = await house.visitor()
    await visitor.send(house.head("POST", "x", "Transfer-Encoding: chunked") + b"2\r\nok\r\n")
    await visitor.head()
    assert await visitor.exactly(5) == b"begun"
    await visitor.send(b"no chunk\r\n")
    try:
        left = await visitor.rest()
    except CutError as cut:
        left = cut.got
    assert left == b""


async def test_a_body_begins_to_pass_before_it_is_complete(house: House) -> None:
    heard = asyncio.Event()

    async def read(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        assert await connection.exactly(5) == b"first"
        heard.set()
        assert await connection.exactly(5) == b"after"
        await connection.send(OK)

    house.stranger.script = read
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 10") + b"first")
    await eventually(heard.is_set)
    await visitor.send(b"after")
    assert (await visitor.answer()).body == b"ok"


# Expectations and interim answers


async def test_who_expects_100_continue_hears_it_and_the_notebook_does_not(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 5", "Expect: 100-Continue"))
    assert (await visitor.head()).start == "HTTP/1.1 100 Continue"
    await visitor.send(b"12345")
    assert (await visitor.answer()).body == b"ok"
    assert "Expect" not in house.stranger.requests[0].fields


async def test_a_visitor_of_http_1_0_never_hears_100_continue(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 5", "Expect: 100-continue", version="1.0") + b"12345")
    assert (await visitor.head()).status == 200


async def test_other_expectations_are_refused(house: House) -> None:
    assert (await house.ask("PUT", "x", "Content-Length: 5", "Expect: a-miracle")).status == 417
    assert house.stranger.connections == []


async def test_interim_answers_are_swallowed(house: House) -> None:
    house.stranger.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
    answer = await house.ask("GET", "x")
    assert (answer.status, answer.body) == (200, b"ok")
    assert "Link" not in answer.fields


@pytest.mark.parametrize(("count", "status"), [(8, 200), (9, 502)])
async def test_interim_answers_have_a_limit(house: House, count: int, status: int) -> None:
    house.stranger.says(b"HTTP/1.1 102 Processing\r\n\r\n" * count + OK)
    assert (await house.ask("GET", "x")).status == status


# The answer and its framing


ANSWERS = {
    "by length": (b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nhello", "length"),
    "by length, empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "length"),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: v\r\n\r\n",
        "chunked",
    ),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nhello", "chunked"),
    "until close of 1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", "chunked"),
}


@pytest.mark.parametrize(("answer", "framing"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_comes_whole_in_a_framing_of_the_proxys(house: House, answer: bytes, framing: str) -> None:
    house.stranger.says(answer)
    found = await house.ask("GET", "x")
    assert found.body == (b"" if b"Length: 0" in answer else b"hello")
    assert found.framing == framing
    assert len(found.fields.getall("Content-Length", [])) + len(found.fields.getall("Transfer-Encoding", [])) == 1
    assert "T" not in found.fields


@pytest.mark.parametrize("name", ["chunked", "until close"])
async def test_a_visitor_of_http_1_0_gets_no_chunks(house: House, name: str) -> None:
    house.stranger.says(ANSWERS[name][0])
    found = await house.ask("GET", "x", "Connection: keep-alive", version="1.0")
    assert (found.body, found.framing) == (b"hello", "close")
    assert "keep-alive" not in found.fields.get("Connection", "")


@pytest.mark.parametrize(
    ("method", "head", "fields"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5", {"Content-Length": "5"}),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", {}),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 70", {"Content-Length": "70"}),
        ("GET", b"HTTP/1.1 204 No Content", {}),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0", {}),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x", {"Content-Length": "5", "ETag": "x"}),
    ],
)
async def test_an_answer_without_body_ends_with_its_head(
    house: House, method: str, head: bytes, fields: dict[str, str]
) -> None:
    house.stranger.says(head + b"\r\n\r\n")
    visitor = await house.visitor()
    await visitor.send(house.head(method, "x") + house.head("GET", "y"))
    found = await visitor.answer(method)
    assert {
        name: found.fields[name] for name in ("Content-Length", "ETag", "Transfer-Encoding") if name in found.fields
    } == fields
    await eventually(lambda: len(house.stranger.requests) == 2)
    assert visitor.held == b""


async def test_the_reason_and_strange_statuses_pass(house: House) -> None:
    house.stranger.says(b"HTTP/1.1 299 I'm \xe9 here\r\nContent-Length: 2\r\n\r\nok")
    assert (await house.ask("GET", "x")).start == "HTTP/1.1 299 I'm \xe9 here"


async def test_a_date_is_added_only_where_there_is_none(house: House) -> None:
    house.stranger.says(OK, b"HTTP/1.1 200 OK\r\nDate: theirs\r\nContent-Length: 2\r\n\r\nok")
    assert (await house.ask("GET", "x")).fields["Date"].endswith("GMT")
    assert (await house.ask("GET", "x")).fields.getall("Date") == ["theirs"]


async def test_what_a_notebook_may_not_say_to_a_browser_is_dropped(house: House) -> None:
    house.stranger.says(
        b"HTTP/1.1 200 OK\r\nConnection: x-secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nServer: TornadoServer\r\n"
        b'Clear-Site-Data: "*"\r\nService-Worker-Allowed: /\r\nRefresh: 0;url=//x\r\nWWW-Authenticate: Basic\r\n'
        b"Set-Cookie: tmppool=stolen; Path=/\r\nSet-Cookie: a=b; Domain=example.org; Path=/\r\n"
        b"X-App-Kept: 1\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = await house.ask("GET", "api/x")
    ours = {
        "Date",
        "Cache-Control",
        *(
            line.partition(b":")[0].decode()
            for line in (headers.FRAME_POLICY, headers.REFERRER_POLICY, headers.NOSNIFF)
        ),
    }
    assert set(answer.fields) - ours == {"Set-Cookie", "X-App-Kept", "Content-Length"}
    assert answer.fields.getall("Set-Cookie") == [f"a=b; Path={house.base}"]


async def test_events_arrive_one_by_one(house: House) -> None:
    heard = asyncio.Event()

    async def events(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(3):
            await heard.wait()
            heard.clear()
            await connection.send(b"8\r\ndata: %d\n\r\n" % number)
        await heard.wait()
        await connection.send(b"0\r\n\r\n")

    house.stranger.script = events
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "events"))
    assert (await visitor.head()).status == 200
    for number in range(3):
        heard.set()
        assert await visitor.until(b"\r\n") == b"8\r\n"
        assert await visitor.exactly(10) == b"data: %d\n\r\n" % number
    heard.set()
    assert await visitor.exactly(5) == b"0\r\n\r\n"


# What a notebook answers wrongly


WRONG = {
    "no HTTP": b"garbage\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nA: \x00\r\nContent-Length: 0\r\n\r\n",
    "CR in a value": b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 129 + b"Content-Length: 0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000,
    "a head that is too long": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "a switch that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_answer_becomes_502(house: House, answer: bytes) -> None:
    closed = asyncio.Event()

    async def say(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(answer)
        if await connection.is_closed():
            closed.set()

    house.stranger.script = say
    found = await house.ask("GET", "x")
    assert found.status == 502
    assert b"garbage" not in found.body
    await eventually(closed.is_set)


async def test_a_close_before_the_answer_becomes_502(house: House) -> None:
    async def close(connection: Peer) -> None:
        await house.stranger.request(connection)
        connection.close()

    house.stranger.script = close
    assert (await house.ask("GET", "x")).status == 502
    assert len(house.stranger.requests) == 1


async def test_a_notebook_that_cannot_be_reached_becomes_502(house: House) -> None:
    await house.stranger.__aexit__()
    assert (await house.ask("GET", "x")).status == 502
    assert (await house.ask("POST", "x", "Content-Length: 3", body=b"abc")).status == 502


BROKEN_OFF = {
    "by length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "inside a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhello",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nX\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("answer", BROKEN_OFF.values(), ids=BROKEN_OFF.keys())
async def test_an_answer_that_is_broken_off_does_not_look_complete(house: House, answer: bytes, version: str) -> None:
    begun = asyncio.Event()

    async def break_off(connection: Peer) -> None:
        await house.stranger.request(connection)
        end = answer.index(b"hello") + 5
        await connection.send(answer[:end])
        await begun.wait()
        await connection.send(answer[end:])
        connection.close()

    house.stranger.script = break_off
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x", version=version))
    head = await visitor.head()
    begun.set()
    with pytest.raises(CutError) as cut:
        await visitor.until(b"0\r\n\r\n")
    if version == "1.0" and "Content-Length" not in head.fields:
        assert cut.value.is_reset  # an orderly close would be the end of the body


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_reset_is_not_the_end_of_an_answer_that_ends_with_the_connection(house: House, version: str) -> None:
    begun = asyncio.Event()

    async def reset(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await begun.wait()
        connection.reset()

    house.stranger.script = reset
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x", version=version))
    await visitor.until(b"hello")
    begun.set()
    with pytest.raises(CutError) as cut:
        await visitor.until(b"0\r\n\r\n")
    assert cut.value.is_reset


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    ],
    ids=["until close", "by length", "chunked"],
)
async def test_an_answer_that_a_reap_cuts_off_does_not_look_complete(house: House, head: bytes) -> None:
    async def begin(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(head + b"hello")
        await connection.more()

    house.stranger.script = begin
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x"))
    await visitor.until(b"hello")
    await house.reap()
    with pytest.raises(CutError):
        await visitor.until(b"0\r\n\r\n")


# Upstream are used again, never twice for one answer


async def test_one_connection_serves_one_exchange_after_another(house: House) -> None:
    visitor = await house.visitor()
    for _ in range(5):
        await visitor.send(house.head("GET", "x"))
        assert (await visitor.answer()).body == b"ok"
    assert {number for number, _ in house.stranger.asked} == {0}


async def test_a_connection_is_used_by_the_next_visitor_of_the_same_notebook(house: House) -> None:
    for _ in range(3):
        assert (await house.ask("GET", "x")).body == b"ok"
    assert [number for number, _ in house.stranger.asked] == [0, 0, 0]


async def test_a_connection_is_never_used_for_two_notebooks(house: House) -> None:
    keys = [house.key, await house.spawn(), await house.spawn()]
    for _ in range(3):
        for key in keys:
            assert (await house.ask("GET", f"/user/{key}/x")).body == b"ok"
    notebooks_of: dict[int, set[str]] = {}
    for number, request in house.stranger.asked:
        notebooks_of.setdefault(number, set()).add(request.target.split("/")[2])
        assert request.fields["Authorization"] == f"token token-of-{request.target.split('/')[2]}"
    assert len(notebooks_of) == 3
    assert all(len(found) == 1 for found in notebooks_of.values())


async def test_two_requests_at_once_have_a_connection_each(house: House) -> None:
    both = asyncio.Event()

    async def wait(connection: Peer) -> None:
        request = await house.stranger.request(connection)
        if len(house.stranger.asked) == 2:
            both.set()
        await both.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + request.target[-1:].encode())

    house.stranger.script = wait
    one, other = await asyncio.gather(house.ask("GET", "1"), house.ask("GET", "2"))
    assert (one.body, other.body) == (b"1", b"2")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nevil",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil",
    ],
)
async def test_a_connection_that_is_not_clean_is_not_used_again(house: House, answer: bytes) -> None:
    house.stranger.says(answer, OK)
    first, second = await house.ask("GET", "1"), await house.ask("GET", "2")
    assert b"evil" not in first.body + second.body
    assert second.body == b"ok"
    assert [number for number, _ in house.stranger.asked] == [0, 1]


async def test_what_comes_unasked_on_an_idle_connection_is_nobodys_answer(house: House) -> None:
    await house.ask("GET", "1")
    (connection,) = house.stranger.connections
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert (await house.ask("GET", "2")).body == b"ok"
    assert [number for number, _ in house.stranger.asked] == [0, 1]


async def test_an_answer_to_head_with_a_body_is_nobodys_answer(house: House) -> None:
    house.stranger.says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", OK
    )
    visitor = await house.visitor()
    await visitor.send(house.head("HEAD", "1") + house.head("GET", "2"))
    assert (await visitor.answer("HEAD")).status == 200
    assert (await visitor.answer()).body == b"ok"


async def close_at_second(house: House, connection: Peer) -> None:
    """Answer the first request of the first connection; take the second one and close. Other lines answer."""
    while True:
        await house.stranger.request(connection)
        if connection is house.stranger.connections[0] and len([n for n, _ in house.stranger.asked if n == 0]) == 2:
            connection.close()
            return
        await connection.send(OK)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_kept_connection_that_closes_under_a_safe_request_is_replaced(house: House, method: str) -> None:
    house.stranger.script = lambda line: close_at_second(house, line)
    await house.ask("GET", "1")
    assert (await house.ask(method, "2")).status == 200
    assert [(line, request.method) for line, request in house.stranger.asked] == [(0, "GET"), (0, method), (1, method)]


@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"abc"), ("POST", b""), ("PATCH", b"abc"), ("PATCH", b""), ("DELETE", b"abc")]
)
async def test_a_request_that_changes_something_is_never_sent_twice(house: House, method: str, body: bytes) -> None:
    house.stranger.script = lambda line: close_at_second(house, line)
    await house.ask("GET", "1")
    await house.ask(method, "2", f"Content-Length: {len(body)}", body=body)
    assert [request.method for request in house.stranger.requests].count(method) == 1


async def test_a_connection_that_was_closed_while_it_waited_costs_no_request(house: House) -> None:
    await house.ask("GET", "1")
    house.stranger.connections[0].close()
    await asyncio.sleep(0.02)
    assert (await house.ask("POST", "2", "Content-Length: 3", body=b"abc")).status == 200


# Early answers, and visitors who leave


async def test_an_answer_before_the_requests_end_is_passed_and_ends_the_connection(house: House) -> None:
    async def refuse(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")

    house.stranger.script = refuse
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 1000000") + b"x" * 1000)
    answer = await visitor.answer()
    assert (answer.status, answer.body, answer.fields["Connection"]) == (413, b"big", "close")
    assert await visitor.is_closed()
    house.stranger.says(OK)
    assert (await house.ask("GET", "next")).body == b"ok"
    assert house.stranger.asked[-1][0] == 1


async def test_a_visitor_who_leaves_in_the_middle_of_an_answer_takes_the_connection_along(house: House) -> None:
    closed = asyncio.Event()

    async def endless(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        if await connection.is_closed():
            closed.set()

    house.stranger.script = endless
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x"))
    await visitor.until(b"hello")
    visitor.close()
    await eventually(closed.is_set)


async def test_a_visitor_who_leaves_before_the_answer_takes_the_connection_along(house: House) -> None:
    closed = asyncio.Event()

    async def think(connection: Peer) -> None:
        await house.stranger.request(connection)
        if await connection.is_closed():
            closed.set()

    house.stranger.script = think
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x"))
    await eventually(lambda: house.stranger.requests)
    visitor.close()
    await eventually(closed.is_set)


async def test_a_visitor_who_leaves_in_the_middle_of_their_upload_takes_the_connection_along(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 100") + b"half")
    await eventually(lambda: house.stranger.connections)
    visitor.close()
    await eventually(lambda: house.stranger.cuts)
    assert house.stranger.requests == []


async def test_a_visitor_who_leaves_during_the_dial_leaves_no_connection(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    let, began = asyncio.Event(), asyncio.Event()
    connect = Dial.connect

    async def slow(dial: Dial) -> socket.socket:
        began.set()
        await let.wait()
        return await connect(dial)

    monkeypatch.setattr(Dial, "connect", slow)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x"))
    await began.wait()
    visitor.close()
    await asyncio.sleep(0.02)
    let.set()
    await eventually(lambda: house.stranger.cuts)


async def test_a_dial_that_takes_too_long_becomes_502(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(dial: Dial) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(upstream_module, "_DIAL_TIMEOUT", 0.05)
    monkeypatch.setattr(Dial, "connect", never)
    assert (await house.ask("GET", "x")).status == 502


# The notice in the pages that a browser shows


PERSON = ("Accept: text/html,*/*;q=0.8", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none")
FRAME = (
    "Accept: text/html,*/*;q=0.8",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Dest: iframe",
    "Sec-Fetch-Site: same-origin",
)
PASSED_ON = (  # by a service worker
    "Accept: text/html,*/*;q=0.8",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Site: same-origin",
)
SAVED = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin")  # by <a download>
PLAIN = ("Accept: text/html,application/xhtml+xml,*/*;q=0.8",)  # browsers send no Fetch Metadata over plain HTTP


NOSNIFF = b"X-Content-Type-Options: NoSniff\r\n\r\n"


def page(
    body: bytes = HTML, *lines: str, status: str = "200 OK", content_type: str = "text/html; charset=UTF-8"
) -> bytes:
    head = "\r\n".join(
        [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *lines, f"Content-Length: {len(body)}", "", ""]
    )
    return head.encode() + body


SCRIPT = re.compile(rb'<script (?:nonce="\S+" )?src="/static/(activity|session)\.js\?v=[^"]+" data-[^>]*></script>')


def notices(body: bytes) -> list[bytes]:
    """Return which of the service's scripts a page has."""
    return SCRIPT.findall(body)


def without(body: bytes) -> bytes:
    return SCRIPT.sub(b"", body)


@pytest.mark.parametrize(
    ("path", "lines", "scripts"),
    [
        ("lab", PERSON, [b"session", b"activity"]),
        ("lab/tree/a.ipynb?x=1", PERSON, [b"session", b"activity"]),
        ("notebooks/a.ipynb", PLAIN, [b"session", b"activity"]),
        ("proxy/5006/app", PERSON, [b"session", b"activity"]),
        ("", PERSON, [b"session", b"activity"]),
        ("proxy/5006/app", PASSED_ON, [b"session", b"activity"]),
        ("voila/render/a.ipynb", FRAME, [b"activity"]),
        ("proxy/5006/app", FRAME, [b"activity"]),
        (
            "anything",
            ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: frame", "Sec-Fetch-Site: same-origin"),
            [b"activity"],
        ),
    ],
)
async def test_a_page_that_a_browser_shows_gets_the_notice_once(
    house: House, path: str, lines: tuple[str, ...], scripts: list[bytes]
) -> None:
    house.stranger.says(page(HTML + HTML))
    found = await house.ask("GET", path, *lines)
    assert found.fields.getall("Content-Length") == [str(len(found.body))]
    assert notices(found.body) == scripts
    assert without(found.body) == HTML + HTML
    assert found.body.startswith(b"<!doctype html><html><head><script ")


async def test_only_jupyters_own_pages_have_the_owners_button(house: House) -> None:
    for path, is_app in (("lab", False), ("notebooks/a.ipynb", False), ("proxy/1/x", True), ("labyrinth", True)):
        house.stranger.says(page())
        assert (b"data-app" in (await house.ask("GET", path, *PERSON)).body) is is_app


async def test_what_an_app_sends_without_a_type_is_what_it_looks_like(house: House) -> None:
    bare = b"HTTP/1.0 200 OK\r\n\r\n"
    house.stranger.says(bare + HTML, bare + HTML, bare + b"x = 1", bare.replace(b"\r\n\r\n", b"\r\n" + NOSNIFF) + HTML)
    shown = await house.ask("GET", "app/page", *PERSON)
    assert notices(shown.body) == [b"session", b"activity"]
    assert without(shown.body) == HTML
    frame = await house.ask("GET", "app/frame", *FRAME)
    assert notices(frame.body) == [b"activity"]
    script = await house.ask("GET", "app/script", *FETCH)
    assert script.body == b"x = 1"
    for each in (shown, frame, script):
        assert "X-Content-Type-Options" not in each.fields
    as_said = await house.ask("GET", "app/text", *PERSON)
    assert (as_said.body, as_said.fields.getall("X-Content-Type-Options")) == (HTML, ["nosniff"])


OWN = {
    "a guest's file": (b"Content-Type: text/plain\r\n", True),
    "as Jupyter says": (b"X-Content-Type-Options: nosniff\r\n", True),
    "what is no Jupyter's": (b"", False),
}


@pytest.mark.parametrize(("lines", "is_text"), OWN.values(), ids=OWN.keys())
async def test_what_jupyter_sends_is_what_its_type_says(house: House, lines: bytes, is_text: bool) -> None:  # noqa: FBT001
    house.stranger.says(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: %d\r\n\r\n" % len(HTML) + HTML)
    found = await house.ask("GET", "files/from-a-guest", *PERSON)
    assert (found.body == HTML) is is_text
    assert found.fields.getall("X-Content-Type-Options", []) == (["nosniff"] if is_text else [])


async def test_a_form_that_is_sent_and_an_error_are_pages_too(house: House) -> None:
    house.stranger.says(page())
    assert notices((await house.ask("POST", "app/login", *PERSON, "Content-Length: 0")).body)
    house.stranger.says(page(status="404 Not Found"))
    assert notices((await house.ask("GET", "app/x", *PERSON)).body)


FETCH = ("Accept: */*", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin")
JQUERY = ("Accept: text/html, */*; q=0.01", "X-Requested-With: XMLHttpRequest")

OTHERS = {
    "a script's fetch": (FETCH, page()),
    "a script's request over plain HTTP": (JQUERY, page()),
    "a program's": ((), page()),
    "a part of a page": ((*PERSON, "Range: bytes=0-9"), page(HTML[:10], status="206 Partial Content")),
    "a part that is given whole": ((*PERSON, "Range: bytes=0-9"), page()),
    "what a browser saves to a file": (SAVED, page()),
    "no HTML": (PERSON, page(content_type="application/json")),
    "HTML's source": (PERSON, page(content_type="text/plain")),
    "a download": (PERSON, page(HTML, 'Content-Disposition: attachment; filename="a.html"')),
    "in a packing that we do not read": (PERSON, page(HTML, "Content-Encoding: br")),
    "packed twice": (PERSON, page(HTML, "Content-Encoding: gzip, gzip")),
    "said to be packed": (PERSON, page(HTML, "Content-Encoding: gzip")),
    "UTF-16": (PERSON, page("<html><head></head></html>".encode("utf-16"), content_type="text/html")),
    "UTF-16 that only the field tells": (PERSON, page("<html>".encode("utf-16-be"), content_type="text/html; charset=utf-16be")),
    "nothing": (PERSON, page(b"")),
    "in a sandbox": (PERSON, page(HTML, "Content-Security-Policy: sandbox allow-scripts")),
    "XHTML without a head that we see": (PERSON, page(b"<h:html xmlns:h='x'/>", content_type="application/xhtml+xml")),
    "a redirect": (PERSON, page(HTML, "Location: x", status="302 Found")),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "answer"), OTHERS.values(), ids=OTHERS.keys())
async def test_other_answers_are_left_as_they_are(house: House, lines: tuple[str, ...], answer: bytes) -> None:
    house.stranger.says(answer)
    found = await house.ask("GET", "lab", *lines)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert found.body == body
    assert found.fields["Content-Length"] == str(len(body))
    assert set(head.decode().split("\r\n")[1:]) <= set(found.lines)


async def test_a_page_that_is_only_looked_at_gets_no_notice(house: House) -> None:
    house.stranger.says(page(b"", "X-Length: 1")[:-1] + b"\n")
    assert (await house.ask("HEAD", "lab", *PERSON)).fields["Content-Length"] == "0"


async def test_a_page_is_asked_for_whole_and_not_packed(house: House) -> None:
    """A page that a browser has kept may lack the notice, or have an older one."""
    conditions = (
        'If-None-Match: "a"',
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "Accept-Encoding: gzip, br, zstd",
    )
    for lines, is_page in ((PERSON, True), (FETCH, False)):
        house.stranger.says(page(HTML, 'ETag: "a"', "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "X-App-Own: a"))
        found = await house.ask("GET", "lab", *lines, *conditions)
        asked = house.stranger.requests[-1].fields
        assert asked.getall("Accept-Encoding") == (["identity"] if is_page else ["gzip, br, zstd"])
        assert ("If-None-Match" in asked, "If-Modified-Since" in asked) == (not is_page, not is_page)
        assert ("ETag" in found.fields, "Last-Modified" in found.fields) == (not is_page, not is_page)
        assert (found.fields["Vary"], found.fields["X-App-Own"]) == ("Accept, Sec-Fetch-Dest", "a")


@pytest.mark.parametrize("bits", [31, 15, -15], ids=["gzip", "deflate", "deflate without its wrapping"])
async def test_a_page_that_is_packed_all_the_same_is_unpacked(house: House, bits: int) -> None:
    packer = zlib.compressobj(wbits=bits)
    packed = packer.compress(HTML) + packer.flush()
    house.stranger.says(page(packed, f"Content-Encoding: {'gzip' if bits == 31 else 'deflate'}"))
    found = await house.ask("GET", "lab", *PERSON)
    assert notices(found.body) == [b"session", b"activity"]
    assert without(found.body) == HTML
    assert found.fields["Content-Length"] == str(len(found.body))
    assert "Content-Encoding" not in found.fields


BOMBS = {
    "unpacked it is too long": gzip.compress(b"<html><head>" + bytes(8 * MEGABYTE)),
    "it is too long": gzip.compress(HTML + random.Random(1).randbytes(MEGABYTE)),
    "it is broken off": gzip.compress(HTML)[:-9],
    "something follows": gzip.compress(HTML) + b"x",
}


@pytest.mark.parametrize("packed", BOMBS.values(), ids=BOMBS.keys())
async def test_a_packed_page_that_cannot_be_edited_passes_as_it_is(house: House, packed: bytes) -> None:
    house.stranger.says(page(packed, "Content-Encoding: gzip", 'ETag: "a"'))
    found = await house.ask("GET", "lab", *PERSON)
    assert found.body == packed
    assert (found.fields["Content-Encoding"], found.fields["ETag"]) == ("gzip", '"a"')


@pytest.mark.parametrize("framing", ["chunked", "until close"])
async def test_a_page_of_unknown_length_gets_the_notice(house: House, framing: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in HTML) + b"0\r\n\r\n"
    house.stranger.says(head + (chunked if framing == "chunked" else b"\r\n" + HTML))
    found = await house.ask("GET", "lab", *PERSON)
    assert notices(found.body) == [b"session", b"activity"]
    assert without(found.body) == HTML


async def test_a_long_page_gets_the_notice_and_is_not_kept(house: House) -> None:
    """An app may bring megabytes of script in its head."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    body = b"<!doctype html><html><head><script>" + b"x" * (3 * MEGABYTE)

    async def slowly(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(page(body)[:500])
        begun.set()
        await go_on.wait()
        await connection.send(page(body)[500:])

    house.stranger.script = slowly
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "app", *PERSON))
    await begun.wait()
    head = await visitor.head()
    before = await visitor.until(b"session.js")  # before the rest of the page was sent
    go_on.set()
    rest = await visitor.exactly(int(head.fields["Content-Length"]) - len(before))
    assert without(before + rest) == body


STRICT = "default-src 'none'; script-src 'nonce-abc123' 'strict-dynamic'"


async def test_a_page_with_a_strict_policy_lets_our_scripts_run_and_keeps_the_rest(house: House) -> None:
    house.stranger.says(page(HTML, f"Content-Security-Policy: {STRICT}"))
    found = await house.ask("GET", "app", *PERSON)
    assert found.body.count(b'<script nonce="abc123" src="/static/') == 2
    own, ours = sorted(found.fields.getall("Content-Security-Policy"))
    assert ours == "frame-ancestors 'self'"
    place = f"127.0.0.1:{house.port}/api/session/{house.key}"
    assert own == f"{STRICT}; connect-src {place} {place}/"


async def test_a_page_that_is_broken_off_does_not_look_complete(house: House) -> None:
    async def break_off(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(page()[:-5])
        connection.close()

    house.stranger.script = break_off
    with pytest.raises(CutError):
        await house.ask("GET", "lab", *PERSON)


async def test_a_page_that_is_broken_off_at_its_beginning_becomes_502(house: House) -> None:
    async def break_off(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(page().partition(b"<head")[0])
        connection.close()

    house.stranger.script = break_off
    assert (await house.ask("GET", "lab", *PERSON)).status == 502


# Size and pace


async def test_200_megabytes_come_down_byte_for_byte(house: House) -> None:
    pieces = [random.Random(seed).randbytes(MEGABYTE) for seed in range(4)]
    sent, got, size = hashlib.blake2b(), hashlib.blake2b(), 200 * MEGABYTE

    async def give(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for number in range(200):
            sent.update(pieces[number % 4])
            await connection.send(pieces[number % 4])

    house.stranger.script = give
    visitor = await house.visitor()
    before = memory()
    await visitor.send(house.head("GET", "big"))
    await visitor.head()
    have, grown = len(visitor.held), 0
    got.update(visitor.held)
    while have < size:
        data = await visitor.more()
        assert data
        got.update(data)
        have += len(data)
        grown = max(grown, memory() - before)
    assert have == size
    assert got.digest() == sent.digest()
    assert grown < 32 * MEGABYTE


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_200_megabytes_go_up_byte_for_byte(house: House, is_chunked: bool) -> None:  # noqa: FBT001
    pieces = [random.Random(seed).randbytes(MEGABYTE) for seed in range(4)]
    sent, got, size = hashlib.blake2b(), hashlib.blake2b(), 200 * MEGABYTE

    async def take(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        have = 0
        while have < size:
            if is_chunked:
                data = await connection.exactly(int((await connection.until(b"\r\n")), 16))
                await connection.exactly(2)
            else:
                data, connection.held = connection.held or await connection.more(), b""
            got.update(data)
            have += len(data)
        if is_chunked:
            assert await connection.exactly(5) == b"0\r\n\r\n"
        await connection.send(OK)

    house.stranger.script = take
    visitor = await house.visitor()
    await visitor.send(
        house.head("PUT", "big", "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}")
    )
    for number in range(200):
        piece = pieces[number % 4]
        sent.update(piece)
        await visitor.send(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
    if is_chunked:
        await visitor.send(b"0\r\n\r\n")
    assert (await visitor.answer()).body == b"ok"
    assert got.digest() == sent.digest()


async def settled(count: list[int]) -> int:
    """Return the number once it has stopped growing."""
    last = -1
    while count[0] != last:
        last = count[0]
        await asyncio.sleep(0.08)
    return last


async def test_a_visitor_who_stops_reading_stops_the_notebook(house: House) -> None:
    sent, piece, size = [0], bytes(MEGABYTE), 100 * MEGABYTE

    async def give(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent[0] < size:
            await connection.send(piece)
            sent[0] += len(piece)

    house.stranger.script = give
    visitor = await house.visitor(receive_buffer=8192)
    before = memory()
    await visitor.send(house.head("GET", "big"))
    await visitor.head()
    taken = await settled(sent)
    assert taken < 40 * MEGABYTE  # what the system's own buffers hold
    assert memory() - before < 8 * MEGABYTE
    have = len(visitor.held)
    while have < size:
        have += len(await visitor.more())
    assert sent[0] == size


async def test_a_notebook_that_stops_reading_stops_the_visitor(house: House) -> None:
    go = asyncio.Event()
    size = 100 * MEGABYTE

    async def take(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await go.wait()
        have = len(connection.held)
        while have < size:
            have += len(await connection.more())
        await connection.send(OK)

    house.stranger.script = take
    visitor, sent = await house.visitor(), [0]
    before = memory()

    async def upload() -> None:
        await visitor.send(house.head("PUT", "big", f"Content-Length: {size}"))
        for _ in range(100):
            await visitor.send(bytes(MEGABYTE))
            sent[0] += MEGABYTE

    uploading = asyncio.get_running_loop().create_task(upload())
    assert await settled(sent) < 40 * MEGABYTE
    assert memory() - before < 8 * MEGABYTE
    go.set()
    await uploading
    assert (await visitor.answer()).body == b"ok"


async def test_a_visitor_who_asks_on_and_on_without_reading_is_not_answered_into_memory(house: House) -> None:
    sent, size = [0], 100 * 1024

    async def give(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
        )
        sent[0] += size

    house.stranger.script = give
    visitor = await house.visitor(receive_buffer=8192)
    await visitor.send(house.head("GET", "x") * 600)
    assert await settled(sent) < 20 * MEGABYTE  # of 60


async def test_a_connection_whose_last_visitor_was_slow_serves_the_next(house: House) -> None:
    sizes = [size * 1024 for size in range(100, 6000, 230)]
    written = [0]

    async def give(connection: Peer) -> None:
        while True:
            request = await house.stranger.request(connection)
            size = int(request.target.rpartition("/")[2])
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            written[0] += 1

    house.stranger.script = give
    for size in sizes:
        visitor = await house.visitor(receive_buffer=8192)
        await visitor.send(house.head("GET", str(size)))
        await asyncio.sleep(0.01)  # they do something else before they read
        assert len((await visitor.answer()).body) == size
        assert len((await house.ask("GET", "10")).body) == 10, f"after an answer of {size} bytes"
        visitor.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_is_reset_as_soon_as_it_is_dialled_becomes_502(house: House, method: str) -> None:
    async def reset(connection: Peer) -> None:
        connection.reset()

    house.stranger.script = reset
    for _ in range(5):
        assert (await house.ask(method, "x", "Content-Length: 0")).status == 502


# Stages


CONNECTING, ASKED, PAGE, RESPONDING, OVER = Stage

ALLOWED = {
    (CONNECTING, ASKED),
    (CONNECTING, OVER),
    (ASKED, CONNECTING),
    (ASKED, PAGE),
    (ASKED, RESPONDING),
    (ASKED, OVER),
    (PAGE, RESPONDING),
    (PAGE, OVER),
    (RESPONDING, OVER),
}
FORBIDDEN = set(product(Stage, Stage)) - ALLOWED


async def at_stage(stage: Stage) -> Exchange:
    turns = TurnQueue(asyncio.get_running_loop())
    request = parse_request(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    connection: Any = types.SimpleNamespace(send=None)
    route = ToNotebook("/user/k/", Upstream(Dial("127.0.0.1", 9)), b"")
    turn = Turn(turns, lambda: None)
    made = Exchange(connection, request, route, request_turn=turn, response_turn=turn)
    made.stage = stage
    return made


def test_the_table_holds_these_moves_and_no_other() -> None:
    assert {(was, to) for was, targets in STAGES.items() for to in targets} == ALLOWED
    assert set(STAGES) == set(Stage)


def test_only_what_is_not_answered_is_asked_again() -> None:
    assert {was for was, targets in STAGES.items() if CONNECTING in targets} == {ASKED}


@pytest.mark.parametrize(("was", "to"), sorted(ALLOWED))
async def test_an_allowed_move_is_made(was: Stage, to: Stage) -> None:
    made = await at_stage(was)
    made._move(to)
    assert made.stage is to


@pytest.mark.parametrize(("was", "to"), sorted(FORBIDDEN))
async def test_a_forbidden_move_raises_and_changes_nothing(was: Stage, to: Stage) -> None:
    made = await at_stage(was)
    with pytest.raises(RuntimeError, match=f"an exchange that is {was} may not become {to}"):
        made._move(to)
    assert made.stage is was
