"""What a visitor sees of a WebSocket through the proxy is what they would see of it directly, whatever they send."""

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import tornado.web
import tornado.websocket
from hypothesis import given
from hypothesis import strategies as st
from tornado.httpserver import HTTPServer
from websockets.asyncio.server import ServerConnection, serve

from tests.proxy.frames import (
    BINARY,
    CASES,
    CLOSE,
    CONTINUATION,
    DROP,
    KILO,
    MEGA,
    PING,
    TEXT,
    TOO_BIG,
    Case,
    Frame,
    chopped,
    closing,
    frame,
    play,
)  # fmt: skip
from tests.proxy.stage import OK, PATIENCE, CutError, House, Peer, eventually, opened
from tests.proxy.test_tunnel import CHANNELS, HANDSHAKE, KEY, accept, shake, switching, tunnel
from tmppool.proxy.frame_watch import FrameWatch
from tmppool.running import Dial

pytestmark = pytest.mark.corpus

SILENT = logging.getLogger(f"{__name__}.silent")  # the servers log what the cases make them fail of
SILENT.disabled = True


# Two real servers that echo


@contextlib.asynccontextmanager
async def websockets_echo() -> AsyncIterator[int]:
    """Of the library that is kept most carefully to the standard."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(
        echo, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None, logger=SILENT
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


class TornadoEcho(tornado.websocket.WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


@contextlib.asynccontextmanager
async def tornado_echo(max_size: int = 2**40) -> AsyncIterator[int]:
    """Of the library that Jupyter is built on."""
    server = HTTPServer(tornado.web.Application([("/.*", TornadoEcho)], websocket_max_message_size=max_size))
    server.listen(0, "127.0.0.1")
    yield next(iter(server._sockets.values())).getsockname()[1]
    server.stop()
    await server.close_all_connections()


@dataclass
class Both:
    """One server, reached in two ways."""

    kind: str
    port: int
    house: House

    async def play(self, case: Case) -> tuple[list[Frame | str], list[Frame | str]]:
        """Return what is seen directly and what is seen through the proxy."""
        request = self.house.head("GET", CHANNELS, *HANDSHAKE)
        return await asyncio.gather(play(self.port, request, case), play(self.house.port, request, case))


SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[int]]] = {
    "websockets": websockets_echo,
    "tornado": tornado_echo,
}


@pytest.fixture(scope="module")
def patches() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SERVERS)
async def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, patches: pytest.MonkeyPatch
) -> AsyncIterator[Both]:
    state: Path = tmp_path_factory.mktemp("state")
    async with SERVERS[request.param]() as port, opened(state, patches, dial=Dial("127.0.0.1", port)) as house:
        yield Both(request.param, port, house)


# The cases


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_visitor_sees_through_the_proxy_what_they_would_see_directly(both: Both, case: Case) -> None:
    directly, through = await both.play(case)
    assert through == directly
    assert through[-1] == DROP
    if both.kind == "websockets":  # it answers as the standard says: the case is the one that it is meant to be
        assert code_of(directly) == case.code


def code_of(seen: list[Frame | str]) -> int | None:
    """Return the code of the close frame; 0 for one without code, None without close frame."""
    return next(
        (int.from_bytes(one.payload[:2], "big") for one in seen if isinstance(one, Frame) and one.opcode == CLOSE), None
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_every_code_of_a_close_is_the_notebooks_to_judge(both: Both) -> None:
    cases = [Case(str(code), lambda code=code: [closing(code, b"because")]) for code in range(1000, 5000, 25)]
    for first in range(0, len(cases), 20):
        for directly, through in await asyncio.gather(*map(both.play, cases[first : first + 20])):
            assert through == directly


def test_there_are_as_many_cases_as_published() -> None:
    groups = [case.name.split(".")[0] for case in CASES]
    counts = {group: groups.count(group) for group in dict.fromkeys(groups)}
    assert counts == {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "half": 7, "many": 2, "9": 54}


# What a notebook answers to a handshake


WELCOME = frame(TEXT, b"welcome", mask=None)
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
TUNNELS = {
    "an extension that was offered": (switching("Sec-WebSocket-Extensions: permessage-deflate"), b""),
    "the first frame in the same packet": (switching() + WELCOME, WELCOME),
    "a length, which a 101 does not have": (switching("Content-Length: 5") + WELCOME, WELCOME),
    "chunks, which a 101 does not have": (switching("Transfer-Encoding: chunked") + WELCOME, WELCOME),
    "after other interim answers": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + switching(), b""),
    "names in lower case": (switching().lower().replace(accept(KEY).lower().encode(), accept(KEY).encode()).replace(b"http/1.1", b"HTTP/1.1"), b""),
    "more than one word in Connection": (switching().replace(b"Connection: Upgrade", b"Connection: keep-alive, upgrade"), b""),
    "no reason phrase": (switching().replace(b"101 Switching", b"101"), b""),
    "bytes that are no frames": (switching() + b"\xff" * 300_000, b"\xff" * 300_000),
}  # fmt: skip


@pytest.mark.parametrize("cut", [None, 1], ids=["at once", "in bytes"])
@pytest.mark.parametrize(("answer", "stream"), TUNNELS.values(), ids=TUNNELS.keys())
async def test_a_right_switch_opens_the_stream_behind_its_head(
    house: House, answer: bytes, stream: bytes, cut: int | None
) -> None:
    async def script(connection: Peer) -> None:
        await house.stranger.request(connection)
        head_end = answer.rfind(b"\r\n\r\n") + 4
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [*chopped(answer[:head_end], cut), answer[head_end:]] if cut else [answer]:
            await connection.send(piece)
        await connection.send(await connection.exactly(len(PINGED)))

    house.stranger.script = script
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE, OFFER))
    found = await visitor.head()
    assert found.status == 101
    assert not {"Content-Length", "Transfer-Encoding"} & set(found.fields)
    await visitor.send(PINGED)
    assert await visitor.exactly(len(stream + PINGED)) == stream + PINGED


PINGED = frame(PING, b"still there")

PASSED = {
    "200": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    "200 with a whole handshake": (switching().replace(b"101 Switching", b"200 OK").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"), 200, b"hello"),
    "301": (b"HTTP/1.1 301 Moved\r\nLocation: /user/x/\r\nContent-Length: 0\r\n\r\n", 301, b""),
    "403 in chunks": (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n0\r\n\r\n", 403, b"nope"),
    "403 until it closes": (b"HTTP/1.1 403 Forbidden\r\n\r\nnope", 403, b"nope"),
    "426": (b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nContent-Length: 1\r\n\r\n8", 426, b"8"),
    "after an interim answer": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, b""),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "status", "body"), PASSED.values(), ids=PASSED.keys())
async def test_what_is_no_switch_is_passed_and_opens_nothing(
    house: House, answer: bytes, status: int, body: bytes
) -> None:
    house.stranger.says(answer)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    found = await visitor.answer()
    assert (found.status, found.body) == (status, body)
    house.stranger.says(OK)
    await visitor.send(house.head("GET", "/health"))
    assert (await visitor.answer()).status == 200  # an ordinary connection, as before


FALSE = {
    "an extension that nobody offered": switching("Sec-WebSocket-Extensions: x-evil"),
    "one extension too many": switching("Sec-WebSocket-Extensions: permessage-deflate, x-evil"),
    "two protocols": switching("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"),
    "two upgrades": switching("Upgrade: h2c"),
    "line feeds alone": switching().replace(b"\r\n", b"\n") + b"\r\n\r\n",
    "a digest with a space in it": switching().replace(accept(KEY).encode(), accept(KEY).encode()[:9] + b" " + accept(KEY).encode()[9:]),
    "a digest in lower case": switching().replace(accept(KEY).encode(), accept(KEY).lower().encode()),
    "two framings": switching("Content-Length: 5", "Transfer-Encoding: chunked"),
    "too many interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + switching(),
    "an endless head": switching()[:-2] + b"X: y\r\n" * 20_000,
    "102 that claims to be one": switching().replace(b"101 Switching", b"102 Switching") * 9,
    "a closed connection": b"",
    "half a head": switching()[:40],
}  # fmt: skip


@pytest.mark.parametrize("answer", FALSE.values(), ids=FALSE.keys())
async def test_a_false_switch_becomes_502_and_shows_nothing_of_the_notebook(house: House, answer: bytes) -> None:
    async def script(connection: Peer) -> None:
        await house.stranger.request(connection)
        await connection.send(answer + b"secret")
        connection.close()

    house.stranger.script = script
    protocols = "Sec-WebSocket-Protocol: a, b"
    found = await house.ask("GET", CHANNELS, *HANDSHAKE, OFFER, protocols)
    assert found.status == 502
    assert b"secret" not in found.body
    assert not {"Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Extensions"} & set(found.fields)


async def test_nobody_who_did_not_ask_is_switched(house: House) -> None:
    house.stranger.says(switching())
    assert (await house.ask("GET", "x")).status == 502
    assert (await house.ask("GET", "x", "Connection: Upgrade", "Upgrade: h2c")).status == 502


# What a visitor asks


def handshake(**changes: str) -> list[str]:
    """Return the lines of a handshake; a keyword replaces the value of a line, an empty one removes it."""
    fields = dict(line.split(": ") for line in HANDSHAKE) | {
        name.replace("_", "-"): value for name, value in changes.items()
    }
    return [f"{name}: {value}" for name, value in fields.items() if value]


ASKED = {
    "as browsers do": HANDSHAKE,
    "upper case": [line.upper().replace(KEY.upper(), KEY) for line in HANDSHAKE],
    "lower case": [line.lower().replace(KEY.lower(), KEY) for line in HANDSHAKE],
    "no space behind the colon": [line.replace(": ", ":") for line in HANDSHAKE],
    "a list in Connection": handshake(Connection="keep-alive, x,upgrade ,"),
    "Connection twice": ["Connection: keep-alive", *HANDSHAKE[1:], "Connection: Upgrade"],
    "an empty body": [*HANDSHAKE, "Content-Length: 0"],
    "protocols in two lines": [*HANDSHAKE, "Sec-WebSocket-Protocol: b", "Sec-WebSocket-Protocol: a"],
}  # fmt: skip


@pytest.mark.parametrize("lines", ASKED.values(), ids=ASKED.keys())
async def test_a_right_handshake_in_any_spelling_is_taken(house: House, lines: list[str]) -> None:
    chosen = ["Sec-WebSocket-Protocol: a"] if any("Protocol" in line for line in lines) else []
    house.stranger.script = lambda line: shake(house, line, *chosen)
    visitor = await house.visitor()
    await visitor.send(house.head("GET", CHANNELS, *lines))
    assert (await visitor.head()).status == 101
    asked = house.stranger.requests[0].fields
    assert asked.getall("Sec-WebSocket-Key") == [KEY]
    assert asked.getall("Sec-WebSocket-Version") == ["13"]
    assert asked.getall("Connection") == ["Upgrade"]


WRONG = {
    "a key of 15 bytes": handshake(Sec_WebSocket_Key="MDEyMzQ1Njc4OWFiY2Rl"),
    "a key of 17 bytes": handshake(Sec_WebSocket_Key="MDEyMzQ1Njc4OWFiY2RlZmc="),
    "a key for URLs": handshake(Sec_WebSocket_Key="____________________-w=="),
    "a key with a space in it": handshake(Sec_WebSocket_Key=f"{KEY[:5]} {KEY[5:]}"),
    "version 0": handshake(Sec_WebSocket_Version="0"),
    "version 013": handshake(Sec_WebSocket_Version="013"),
    "a choice of versions": handshake(Sec_WebSocket_Version="8, 13"),
    "two versions": [*HANDSHAKE, "Sec-WebSocket-Version: 8"],
    "two upgrades": [*HANDSHAKE, "Upgrade: h2c"],
    "chunks": [*HANDSHAKE, "Transfer-Encoding: chunked"],
    "a length that is none": [*HANDSHAKE, "Content-Length: +0"],
}


@pytest.mark.parametrize("lines", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_handshake_is_refused_and_the_notebook_hears_nothing(house: House, lines: list[str]) -> None:
    assert (await house.ask("GET", CHANNELS, *lines)).status == 400
    assert house.stranger.connections == []


NO_HANDSHAKE = {
    "no Upgrade": handshake(Upgrade=""),
    "no Connection": handshake(Connection=""),
    "Connection without it": handshake(Connection="keep-alive"),
    "another upgrade": handshake(Upgrade="h2c"),
    "a choice of upgrades": handshake(Upgrade="websocket, h2c"),
}


@pytest.mark.parametrize("lines", NO_HANDSHAKE.values(), ids=NO_HANDSHAKE.keys())
async def test_what_does_not_ask_for_a_websocket_is_an_ordinary_request(house: House, lines: list[str]) -> None:
    """Unless it has a handshake's key: then a proxy in front has removed what it asked for."""
    assert (await house.ask("GET", CHANNELS, *lines)).status == 400
    assert house.stranger.connections == []
    found = await house.ask("GET", CHANNELS, *(line for line in lines if KEY not in line))
    assert (found.status, found.body) == (200, b"ok")
    assert not {"Upgrade", "Connection"} & set(house.stranger.requests[0].fields)


async def test_what_is_sent_before_the_switch_arrives_after_it_and_in_order(house: House) -> None:
    sent = [frame(BINARY, bytes([number % 256]) * number) for number in range(300)]
    got = asyncio.get_running_loop().create_future()

    async def slow(connection: Peer) -> None:
        request = await connection.message()
        await asyncio.sleep(0.05)
        await connection.send(switching(key=request.fields["Sec-WebSocket-Key"]))
        got.set_result(await connection.exactly(sum(map(len, sent))))

    house.stranger.script = slow
    visitor = await house.visitor()
    first = house.head("GET", CHANNELS, *HANDSHAKE)
    await visitor.send(first + b"".join(sent[:150]))
    for one in sent[150:]:
        await visitor.send(one)
    assert await got == b"".join(sent)
    assert (await visitor.head()).status == 101


# The end


async def test_the_last_words_of_a_notebook_reach_a_slow_reader(house: House) -> None:
    visitor, notebook = await tunnel(house)
    words = b"".join(frame(BINARY, bytes(KILO), mask=None) for _ in range(4000)) + b"\x88\x05\x0f\xa1bye"
    sending = asyncio.get_running_loop().create_task(notebook.send(words))
    await asyncio.sleep(0.05)
    got = await visitor.exactly(len(words))
    await sending
    notebook.close()
    assert got == words
    assert await visitor.rest() == b""


@pytest.mark.parametrize("size", [100, 150_000])
async def test_a_notebook_that_says_goodbye_and_goes_is_heard_to_the_end(house: House, size: int) -> None:
    visitor, notebook = await tunnel(house)
    words = frame(BINARY, bytes(size), mask=None) + b"\x88\x05\x0f\xa1bye"
    await notebook.send(words)
    notebook.close()
    await asyncio.sleep(0.02)
    assert await visitor.rest() == words


@pytest.mark.parametrize("who", ["visitor", "notebook"])
async def test_who_has_ended_hears_the_other_but_not_for_ever(
    house: House, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmppool.proxy.tunnel._LAST_WORDS", 0.1)
    visitor, notebook = await tunnel(house)
    leaving, staying = (visitor, notebook) if who == "visitor" else (notebook, visitor)
    await leaving.send(PINGED)
    leaving.sock.shutdown(socket.SHUT_WR)
    assert await staying.rest() == PINGED
    await staying.send(b"last words")
    assert await leaving.rest() == b"last words"  # the staying one never ends


@pytest.mark.parametrize("who", ["visitor", "notebook"])
async def test_both_ends_ended_is_the_end(house: House, who: str) -> None:
    visitor, notebook = await tunnel(house)
    leaving, staying = (visitor, notebook) if who == "visitor" else (notebook, visitor)
    leaving.sock.shutdown(socket.SHUT_WR)
    assert await staying.rest() == b""
    await staying.send(b"goodbye")
    staying.sock.shutdown(socket.SHUT_WR)
    assert await leaving.rest() == b"goodbye"


async def test_a_notebook_that_refuses_a_message_under_way_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It closes with bytes unread, which resets the connection behind its last frame, while more is being sent."""
    case = Case("", lambda: chopped(frame(BINARY, bytes(4 * MEGA)), 64 * KILO), TOO_BIG)
    async with tornado_echo(MEGA) as port, opened(tmp_path, monkeypatch, dial=Dial("127.0.0.1", port)) as house:
        for _ in range(10):
            directly, through = await Both("tornado", port, house).play(case)
            assert through == directly
            assert code_of(through) == TOO_BIG


async def test_a_visitor_who_ends_and_then_vanishes_ends_the_notebooks_side(house: House) -> None:
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    visitor, notebook = await tunnel(house)
    visitor.sock.shutdown(socket.SHUT_WR)
    assert await notebook.rest() == b""
    visitor.reset()

    async def speak() -> None:
        while True:
            await notebook.send(b"anybody?")
            await asyncio.sleep(0.01)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(speak(), PATIENCE)
    assert errors == []


async def test_a_reap_takes_the_notebooks_end_from_a_visitor_who_reads_nothing(house: House) -> None:
    visitor = await house.visitor(receive_buffer=4096)

    async def flood(connection: Peer) -> None:
        await shake(house, connection)
        while True:
            await connection.send(bytes(KILO * 64))

    house.stranger.script = flood
    await visitor.send(house.head("GET", CHANNELS, *HANDSHAKE))
    assert (await visitor.head()).status == 101
    await asyncio.sleep(0.05)
    assert house.stranger.cuts == []
    await house.reap()
    await eventually(lambda: house.stranger.cuts)
    with contextlib.suppress(CutError):
        await visitor.rest()  # once they read, they come to the end


# What the watch for interactions makes of it


def data_heads(stream: bytes) -> list[int]:
    """Return where the head of each data frame ends, by a parser that has the whole stream before it."""
    found, at = [], 0
    while at + 2 <= len(stream):
        opcode, second = stream[at] & 0x0F, stream[at + 1]
        size, wide = second & 0x7F, {126: 2, 127: 8}.get(second & 0x7F, 0)
        end = at + 2 + wide + (4 if second & 0x80 else 0)
        if end > len(stream):
            break
        if opcode in (CONTINUATION, TEXT, BINARY):
            found.append(end)
        at = end + (int.from_bytes(stream[at + 2 : at + 2 + wide], "big") if wide else size)
    return found


def verdicts(pieces: list[bytes]) -> list[bool]:
    watch = FrameWatch()
    return [watch.feed(piece) for piece in pieces]


def expected(pieces: list[bytes]) -> list[bool]:
    """Return for each piece whether the head of a data frame becomes whole in it."""
    heads = data_heads(b"".join(pieces))
    edges = list(itertools.accumulate(map(len, pieces), initial=0))
    return [any(start < head <= end for head in heads) for start, end in itertools.pairwise(edges)]


ORDINARY = [case for case in CASES if case.name[0] != "9" and case.name != "many.1"]  # that one is a flood


@pytest.mark.parametrize("case", ORDINARY, ids=lambda case: case.name)
def test_the_watch_sees_the_data_frames_of_each_case(case: Case) -> None:
    pieces = [step for step in case.steps() if isinstance(step, bytes)]
    assert verdicts(pieces) == expected(pieces)


LENGTHS = {0: 0, 126: 2, 127: 8}  # bytes

any_frame = st.builds(
    lambda first, is_masked, length, size: (
        bytes([first, (is_masked << 7) | (length or size)])
        + size.to_bytes(8, "big")[8 - LENGTHS[length] :]
        + b"mask" * is_masked
        + bytes(size)
    ),
    st.integers(0, 255), st.booleans(), st.sampled_from([0, 126, 127]), st.integers(0, 125),
)  # fmt: skip
"""Every opcode, flag and way to write a length, also one that is longer than need be."""

endless = st.builds(
    lambda first, size: bytes([first, 0xFF]) + size.to_bytes(8, "big") + b"mask",
    st.integers(0, 255), st.sampled_from([2**40, 2**63 - 1, 2**63, 2**64 - 1]),
)  # fmt: skip


@given(st.lists(any_frame, max_size=12), st.one_of(st.just(b""), endless, st.binary(max_size=30)), st.data())
def test_the_watch_finds_what_a_parser_of_the_whole_finds_however_it_is_cut(
    frames: list[bytes], tail: bytes, data: st.DataObject
) -> None:
    stream = b"".join(frames) + tail
    edges = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=12))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert verdicts(pieces) == expected(pieces)
    single = [stream[at : at + 1] for at in range(len(stream))]
    assert verdicts(single) == expected(single)
