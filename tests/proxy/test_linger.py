"""The last words reach a visitor who is still sending."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.proxy.stage import Peer, eventually
from tmppool.proxy.faults import Fault
from tmppool.proxy.linger import Linger
from tmppool.proxy.refusals import refusal
from tmppool.proxy.watchdog import Watchdog

Server = Callable[[float], "asyncio.Future[Peer]"]


class Hasty(asyncio.Protocol):
    """Refuses everybody at their first byte."""

    def __init__(self, watchdog: Watchdog, deadline: float, lost: list[Exception | None]) -> None:
        self.watchdog, self.deadline, self.lost = watchdog, deadline, lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        Linger(self.transport, refusal(Fault.MALFORMED_HEAD), self.watchdog, self.deadline, self.lost.append)  # type: ignore[arg-type]


class Stage:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.watchdog = Watchdog(self.loop, 0.01)
        self.lost: list[Exception | None] = []

    async def visitor(self, deadline: float = 60.0) -> Peer:
        self.server = await self.loop.create_server(lambda: Hasty(self.watchdog, deadline, self.lost), "127.0.0.1", 0)
        self.peer = await Peer.connect(self.server.sockets[0].getsockname()[1], receive_buffer=4096)
        return self.peer


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.peer.close()
    made.watchdog.close()
    made.server.close()
    await eventually(lambda: made.lost)
    assert made.watchdog._open == set()


async def test_who_goes_on_sending_reads_the_last_words(stage: Stage) -> None:
    visitor = await stage.visitor()
    await visitor.send(b"x")
    await asyncio.sleep(0.02)
    await visitor.send(bytes(3_000_000))
    assert (await visitor.answer()).status == 400
    assert await visitor.rest() == b""
    assert stage.lost == []


async def test_it_is_over_when_the_visitor_closes(stage: Stage) -> None:
    visitor = await stage.visitor()
    await visitor.send(b"x")
    await visitor.answer()
    visitor.close()
    await eventually(lambda: stage.lost)


async def test_it_is_over_at_the_deadline_even_if_the_visitor_goes_on(stage: Stage) -> None:
    visitor = await stage.visitor(0.05)

    async def go_on() -> None:
        while True:
            await visitor.send(b"x")
            await asyncio.sleep(0.01)

    with pytest.raises(ConnectionError):
        await go_on()
    assert stage.lost
