"""One timer for everything that may take too long: a timer for each request would cost more than the request's head."""

import asyncio
import math
import socket
import sys
from typing import Protocol


class Looked(Protocol):
    """What is looked at while it is open."""

    def look(self, now: float) -> object:
        """End it when that is due; ``now`` is the sweep's time, infinite when everything is over."""


_MOST = 3  # pauses that may pass between two looks


class Sweep:
    """Looks at all that was added, every ``pause`` seconds, by a clock that stands still while this process does.

    While a machine is suspended, or has no time for us, nobody is heard: so nobody is late for that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pause: float) -> None:
        self._loop = loop
        self._pause = pause
        self._looked_at = loop.time()
        self._missed = 0.0
        self._open: set[Looked] = set()
        self.add = self._open.add
        self.discard = self._open.discard
        self._timer = loop.call_later(pause, self._look)

    def time(self) -> float:
        """Return the seconds on this clock, which timeouts are counted by."""
        return min(self._loop.time(), self._looked_at + _MOST * self._pause) - self._missed

    def close(self) -> None:
        self._timer.cancel()
        self._look_at_all(math.inf)

    def _look(self) -> None:
        now = self.time()
        self._looked_at = self._loop.time()
        self._missed = self._looked_at - now
        self._timer = self._loop.call_later(self._pause, self._look)
        self._look_at_all(now)

    def _look_at_all(self, now: float) -> None:
        for each in list(self._open):
            each.look(now)


class OtherEnd:
    """Who is at the other end of a transport: he has ``deadline`` seconds for taking any of what waits for him."""

    def __init__(self, transport: asyncio.Transport, deadline: float) -> None:
        self._transport = transport
        self._deadline = deadline
        self._since: float | None = None
        self._taken = 0

    def look(self, now: float) -> bool:
        """Return whether something waits for him."""
        transport = self._transport
        waiting = transport.get_write_buffer_size()
        if not waiting and transport.is_reading():  # nearly always
            self._since = None
            return False
        state, taken = _tcp_info(transport)
        if state == _CLOSED:  # nobody hears of a reset while he does not read
            transport.abort()
        elif not waiting:
            self._since = None
        elif self._since is None or (taken or waiting) != self._taken:
            self._since, self._taken = now, taken or waiting
        elif now - self._since > self._deadline:
            transport.abort()
        return waiting > 0


_CLOSED = 7  # TCP_CLOSE of linux/net/tcp_states.h
_ACKNOWLEDGED = slice(120, 128)  # tcpi_bytes_acked of struct tcp_info in linux/tcp.h


def _tcp_info(transport: asyncio.Transport) -> tuple[int, int]:
    """Return the connection's state and the bytes that the other end has acknowledged, zeros where none are known.

    What waits in the kernel moves on only when a third of its buffer is free (sk_stream_write_space), which may take
    a slow reader minutes; what his system has acknowledged is exact.
    """
    if sys.platform != "linux":
        return 0, 0
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop)
    except (OSError, ValueError):  # it is closed by now
        return 0, 0
    return info[0], int.from_bytes(info[_ACKNOWLEDGED], sys.byteorder)
