"""Connections to notebooks: dialled when needed, used for one exchange at a time, kept for the next.

A connection belongs to one notebook and is never used for another.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from tmppool.proxy.rare_warning import RareWarning
from tmppool.running import Dial

_DIAL_TIMEOUT = 5.0  # seconds
_MAX_IDLE = 32  # connections to one notebook that are kept
# Bytes. It bounds what one read brings: with pieces beyond 128 KiB, which malloc takes from the system each time
# (mallopt(3), M_MMAP_THRESHOLD), a bulk download took three times as long, and one who stalls held twice as much.
_RECEIVE_BUFFER = 64 * 1024
HIGH_WATER = 64 * 1024  # bytes in one direction before its source is paused


class Consumer(Protocol):
    """The user of a connection, who is told what comes on it."""

    def upstream_sent(self, data: bytes) -> None: ...

    def upstream_lost(self, *, is_clean: bool) -> None: ...

    def upstream_congested(self, is_congested: bool) -> None: ...  # noqa: FBT001 - one fact, two words


class UpstreamConnection(asyncio.Protocol):
    """One connection to a notebook."""

    def __init__(self, upstream: "Upstream") -> None:
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.consumer: Consumer | None = None
        self.was_used = False
        self._upstream = upstream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def data_received(self, data: bytes) -> None:
        if self.consumer is not None:
            self.consumer.upstream_sent(data)
        else:  # nobody asked: what a notebook sends unasked must not become the next visitor's response
            self.transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._upstream.forget(self)
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            consumer.upstream_lost(is_clean=error is None and not self._upstream.is_closed)

    def pause_writing(self) -> None:
        if self.consumer is not None:
            self.consumer.upstream_congested(True)

    def resume_writing(self) -> None:
        if self.consumer is not None:
            self.consumer.upstream_congested(False)

    @property
    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def release(self, *, is_reusable: bool) -> None:
        """Give the connection back after an exchange; ``is_reusable``: nothing of it is left on the wire."""
        if not is_reusable:
            self.drop()
            return
        self.transport.resume_reading()  # its last visitor may have been slow
        self.consumer = None
        self.was_used = True
        self._upstream.keep(self)

    def drop(self) -> None:
        """Close it now, whatever is under way."""
        self.consumer = None
        self.transport.abort()

    def leave(self) -> None:
        """Hand the transport over to somebody else, who sets its protocol."""
        self.consumer = None
        self._upstream.forget(self)


class Upstream:
    """The connections to one notebook, reached by ``dial``; ``failures`` says when to log that it does not respond."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self.is_closed = False
        self.failures = RareWarning()

    def take(self) -> UpstreamConnection | None:
        """Return an idle connection, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    async def dial(self) -> UpstreamConnection:
        """Return a new connection. Raises OSError, of which TimeoutError is one."""
        if self.is_closed:
            raise ConnectionRefusedError("the notebook is gone")
        async with asyncio.timeout(_DIAL_TIMEOUT):
            sock = await self._dial.connect()
        loop = asyncio.get_running_loop()
        make: Callable[[], UpstreamConnection] = lambda: UpstreamConnection(self)  # noqa: E731 - names the type
        _, connection = await loop.create_connection(make, sock=sock)
        if self.is_closed:
            connection.drop()
            raise ConnectionRefusedError("the notebook is gone")
        self._open.add(connection)
        return connection

    def keep(self, connection: UpstreamConnection) -> None:
        if self.is_closed or len(self._idle) >= _MAX_IDLE:
            connection.drop()
        else:
            self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Close all connections; the consumer of one in use is told that it is lost."""
        self.is_closed = True
        for connection in list(self._open):
            connection.transport.abort()
