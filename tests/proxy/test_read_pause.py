"""A real transport is read from only while nothing holds it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from tmppool.proxy.read_pause import Hold, ReadPause


@pytest.fixture
async def transport() -> AsyncIterator[asyncio.Transport]:
    ours, theirs = socket.socketpair()
    with contextlib.closing(theirs):
        made, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, sock=ours)
        yield made
        made.abort()
        await asyncio.sleep(0)


async def test_reading_goes_on_when_the_last_hold_is_gone(transport: asyncio.Transport) -> None:
    pause = ReadPause(transport)
    assert (transport.is_reading(), pause.is_held) == (True, False)
    pause.hold(Hold.TURN)
    pause.hold(Hold.TURN)
    pause.hold(Hold.AHEAD)
    assert (transport.is_reading(), pause.is_held, pause.has(Hold.TURN), pause.has(Hold.EXCHANGE)) == (
        False, True, True, False,
    )  # fmt: skip
    pause.let_go(Hold.TURN)
    pause.let_go(Hold.EXCHANGE)
    assert (transport.is_reading(), pause.is_held) == (False, True)
    pause.let_go(Hold.AHEAD)
    assert (transport.is_reading(), pause.is_held) == (True, False)


async def test_after_the_end_the_transport_is_somebody_elses(transport: asyncio.Transport) -> None:
    pause = ReadPause(transport)
    pause.hold(Hold.AHEAD)
    pause.end()
    pause.let_go(Hold.AHEAD)
    assert not transport.is_reading()
    transport.resume_reading()
    pause.hold(Hold.TURN)
    assert transport.is_reading()


async def test_a_closing_transport_is_neither_paused_nor_resumed(transport: asyncio.Transport) -> None:
    pause = ReadPause(transport)
    transport.close()
    pause.hold(Hold.AHEAD)
    pause.let_go(Hold.AHEAD)
    assert not pause.is_held
