"""The head of what a notebook answers to the service itself has an end, whatever comes before it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from tmppool.errors import BackendError
from tmppool.jupyter import JupyterClient
from tmppool.running import Dial, Running

INTERIM = b"HTTP/1.1 103 E\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
ENOUGH = 1 << 20  # bytes; the limit and all that buffers hold are less
Stranger = Callable[..., "Flood"]


class Flood:
    """Answers ``first`` to a request, and then ``again`` until that is refused; ``sent`` bytes were taken."""

    def __init__(self, first: bytes, again: bytes, most: int) -> None:
        self._first, self._again, self._most = first, again, most
        self.sent = 0
        self.is_over = asyncio.Event()

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.jupyter = JupyterClient(
            Running("k" * 22, Dial("127.0.0.1", self.server.sockets[0].getsockname()[1]), "", 0.0)
        )

    async def close(self) -> None:
        await self.jupyter.close()
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._first)
            await asyncio.sleep(0.05)  # so that what follows is no part of it
            while self.sent < self._most:
                await writer.drain()
                writer.write(self._again)
                self.sent += len(self._again)
            await reader.read()  # until the other end closes
        except ConnectionError:
            pass
        finally:
            self.is_over.set()
            writer.close()


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    made: list[Flood] = []

    async def make(first: bytes, again: bytes, most: int = 16 * ENOUGH) -> Flood:
        made.append(Flood(first, again, most))
        await made[-1].open()
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.mark.parametrize(
    ("first", "again"),
    [
        pytest.param(b"", INTERIM * 500, id="interim responses without end"),
        pytest.param(b"", b"HTTP/1.1 100 \r\n\r\n" * 500, id="the smallest of them"),
        pytest.param(b"", b"\r\n" * 5000, id="empty lines without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"a:\r\n" * 3000, id="fields without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\na: ", b"x" * 10_000, id="a field without end"),
        pytest.param(b"HTTP/1.1 200 ", b"x" * 10_000, id="a reason without end"),
    ],
)
async def test_a_head_without_end_is_given_up_soon(stranger: Stranger, first: bytes, again: bytes) -> None:
    made = await stranger(first, again)
    with pytest.raises(BackendError, match="unusable"):
        await made.jupyter.silent_for()
    await made.is_over.wait()
    assert made.sent < 4 * ENOUGH
    assert not await made.jupyter.answers()


async def test_a_few_interim_responses_are_passed_over(stranger: Stranger) -> None:
    made = await stranger(INTERIM * 20 + OK, b"", most=0)
    assert await made.jupyter.silent_for() is None


async def test_a_body_is_not_counted(stranger: Stranger) -> None:
    """Documents that are read for their kernel's name may be larger than any head."""
    body = b'{"content": "' + b"x" * 500_000 + b'"}'
    made = await stranger(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, b"", most=0)
    assert await made.jupyter._ask("GET", "api/contents/a.ipynb", most=1 << 20) == {"content": "x" * 500_000}


@pytest.mark.parametrize("again", [OK * 100, INTERIM * 500, b"x" * 10_000])
async def test_nothing_is_read_behind_a_response(stranger: Stranger, again: bytes) -> None:
    """aiohttp would keep whatever comes on a connection that lies idle."""
    made = await stranger(OK, again)
    assert await made.jupyter.silent_for() is None
    async with asyncio.timeout(10):
        await made.is_over.wait()
    assert made.sent < 4 * ENOUGH
