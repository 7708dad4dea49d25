"""Listening sockets and the servers on them."""

import asyncio
import contextlib
import socket
import subprocess
import sys

import pytest
from aiohttp import web

from tests.proxy.stage import Peer, eventually
from tmppool.proxy.route import Route, ToApplication
from tmppool.proxy.wire import Request
from tmppool.web import listener


def test_all_addresses_are_those_of_both_families() -> None:
    with listener.bind(None, 0) as sock:
        port = sock.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        if socket.has_dualstack_ipv6():
            socket.create_connection(("::1", port)).close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_one_address_is_only_that_one(address: str) -> None:
    with listener.bind(address, 0) as sock:
        assert sock.getsockname()[0] == address
        socket.create_connection((address, sock.getsockname()[1])).close()
        other = "::1" if address == "127.0.0.1" else "127.0.0.1"
        with pytest.raises(OSError):
            socket.create_connection((other, sock.getsockname()[1]))


def test_a_port_that_is_taken_is_an_oserror() -> None:
    with listener.bind("127.0.0.1", 0) as sock, pytest.raises(OSError):
        listener.bind("127.0.0.1", sock.getsockname()[1])


def application(handler: object) -> web.Application:
    app = web.Application()
    app.router.add_get("/", handler)  # type: ignore[arg-type]
    return app


def answer_here(_request: Request, _peer: str) -> Route:
    return ToApplication()


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def test_who_connects_before_it_serves_is_served_then() -> None:
    sock = listener.bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    visitor = await Peer.connect(port)
    await visitor.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(sock)
        await listener.serve(stack, application(hello), sock, answer_here)
        assert (await visitor.answer()).body == b"hello"
    assert await visitor.is_closed()
    visitor.close()
    with pytest.raises(ConnectionRefusedError):
        await Peer.connect(port)


async def test_a_request_under_way_is_answered_at_the_end() -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        began.set()
        await go.wait()
        return web.Response(text="done")

    sock = listener.bind("127.0.0.1", 0)
    stack = contextlib.AsyncExitStack()
    stack.enter_context(sock)
    await listener.serve(stack, application(slow), sock, answer_here)
    visitor = await Peer.connect(sock.getsockname()[1])
    await visitor.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await began.wait()
    closing = asyncio.get_running_loop().create_task(stack.aclose())
    await asyncio.sleep(0.02)
    go.set()
    assert (await visitor.answer()).body == b"done"
    await closing
    visitor.close()


async def test_the_handler_of_a_visitor_who_leaves_ends_too() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    sock = listener.bind("127.0.0.1", 0)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(sock)
        await listener.serve(stack, application(slow), sock, answer_here)
        visitor = await Peer.connect(sock.getsockname()[1])
        await visitor.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await began.wait()
        visitor.close()
        await asyncio.wait_for(ended.wait(), 30)


# What a connection is given


@pytest.mark.parametrize("address", [None, "127.0.0.1"])
def test_a_visitor_who_vanished_is_noticed_by_the_kernel_within_two_minutes(address: str | None) -> None:
    with listener.bind(address, 0) as sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, pause, count, limit = (
                accepted.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT,
                )
            )  # fmt: skip
            assert idle + pause * count <= 120
            assert limit / 1000 + pause <= 120


async def test_the_kernel_holds_little_for_a_visitor_who_does_not_read() -> None:
    class Generous(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.write(bytes(10_000_000))  # type: ignore[attr-defined]
            left.append(10_000_000 - transport.get_write_buffer_size())  # type: ignore[attr-defined]
            transport.abort()  # type: ignore[attr-defined]

    left: list[int] = []
    sock = listener.bind("127.0.0.1", 0)
    server = await asyncio.get_running_loop().create_server(Generous, sock=sock)
    visitor = await Peer.connect(sock.getsockname()[1], receive_buffer=4096)
    await eventually(lambda: left)
    assert left[0] < 512 * 1024
    visitor.close()
    server.close()


def test_a_process_opens_as_many_descriptors_as_it_may() -> None:
    code = (
        "import resource\n"
        "from tmppool.web import listener\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))\n"
        "before = listener.connection_capacity()\n"
        "listener.raise_descriptors()\n"
        "print(before, listener.connection_capacity(), hard)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after, hard = (int(word) for word in done.stdout.split())
    assert before == 45
    assert after == int((hard if hard > 0 else 1 << 20) * 0.9 / 2)
