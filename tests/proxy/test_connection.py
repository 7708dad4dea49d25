"""A visitor's connection to the public listener: heads read once and strictly, one request after the other."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.proxy.conftest import Open
from tests.proxy.stage import OK, CutError, EagerPeer, House, Message, Peer, eventually, opened, quiet
from tmppool.keys import id_of
from tmppool.proxy import wire
from tmppool.proxy.application import MAX_BODY, Application
from tmppool.proxy.connection import PHASES, Bare, Connection, Phase
from tmppool.proxy.connection_context import ConnectionContext
from tmppool.proxy.fairness import Turn, TurnQueue
from tmppool.proxy.route import ToApplication, ToNotebook
from tmppool.proxy.timeouts import Timeouts
from tmppool.proxy.upstream import Upstream
from tmppool.proxy.watchdog import Watchdog
from tmppool.running import Dial


async def is_quiet(visitor: Peer) -> bool:
    """Whether the connection is open and nothing comes on it now."""
    try:
        async with asyncio.timeout(0.05):
            return bool(await visitor.more()) and False
    except TimeoutError:
        return True


# Requests that are none


BAD = {
    "nothing but words": b"hello there\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no Host": b"GET {base}x HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET {base}x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a fragment": b"GET {base}x#y HTTP/1.1\r\nHost: h\r\n\r\n",
    "raw bytes in the target": b"GET {base}\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space in the target": b"GET {base}a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a tab in the request line": b"GET\t{base}x HTTP/1.1\r\nHost: h\r\n\r\n",
    "bare LF": b"GET {base}x HTTP/1.1\nHost: h\n\r\n\r\n",
    "bare CR": b"GET {base}x HTTP/1.1\r\nHost: h\r\nA: b\rX: y\r\n\r\n",
    "NUL": b"GET {base}x HTTP/1.1\r\nHost: h\r\nA: \x00\r\n\r\n",
    "a folded line": b"GET {base}x HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
    "space before the colon": b"GET {base}x HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
    "a name that is no token": b"GET {base}x HTTP/1.1\r\nHost: h\r\nA(b): c\r\n\r\n",
    "a field without name": b"GET {base}x HTTP/1.1\r\nHost: h\r\n: c\r\n\r\n",
    "length and chunks": b"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two equal lengths": b"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "a list of lengths": b"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\nx",
    "a length with a sign": b"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\nx",
    "a length in hex": b"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\nx",
    "a length with an underscore": b"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: 1_0\r\n\r\nx",
    "a length in Arabic digits": "POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length: \u0661\r\n\r\nx".encode(),
    "an empty length": b"POST {base}x HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nx",
    "another coding": b"POST {base}x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST {base}x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in disguise": b"POST {base}x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": b"POST {base}x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", BAD.values(), ids=BAD.keys())
async def test_what_is_no_request_is_refused_and_what_follows_is_never_read(house: House, request_bytes: bytes) -> None:
    visitor = await house.visitor()
    request = request_bytes.replace(b"{base}", house.base.encode())
    await visitor.send(request + house.head("GET", "smuggled") + house.head("DELETE", f"/api/session/{house.key}"))
    answer = await visitor.answer()
    assert answer.status == 400
    assert answer.fields["Connection"] == "close"
    assert answer.fields["Content-Type"].partition(";")[0] in ("text/plain", "application/json")
    assert await visitor.is_closed()
    assert house.stranger.connections == []
    assert (await house.session())["state"] == "live"


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "without end"])
@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("GET {base}x?" + "x" * 17_000 + " HTTP/1.1\r\nHost: h", 414),
        ("GET {base}x HTTP/1.1\r\nHost: h" + "\r\nA: b" * 100, 431),
        ("GET {base}x HTTP/1.1\r\nHost: h\r\nA: " + "x" * 100_000, 431),
        ("GET {base}x HTTP/1.1\r\nHost: h\r\nCookie: " + "; ".join(f"c{n}={'x' * 900}" for n in range(1200)), 431),
    ],
    ids=["target", "fields", "one long field", "cookies"],
)
async def test_a_head_has_limits(house: House, start: str, status: int, whole: bool) -> None:  # noqa: FBT001
    visitor = await house.visitor()
    head = start.replace("{base}", house.base).encode()
    if not whole and len(head) < wire.MAX_REQUEST_HEAD:
        head += b"\r\nB: " + b"x" * wire.MAX_REQUEST_HEAD
        status = 431
    await visitor.send(head + (b"\r\n\r\n" if whole else b""))
    assert (await visitor.answer()).status == status
    assert house.stranger.connections == []


async def test_a_head_within_the_limits_passes(house: House) -> None:
    answer = await house.ask("GET", "x?" + "q" * 7_900, *(f"A{n}: b{'c' * 60}" for n in range(98)))
    assert answer.status == 200


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1{base}x", "http://u@h{base}x", "ftp://h{base}x", "https://evil.example/", "*", "user/x"]
)
async def test_only_the_origin_form_reaches_a_notebook(house: House, target: str) -> None:
    visitor = await house.visitor()
    method = "OPTIONS" if target == "*" else "GET"
    head = f"{method} {target.replace('{base}', house.base)} HTTP/1.1\r\nHost: h\r\n{house.cookie}\r\n\r\n"
    await visitor.send(head.encode())
    assert (await visitor.answer()).status >= 400
    assert house.stranger.connections == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_connect_and_trace_never_reach_a_notebook(house: House, method: str) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head(method, "x") + b"anything")
    assert (await visitor.answer()).status in (400, 404, 405)
    assert house.stranger.connections == []


@pytest.mark.parametrize("target", ["127.0.0.1:22", "evil.example:443", "/health"])
async def test_connect_to_elsewhere_is_no_tunnel(house: House, target: str) -> None:
    visitor = await house.visitor()
    await visitor.send(f"CONNECT {target} HTTP/1.1\r\nHost: h\r\n{house.cookie}\r\n\r\n".encode())
    assert (await visitor.answer()).status in (400, 404, 405)


@pytest.mark.parametrize("method", ["FOO", "get", "M!#$%&'*+-.^_`|~9"])
async def test_a_method_that_nobody_knows_is_answered_on_our_own_pages(house: House, method: str) -> None:
    answer = await house.ask(method, "/health")
    assert answer.status in (400, 405)
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n", b"\r\n" * 4], ids=["one", "two", "four"])
async def test_empty_lines_before_a_request_are_skipped(house: House, lines: bytes) -> None:
    visitor = await house.visitor()
    await visitor.send(lines + house.head("GET", "x"))
    assert (await visitor.answer()).body == b"ok"
    await visitor.send(lines)
    await visitor.send(house.head("GET", "x"))
    assert (await visitor.answer()).body == b"ok"


async def test_a_head_that_comes_byte_by_byte_is_one_head(house: House) -> None:
    visitor = await house.visitor()
    for byte in house.head("GET", "x?a=b", "Accept: y"):
        await visitor.send(bytes([byte]))
    assert (await visitor.answer()).body == b"ok"
    assert house.stranger.requests[0].target == f"{house.base}x?a=b"


# One after the other


def kind(answer: Message) -> str:
    return "health" if b'"checks"' in answer.body else answer.body.decode()


@pytest.mark.parametrize(
    "order",
    [
        ("x", "/health"),
        ("/health", "x"),
        ("x", "x"),
        ("/health", "/health"),
        ("x", "/health", "x", "/health", "/health", "x"),
    ],
    ids=" ".join,
)
async def test_requests_in_one_packet_are_answered_in_order(house: House, order: tuple[str, ...]) -> None:
    visitor = await house.visitor()
    await visitor.send(b"".join(house.head("GET", path) for path in order))
    answers = [kind(await visitor.answer()) for _ in order]
    assert answers == ["ok" if path == "x" else "health" for path in order]


async def test_requests_split_anywhere_are_answered_in_order(house: House) -> None:
    whole = (
        house.head("POST", "x", "Content-Length: 3") + b"abc"
        + house.head("GET", "/health")
        + house.head("PUT", "y", "Transfer-Encoding: chunked") + b"3\r\ndef\r\n0\r\n\r\n"
    )  # fmt: skip
    for split in range(1, len(whole), 3):
        visitor = await house.visitor()
        await visitor.send(whole[:split])
        await asyncio.sleep(0.001)
        await visitor.send(whole[split:])
        assert [kind(await visitor.answer()) for _ in range(3)] == ["ok", "health", "ok"], split
    bodies = [request.body for request in house.stranger.requests]
    assert bodies == [b"abc", b"def"] * (len(bodies) // 2)


async def test_a_body_for_us_is_taken_whole_before_the_next_request(house: House) -> None:
    visitor = await house.visitor()
    hidden = house.head("GET", "hidden")
    for path in ("/api/spawn", "/nowhere", f"/api/session/{house.key}/extend"):
        await visitor.send(house.head("POST", path, f"Content-Length: {len(hidden)}") + hidden + house.head("GET", "x"))
        assert (await visitor.answer()).status in (200, 404)
        assert (await visitor.answer()).body == b"ok"
    assert {request.target for request in house.stranger.requests} == {f"{house.base}x"}


@pytest.mark.parametrize(("path", "size", "status"), [("x", 1_000_000, 200), ("/nowhere", MAX_BODY, 404)])
async def test_a_body_whose_beginning_was_sent_ahead_is_read_to_its_end(
    house: House, path: str, size: int, status: int
) -> None:
    visitor = await house.visitor()
    whole = house.head("GET", "x") + house.head("PUT", path, f"Content-Length: {size}") + b"b" * size
    await visitor.send(whole[:10_000])
    assert (await visitor.answer()).status == 200
    await asyncio.wait_for(visitor.send(whole[10_000:]), 10)
    assert (await asyncio.wait_for(visitor.answer(), 10)).status == status


@pytest.mark.parametrize("path", ["x", "/nowhere"])
async def test_a_body_whose_beginning_was_sent_ahead_is_given_up_too(hurried: Open, path: str) -> None:
    house = await hurried(body_start=0.1, body_rate=1e6)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "x") + house.head("PUT", path, "Content-Length: 60000") + b"b" * 10_000)
    assert (await visitor.answer()).status == 200
    assert (await asyncio.wait_for(visitor.answer(), 10)).status == 408


@pytest.mark.parametrize("size", [MAX_BODY, MAX_BODY + 1, 3_000_000])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["by length", "chunked"])
@pytest.mark.parametrize(
    ("path", "statuses"), [("/nowhere", (404, 413)), ("/spawn", (200, 413))], ids=["unread", "read"]
)
async def test_a_body_for_us_has_a_limit_and_whoever_goes_on_sending_can_read_the_answer(
    house: House,
    size: int,
    is_chunked: bool,  # noqa: FBT001
    path: str,
    statuses: tuple[int, int],
) -> None:
    visitor = await EagerPeer.connect(house.port)
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    content = bytes(size)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, content) if is_chunked else content
    await visitor.send(house.head("POST", path, framing, "Content-Type: application/x-www-form-urlencoded"))
    await asyncio.sleep(0.02 if statuses[0] == 404 else 0)

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            await visitor.send(body + house.head("GET", "x"))

    sending = asyncio.get_running_loop().create_task(send())
    answer = await visitor.answer()
    is_over = size > MAX_BODY
    assert answer.status in ((statuses[1],) if is_over else (200, 400, 403, 404))
    if size > 2 * MAX_BODY or "Connection" in answer.fields:
        with contextlib.suppress(CutError):
            assert await visitor.rest() == b""
        assert house.stranger.requests == []
    else:
        assert (await visitor.answer()).body == b"ok"
    sending.cancel()
    await visitor.leave()


async def test_a_body_for_us_in_small_chunks_is_refused(house: House) -> None:
    for count, status in ((126, 200), (129, 400), (100_000, 400)):
        visitor = await EagerPeer.connect(house.port)
        await visitor.send(
            house.head("POST", "/api/spawn", "Transfer-Encoding: chunked") + b"1\r\na\r\n" * count + b"0\r\n\r\n"
        )
        assert (await visitor.answer()).status == status
        await visitor.leave()


@pytest.mark.parametrize("body", [b"no chunk\r\n", b"2\r\nokX\r\n", b"0\r\nbad trailer\r\n\r\n"])
async def test_a_bad_body_for_us_ends_the_connection(house: House, body: bytes) -> None:
    visitor = await house.visitor()
    await visitor.send(
        house.head("POST", "/nowhere", "Transfer-Encoding: chunked") + body + house.head("GET", "smuggled")
    )
    answers = 0
    with contextlib.suppress(CutError):
        while True:
            assert (await visitor.answer()).status in (400, 404)
            answers += 1
    assert answers in (1, 2)
    assert visitor.held == b""
    assert house.stranger.connections == []


async def test_chunks_for_us_that_look_like_requests_are_none(house: House) -> None:
    hidden = house.head("GET", "hidden")
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    for step in (1, 7, 1000):
        visitor = await house.visitor()
        whole = (
            house.head("POST", "/nowhere", "Transfer-Encoding: chunked")
            + body
            + house.head("PUT", "x", "Content-Length: 1")
            + b"y"
        )
        for start in range(0, len(whole), step):
            await visitor.send(whole[start : start + step])
        assert (await visitor.answer()).status == 404
        assert (await visitor.answer()).body == b"ok"
    assert {request.target for request in house.stranger.requests} == {f"{house.base}x"}


async def test_a_body_of_unknown_length_for_us_is_read_to_its_end(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("POST", "/api/spawn", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n")
    assert (await visitor.answer()).status == 200
    await visitor.send(house.head("GET", "/health"))
    assert kind(await visitor.answer()) == "health"


async def test_a_bad_body_for_us_is_refused(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "/health", "Transfer-Encoding: chunked") + b"no chunk\r\n")
    assert (await visitor.answer()).status == 400
    assert await visitor.is_closed()


@pytest.mark.parametrize("path", ["x", "/health"])
@pytest.mark.parametrize(
    ("version", "line", "keeps"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "x, Close", False),
        ("1.0", "", False),
        ("1.0", "keep-alive", True),
    ],
)
async def test_a_connection_stays_open_as_its_visitor_wishes(
    house: House,
    path: str,
    version: str,
    line: str,
    keeps: bool,  # noqa: FBT001
) -> None:
    visitor = await house.visitor()
    lines = [f"Connection: {line}"] if line else []
    await visitor.send(house.head("GET", path, *lines, version=version) * 2)
    assert (await visitor.answer()).status == 200
    if keeps:
        assert (await visitor.answer()).status == 200
        assert await is_quiet(visitor)
    else:
        assert await visitor.is_closed()


async def test_a_visitor_of_http_1_0_is_told_that_the_connection_stays(house: House) -> None:
    assert (await house.ask("GET", "x", "Connection: keep-alive", version="1.0")).fields["Connection"] == "keep-alive"
    assert (await house.ask("GET", "x", version="1.0")).fields["Connection"] == "close"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([], b""),
        (["Content-Length: 60"], b"x" * 60),
        (["Transfer-Encoding: chunked"], b"3c\r\n" + b"x" * 60 + b"\r\n0\r\n\r\n"),
    ],
    ids=["no body", "by length", "chunked"],
)
async def test_after_a_notebook_that_cannot_be_reached_the_next_request_is_answered(
    house: House, lines: list[str], body: bytes
) -> None:
    await house.stranger.__aexit__()
    visitor = await house.visitor()
    await visitor.send(house.head("POST", "x", *lines) + body)
    answer = await visitor.answer()
    assert answer.status == 502
    if answer.fields.get("Connection", "").lower() == "close":
        assert await visitor.is_closed()
    else:
        await visitor.send(house.head("GET", "/health"))
        assert kind(await visitor.answer()) == "health"


async def test_a_websocket_that_is_refused_leaves_the_connection_in_order(house: House) -> None:
    gone = house.key
    await house.reap()
    house.key = await house.spawn()
    visitor = await house.visitor()
    upgrade = [
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 22 + "==",
    ]  # fmt: skip
    await visitor.send(house.head("GET", f"/user/{gone}/api/kernels/1/channels", *upgrade))
    answer = await visitor.answer()
    assert answer.status == 424
    if "close" not in answer.fields.get("Connection", ""):
        await visitor.send(house.head("GET", "x"))
        assert (await visitor.answer()).body == b"ok"
        await visitor.send(house.head("GET", "/health"))
        assert kind(await visitor.answer()) == "health"


@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c", "TLS/1.0"])
@pytest.mark.parametrize("path", ["x", "/health"])
async def test_other_upgrades_are_ignored(house: House, path: str, upgrade: str) -> None:
    visitor = await house.visitor()
    await visitor.send(
        house.head("GET", path, "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: x")
    )
    assert (await visitor.answer()).status == 200
    await visitor.send(house.head("GET", "/health"))
    assert kind(await visitor.answer()) == "health"
    for request in house.stranger.requests:
        assert not {"Upgrade", "HTTP2-Settings", "Connection"} & set(request.fields)


async def test_what_is_sent_ahead_waits_without_limit_only_in_the_visitors_own_buffers(house: House) -> None:
    go = asyncio.Event()

    async def wait(connection: Peer) -> None:
        while True:
            await house.stranger.request(connection)
            await go.wait()
            await connection.send(OK)

    house.stranger.script = wait
    visitor, sent = await house.visitor(), 0
    head = house.head("GET", "x", "A: " + "x" * 900)
    batch = head * 100

    async def flood() -> None:
        nonlocal sent
        while True:
            await visitor.loop.sock_sendall(visitor.sock, batch)
            sent += len(batch)

    flooding = asyncio.get_running_loop().create_task(flood())
    last = -1
    while sent != last:
        last = sent
        await asyncio.sleep(0.1)
    flooding.cancel()
    assert sent < 30 * 2**20
    go.set()
    for _ in range(200):
        assert (await visitor.answer()).body == b"ok"


# Time


async def test_a_visitor_who_says_nothing_is_cut_off(hurried: Open) -> None:
    house = await hurried(head=0.05)
    assert await (await house.visitor()).is_closed()


async def test_a_head_that_takes_too_long_is_cut_off(hurried: Open) -> None:
    house = await hurried(head=0.05)
    visitor = await house.visitor()

    async def trickle() -> None:
        for byte in house.head("GET", "x", "A: " + "x" * 500):
            await visitor.send(bytes([byte]))
            await asyncio.sleep(0.005)

    with pytest.raises((ConnectionError, CutError)):
        await trickle()
    assert house.stranger.connections == []


@pytest.mark.parametrize("path", ["x", "/health"])
async def test_a_second_head_that_takes_too_long_is_cut_off(hurried: Open, path: str) -> None:
    house = await hurried(head=0.05)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", path))
    await visitor.answer()
    await visitor.send(b"GET /")
    assert await visitor.is_closed()


@pytest.mark.parametrize("path", ["x", "/nowhere"])
async def test_a_slow_body_is_no_slow_head(hurried: Open, path: str) -> None:
    house = await hurried(head=0.05, idle=0.05)
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", path, "Content-Length: 6") + b"abc")
    await asyncio.sleep(0.15)
    await visitor.send(b"def")
    assert (await visitor.answer()).status in (200, 404)


async def test_a_slow_notebook_is_waited_for(hurried: Open) -> None:
    house = await hurried(head=0.05, idle=0.05, body_start=0.05, unread=0.05, response_head=0.05)

    async def slow(connection: Peer) -> None:
        await house.stranger.request(connection)
        await asyncio.sleep(0.15)
        await connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.15)
        await connection.send(OK[:-2])
        await asyncio.sleep(0.15)
        await connection.send(OK[-2:])

    house.stranger.script = slow
    assert (await house.ask("PUT", "x", "Content-Length: 1", body=b"y")).body == b"ok"


@pytest.mark.parametrize("start", [b"H", b"HTTP/1.1 200 OK\r\nA: b", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200"])
async def test_a_notebook_that_begins_a_head_and_does_not_end_it_becomes_502(hurried: Open, start: bytes) -> None:
    house = await hurried(response_head=0.05)

    async def slow(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(start)
        assert await connection.is_closed()

    house.stranger.script = slow
    assert (await house.ask("GET", "x")).status == 502
    await quiet()
    assert house.stranger.bugs == []


@pytest.mark.parametrize("path", ["x", "/health"])
async def test_a_connection_that_is_not_used_any_more_is_closed(hurried: Open, path: str) -> None:
    house = await hurried(idle=0.05)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", path))
    await visitor.answer()
    assert await visitor.is_closed()


async def test_a_connection_that_has_not_ended_its_exchange_is_not_idle(hurried: Open) -> None:
    house = await hurried(idle=0.05)

    async def slow(connection: Peer) -> None:
        while True:
            await house.stranger.request(connection)
            await asyncio.sleep(0.1)
            await connection.send(OK)

    house.stranger.script = slow
    visitor = await house.visitor()
    for _ in range(2):
        await visitor.send(house.head("GET", "x"))
        assert (await visitor.answer()).body == b"ok"


# Bodies that take long

FRAMINGS = {"by length": "Content-Length: 100000", "chunked": "Transfer-Encoding: chunked"}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
@pytest.mark.parametrize("says_more", [False, True], ids=["silent", "trickling"])
async def test_a_body_that_comes_too_slowly_is_given_up(hurried: Open, framing: str, says_more: bool) -> None:  # noqa: FBT001
    house = await hurried(body_start=0.1, body_rate=1000.0)
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", framing))

    async def trickle() -> None:
        while True:
            await visitor.send(b"1\r\ny\r\n" if "chunked" in framing else b"y")
            await asyncio.sleep(0.02)

    trickling = asyncio.get_running_loop().create_task(trickle()) if says_more else None
    answer = await visitor.answer()
    assert (answer.status, answer.fields["Connection"]) == (408, "close")
    assert await visitor.is_closed()
    if trickling is not None:
        trickling.cancel()
    await eventually(lambda: house.stranger.cuts)


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
async def test_a_body_for_us_that_comes_too_slowly_ends_the_connection(hurried: Open, framing: str) -> None:
    house = await hurried(body_start=0.1)
    visitor = await house.visitor()
    await visitor.send(house.head("POST", "/api/spawn", framing, "Content-Type: application/x-www-form-urlencoded"))
    with contextlib.suppress(CutError):
        await visitor.answer()
    assert await visitor.is_closed()


async def test_a_body_that_comes_fast_enough_may_take_as_long_as_it_likes(hurried: Open) -> None:
    house = await hurried(body_start=0.5, body_rate=10_000.0)
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 30000"))
    for _ in range(30):
        await visitor.send(bytes(1000))
        await asyncio.sleep(0.03)
    assert (await visitor.answer()).body == b"ok"


async def test_a_body_that_was_fast_may_pause_and_not_for_ever(hurried: Open) -> None:
    house = await hurried(body_start=0.1, body_pause=0.6, body_rate=1000.0)
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 1000000") + bytes(900_000))
    await asyncio.sleep(0.3)
    assert await is_quiet(visitor)
    assert (await visitor.answer()).status == 408


async def test_a_visitor_is_not_blamed_for_a_notebook_that_does_not_take_their_body(hurried: Open) -> None:
    house = await hurried(body_start=0.1)
    size, go = 50_000_000, asyncio.Event()

    async def take(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await go.wait()
        await connection.exactly(size)
        await connection.send(OK)

    house.stranger.script = take
    visitor = await house.visitor()
    sending = asyncio.get_running_loop().create_task(
        visitor.send(house.head("PUT", "x", f"Content-Length: {size}") + bytes(size))
    )
    await asyncio.sleep(0.5)
    go.set()
    await sending
    assert (await visitor.answer()).body == b"ok"


# Bodies that are large


@pytest.mark.parametrize("framing", ["Content-Length: 1001", "Transfer-Encoding: chunked"])
async def test_a_body_beyond_the_limit_is_refused(hurried: Open, framing: str) -> None:
    house = await hurried({"upload_limit": 1000})
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", framing, "Expect: 100-continue"))
    if "chunked" in framing:
        assert (await visitor.head()).status == 100
        await visitor.send(b"3e8\r\n" + bytes(1000) + b"\r\n")
        await visitor.send(b"1\r\nx\r\n0\r\n\r\n")
    answer = await visitor.answer()
    assert (answer.status, answer.fields["Connection"]) == (413, "close")
    assert await visitor.is_closed()
    await eventually(lambda: len(house.stranger.cuts) == len(house.stranger.connections))
    assert house.stranger.requests == []


@pytest.mark.parametrize(
    ("framing", "body"),
    [("Content-Length: 1000", bytes(1000)), ("Transfer-Encoding: chunked", b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")],
    ids=["by length", "chunked"],
)
async def test_a_body_of_just_the_limit_passes(hurried: Open, framing: str, body: bytes) -> None:
    house = await hurried({"upload_limit": 1000})
    assert (await house.ask("PUT", "x", framing, body=body)).body == b"ok"
    assert len(house.stranger.requests[0].body) == 1000


async def test_without_a_limit_any_size_passes(hurried: Open) -> None:
    house = await hurried({"upload_limit": 0})
    body = b"f4240\r\n" + bytes(1_000_000) + b"\r\n0\r\n\r\n"
    assert (await house.ask("PUT", "x", "Transfer-Encoding: chunked", body=body)).body == b"ok"


async def test_a_visitor_who_goes_on_sending_can_read_why_they_are_refused(hurried: Open) -> None:
    house = await hurried({"upload_limit": 1000})
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 5000000"))
    await asyncio.sleep(0.05)
    await visitor.send(bytes(5_000_000))
    assert (await visitor.answer()).status == 413


async def test_a_body_beyond_the_limit_after_the_answer_began_is_broken_off(hurried: Open) -> None:
    house = await hurried({"upload_limit": 1000})

    async def hasty(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await connection.until(b"never")

    house.stranger.script = hasty
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Transfer-Encoding: chunked"))
    await visitor.until(b"half")
    await visitor.send(b"7d0\r\n")
    with pytest.raises(CutError) as cut:
        await visitor.until(b"more")
    assert cut.value.is_reset
    await eventually(lambda: house.stranger.cuts)


# Visitors who do not read


async def flood(connection: Peer) -> None:
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        while True:
            await connection.send(bytes(1 << 20))


async def test_a_visitor_who_takes_nothing_is_cut_off(hurried: Open) -> None:
    house = await hurried(unread=0.2)

    async def give(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        await flood(connection)

    house.stranger.script = give
    visitor = await house.visitor(receive_buffer=8192)
    await visitor.send(house.head("GET", "big"))
    await eventually(lambda: house.stranger.cuts)
    with pytest.raises(CutError):
        await visitor.exactly(1_000_000_000)


async def test_a_visitor_who_takes_little_is_served(hurried: Open) -> None:
    house = await hurried(head=0.5, idle=0.5, unread=0.5)
    size = 5_000_000

    async def give(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    house.stranger.script = give
    visitor = await house.visitor(receive_buffer=8192)
    await visitor.send(house.head("GET", "big", "Connection: close"))
    await visitor.head()
    for _ in range(24):
        await visitor.exactly(20_000)
        await asyncio.sleep(0.05)
    assert len(await visitor.rest()) == size - 24 * 20_000


@pytest.mark.parametrize("line", ["Connection: close", "Connection: keep-alive"])
async def test_who_takes_their_answer_slowly_is_not_idle(hurried: Open, line: str) -> None:
    house = await hurried(head=0.5, idle=0.5, unread=0.5)
    size = 600_000
    house.stranger.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    visitor = await house.visitor(receive_buffer=8192)
    await visitor.send(house.head("GET", "big", line))
    await visitor.head()
    await visitor.exactly(size - 300_000)
    for _ in range(25):
        await visitor.exactly(4_000)
        await asyncio.sleep(0.05)
    await visitor.exactly(200_000)
    assert await visitor.is_closed()


async def test_a_visitor_who_goes_on_sending_can_read_an_early_answer(house: House) -> None:
    async def hasty(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await connection.send(OK)
        await connection.until(b"never")

    house.stranger.script = hasty
    visitor = await house.visitor()
    await visitor.send(house.head("PUT", "x", "Content-Length: 5000000"))
    await asyncio.sleep(0.05)
    await visitor.send(bytes(5_000_000))
    assert (await visitor.answer()).body == b"ok"


async def test_a_visitor_who_resets_while_their_notebook_takes_nothing_is_noticed(hurried: Open) -> None:
    house = await hurried()

    async def deaf(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await left.wait()
        await connection.until(b"never")

    left, size = asyncio.Event(), 50_000_000
    house.stranger.script = deaf
    visitor = await house.visitor()
    sending = asyncio.get_running_loop().create_task(
        visitor.send(house.head("PUT", "x", f"Content-Length: {size}") + b"x" * size)
    )
    await asyncio.sleep(0.2)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    visitor.reset()
    await asyncio.sleep(0.1)
    left.set()
    await eventually(lambda: house.stranger.cuts)
    assert len(house.stranger.cuts[0].got) < size  # type: ignore[attr-defined]


async def test_an_answer_of_ours_that_is_not_taken_ends_too(hurried: Open) -> None:
    house = await hurried(unread=0.2)
    visitor = await house.visitor(receive_buffer=4096)
    await visitor.send(house.head("GET", "/static/session.js") * 50)
    await asyncio.sleep(0.6)

    async def take_all() -> None:
        for _ in range(50):
            await visitor.message()

    with pytest.raises(CutError):
        await take_all()


# The end of the service


async def test_open_connections_do_not_hold_up_the_end_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, monkeypatch) as house:

        async def answer_once(connection: Peer) -> None:
            await house.stranger.request(connection)
            await connection.send(OK)
            await house.stranger.request(connection)
            await connection.more()

        house.stranger.script = answer_once
        waiting, asking = await house.visitor(), await house.visitor()
        await waiting.send(house.head("GET", "x"))
        await waiting.answer()
        await asking.send(house.head("GET", "x"))
        await eventually(lambda: len(house.stranger.requests) == 2)
        house.visitors = []
    assert await waiting.is_closed()
    assert (await asking.rest() or b"HTTP/1.1 502").startswith(b"HTTP/1.1 502")
    waiting.close()
    asking.close()


async def test_nothing_that_visitors_send_is_logged_as_a_bug(house: House) -> None:
    with capture_logs() as logs:
        for request in BAD.values():
            visitor = await house.visitor()
            await visitor.send(request.replace(b"{base}", house.base.encode()))
            await visitor.answer()
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []


async def test_a_notebook_that_does_not_answer_is_said_in_the_log_without_its_key(house: House) -> None:
    house.stranger.says(b"nonsense\r\n\r\n")
    with capture_logs() as logs:
        answer = await house.ask("GET", "api/status", "Accept: application/json")
    assert answer.status == 502
    assert "message" in json.loads(answer.body)
    assert [entry["event"] for entry in logs] == ["upstream.failed"]
    assert house.key not in json.dumps(logs)


async def test_a_broken_notebook_has_one_line_a_minute_with_its_id_and_a_count(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.stranger.says(b"nonsense\r\n\r\n")
    with capture_logs() as logs:
        for _ in range(20):
            assert (await house.ask("GET", "x")).status == 502
        monkeypatch.setattr("tmppool.proxy.rare_warning.PAUSE", 0.0)
        assert (await house.ask("GET", "x")).status == 502
    assert [(entry["event"], entry["notebook"], entry["count"]) for entry in logs] == [
        ("upstream.failed", id_of(house.key), 1),
        ("upstream.failed", id_of(house.key), 20),
    ]


PROXY_PROTOCOL = {
    "version 1": b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
    "version 1, IPv6": b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n",
    "version 1, unknown": b"PROXY UNKNOWN\r\n",
    "version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb",
    "version 2, local": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
}


@pytest.mark.parametrize("begin", PROXY_PROTOCOL.values(), ids=PROXY_PROTOCOL.keys())
async def test_a_proxy_that_sends_the_proxy_protocol_is_told_of_once_a_minute(
    house: House, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*parts: bytes) -> bytes:
        visitor = await house.visitor()
        for part in parts:
            await visitor.send(part)
            await asyncio.sleep(0.01)
        answer = await visitor.answer()
        assert (answer.status, await visitor.is_closed()) == (400, True)
        return answer.body

    whole = begin + house.head("GET", "x")
    with capture_logs() as logs:
        assert await refused(whole) == b"This service does not read the PROXY protocol.\n"
        assert await refused(whole[:1], whole[1:9], whole[9:]) == b"This service does not read the PROXY protocol.\n"
        monkeypatch.setattr("tmppool.proxy.rare_warning.PAUSE", 0.0)
        await refused(whole)
        await refused(b"PROXY / HTTP/1.2\r\n\r\n")
    assert [(entry["event"], entry["count"]) for entry in logs] == [
        ("protocol.refused", 1),
        ("protocol.refused", 2),
    ]
    assert "send-proxy" in logs[0]["message"]
    assert house.stranger.requests == []


# What aiohttp is fed


BODIES = {
    "extensions": b"5;a b\r\n12345\r\n0\r\n\r\n",
    "a quoted extension": b'5;"\r\n12345\r\n0\r\n\r\n',
    "a trailer": b"5\r\n12345\r\n0\r\nA: b\r\n\r\n",
    "a trailer that frames": b"0\r\nContent-Length: 5\r\n\r\n",
    "a trailer that names a host": b"0\r\nHost: b\r\n\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("line", ["A: b", "Upgrade: websocket"])
async def test_after_our_own_answer_the_next_request_is_read_as_it_is(house: House, body: bytes, line: str) -> None:
    visitor = await house.visitor()
    for path in ("/health", "x", "/health"):
        await visitor.send(house.head("POST", "/nowhere", "Transfer-Encoding: chunked", line))
        await asyncio.sleep(0.01)
        await visitor.send(body)
        assert (await visitor.answer()).status == 404
        await visitor.send(house.head("GET", path))
        assert (await visitor.answer()).status == 200


async def test_the_fields_of_a_trailer_are_nobodys_credentials(house: House) -> None:
    visitor = await house.visitor()
    for trailer in ("Authorization: token x", "Cookie: tmppool=0123456789abcdef0123", "X-Asked: y"):
        await visitor.send(
            house.head("POST", "/nowhere", "Transfer-Encoding: chunked") + f"0\r\n{trailer}\r\n\r\n".encode()
        )
        assert (await visitor.answer()).status == 404
        await visitor.send(house.head("GET", "/"))
        answer = await visitor.answer()
        assert answer.status == 200
        assert "Set-Cookie" in answer.fields  # a visitor whom nobody has seen


async def test_an_answer_of_ours_that_does_not_come_is_not_waited_for(
    hurried: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_self: object, _request: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("tmppool.web.api.Api.health", never)
    house = await hurried(response_head=0.05)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "/health"))
    assert await visitor.is_closed()


# Small chunks


SMALL = b"1\r\na\r\n"


async def test_small_chunks_to_a_notebook_arrive_whole_and_their_visitor_is_not_blamed(hurried: Open) -> None:
    house = await hurried(body_start=0.05, body_rate=1e6)
    visitor = await house.visitor()
    count = 20_000
    await visitor.send(house.head("POST", "x", "Transfer-Encoding: chunked") + SMALL * count + b"0\r\n\r\n")
    await visitor.send(house.head("GET", "next"))
    assert (await visitor.answer()).status == 200
    assert (await visitor.answer()).status == 200
    assert [len(request.body) for request in house.stranger.requests] == [count, 0]


async def test_a_notebooks_small_chunks_arrive_whole_and_the_next_answer_behind_them(house: House) -> None:
    count = 20_000
    house.stranger.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SMALL * count + b"0\r\n\r\n", OK)
    visitor = await house.visitor()
    for size in (count, 2):
        await visitor.send(house.head("GET", "x"))
        assert len((await visitor.answer()).body) == size
    assert len(house.stranger.connections) == 1


async def test_small_chunks_wait_for_a_visitor_who_does_not_read_and_go_on_when_they_do(house: House) -> None:
    small = b"1ff\r\n" + b"a" * 511 + b"\r\n"
    count = 4000
    house.stranger.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + small * count + b"0\r\n\r\n")
    visitor = await house.visitor(receive_buffer=4096)
    await visitor.send(house.head("GET", "x"))
    await asyncio.sleep(0.3)
    assert len((await visitor.answer()).body) == 511 * count


@pytest.mark.parametrize("who", ["visitor", "stranger", "reap"])
@pytest.mark.parametrize("sender", ["visitor", "stranger"])
async def test_whoever_ends_while_small_chunks_wait_leaves_no_place_in_the_queue(
    house: House, monkeypatch: pytest.MonkeyPatch, who: str, sender: str
) -> None:
    queues = set()
    enter = TurnQueue.enter

    def note(turns: TurnQueue, turn: Turn) -> None:
        queues.add(turns)
        enter(turns, turn)

    monkeypatch.setattr(TurnQueue, "enter", note)

    async def script(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        if sender == "stranger":
            await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SMALL * 50_000)
        await eventually(lambda: queues)
        if who == "stranger":
            connection.reset()
        else:
            await connection.rest()

    house.stranger.script = script
    visitor = await EagerPeer.connect(house.port)
    body = SMALL * 50_000 if sender == "visitor" else b""
    sending = asyncio.get_running_loop().create_task(
        visitor.send(house.head("POST", "x", "Transfer-Encoding: chunked") + body)
    )
    await eventually(lambda: queues)
    if who == "visitor":
        visitor.reset()
    elif who == "reap":
        await house.reap()
    else:
        await asyncio.sleep(0.05)
    await asyncio.gather(sending, return_exceptions=True)
    if who != "visitor":
        await visitor.leave()
    await eventually(lambda: not any(turns.queue for turns in queues))
    assert (await house.ask("GET", "/health")).status == 200


async def test_requests_that_are_sent_ahead_are_all_answered(house: House) -> None:
    visitor = await EagerPeer.connect(house.port)
    await visitor.send(house.head("GET", "/robots.txt") * 300 + house.head("GET", "x") * 50)
    for path in ["/robots.txt"] * 300 + ["x"] * 50:
        assert (await visitor.answer()).status == 200, path
    await visitor.leave()


async def test_more_empty_lines_than_a_few_are_no_request(house: House) -> None:
    visitor = await house.visitor()
    for _ in range(5):
        await visitor.send(b"\r\n")
        await asyncio.sleep(0.01)
    assert (await visitor.answer()).status == 400
    assert await visitor.is_closed()


async def test_a_notebook_gets_its_own_cookies_back_and_no_others(house: House) -> None:
    house.stranger.says(b"HTTP/1.1 200 OK\r\nSet-Cookie: mine=1; Path=/\r\nContent-Length: 0\r\n\r\n", OK)
    for _ in range(2):
        await house.ask("GET", "x", "Cookie: session=secret; mine=1; mine=2; tmppool=secret")
    assert [request.fields.get("Cookie") for request in house.stranger.requests] == [None, "mine=1"]


# Phases


H, B, A, N, T, L, C = (
    Phase.HEAD,
    Phase.BODY,
    Phase.APPLICATION,
    Phase.NOTEBOOK,
    Phase.TUNNEL,
    Phase.LINGER,
    Phase.CLOSED,
)

ALLOWED = {
    *((H, phase) for phase in (B, A, N, L, C)),
    *((B, phase) for phase in (A, L, C)),
    *((A, phase) for phase in (H, L, C)),
    *((N, phase) for phase in (H, A, T, L, C)),
    (T, C),
    (L, C),
}
FORBIDDEN = set(product(Phase, Phase)) - ALLOWED


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    watchdog = Watchdog(loop, 1.0)
    application = Application(web.Application(), 0.0)
    context = ConnectionContext(
        application, lambda _request, _peer: ToApplication(), watchdog, TurnQueue(loop), Timeouts(), 0
    )
    _, made = await loop.create_unix_connection(lambda: Connection(context, "192.0.2.1", lambda: None), sock=ours)
    yield made
    made._at = Bare(Phase.HEAD)
    watchdog.close()
    theirs.close()
    await asyncio.sleep(0)


def test_the_table_holds_these_moves_and_no_other() -> None:
    assert {(was, to) for was, targets in PHASES.items() for to in targets} == ALLOWED
    assert set(PHASES) == set(Phase)


def test_every_phase_can_end_and_the_end_is_one() -> None:
    assert all(C in targets for was, targets in PHASES.items() if was is not C)
    assert PHASES[C] == frozenset()


def test_nothing_is_read_again_after_the_last_words() -> None:
    reached, frontier = set(), {L}
    while frontier:
        reached |= frontier
        frontier = {to for was in frontier for to in PHASES[was]} - reached
    assert reached == {L, C}


@pytest.mark.parametrize(("was", "to"), sorted(ALLOWED))
async def test_an_allowed_move_is_made(connection: Connection, was: Phase, to: Phase) -> None:
    connection._at = Bare(was)
    connection._move(Bare(to))
    assert connection.phase is to


@pytest.mark.parametrize(("was", "to"), sorted(FORBIDDEN))
async def test_a_forbidden_move_raises_and_changes_nothing(connection: Connection, was: Phase, to: Phase) -> None:
    connection._at = Bare(was)
    with pytest.raises(RuntimeError, match=f"a connection that is in {was} may not come to {to}"):
        connection._move(Bare(to))
    assert connection.phase is was


async def test_a_reap_while_an_answer_breaks_off_breaks_it_off_only_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[None] = []
    break_off = Connection.break_off

    def break_off_and_reap(connection: Connection) -> None:
        break_off(connection)
        connection._cut()
        cuts.append(None)

    async def script(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.close()

    monkeypatch.setattr(Connection, "break_off", break_off_and_reap)
    house.stranger.script = script
    with pytest.raises(CutError):
        await house.ask("GET", "x")
    assert cuts == [None]


@pytest.mark.parametrize(("wanted", "asked"), [("/user/k/tree?a=1", b"/user/k/tree?a=1"), (None, b"/said?token=t")])
async def test_a_route_is_taken_once_and_says_what_the_notebook_is_asked_for(wanted: str | None, asked: bytes) -> None:
    heads: list[bytes] = []
    taken: list[None] = []

    async def notebook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        writer.close()

    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(notebook, "127.0.0.1", 0) as upstream:
        dial = Dial("127.0.0.1", upstream.sockets[0].getsockname()[1])
        route = ToNotebook("/user/k/", Upstream(dial), b"", target=wanted, on_taken=lambda: taken.append(None))
        watchdog = Watchdog(loop, 1.0)
        context = ConnectionContext(
            Application(web.Application(), 0.0), lambda *_: route, watchdog, TurnQueue(loop), Timeouts(), 0
        )
        async with await loop.create_server(
            lambda: Connection(context, "192.0.2.1", lambda: None), "127.0.0.1", 0
        ) as public:
            visitor = await Peer.connect(public.sockets[0].getsockname()[1])
            await visitor.send(b"GET /said?token=t HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await visitor.answer()).body == b"ok"
            visitor.close()
        watchdog.close()
    assert [head.split()[1] for head in heads] == [asked]
    assert taken == [None]
