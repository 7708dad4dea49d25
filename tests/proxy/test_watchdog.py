"""One timer that checks everything, and readers who take nothing of what waits for them."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.proxy.stage import CutError, Peer, eventually, quiet
from tmppool.proxy import watchdog as watchdog_module
from tmppool.proxy.watchdog import ReaderWatch, Watchdog


class Thing:
    def __init__(self) -> None:
        self.checks: list[float] = []
        self.aborts = 0

    def check(self, now: float) -> None:
        self.checks.append(now)

    def abort(self) -> None:
        self.aborts += 1


@pytest.fixture
async def watchdog() -> AsyncIterator[Watchdog]:
    made = Watchdog(asyncio.get_running_loop(), 0.01)
    yield made
    made.close()


async def test_what_is_open_is_checked_again_and_again(watchdog: Watchdog) -> None:
    thing = Thing()
    watchdog.add(thing)
    await eventually(lambda: len(thing.checks) >= 3)
    assert thing.checks == sorted(thing.checks)


async def test_what_was_discarded_is_checked_no_more(watchdog: Watchdog) -> None:
    one, other = Thing(), Thing()
    watchdog.add(one)
    watchdog.add(other)
    await eventually(lambda: other.checks)
    watchdog.discard(one)
    watchdog.discard(one)
    seen, others = len(one.checks), len(other.checks)
    await eventually(lambda: len(other.checks) > others + 1)
    assert len(one.checks) == seen


async def test_a_check_may_discard_and_add(watchdog: Watchdog) -> None:
    after = Thing()

    class Ending(Thing):
        def check(self, now: float) -> None:
            super().check(now)
            watchdog.discard(self)
            watchdog.add(after)

    ending = Ending()
    watchdog.add(ending)
    await eventually(lambda: after.checks)
    assert len(ending.checks) == 1


async def test_a_machine_that_paused_makes_nobody_late(watchdog: Watchdog) -> None:
    thing = Thing()
    watchdog.add(thing)
    await eventually(lambda: thing.checks)
    before, began = watchdog.time(), time.monotonic()
    time.sleep(0.5)
    assert watchdog.time() - before < 0.04
    checks = len(thing.checks)
    await eventually(lambda: len(thing.checks) > checks + 3)
    assert thing.checks == sorted(thing.checks)
    assert thing.checks[-1] - before <= time.monotonic() - began - 0.45
    assert watchdog.time() >= thing.checks[-1]


async def test_at_the_end_all_that_is_open_is_aborted_and_nothing_is_checked_again(watchdog: Watchdog) -> None:
    things = [Thing(), Thing()]
    for thing in things:
        watchdog.add(thing)
    watchdog.discard(things[0])
    watchdog.close()
    await asyncio.sleep(0.05)
    assert [(thing.checks, thing.aborts) for thing in things] == [([], 0), ([], 1)]


# Readers


@pytest.fixture
async def pair() -> AsyncIterator[tuple[asyncio.Transport, Peer]]:
    """A transport, and the other end, which has a small buffer."""
    loop, made = asyncio.get_running_loop(), asyncio.Queue[asyncio.Transport]()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.put_nowait(transport)  # type: ignore[arg-type]

    server = await loop.create_server(Accepted, "127.0.0.1", 0)
    peer = await Peer.connect(server.sockets[0].getsockname()[1], receive_buffer=4096)
    transport = await made.get()
    yield transport, peer
    transport.abort()
    peer.close()
    server.close()
    await quiet()


async def test_a_reader_for_whom_nothing_waits_has_all_the_time_there_is(pair: tuple[asyncio.Transport, Peer]) -> None:
    reader = ReaderWatch(pair[0], 60.0)
    assert [reader.check(now) for now in (0.0, 1000.0, 2000.0)] == [False] * 3
    assert not pair[0].is_closing()


async def test_a_reader_who_takes_nothing_is_lost_at_their_deadline(pair: tuple[asyncio.Transport, Peer]) -> None:
    transport, peer = pair
    reader = ReaderWatch(transport, 60.0)
    transport.write(bytes(20_000_000))
    await asyncio.sleep(0.05)
    assert reader.check(1000.0)
    reader.check(1060.0)
    assert not transport.is_closing()
    reader.check(1060.1)
    assert transport.is_closing()
    with pytest.raises(CutError):
        await peer.exactly(20_000_000)


@pytest.mark.parametrize("knows_acknowledged", [True, False], ids=["acknowledged", "buffered"])
async def test_a_reader_who_takes_a_little_has_all_their_time_again(
    pair: tuple[asyncio.Transport, Peer],
    monkeypatch: pytest.MonkeyPatch,
    knows_acknowledged: bool,  # noqa: FBT001
) -> None:
    if not knows_acknowledged:
        monkeypatch.setattr(watchdog_module, "_tcp_info", lambda _transport: (0, 0))
    transport, peer = pair
    reader = ReaderWatch(transport, 60.0)
    transport.write(bytes(20_000_000))
    for now in range(0, 500, 50):
        reader.check(float(now))
        await peer.exactly(20_000 if knows_acknowledged else 1_000_000)
        await asyncio.sleep(0.01)
    assert not transport.is_closing()


async def test_after_a_pause_without_anything_waiting_the_time_begins_anew(
    pair: tuple[asyncio.Transport, Peer],
) -> None:
    transport, peer = pair
    reader = ReaderWatch(transport, 60.0)
    transport.write(bytes(5_000_000))
    await asyncio.sleep(0.01)
    assert reader.check(0.0)
    await peer.exactly(5_000_000)
    await eventually(lambda: not transport.get_write_buffer_size())
    assert not reader.check(50.0)
    transport.write(bytes(20_000_000))
    await asyncio.sleep(0.01)
    assert reader.check(100.0)
    reader.check(159.0)
    assert not transport.is_closing()


async def test_a_transport_that_is_gone_is_checked_without_harm(pair: tuple[asyncio.Transport, Peer]) -> None:
    transport, _ = pair
    transport.write(bytes(20_000_000))
    reader = ReaderWatch(transport, 60.0)
    reader.check(0.0)
    transport.abort()
    reader.check(100.0)
    await quiet()
    reader.check(200.0)


async def test_who_resets_while_they_are_not_read_is_noticed(pair: tuple[asyncio.Transport, Peer]) -> None:
    transport, peer = pair
    reader = ReaderWatch(transport, 60.0)
    transport.pause_reading()
    await peer.send(b"x")
    assert not reader.check(0.0)
    assert not transport.is_closing()
    peer.reset()
    await asyncio.sleep(0.01)
    reader.check(1.0)
    assert transport.is_closing()


async def test_at_the_end_a_transport_on_which_nothing_waits_is_left_to_others(
    pair: tuple[asyncio.Transport, Peer],
) -> None:
    transport, _ = pair
    reader = ReaderWatch(transport, 60.0)
    reader.abort()
    assert not transport.is_closing()
    transport.write(bytes(50_000_000))
    reader.abort()
    assert transport.is_closing()
