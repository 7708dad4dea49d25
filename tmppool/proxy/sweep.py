"""One timer for everything that may take too long: a timer for each request would cost more than the request's head."""

import asyncio
import math
import socket
import sys
from typing import Protocol


class Looked(Protocol):
    """What is looked at while it is open."""

    def look(self, now: float) -> object:
        """End it when that is due; ``now`` is the loop's time, infinite when everything is over."""


class Sweep:
    """Looks at all that was added, every ``pause`` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pause: float) -> None:
        self._loop = loop
        self._pause = pause
        self._open: set[Looked] = set()
        self.add = self._open.add
        self.discard = self._open.discard
        self._timer = loop.call_later(pause, self._look)

    def close(self) -> None:
        self._timer.cancel()
        self._look_at_all(math.inf)

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._look)
        self._look_at_all(self._loop.time())

    def _look_at_all(self, now: float) -> None:
        for each in list(self._open):
            each.look(now)


class Reader:
    """The other end of a transport, who has ``deadline`` seconds for taking any of what waits for him."""

    def __init__(self, transport: asyncio.Transport, deadline: float) -> None:
        self._transport = transport
        self._deadline = deadline
        self._since: float | None = None
        self._mark = 0

    def look(self, now: float) -> bool:
        """Return whether something waits for him."""
        if not self._transport.get_write_buffer_size():
            self._since = None
            return False
        mark = _progress(self._transport)
        if self._since is None or mark != self._mark:
            self._since, self._mark = now, mark
        elif now - self._since > self._deadline:
            self._transport.abort()
        return True


_HAS_ACKNOWLEDGED = sys.platform == "linux"
_ACKNOWLEDGED = slice(120, 128)  # tcpi_bytes_acked of struct tcp_info (linux/tcp.h)


def _progress(transport: asyncio.Transport) -> int:
    """Return a number that changes when the other end takes something.

    What waits in the kernel moves on only when a third of its buffer is free (sk_stream_write_space), which may
    take a slow reader minutes; what his system has acknowledged is exact.
    """
    if _HAS_ACKNOWLEDGED:
        try:
            info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
        except OSError:
            info = b""
        if len(info) == _ACKNOWLEDGED.stop:
            return int.from_bytes(info[_ACKNOWLEDGED], sys.byteorder)
    return transport.get_write_buffer_size()
