"""The connections to one notebook: dialled when needed, lent to one user at a time, kept for the next."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.proxy.stage import Peer, Stranger, eventually
from tmppool.proxy import upstream as upstream_module
from tmppool.proxy.upstream import HIGH_WATER, Upstream, UpstreamConnection
from tmppool.running import Dial


class Borrower:
    """Keeps what comes on a connection."""

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


async def quiet(connection: Peer) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def upstream(stranger: Stranger) -> AsyncIterator[Upstream]:
    made = Upstream(Dial("127.0.0.1", stranger.port))
    yield made
    made.close()


async def lent(upstream: Upstream, stranger: Stranger) -> tuple[UpstreamConnection, Borrower, Peer]:
    count = len(stranger.connections)
    connection, borrower = await upstream.dial(), Borrower()
    connection.consumer = borrower
    await eventually(lambda: len(stranger.connections) > count)
    return connection, borrower, stranger.connections[-1]


async def test_there_is_nothing_to_take_at_first(upstream: Upstream) -> None:
    assert upstream.take() is None


async def test_what_the_notebook_says_reaches_the_user_and_the_other_way_round(
    upstream: Upstream, stranger: Stranger
) -> None:
    connection, borrower, notebook = await lent(upstream, stranger)
    await notebook.send(b"hello")
    await eventually(lambda: borrower.heard == [b"hello"])
    connection.transport.write(b"there")
    assert await notebook.exactly(5) == b"there"
    connection.drop()


async def test_a_connection_that_is_given_back_is_the_next_to_be_taken(upstream: Upstream, stranger: Stranger) -> None:
    connection, _, _ = await lent(upstream, stranger)
    assert not connection.was_used
    connection.release(is_reusable=True)
    assert upstream.take() is connection
    assert connection.was_used
    assert connection.consumer is None
    assert upstream.take() is None
    connection.drop()


async def test_a_connection_that_the_notebook_closed_while_it_waited_is_not_lent_again(
    upstream: Upstream, stranger: Stranger
) -> None:
    connection, borrower, notebook = await lent(upstream, stranger)
    connection.release(is_reusable=True)
    notebook.close()
    await eventually(connection.transport.is_closing)
    assert upstream.take() is None
    assert borrower.losses == []


async def test_what_comes_unasked_ends_the_connection(upstream: Upstream, stranger: Stranger) -> None:
    connection, borrower, notebook = await lent(upstream, stranger)
    connection.release(is_reusable=True)
    await notebook.send(b"an answer to nobody")
    await eventually(connection.transport.is_closing)
    assert upstream.take() is None
    assert borrower.heard == []


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_user_hears_once_that_the_connection_is_lost_and_whether_in_order(
    upstream: Upstream, stranger: Stranger, way: str
) -> None:
    _, borrower, notebook = await lent(upstream, stranger)
    getattr(notebook, way)()
    await eventually(lambda: borrower.losses)
    upstream.close()
    await asyncio.sleep(0)
    assert borrower.losses == [way == "close"]


async def test_a_connection_that_is_left_is_not_closed_with_the_others(upstream: Upstream, stranger: Stranger) -> None:
    connection, borrower, notebook = await lent(upstream, stranger)
    connection.leave()
    upstream.close()
    await asyncio.sleep(0)
    assert not connection.transport.is_closing()
    assert borrower.losses == []
    connection.transport.abort()
    assert await notebook.is_closed()


async def test_a_connection_that_was_not_read_to_the_end_is_read_again_for_the_next(
    upstream: Upstream, stranger: Stranger
) -> None:
    connection, _, notebook = await lent(upstream, stranger)
    connection.transport.pause_reading()
    connection.release(is_reusable=True)
    assert upstream.take() is connection
    connection.consumer = borrower = Borrower()
    await notebook.send(b"hello")
    await eventually(lambda: borrower.heard == [b"hello"])
    connection.drop()


async def test_a_user_who_drops_a_connection_hears_nothing_more(upstream: Upstream, stranger: Stranger) -> None:
    connection, borrower, notebook = await lent(upstream, stranger)
    connection.drop()
    assert await notebook.is_closed()
    await asyncio.sleep(0)
    assert borrower.losses == []


async def test_a_user_hears_when_the_notebook_does_not_read_and_when_it_does(
    upstream: Upstream, stranger: Stranger
) -> None:
    connection, borrower, notebook = await lent(upstream, stranger)
    size = 0
    while not borrower.congestion:
        connection.transport.write(bytes(HIGH_WATER))
        size += HIGH_WATER
    assert borrower.congestion == [True]
    await notebook.exactly(size)
    await eventually(lambda: borrower.congestion == [True, False])
    connection.drop()


async def test_only_so_many_connections_are_kept(
    upstream: Upstream, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "_MAX_IDLE", 2)
    made = [(await lent(upstream, stranger))[0] for _ in range(3)]
    for connection in made:
        connection.release(is_reusable=True)
    assert made[2].transport.is_closing()
    assert {upstream.take(), upstream.take()} == set(made[:2])
    assert upstream.take() is None
    for connection in made:
        connection.drop()


async def test_closed_connections_end_what_waits_and_what_is_lent_and_take_nothing_more(
    upstream: Upstream, stranger: Stranger
) -> None:
    waiting, _, _ = await lent(upstream, stranger)
    _, borrower, notebook = await lent(upstream, stranger)
    waiting.release(is_reusable=True)
    upstream.close()
    assert waiting.transport.is_closing()
    assert await notebook.is_closed()
    await eventually(lambda: borrower.losses)
    assert upstream.take() is None
    with pytest.raises(ConnectionRefusedError):
        await upstream.dial()


async def test_a_dial_that_was_under_way_when_the_connections_were_closed_gives_no_connection(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, connect = asyncio.Event(), Dial.connect

    async def slow(dial: Dial) -> socket.socket:
        sock = await connect(dial)
        await go.wait()
        return sock

    monkeypatch.setattr(Dial, "connect", slow)
    upstream = Upstream(Dial("127.0.0.1", stranger.port))
    dialling = asyncio.get_running_loop().create_task(upstream.dial())
    await eventually(lambda: stranger.connections)
    upstream.close()
    go.set()
    try:
        connection = await dialling
    except OSError:
        pass
    else:
        connection.drop()
        pytest.fail("a connection to a notebook that is gone")
    assert await stranger.connections[0].is_closed()


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


async def test_one_read_brings_little_however_much_the_notebook_sends(upstream: Upstream, stranger: Stranger) -> None:
    async def flood(connection: Peer) -> None:
        await connection.until(b"go")
        await connection.send(bytes(20_000_000))

    stranger.script = flood
    connection, borrower = await upstream.dial(), Borrower()
    connection.consumer = borrower
    connection.transport.write(b"go")
    await eventually(lambda: sum(map(len, borrower.heard)) == 20_000_000)
    assert max(map(len, borrower.heard)) <= 128 * 1024
