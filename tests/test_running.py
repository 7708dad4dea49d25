"""Where a notebook is reached."""

import asyncio
import os
import socket
import time

import pytest

from tmppool.running import EXHAUSTED, Dial, Running, base_path, plain_socket


def test_the_base_path_has_slashes_at_both_ends() -> None:
    assert base_path("abc") == "/user/abc/"
    assert Running("abc", Dial("127.0.0.1", 1), "t", 0.0).base_path == "/user/abc/"


def test_neither_token_nor_socket_maker_stands_in_the_repr() -> None:
    shown = repr(Running("abc", Dial("127.0.0.1", 1), "a-secret-token", 0.0))
    assert "a-secret-token" not in shown
    assert "plain_socket" not in shown


def test_a_plain_socket_does_not_block() -> None:
    with plain_socket() as sock:
        assert (sock.family, sock.type, sock.getblocking()) == (socket.AF_INET, socket.SOCK_STREAM, False)


async def test_a_dial_connects() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        sock = await Dial("127.0.0.1", server.sockets[0].getsockname()[1]).connect()
        with sock:
            assert await asyncio.get_running_loop().sock_recv(sock, 5) == b"hello"


async def test_a_dial_uses_the_socket_that_it_was_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = []

        def make() -> socket.socket:
            made.append(plain_socket())
            return made[-1]

        with await Dial("127.0.0.1", server.getsockname()[1], make).connect() as sock:
            assert made == [sock]


async def test_a_dial_that_is_refused_raises_oserror_and_closes_its_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    made = []

    def make() -> socket.socket:
        made.append(plain_socket())
        return made[-1]

    with pytest.raises(ConnectionRefusedError):
        await Dial("127.0.0.1", port, make).connect()
    assert made[0].fileno() == -1


async def test_what_listens_is_open_and_what_does_not_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dial = Dial("127.0.0.1", server.getsockname()[1])
        assert await dial.is_open(10)
    assert not await dial.is_open(10)

    def fail() -> socket.socket:
        raise OSError

    assert not await Dial("127.0.0.1", 1, fail).is_open(10)


@pytest.mark.parametrize("number", sorted(EXHAUSTED))
async def test_who_has_no_socket_left_does_not_call_it_closed(number: int) -> None:
    def fail() -> socket.socket:
        raise OSError(number, os.strerror(number))

    assert await Dial("127.0.0.1", 1, fail).is_open(10)


async def test_what_takes_no_connection_in_time_is_not_open() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        dial = Dial("127.0.0.1", server.getsockname()[1])
        with await dial.connect():  # its queue is full
            assert not await dial.is_open(0.05)


async def test_a_loop_that_is_late_does_not_make_it_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dial = Dial("127.0.0.1", server.getsockname()[1])

        def make() -> socket.socket:
            asyncio.get_running_loop().call_soon(time.sleep, 0.1)
            return plain_socket()

        assert await Dial(dial.host, dial.port, make).is_open(0.05)


async def test_a_dial_that_is_cancelled_closes_its_socket() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        made = []

        def make() -> socket.socket:
            made.append(plain_socket())
            return made[-1]

        dial = Dial("127.0.0.1", server.getsockname()[1], make)
        with await dial.connect():  # its queue is full: the next one waits
            waiting = asyncio.ensure_future(dial.connect())
            while len(made) < 2:
                await asyncio.sleep(0)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    assert made[1].fileno() == -1
