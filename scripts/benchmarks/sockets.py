"""Load generators: raw HTTP/1.1 and WebSocket clients on asyncio that need less CPU than any contender."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import cast

from benchmarks.procs import BenchError
from benchmarks.upstream_sockets import FRAME

MESSAGE_SIZE = 200  # bytes of text in a message
_MASK = bytes(4)  # a zero mask leaves the payload unchanged
_MESSAGE = b"\x81" + bytes([0x80 | 126]) + MESSAGE_SIZE.to_bytes(2, "big") + _MASK + b"m" * MESSAGE_SIZE
_REPLY_SIZE = 4 + MESSAGE_SIZE  # the same message unmasked
_BULK = b"\x82" + bytes([0x80 | 127]) + FRAME.to_bytes(8, "big") + _MASK + bytes(FRAME)
_PIECE = bytes(FRAME)
_BUFFER = 512 * 1024
_HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_HEAD_TIMEOUT = 10  # seconds to wait for a response head


class Client(asyncio.BufferedProtocol):
    """Sends one request head, waits for the response head, then counts the bytes received in ``count``."""

    def __init__(self, head: bytes) -> None:
        self._request = head
        self._buffer = memoryview(bytearray(_BUFFER))
        self._head = b""
        self._is_paused = False
        self._progress = asyncio.Event()
        self.is_open = False
        self.is_running = True
        self.is_lost = False
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_BUFFER)
        self.transport.write(self._request)

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_lost = True
        self._progress.set()

    def get_buffer(self, _hint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        if self.is_open:
            self.received(size)
            return
        self._head += bytes(self._buffer[:size])
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self.is_open = head[9:12] in (b"101", b"200")
            self._progress.set()
            if rest and self.is_open:
                self.received(len(rest))

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.push()

    def received(self, size: int) -> None:
        self.count += size
        self._progress.set()

    def push(self) -> None:
        """Send until the transport applies back-pressure. This base class sends nothing."""

    async def opened(self) -> None:
        """Wait for the response head. Raises BenchError unless its status is 101 or 200."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._progress.wait(), _HEAD_TIMEOUT)
        if not self.is_open:
            raise BenchError(f"no connection: {self._head[:60]!r}")

    async def until(self, count: int, within: float) -> None:
        """Wait until ``count`` is reached. Raises BenchError if it is not within ``within`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.count < count and not self.is_lost:
                    self._progress.clear()
                    await self._progress.wait()
        if self.count < count:
            raise BenchError(f"{self.count} of {count} bytes came ({self._head[:60]!r})")


class PingPong(Client):
    """Sends a message, waits for its echo, and repeats; ``count`` is the number of echoes."""

    _got = 0

    def received(self, size: int) -> None:
        self._got += size
        while self._got >= _REPLY_SIZE:
            self._got -= _REPLY_SIZE
            self.count += 1
            if self.is_running:
                self.transport.write(_MESSAGE)

    def push(self) -> None:
        if self.count == 0:
            self.transport.write(_MESSAGE)


class Pour(Client):
    """Sends binary frames without end; ``count`` is the number of bytes sent."""

    def push(self) -> None:
        while self.is_open and self.is_running and not self._is_paused and not self.is_lost:
            self.transport.write(_BULK)
            self.count += len(_BULK)


class Upload(Client):
    """Sends a body of ``size`` bytes without waiting for the response."""

    def __init__(self, head: bytes, size: int) -> None:
        super().__init__(head)
        self._left = size

    def push(self) -> None:
        while self._left and not self._is_paused and not self.is_lost:
            piece = _PIECE if self._left >= FRAME else _PIECE[: self._left]
            self._left -= len(piece)
            self.transport.write(piece)


def request(method: str, port: int, target: str, cookie: str, more: bytes = b"") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n"
    return head.encode() + more + b"\r\n"


def handshake(port: int, target: str, cookie: str) -> bytes:
    return request("GET", port, target, cookie, _HANDSHAKE)


def _giving(client: Client) -> Callable[[], Client]:
    return lambda: client


@contextlib.asynccontextmanager
async def connected(port: int, clients: Iterable[Client], *, opened: bool = True) -> AsyncIterator[None]:
    """Keep the clients connected during the block."""
    found = list(clients)
    loop = asyncio.get_running_loop()
    try:
        for client in found:
            await loop.create_connection(_giving(client), "127.0.0.1", port)
        if opened:
            await asyncio.gather(*(client.opened() for client in found))
        yield
    finally:
        for client in found:
            client.is_running = False
            if hasattr(client, "transport"):
                client.transport.abort()
