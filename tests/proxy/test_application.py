"""The service's own application, asked one request at a time: streams, ends, and refusals that are not ours."""

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.proxy.stage import CutError, Message, Peer, eventually, quiet
from tmppool.proxy.application import MAX_BODY, MAX_SMALL_CHUNKS, SERVER, Application, CollectedBody
from tmppool.proxy.connection import Connection
from tmppool.proxy.connection_context import ConnectionContext
from tmppool.proxy.fairness import TurnQueue
from tmppool.proxy.route import ToApplication
from tmppool.proxy.timeouts import Timeouts
from tmppool.proxy.watchdog import Watchdog
from tmppool.proxy.wire import CHUNKED, BadMessageError

NEVER = Timeouts(*[3600.0] * 9, check_interval=0.01)
EVENT = b"data: tick\n\n"


@dataclass
class Pages:
    """The handlers, and what happened to them."""

    events: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> web.Application:
        made = web.Application()
        made.router.add_route("*", "/", self.plain)
        made.router.add_get("/stream", self.stream)
        made.router.add_get("/flood", self.flood)
        made.router.add_get("/broken", self.broken)
        made.router.add_get("/failed", self.failed)
        made.router.add_get("/refused", self.refused)
        made.router.add_get("/waits", self.waits)
        made.on_response_prepare.append(self.name_server)
        return made

    async def name_server(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = SERVER.decode()

    async def plain(self, request: web.Request) -> web.Response:
        body = await request.text()
        return web.json_response(
            {
                "body": body,
                "visit": request.get_extra_info("visit"),
                "upgrade": request.headers.get("Upgrade"),
                "host": request.headers["Host"],
            }
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while not self.go_on.is_set():
                await response.write(EVENT)
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        return response

    async def flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(65536))
                self.events.append("wrote")
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise

    async def broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half of it")
        await self.go_on.wait()
        raise RuntimeError("in the middle")

    async def failed(self, _request: web.Request) -> web.Response:
        raise web.HTTPBadRequest(text="ours")

    async def refused(self, _request: web.Request) -> web.Response:
        return web.Response(status=400, text="ours")

    async def waits(self, _request: web.Request) -> web.Response:
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        return web.Response(text="waited")


@dataclass
class Place:
    """A listener of connections to the application alone."""

    application: Application
    pages: Pages
    port: int
    visitors: list[Peer] = field(default_factory=list)

    async def visitor(self, receive_buffer: int | None = None) -> Peer:
        made = await Peer.connect(self.port, receive_buffer)
        self.visitors.append(made)
        return made

    async def ask(self, raw: bytes) -> tuple[Peer, Message]:
        visitor = await self.visitor()
        await visitor.send(raw)
        return visitor, await visitor.answer()


@contextlib.asynccontextmanager
async def opened(timeouts: Timeouts = NEVER, grace: float = 0.0) -> AsyncIterator[Place]:
    loop, pages = asyncio.get_running_loop(), Pages()
    application, watchdog, turns = Application(pages.app(), grace), Watchdog(loop, 0.01), TurnQueue(loop)
    await application.open()
    route = ToApplication({"visit": "facts"})
    context = ConnectionContext(application, lambda _request, _peer: route, watchdog, turns, timeouts, 0)
    lost: list[None] = []
    listening = await loop.create_server(
        lambda: Connection(context, "192.0.2.1", lambda: lost.append(None)), "127.0.0.1", 0
    )
    place = Place(application, pages, listening.sockets[0].getsockname()[1])
    try:
        yield place
    finally:
        listening.close()
        for visitor in place.visitors:
            visitor.close()
        await application.close()
        turns.close()
        watchdog.close()
        await quiet()


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


# Requests


async def test_a_handler_has_the_whole_body_and_what_goes_with_the_request() -> None:
    async with opened() as place:
        visitor, answer = await place.ask(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        )
        assert json.loads(answer.body) == {"body": "hello", "visit": "facts", "upgrade": None, "host": "h"}
        await visitor.send(get("/"))  # on the same connection
        assert (await visitor.answer()).status == 200


async def test_a_body_is_asked_for_by_us_and_only_once() -> None:
    async with opened() as place:
        visitor = await place.visitor()
        await visitor.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await visitor.answer()).status == 100
        await visitor.send(b"hi")
        assert b'"hi"' in (await visitor.answer()).body


async def test_an_answer_has_no_field_that_belongs_to_its_inner_connection() -> None:
    async with opened() as place:
        _, answer = await place.ask(get("/"))
        assert "Connection" not in answer.fields
        assert (answer.fields["Server"], answer.fields["Content-Length"]) == ("tmppool", str(len(answer.body)))


async def test_a_handler_sees_which_upgrade_was_asked_for_and_none_is_made() -> None:
    async with opened() as place:
        _, answer = await place.ask(
            get("/", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x")
        )
        assert (answer.status, json.loads(answer.body)["upgrade"]) == (200, "websocket")


async def test_a_request_that_names_no_host_is_answered() -> None:
    async with opened() as place:
        _, answer = await place.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert (answer.status, json.loads(answer.body)["host"]) == (200, "")


# Refusals


FOREIGN = {
    "a method that aiohttp does not know": b"SECRET-WORD / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a method in lower case": b"get /?secret-word HTTP/1.1\r\nHost: h\r\n\r\n",
    "two fields of which aiohttp wants one": get("/secret-word", "User-Agent: a", "User-Agent: b"),
    "a field of another WebSocket": get("/", "Sec-WebSocket-Key1: secret-word"),
}


@pytest.mark.parametrize("raw", FOREIGN.values(), ids=FOREIGN.keys())
async def test_what_aiohttp_refuses_is_refused_in_our_words_and_nothing_is_reflected(
    raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with opened() as place:
            visitor, answer = await place.ask(raw)
            assert answer.status == 400
            assert answer.body == b"This service does not accept this request.\n"
            assert "aiohttp" not in str(answer)
            assert "secret" not in str(answer).lower()
            assert await visitor.is_closed()
    assert "secret" not in caplog.text.lower()


@pytest.mark.parametrize("path", ["/failed", "/refused"])
async def test_a_handlers_own_refusal_is_passed_and_the_connection_goes_on(path: str) -> None:
    async with opened() as place:
        visitor, answer = await place.ask(get(path))
        assert (answer.status, answer.body) == (400, b"ours")
        await visitor.send(get("/"))
        assert (await visitor.answer()).status == 200


# Streams


HURRIED = dataclasses.replace(NEVER, response_head=0.1, idle=0.1, head=0.1, body_start=0.1, unread=0.3)


async def test_a_stream_of_events_lives_as_long_as_it_is_read() -> None:
    async with opened(HURRIED) as place:  # as if for two minutes: 30 s for a head, and 60 s unread
        visitor = await place.visitor()
        await visitor.send(get("/stream"))
        loop = asyncio.get_running_loop()
        until, events = loop.time() + 1.2, 0
        head = await visitor.head()
        assert head.fields["Content-Type"] == "text/event-stream"
        while loop.time() < until:
            await visitor.until(EVENT)
            events += 1
        assert events > 20
        place.pages.go_on.set()
        assert (await visitor.until(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")  # complete
        await visitor.send(get("/"))
        assert (await visitor.answer()).status == 200


async def test_a_stream_that_its_visitor_does_not_take_is_ended() -> None:
    async with opened(HURRIED) as place:
        visitor = await place.visitor(receive_buffer=4096)
        await visitor.send(get("/flood"))
        await eventually(lambda: "cancelled" in place.pages.events)
        assert place.pages.events.count("wrote") < 500  # it was not taken faster than it was read


async def test_an_answer_that_does_not_begin_is_not_waited_for() -> None:
    async with opened(HURRIED) as place:
        visitor = await place.visitor()
        await visitor.send(get("/waits"))
        with pytest.raises(CutError) as cut:
            await visitor.answer()
        assert cut.value.is_reset
        await eventually(lambda: place.pages.events == ["cancelled"])


@pytest.mark.parametrize("path", ["/stream", "/waits", "/flood"])
async def test_the_handler_is_cancelled_when_its_visitor_leaves(path: str) -> None:
    async with opened() as place:
        visitor = await place.visitor()
        await visitor.send(get(path))
        if path != "/waits":
            await visitor.head()
        await asyncio.sleep(0.05)
        assert "cancelled" not in place.pages.events
        visitor.close()
        await eventually(lambda: place.pages.events[-1:] == ["cancelled"])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_answer_that_fails_in_the_middle_ends_with_a_reset(
    version: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as place:
        visitor = await place.visitor()
        await visitor.send(get("/broken").replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        await visitor.until(b"half of it")
        place.pages.go_on.set()
        with pytest.raises(CutError) as cut:
            await visitor.rest()
        assert cut.value.is_reset
    assert "in the middle" in caplog.text  # a bug of ours is told
    caplog.clear()


# The end


async def test_at_the_end_an_answer_under_way_has_its_grace() -> None:
    async with opened(grace=5.0) as place:
        visitor = await place.visitor()
        await visitor.send(get("/waits"))
        await asyncio.sleep(0.05)
        closing = asyncio.ensure_future(place.application.close())
        await asyncio.sleep(0.05)
        place.pages.go_on.set()
        assert (await visitor.answer()).body == b"waited"
        await closing
        assert place.pages.events == []


async def test_at_the_end_of_its_grace_an_answer_is_cut() -> None:
    async with opened(grace=0.05) as place:
        visitor = await place.visitor()
        await visitor.send(get("/waits"))
        await asyncio.sleep(0.05)
        await place.application.close()
        assert place.pages.events == ["cancelled"]
        with pytest.raises(CutError):
            await visitor.answer()


# Bodies


def test_a_body_is_collected_to_its_end_and_not_beyond() -> None:
    body = CollectedBody(5)
    assert body.feed(b"hel") == b""
    assert not body.is_done
    assert body.feed(b"loGET ") == b"GET "
    assert (body.is_done, body.content) == (True, b"hello")


@pytest.mark.parametrize(
    "raw",
    [b"%x\r\n" % (MAX_BODY + 1), b"1\r\na\r\n" * (MAX_SMALL_CHUNKS + 1)],
    ids=["too large", "too many small chunks"],
)
def test_a_body_in_chunks_has_limits(raw: bytes) -> None:
    with pytest.raises(BadMessageError):
        CollectedBody(CHUNKED).feed(raw)
