"""One timer that looks at everything, and who takes nothing of what waits for him."""

import asyncio
import math
import time
from collections.abc import AsyncIterator

import pytest

from tests.proxy.stage import CutError, Peer, eventually, quiet
from tmppool.proxy import sweep as sweep_module
from tmppool.proxy.sweep import OtherEnd, Sweep


class Thing:
    def __init__(self) -> None:
        self.looks: list[float] = []

    def look(self, now: float) -> None:
        self.looks.append(now)


@pytest.fixture
async def sweep() -> AsyncIterator[Sweep]:
    made = Sweep(asyncio.get_running_loop(), 0.01)
    yield made
    made.close()


async def test_what_is_open_is_looked_at_again_and_again(sweep: Sweep) -> None:
    thing = Thing()
    sweep.add(thing)
    await eventually(lambda: len(thing.looks) >= 3)
    assert thing.looks == sorted(thing.looks)


async def test_what_was_discarded_is_looked_at_no_more(sweep: Sweep) -> None:
    one, other = Thing(), Thing()
    sweep.add(one)
    sweep.add(other)
    await eventually(lambda: other.looks)
    sweep.discard(one)
    sweep.discard(one)
    seen, others = len(one.looks), len(other.looks)
    await eventually(lambda: len(other.looks) > others + 1)
    assert len(one.looks) == seen


async def test_a_look_may_discard_and_add(sweep: Sweep) -> None:
    after = Thing()

    class Ending(Thing):
        def look(self, now: float) -> None:
            super().look(now)
            sweep.discard(self)
            sweep.add(after)

    ending = Ending()
    sweep.add(ending)
    await eventually(lambda: after.looks)
    assert len(ending.looks) == 1


async def test_a_machine_that_paused_makes_nobody_late(sweep: Sweep) -> None:
    thing = Thing()
    sweep.add(thing)
    await eventually(lambda: thing.looks)
    before, began = sweep.time(), time.monotonic()
    time.sleep(0.5)
    assert sweep.time() - before < 0.04
    looks = len(thing.looks)
    await eventually(lambda: len(thing.looks) > looks + 3)
    assert thing.looks == sorted(thing.looks)
    assert thing.looks[-1] - before <= time.monotonic() - began - 0.45
    assert sweep.time() >= thing.looks[-1]


async def test_at_the_end_everything_is_late_and_nothing_is_looked_at_again(sweep: Sweep) -> None:
    thing = Thing()
    sweep.add(thing)
    sweep.close()
    assert thing.looks == [math.inf]
    await asyncio.sleep(0.05)
    assert thing.looks == [math.inf]


# OtherEnds


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
    reader = OtherEnd(pair[0], 60.0)
    assert [reader.look(now) for now in (0.0, 1000.0, 2000.0)] == [False] * 3
    assert not pair[0].is_closing()


async def test_a_reader_who_takes_nothing_is_lost_at_his_deadline(pair: tuple[asyncio.Transport, Peer]) -> None:
    transport, peer = pair
    reader = OtherEnd(transport, 60.0)
    transport.write(bytes(20_000_000))
    await asyncio.sleep(0.05)
    assert reader.look(1000.0)
    reader.look(1060.0)
    assert not transport.is_closing()
    reader.look(1060.1)
    assert transport.is_closing()
    with pytest.raises(CutError):
        await peer.exactly(20_000_000)


@pytest.mark.parametrize("knows_acknowledged", [True, False], ids=["acknowledged", "buffered"])
async def test_a_reader_who_takes_a_little_has_all_his_time_again(
    pair: tuple[asyncio.Transport, Peer],
    monkeypatch: pytest.MonkeyPatch,
    knows_acknowledged: bool,  # noqa: FBT001
) -> None:
    if not knows_acknowledged:
        monkeypatch.setattr(sweep_module, "_tcp_info", lambda _transport: (0, 0))
    transport, peer = pair
    reader = OtherEnd(transport, 60.0)
    transport.write(bytes(20_000_000))
    for now in range(0, 500, 50):
        reader.look(float(now))
        await peer.exactly(20_000 if knows_acknowledged else 1_000_000)
        await asyncio.sleep(0.01)
    assert not transport.is_closing()


async def test_after_a_pause_without_anything_waiting_the_time_begins_anew(
    pair: tuple[asyncio.Transport, Peer],
) -> None:
    transport, peer = pair
    reader = OtherEnd(transport, 60.0)
    transport.write(bytes(5_000_000))
    await asyncio.sleep(0.01)
    assert reader.look(0.0)
    await peer.exactly(5_000_000)
    await eventually(lambda: not transport.get_write_buffer_size())
    assert not reader.look(50.0)
    transport.write(bytes(20_000_000))
    await asyncio.sleep(0.01)
    assert reader.look(100.0)
    reader.look(159.0)
    assert not transport.is_closing()


async def test_a_transport_that_is_gone_is_looked_at_without_harm(pair: tuple[asyncio.Transport, Peer]) -> None:
    transport, _ = pair
    transport.write(bytes(20_000_000))
    reader = OtherEnd(transport, 60.0)
    reader.look(0.0)
    transport.abort()
    reader.look(100.0)
    await quiet()
    reader.look(200.0)


async def test_who_resets_while_he_is_not_read_is_noticed(pair: tuple[asyncio.Transport, Peer]) -> None:
    transport, peer = pair
    reader = OtherEnd(transport, 60.0)
    transport.pause_reading()
    await peer.send(b"x")
    assert not reader.look(0.0)
    assert not transport.is_closing()
    peer.reset()
    await asyncio.sleep(0.01)
    reader.look(1.0)
    assert transport.is_closing()
