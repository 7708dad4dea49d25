"""Two connections joined into one: bytes pass unread, except for the frame headers that a program sends.

Whatever extension, fragment or size the two ends agreed on passes. The protocols here replace those of both
transports, so nothing else stands in the way of a byte (asyncio, Transports and Protocols).
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from tmppool.proxy.frame_watch import FrameWatch
from tmppool.proxy.route import ToNotebook
from tmppool.proxy.upstream import HIGH_WATER, UpstreamConnection
from tmppool.proxy.watchdog import ReaderWatch, Watchdog

_TOUCH_PAUSE = 1.0  # seconds in which one touch says as much as many
_LAST_WORDS = 10.0  # seconds in which one end may still speak after the other has ended


@dataclass(frozen=True, slots=True)
class UnreadLimit:
    """An end that takes nothing of what waits for it for ``deadline`` seconds is ended by ``watchdog``."""

    watchdog: Watchdog
    deadline: float


class _End(asyncio.Protocol):
    """One end: what arrives at ``own`` is written to ``other``, and read no faster than that can be sent on."""

    def __init__(
        self, own: asyncio.Transport, other: asyncio.Transport, on_lost: Callable[[Exception | None], None]
    ) -> None:
        self._own = own
        self._other = other
        self._on_lost = on_lost
        self._closing: asyncio.TimerHandle | None = None
        # No frame of Python stands between the transports: what one reads the other writes.
        self.data_received = other.write  # type: ignore[method-assign]

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    @property
    def has_ended(self) -> bool:
        """True once nothing more comes from this end."""
        return self._closing is not None

    def eof_received(self) -> bool:
        """Pass the end on and stay open: the other's last frame, often its close, is to come (RFC 9293 section 3.6)."""
        if self._other.is_closing() or cast("_End", self._other.get_protocol()).has_ended:
            return False
        if not self.has_ended:
            self._other.write_eof()
            self._closing = asyncio.get_running_loop().call_later(_LAST_WORDS, self._other.close)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        if error is not None and not self.has_ended and not self._other.is_closing():
            self._other.write(_unread(self._own))
        self._other.close()
        self._on_lost(error)


class _WatchedEnd(_End):
    """The end of a program, whose data frames are activity."""

    def __init__(
        self,
        own: asyncio.Transport,
        other: asyncio.Transport,
        on_lost: Callable[[Exception | None], None],
        touch: Callable[[], None],
    ) -> None:
        super().__init__(own, other, on_lost)
        self._touch = touch
        self._touched_recently = False
        self._frames = FrameWatch()
        self._begins_data = self._frames.feed
        self._write = other.write
        self.data_received = self._watch  # type: ignore[method-assign]

    def check(self, now: float) -> None:
        del now
        self._frames.look()

    def abort(self) -> None:
        """Do nothing: the watch on its reader ends this connection."""

    def _watch(self, data: bytes) -> None:
        self._write(data)
        if self._begins_data(data) and not self._touched_recently:
            self._touched_recently = True
            asyncio.get_running_loop().call_later(_TOUCH_PAUSE, self._rest)
            self._touch()

    def _rest(self) -> None:
        self._touched_recently = False


def join(
    visitor_transport: asyncio.Transport,
    connection: UpstreamConnection,
    first: bytes,
    early: bytes,
    route: ToNotebook,
    limit: UnreadLimit,
    on_lost: Callable[[Exception | None], None],
) -> None:
    """Send ``first`` to the visitor, ``early`` to the notebook, and join them.

    ``on_lost`` is called when the visitor's end is lost.
    """
    notebook_transport = connection.transport
    connection.leave()
    to_visitor = ReaderWatch(visitor_transport, limit.deadline)
    to_notebook = ReaderWatch(notebook_transport, limit.deadline)

    def close() -> None:
        visitor_transport.close()
        notebook_transport.abort()

    def visitor_lost(error: Exception | None) -> None:
        route.on_close.discard(close)
        limit.watchdog.discard(to_visitor)
        if isinstance(visitor_end, _WatchedEnd):
            limit.watchdog.discard(visitor_end)
        # While there is a visitor, a notebook may take as long as it likes.
        if notebook_transport.get_write_buffer_size():
            limit.watchdog.add(to_notebook)
        on_lost(error)

    if route.touch:
        watched = _WatchedEnd(visitor_transport, notebook_transport, visitor_lost, route.touch)
        limit.watchdog.add(watched)
        visitor_end: _End = watched
    else:
        visitor_end = _End(visitor_transport, notebook_transport, visitor_lost)
    route.on_close.add(close)
    limit.watchdog.add(to_visitor)
    visitor_transport.set_write_buffer_limits(high=HIGH_WATER)
    visitor_transport.set_protocol(visitor_end)
    notebook_end = _End(notebook_transport, visitor_transport, lambda _error: limit.watchdog.discard(to_notebook))
    notebook_transport.set_protocol(notebook_end)
    visitor_transport.write(first)
    visitor_transport.resume_reading()
    if early:
        visitor_end.data_received(early)


def _unread(lost: asyncio.Transport) -> bytes:
    """Return what had come, and was not read because a write failed first: often the close frame that says why."""
    try:
        return os.read(lost.get_extra_info("socket").fileno(), HIGH_WATER)
    except OSError:
        return b""
