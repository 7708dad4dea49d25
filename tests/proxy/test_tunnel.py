"""WebSockets: the handshake at both ends, then bytes as they are, until one end goes or the notebook is reaped."""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from tests.proxy.conftest import Open
from tests.proxy.stage import OK, CutError, House, Message, Peer, eventually, opened
from tmppool.running import Dial

CHANNELS = "api/kernels/1/channels"
KEY = base64.b64encode(b"0123456789abcdef").decode()
HANDSHAKE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)
MEGABYTE = 2**20


def accept(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def switching(*lines: str, key: str = KEY) -> bytes:
    head = [
        "HTTP/1.1 101 Switching",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept(key)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode()


def frame(
    opcode: int, payload: bytes = b"", *, is_last: bool = True, mask: bytes | None = b"\x01\x02\x03\x04"
) -> bytes:
    head = bytes([opcode | (0x80 if is_last else 0)])
    size = len(payload)
    flag = 0x80 if mask is not None else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ key for byte, key in zip(payload, itertools.cycle(mask)))


async def shake(house: House, connection: Peer, *lines: str) -> Message:
    request = await house.stranger.request(connection)
    await connection.send(switching(*lines, key=request.fields["Sec-WebSocket-Key"]))
    return request


async def tunnel(house: House, path: str = CHANNELS, *lines: str) -> tuple[Peer, Peer]:
    """Return both ends of an open tunnel."""
    ready = asyncio.get_running_loop().create_future()

    async def wait(connection: Peer) -> None:
        await shake(house, connection)
        ready.set_result(connection)

    house.stranger.script = wait
    visitor = await house.visitor()
    await visitor.send(house.head("GET", path, *HANDSHAKE, *lines))
    assert (await visitor.head()).status == 101
    return visitor, await ready


# With a real client and a real server


codes: list[int | None] = []
"""How the sockets of ``echo`` were closed."""


@pytest.fixture
async def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A notebook that echoes messages."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        made = web.WebSocketResponse(protocols=("v1.kernel.websocket.jupyter.org", "other"), max_msg_size=0)
        await made.prepare(request)
        async for message in made:
            if message.data == "close":
                await made.close(code=4321, message=b"as you wish")
            elif message.type is WSMsgType.TEXT:
                await made.send_str(message.data)
            else:
                await made.send_bytes(message.data)
        codes.append(made.close_code)
        return made

    codes.clear()
    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with opened(tmp_path, monkeypatch, dial=Dial("127.0.0.1", runner.addresses[0][1])) as house:
        yield house
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


def owner(house: House) -> dict[str, str]:
    return {"Cookie": house.cookie.removeprefix("Cookie: ")}


def url(house: House, path: str = CHANNELS) -> str:
    return f"http://127.0.0.1:{house.port}{house.base}{path}"


@pytest.mark.parametrize("compress", [0, 15])
async def test_messages_of_every_kind_and_size_come_back(
    echo: House, client: aiohttp.ClientSession, compress: int
) -> None:
    async with client.ws_connect(url(echo), headers=owner(echo), compress=compress, max_msg_size=0) as socket:
        for size in (0, 1, 125, 126, 127, 65535, 65536, 3_000_000):
            await socket.send_str("ü" * (size // 2) + "x" * (size % 2))
            assert await socket.receive_str() == "ü" * (size // 2) + "x" * (size % 2)
            data = os.urandom(size)
            await socket.send_bytes(data)
            assert await socket.receive_bytes() == data


async def test_pings_are_answered_by_the_other_end(echo: House, client: aiohttp.ClientSession) -> None:
    async with client.ws_connect(url(echo), headers=owner(echo), autoping=False) as socket:
        await socket.ping(b"are you there")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"are you there")


async def test_the_close_code_of_either_end_reaches_the_other(echo: House, client: aiohttp.ClientSession) -> None:
    async with client.ws_connect(url(echo), headers=owner(echo)) as socket:
        await socket.send_str("close")
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4321, "as you wish")
    async with client.ws_connect(url(echo), headers=owner(echo)) as socket:
        await socket.close(code=4000)
    assert codes[-1] == 4000


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None),
        (("other",), "other"),
        (("nonsense", "v1.kernel.websocket.jupyter.org"), "v1.kernel.websocket.jupyter.org"),
    ],
)
async def test_the_notebook_chooses_the_subprotocol(
    echo: House, client: aiohttp.ClientSession, offered: tuple[str, ...], chosen: str | None
) -> None:
    async with client.ws_connect(url(echo), headers=owner(echo), protocols=offered) as socket:
        assert socket.protocol == chosen


# The handshake


async def test_the_handshake_reaches_the_notebook_with_its_token_and_without_ours(house: House) -> None:
    house.stranger.script = lambda connection: shake(house, connection)
    visitor = await house.visitor()
    lines = ("Sec-WebSocket-Extensions: permessage-deflate", "Authorization: token x", "Cookie: tmppool=mine; a=b")
    await visitor.send(house.head("GET", CHANNELS + "?session_id=1", *HANDSHAKE, *lines))
    answer = await visitor.head()
    (request,) = house.stranger.requests
    assert request.start == f"GET {house.base}{CHANNELS}?session_id=1 HTTP/1.1"
    assert request.fields.getall("Upgrade") == ["websocket"]
    assert request.fields.getall("Connection") == ["Upgrade"]
    assert request.fields["Sec-WebSocket-Extensions"] == "permessage-deflate"
    assert request.fields.getall("Authorization") == [f"token token-of-{house.key}"]
    assert "Cookie" not in request.fields
    assert answer.start == "HTTP/1.1 101 Switching Protocols"
    assert answer.fields["Sec-WebSocket-Accept"] == accept(KEY)
    assert "Content-Length" not in answer.fields
    assert "Transfer-Encoding" not in answer.fields


BAD_HANDSHAKES = {
    "no version": ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}"),
    "version 8": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8", f"Sec-WebSocket-Key: {KEY}"),
    "no key": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "short key": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: YWJj"),
    "key that is no base64": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "!" * 24),
    "two keys": (*HANDSHAKE, f"Sec-WebSocket-Key: {KEY}"),
    "a body": (*HANDSHAKE, "Content-Length: 1"),
}  # fmt: skip


@pytest.mark.parametrize("lines", BAD_HANDSHAKES.values(), ids=BAD_HANDSHAKES.keys())
async def test_a_bad_handshake_is_refused_before_the_notebook_hears_of_it(house: House, lines: tuple[str, ...]) -> None:
    assert (await house.ask("GET", CHANNELS, *lines, body=b"x")).status == 400
    assert house.stranger.connections == []


@pytest.mark.parametrize(("method", "version"), [("POST", "1.1"), ("GET", "1.0")])
async def test_a_handshake_is_a_get_of_http_1_1(house: House, method: str, version: str) -> None:
    assert (await house.ask(method, CHANNELS, *HANDSHAKE, version=version)).status == 400
    assert house.stranger.connections == []


@pytest.mark.parametrize(
    "lines",
    [
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
    ],
)
async def test_a_page_of_another_origin_gets_no_websocket(house: House, lines: tuple[str, ...]) -> None:
    assert (await house.ask("GET", CHANNELS, *HANDSHAKE, *lines)).status == 403
    assert house.stranger.connections == []


async def test_our_own_pages_and_programs_get_a_websocket(house: House) -> None:
    own = f"Origin: http://127.0.0.1:{house.port}"
    for lines in ((own,), (own, "Sec-Fetch-Site: same-origin"), ()):
        house.stranger.script = lambda connection: shake(house, connection)
        visitor = await house.visitor()
        await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE, *lines))
        assert (await visitor.head()).status == 101


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_refusal_of_the_notebook_is_passed_as_it_is(house: House, status: int) -> None:
    house.stranger.says(b"HTTP/1.1 %d No\r\nContent-Length: 4\r\nX-App-Why: because\r\n\r\nnope" % status)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    answer = await visitor.answer()
    assert (answer.status, answer.body, answer.fields["X-App-Why"]) == (status, b"nope", "because")
    house.stranger.says(OK)
    await visitor.send(house.head("GET", "x"))
    assert (await visitor.answer()).body == b"ok"


WRONG_101 = {
    "wrong digest": switching(key=base64.b64encode(b"fedcba9876543210").decode()),
    "no digest": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "no upgrade": switching().replace(b"Upgrade: websocket\r\n", b""),
    "another upgrade": switching().replace(b"websocket", b"h2c"),
    "no connection": switching().replace(b"Connection: Upgrade\r\n", b""),
    "a protocol that nobody offered": switching("Sec-WebSocket-Protocol: evil"),
    "two digests": switching(f"Sec-WebSocket-Accept: {accept(KEY)}"),
}


@pytest.mark.parametrize("answer", WRONG_101.values(), ids=WRONG_101.keys())
async def test_a_switch_that_does_not_fit_becomes_502(house: House, answer: bytes) -> None:
    house.stranger.says(answer)
    found = await house.ask("GET", CHANNELS, *HANDSHAKE)
    assert found.status == 502
    assert not found.fields.getall("Upgrade", [])


async def test_a_notebook_that_cannot_be_reached_becomes_502(house: House) -> None:
    await house.stranger.__aexit__()
    assert (await house.ask("GET", CHANNELS, *HANDSHAKE)).status == 502


async def test_a_handshake_never_uses_a_connection_that_waited(house: House) -> None:
    await house.ask("GET", "x")
    house.stranger.script = lambda connection: shake(house, connection)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    await visitor.head()
    assert [number for number, _ in house.stranger.asked] == [0, 1]


async def test_the_connection_of_a_handshake_that_was_not_taken_up_is_used_for_nothing_else(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    assert (await visitor.answer()).body == b"ok"
    await visitor.send(house.head("GET", "x"))
    assert (await visitor.answer()).body == b"ok"
    assert [number for number, _ in house.stranger.asked] == [0, 1]
    await eventually(lambda: house.stranger.cuts)


# Bytes


STREAM = (
    frame(1, b"text")
    + frame(2, bytes(range(256)))
    + frame(1, b"frag", is_last=False)
    + frame(9, b"ping between fragments")
    + frame(0, b"ment")
    + frame(10)
    + frame(2, b"x" * 70_000)
    + frame(0x3, b"reserved opcode")
    + b"\x70\x80\x00\x00\x00\x00"
    + frame(8, b"\x03\xe8bye")
)


@pytest.mark.parametrize("path", [CHANNELS, "terminals/websocket/1", "api/events/subscribe", "proxy/8888/ws"])
async def test_every_byte_passes_as_it_is_in_both_directions(house: House, path: str) -> None:
    visitor, notebook = await tunnel(house, path)
    await visitor.send(STREAM)
    assert await notebook.exactly(len(STREAM)) == STREAM
    await notebook.send(STREAM)
    assert await visitor.exactly(len(STREAM)) == STREAM
    for byte in STREAM[:400]:
        await visitor.send(bytes([byte]))
    assert await notebook.exactly(400) == STREAM[:400]


async def test_frames_that_come_with_the_handshake_arrive_after_it(house: House) -> None:
    ready = asyncio.get_running_loop().create_future()

    async def eager(connection: Peer) -> None:
        request = await house.stranger.request(connection)
        await connection.send(switching(key=request.fields["Sec-WebSocket-Key"]) + frame(1, b"welcome", mask=None))
        ready.set_result(connection)

    house.stranger.script = eager
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE) + STREAM)
    notebook = await ready
    assert await notebook.exactly(len(STREAM)) == STREAM
    assert (await visitor.head()).status == 101
    assert await visitor.exactly(9) == frame(1, b"welcome", mask=None)


@pytest.mark.parametrize("size", [100, 60_000, 100_000, 2_000_000])
async def test_what_is_sent_during_the_handshake_arrives_after_it(house: House, size: int) -> None:
    shaken, ready = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def late(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        await shaken.wait()
        await connection.send(switching())
        ready.set_result(connection)

    house.stranger.script = late
    visitor = await house.visitor()
    data = frame(2, os.urandom(size))
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    sending = asyncio.get_running_loop().create_task(visitor.send(data))
    await asyncio.sleep(0.02)
    shaken.set()
    assert (await visitor.head()).status == 101
    notebook = await ready
    assert await notebook.exactly(len(data)) == data
    await sending


async def test_a_tunnel_after_other_requests_on_the_same_connection_works(house: House) -> None:
    visitor = await house.visitor()
    await visitor.send(house.head("GET", "/health") + house.head("GET", "x"))
    assert [(await visitor.answer()).status for _ in range(2)] == [200, 200]
    ready = asyncio.get_running_loop().create_future()

    async def wait(connection: Peer) -> None:
        await shake(house, connection)
        ready.set_result(connection)

    house.stranger.script = wait
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    assert (await visitor.head()).status == 101
    await visitor.send(b"GET / HTTP/1.1\r\n\r\n")
    assert await (await ready).exactly(18) == b"GET / HTTP/1.1\r\n\r\n"


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("direction", ["to the notebook", "to the visitor"])
async def test_a_message_of_64_megabytes_is_never_held(house: House, direction: str) -> None:
    visitor, notebook = await tunnel(house)
    sender, reader = (visitor, notebook) if direction == "to the notebook" else (notebook, visitor)
    size, sent, before = 64 * MEGABYTE, 0, memory()
    whole = hashlib.blake2b()

    async def send() -> None:
        nonlocal sent
        await sender.send(b"\x82\xff" + size.to_bytes(8, "big") + b"mask")
        for number in range(64):
            piece = bytes([number]) * MEGABYTE
            await sender.send(piece)
            whole.update(piece)
            sent += MEGABYTE

    sending = asyncio.get_running_loop().create_task(send())
    last = -1
    while sent != last:
        last = sent
        await asyncio.sleep(0.1)
    assert sent < 32 * MEGABYTE  # nobody reads yet
    assert memory() - before < 8 * MEGABYTE
    got, have = hashlib.blake2b(), 0
    assert await reader.exactly(14) == b"\x82\xff" + size.to_bytes(8, "big") + b"mask"
    while have < size:
        data, reader.held = reader.held or await reader.more(), b""
        assert data
        got.update(data)
        have += len(data)
    await sending
    assert got.digest() == whole.digest()


async def flood(connection: Peer, sent: list[int]) -> None:
    with contextlib.suppress(TimeoutError, ConnectionError):
        while True:
            await connection.send(bytes(MEGABYTE))
            sent[0] += MEGABYTE


async def test_a_visitor_who_takes_nothing_loses_their_websocket_and_it_never_fills_the_memory(hurried: Open) -> None:
    house = await hurried(unread_tunnel=0.2)
    _visitor, notebook = await tunnel(house)
    before, sent = memory(), [0]
    await flood(notebook, sent)
    assert sent[0] < 32 * MEGABYTE
    assert memory() - before < 8 * MEGABYTE
    assert await notebook.is_closed()


async def test_a_visitor_who_takes_little_keeps_their_websocket(hurried: Open) -> None:
    house = await hurried(unread_tunnel=0.5, unread=0.05)
    visitor, notebook = await tunnel(house)
    flooding = asyncio.get_running_loop().create_task(flood(notebook, [0]))
    for _ in range(20):
        await visitor.exactly(1 << 18)
        await asyncio.sleep(0.05)
    flooding.cancel()


async def test_a_websocket_on_which_nothing_happens_stays(hurried: Open) -> None:
    house = await hurried(**dict.fromkeys(("head", "idle", "body_start", "unread", "unread_tunnel"), 0.05))
    visitor, notebook = await tunnel(house)
    await asyncio.sleep(0.3)
    await visitor.send(frame(1, b"still there?"))
    assert await notebook.exactly(len(frame(1, b"still there?")))
    await notebook.send(frame(1, b"yes", mask=None))
    assert await visitor.exactly(5) == frame(1, b"yes", mask=None)


async def test_a_notebook_that_takes_nothing_keeps_its_websocket_as_long_as_its_visitor_stays(hurried: Open) -> None:
    house = await hurried(unread_tunnel=0.1)
    visitor, notebook = await tunnel(house)
    size = 40 * MEGABYTE
    message = b"\x82\xff" + size.to_bytes(8, "big") + b"mask" + bytes(size)
    sending = asyncio.get_running_loop().create_task(visitor.send(message))
    await asyncio.sleep(0.4)
    assert not sending.done()
    assert len(await notebook.exactly(len(message))) == len(message)
    await sending


async def test_what_a_notebook_does_not_take_is_not_kept_for_ever_after_its_visitor_left(hurried: Open) -> None:
    house = await hurried(unread_tunnel=0.1)
    visitor, _notebook = await tunnel(house)
    descriptors, size = descriptors_open(), 40 * MEGABYTE
    await visitor.send(b"\x82\xff" + size.to_bytes(8, "big") + b"mask")
    sending = asyncio.get_running_loop().create_task(visitor.send(bytes(size)))
    await asyncio.sleep(0.2)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    visitor.reset()
    await eventually(lambda: descriptors_open() <= descriptors - 3)  # their two, and the connection's end here


# What counts as use


@dataclass
class Program:
    """A program with the token of a notebook of its own."""

    house: House
    line: str

    async def idle_end(self) -> float:
        """Return when the session would end, a moment later: that it is used shows."""
        await asyncio.sleep(0.02)
        answer = await self.house.ask("GET", f"/api/session/{self.house.key}", self.line)
        return float(json.loads(answer.body)["idle_expires_at"])


@pytest.fixture
async def program(house: House) -> Program:
    given = json.loads((await house.ask("POST", "/api/spawn", "Content-Length: 0")).body)
    house.key = given["url"].split("/")[2]
    return Program(house, f"Authorization: token {given['token']}")


@pytest.mark.parametrize("path", [CHANNELS, CHANNELS + "?session_id=1", "terminals/websocket/1", "proxy/5006/app/ws"])
async def test_data_frames_of_a_program_are_use(house: House, program: Program, path: str) -> None:
    visitor, notebook = await tunnel(house, path, program.line)
    before = await program.idle_end()
    await visitor.send(frame(1, b"execute"))
    await notebook.exactly(13)
    assert await program.idle_end() > before + 0.005


async def test_pings_pongs_and_what_the_notebook_says_are_no_use(house: House, program: Program) -> None:
    visitor, notebook = await tunnel(house, CHANNELS, program.line)
    before = await program.idle_end()
    await visitor.send(frame(9, b"ping") + frame(10, b"pong"))
    await notebook.exactly(20)
    await notebook.send(frame(1, b"output", mask=None))
    await visitor.exactly(8)
    assert await program.idle_end() == pytest.approx(before, abs=0.005)


async def test_a_flood_of_frames_passes_whole_and_is_use(house: House, program: Program) -> None:
    visitor, notebook = await tunnel(house, CHANNELS, program.line)
    before = await program.idle_end()
    flood = frame(10, b"") * 20_000
    sending = asyncio.get_running_loop().create_task(visitor.send(flood))
    assert await notebook.exactly(len(flood)) == flood
    await sending
    assert await program.idle_end() > before + 0.005


@pytest.mark.parametrize("path", ["api/events/subscribe", "api/collaboration/room/a"])
async def test_data_frames_that_jupyter_sends_by_itself_are_no_use(house: House, program: Program, path: str) -> None:
    visitor, notebook = await tunnel(house, path, program.line)
    before = await program.idle_end()
    await visitor.send(frame(1, b"hello"))
    await notebook.exactly(11)
    assert await program.idle_end() == pytest.approx(before, abs=0.005)


async def test_to_open_a_websocket_is_no_use(house: House, program: Program) -> None:
    await house.ask("GET", "x", program.line)  # it is opened
    before = await program.idle_end()
    await tunnel(house, CHANNELS, program.line)
    assert await program.idle_end() == pytest.approx(before, abs=0.005)


@pytest.mark.parametrize("path", [CHANNELS, "terminals/websocket/1", "proxy/5006/app/ws"])
async def test_what_a_browser_sends_on_a_websocket_is_no_use(house: House, path: str) -> None:
    """A page sends what it likes, whether anybody is there or not; its visitor's activity is reported by our script."""
    visitor, notebook = await tunnel(house, path)
    before = float((await house.session())["idle_expires_at"])
    await asyncio.sleep(0.02)
    await visitor.send(frame(1, b"execute") + frame(10, b"") * 2000)
    await notebook.exactly(13 + 6 * 2000)
    assert float((await house.session())["idle_expires_at"]) == pytest.approx(before, abs=0.005)


# The end


async def test_a_reap_closes_its_tunnels_and_no_others(house: House) -> None:
    ends = [await tunnel(house) for _ in range(3)]
    first, house.key = house.key, await house.spawn()
    visitor, notebook = await tunnel(house)
    house.key = first
    await house.reap()
    for one, other in ends:
        assert await one.is_closed()
        assert await other.is_closed()
    await visitor.send(STREAM)
    assert await notebook.exactly(len(STREAM)) == STREAM


async def test_a_handshake_under_way_when_its_notebook_is_reaped_never_becomes_a_tunnel(house: House) -> None:
    asked, reaped = asyncio.Event(), asyncio.Event()

    async def late(connection: Peer) -> None:
        await connection.until(b"\r\n\r\n")
        asked.set()
        await reaped.wait()
        await connection.send(switching())
        await connection.until(b"never")

    house.stranger.script = late
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    await asked.wait()
    await house.reap()
    reaped.set()
    try:
        if (await visitor.head()).status == 101:
            assert await visitor.is_closed()
    except CutError:
        pass
    await eventually(lambda: house.stranger.cuts)


async def test_a_tunnel_of_a_reaped_notebook_cannot_be_opened(house: House) -> None:
    await house.reap()
    assert (await house.ask("GET", CHANNELS, *HANDSHAKE)).status == 424
    assert house.stranger.connections == []


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("who", ["visitor", "notebook"])
async def test_an_end_that_goes_takes_the_other_along(house: House, who: str, way: str) -> None:
    visitor, notebook = await tunnel(house)
    leaving, staying = (visitor, notebook) if who == "visitor" else (notebook, visitor)
    if way == "close":
        await leaving.send(frame(8, b"\x03\xe9"))
        leaving.close()
        assert await staying.exactly(8) == frame(8, b"\x03\xe9")
    else:
        leaving.reset()
    assert await staying.is_closed()


def descriptors_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_thousands_of_tunnels_leave_no_descriptor_and_no_task(house: House) -> None:
    async def hold(connection: Peer) -> None:
        await shake(house, connection)
        await connection.more()
        connection.close()

    async def cycle(number: int) -> None:
        visitor = await Peer.connect(house.port)
        await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
        assert (await visitor.head()).status == 101
        if number % 3 == 0:
            await visitor.send(frame(1, b"hello"))
        visitor.reset() if number % 3 == 1 else visitor.close()

    async def batch(first: int) -> None:
        await asyncio.gather(*(cycle(first + number) for number in range(50)))

    house.stranger.script = hold
    await batch(0)
    await eventually(lambda: all(connection.sock.fileno() == -1 for connection in house.stranger.connections))
    await asyncio.sleep(0.05)
    descriptors, tasks = descriptors_open(), len(asyncio.all_tasks())
    for first in range(0, 2000, 50):
        await batch(first)
    await eventually(lambda: all(connection.sock.fileno() == -1 for connection in house.stranger.connections))
    await eventually(lambda: descriptors_open() <= descriptors and len(asyncio.all_tasks()) <= tasks)
