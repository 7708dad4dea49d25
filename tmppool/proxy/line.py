"""Connections to notebooks: dialled when needed, used for one exchange at a time, kept for the next.

A line belongs to one notebook and is never used for another.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from tmppool.running import Dial

_DIAL_TIMEOUT = 5.0  # seconds
_MAX_IDLE = 32  # lines of one notebook that are kept
# Bytes. It bounds what one read brings: with pieces beyond 128 KiB, which malloc takes from the system each time
# (mallopt(3), M_MMAP_THRESHOLD), a bulk download took three times as long, and one who stalls held twice as much.
_RECEIVE_BUFFER = 64 * 1024
HIGH_WATER = 64 * 1024  # bytes in one direction before its source is paused


class User(Protocol):
    """Who a line is lent to."""

    def notebook_sent(self, data: bytes) -> None: ...

    def notebook_lost(self, *, is_clean: bool) -> None: ...

    def notebook_congested(self, is_congested: bool) -> None: ...  # noqa: FBT001 - one fact, two words


class Line(asyncio.Protocol):
    """One connection to a notebook."""

    def __init__(self, lines: "Lines") -> None:
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.user: User | None = None
        self.was_used = False
        self._lines = lines

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def data_received(self, data: bytes) -> None:
        if self.user is not None:
            self.user.notebook_sent(data)
        else:  # nobody asked: what a notebook says unasked is no answer to the next visitor
            self.transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lines.forget(self)
        user, self.user = self.user, None
        if user is not None:
            user.notebook_lost(is_clean=error is None and not self._lines.is_closed)

    def pause_writing(self) -> None:
        if self.user is not None:
            self.user.notebook_congested(True)

    def resume_writing(self) -> None:
        if self.user is not None:
            self.user.notebook_congested(False)

    def give_back(self) -> None:
        """The exchange is complete and nothing is left on the line."""
        self.transport.resume_reading()  # its last visitor may have been slow
        self.user = None
        self.was_used = True
        self._lines.keep(self)

    def drop(self) -> None:
        """Close it now, whatever is under way."""
        self.user = None
        self.transport.abort()

    def leave(self) -> None:
        """It is no line any more: somebody else has its transport."""
        self.user = None
        self._lines.forget(self)


class Lines:
    """The lines of one notebook."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._idle: list[Line] = []
        self._open: set[Line] = set()
        self.is_closed = False

    def take(self) -> Line | None:
        """Return a line that waits for use, if there is one."""
        while self._idle:
            line = self._idle.pop()
            if not line.transport.is_closing():
                return line
        return None

    async def dial(self) -> Line:
        """Return a new line. Raises OSError, of which TimeoutError is one."""
        if self.is_closed:
            raise ConnectionRefusedError("the notebook is gone")
        async with asyncio.timeout(_DIAL_TIMEOUT):
            sock = await self._dial.connect()
        loop = asyncio.get_running_loop()
        make: Callable[[], Line] = lambda: Line(self)  # noqa: E731 - names the type
        _, line = await loop.create_connection(make, sock=sock)
        if self.is_closed:
            line.drop()
            raise ConnectionRefusedError("the notebook is gone")
        self._open.add(line)
        return line

    def keep(self, line: Line) -> None:
        if self.is_closed or len(self._idle) >= _MAX_IDLE:
            line.drop()
        else:
            self._idle.append(line)

    def forget(self, line: Line) -> None:
        self._open.discard(line)
        if line in self._idle:
            self._idle.remove(line)

    def close(self) -> None:
        """Close all lines, also those in use: who uses one hears that it is lost."""
        self.is_closed = True
        for line in list(self._open):
            line.transport.abort()
