"""One timer for everything that may take too long: a timer for each request would cost more than its head does."""

import asyncio
import socket
import sys
from typing import Protocol


class Watched(Protocol):
    """A connection, or one of its ends, that is checked while it is open."""

    def check(self, now: float) -> object:
        """End it if it is due; ``now`` is the watchdog's time in seconds."""

    def abort(self) -> None:
        """End it now, as the service ends."""


_MAX_INTERVALS = 3  # that may count between two checks


class Watchdog:
    """Checks all that was added, every ``interval`` seconds, by a clock that stands still while this process does.

    While the machine is suspended, or has no time for this process, nobody can be heard, so nobody counts as late.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        self._loop = loop
        self._interval = interval
        self._checked_at = loop.time()
        self._missed = 0.0
        self._open: set[Watched] = set()
        self.add = self._open.add
        self.discard = self._open.discard
        self._timer = loop.call_later(interval, self._check)

    def time(self) -> float:
        """Return the seconds on this clock, which timeouts are counted by."""
        return min(self._loop.time(), self._checked_at + _MAX_INTERVALS * self._interval) - self._missed

    def close(self) -> None:
        """Abort everything that is open."""
        self._timer.cancel()
        for each in list(self._open):
            each.abort()

    def _check(self) -> None:
        now = self.time()
        self._checked_at = self._loop.time()
        self._missed = self._checked_at - now
        self._timer = self._loop.call_later(self._interval, self._check)
        for each in list(self._open):
            each.check(now)


class ReaderWatch:
    """The reader at the other end of a transport, who has ``deadline`` seconds to take any of what waits for them."""

    def __init__(self, transport: asyncio.Transport, deadline: float) -> None:
        self._transport = transport
        self._deadline = deadline
        self._since: float | None = None
        self._taken = 0

    def check(self, now: float) -> bool:
        """Abort the transport when its reader is late; return True if something waits for them."""
        transport = self._transport
        waiting = transport.get_write_buffer_size()
        if not waiting and transport.is_reading():  # nearly always
            self._since = None
            return False
        state, taken = _tcp_info(transport)
        if state == _CLOSED:  # nobody hears of a reset while they do not read
            transport.abort()
        elif not waiting:
            self._since = None
        elif self._since is None or (taken or waiting) != self._taken:
            self._since, self._taken = now, taken or waiting
        elif now - self._since > self._deadline:
            transport.abort()
        return waiting > 0

    def abort(self) -> None:
        """End the connection, unless nothing waits for its reader."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()


_CLOSED = 7  # TCP_CLOSE of linux/net/tcp_states.h
_ACKNOWLEDGED = slice(120, 128)  # tcpi_bytes_acked of struct tcp_info in linux/tcp.h


def _tcp_info(transport: asyncio.Transport) -> tuple[int, int]:
    """Return the connection's state and the bytes that the other end has acknowledged, zeros where none are known.

    What waits in the kernel moves on only when a third of its buffer is free (sk_stream_write_space), which may take
    a slow reader minutes; what their system has acknowledged is exact.
    """
    if sys.platform != "linux":
        return 0, 0
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop)
    except (OSError, ValueError):  # it is closed by now
        return 0, 0
    return info[0], int.from_bytes(info[_ACKNOWLEDGED], sys.byteorder)
