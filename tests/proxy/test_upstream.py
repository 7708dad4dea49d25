"""Upstream of one notebook: dialled when needed, lent to one user at a time, kept for the next."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.proxy.stage import Peer, Stranger, eventually
from tmppool.proxy import upstream as upstream_module
from tmppool.proxy.upstream import HIGH_WATER, Upstream, UpstreamConnection
from tmppool.running import Dial


class Borrower:
    """Keeps what a line says to its user."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.losses: list[bool] = []
        self.congestion: list[bool] = []

    def upstream_sent(self, data: bytes) -> None:
        self.heard.append(data)

    def upstream_lost(self, *, is_clean: bool) -> None:
        self.losses.append(is_clean)

    def upstream_congested(self, is_congested: bool) -> None:  # noqa: FBT001
        self.congestion.append(is_congested)


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    async with Stranger() as made:
        made.script = quiet
        yield made


async def quiet(line: Peer) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def lines(stranger: Stranger) -> AsyncIterator[Upstream]:
    made = Upstream(Dial("127.0.0.1", stranger.port))
    yield made
    made.close()


async def lent(lines: Upstream, stranger: Stranger) -> tuple[UpstreamConnection, Borrower, Peer]:
    count = len(stranger.lines)
    line, borrower = await lines.dial(), Borrower()
    line.consumer = borrower
    await eventually(lambda: len(stranger.lines) > count)
    return line, borrower, stranger.lines[-1]


async def test_there_is_nothing_to_take_at_first(lines: Upstream) -> None:
    assert lines.take() is None


async def test_what_the_notebook_says_reaches_the_user_and_the_other_way_round(
    lines: Upstream, stranger: Stranger
) -> None:
    line, borrower, notebook = await lent(lines, stranger)
    await notebook.send(b"hello")
    await eventually(lambda: borrower.heard == [b"hello"])
    line.transport.write(b"there")
    assert await notebook.exactly(5) == b"there"
    line.drop()


async def test_a_line_that_is_given_back_is_the_next_to_be_taken(lines: Upstream, stranger: Stranger) -> None:
    line, _, _ = await lent(lines, stranger)
    assert not line.was_used
    line.release(is_reusable=True)
    assert lines.take() is line
    assert line.was_used
    assert line.consumer is None
    assert lines.take() is None
    line.drop()


async def test_a_line_that_the_notebook_closed_while_it_waited_is_not_lent_again(
    lines: Upstream, stranger: Stranger
) -> None:
    line, borrower, notebook = await lent(lines, stranger)
    line.release(is_reusable=True)
    notebook.close()
    await eventually(line.transport.is_closing)
    assert lines.take() is None
    assert borrower.losses == []


async def test_what_comes_unasked_ends_the_line(lines: Upstream, stranger: Stranger) -> None:
    line, borrower, notebook = await lent(lines, stranger)
    line.release(is_reusable=True)
    await notebook.send(b"an answer to nobody")
    await eventually(line.transport.is_closing)
    assert lines.take() is None
    assert borrower.heard == []


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_user_hears_once_that_the_line_is_lost_and_whether_in_order(
    lines: Upstream, stranger: Stranger, way: str
) -> None:
    _, borrower, notebook = await lent(lines, stranger)
    getattr(notebook, way)()
    await eventually(lambda: borrower.losses)
    lines.close()
    await asyncio.sleep(0)
    assert borrower.losses == [way == "close"]


async def test_a_line_that_is_left_is_not_closed_with_the_others(lines: Upstream, stranger: Stranger) -> None:
    line, borrower, notebook = await lent(lines, stranger)
    line.leave()
    lines.close()
    await asyncio.sleep(0)
    assert not line.transport.is_closing()
    assert borrower.losses == []
    line.transport.abort()
    assert await notebook.is_closed()


async def test_a_line_that_was_not_read_to_the_end_is_read_again_for_the_next(
    lines: Upstream, stranger: Stranger
) -> None:
    line, _, notebook = await lent(lines, stranger)
    line.transport.pause_reading()
    line.release(is_reusable=True)
    assert lines.take() is line
    line.consumer = borrower = Borrower()
    await notebook.send(b"hello")
    await eventually(lambda: borrower.heard == [b"hello"])
    line.drop()


async def test_a_user_who_drops_a_line_hears_nothing_more(lines: Upstream, stranger: Stranger) -> None:
    line, borrower, notebook = await lent(lines, stranger)
    line.drop()
    assert await notebook.is_closed()
    await asyncio.sleep(0)
    assert borrower.losses == []


async def test_a_user_hears_when_the_notebook_does_not_read_and_when_it_does(
    lines: Upstream, stranger: Stranger
) -> None:
    line, borrower, notebook = await lent(lines, stranger)
    size = 0
    while not borrower.congestion:
        line.transport.write(bytes(HIGH_WATER))
        size += HIGH_WATER
    assert borrower.congestion == [True]
    await notebook.exactly(size)
    await eventually(lambda: borrower.congestion == [True, False])
    line.drop()


async def test_only_so_many_lines_are_kept(
    lines: Upstream, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "_MAX_IDLE", 2)
    made = [(await lent(lines, stranger))[0] for _ in range(3)]
    for line in made:
        line.release(is_reusable=True)
    assert made[2].transport.is_closing()
    assert {lines.take(), lines.take()} == set(made[:2])
    assert lines.take() is None
    for line in made:
        line.drop()


async def test_closed_lines_end_what_waits_and_what_is_lent_and_take_nothing_more(
    lines: Upstream, stranger: Stranger
) -> None:
    waiting, _, _ = await lent(lines, stranger)
    _, borrower, notebook = await lent(lines, stranger)
    waiting.release(is_reusable=True)
    lines.close()
    assert waiting.transport.is_closing()
    assert await notebook.is_closed()
    await eventually(lambda: borrower.losses)
    assert lines.take() is None
    with pytest.raises(ConnectionRefusedError):
        await lines.dial()


async def test_a_dial_that_was_under_way_when_the_lines_were_closed_gives_no_line(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, connect = asyncio.Event(), Dial.connect

    async def slow(dial: Dial) -> socket.socket:
        sock = await connect(dial)
        await go.wait()
        return sock

    monkeypatch.setattr(Dial, "connect", slow)
    lines = Upstream(Dial("127.0.0.1", stranger.port))
    dialling = asyncio.get_running_loop().create_task(lines.dial())
    await eventually(lambda: stranger.lines)
    lines.close()
    go.set()
    try:
        line = await dialling
    except OSError:
        pass
    else:
        line.drop()
        pytest.fail("a line to a notebook that is gone")
    assert await stranger.lines[0].is_closed()


async def test_nobody_there_is_an_oserror() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(OSError):
        await Upstream(Dial("127.0.0.1", port)).dial()


async def test_a_dial_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(dial: Dial) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(upstream_module, "_DIAL_TIMEOUT", 0.01)
    monkeypatch.setattr(Dial, "connect", never)
    with pytest.raises(TimeoutError):
        await Upstream(Dial("127.0.0.1", 1)).dial()


async def test_one_read_brings_little_however_much_the_notebook_sends(lines: Upstream, stranger: Stranger) -> None:
    async def flood(line: Peer) -> None:
        await line.until(b"go")
        await line.send(bytes(20_000_000))

    stranger.script = flood
    line, borrower = await lines.dial(), Borrower()
    line.consumer = borrower
    line.transport.write(b"go")
    await eventually(lambda: sum(map(len, borrower.heard)) == 20_000_000)
    assert max(map(len, borrower.heard)) <= 128 * 1024
