"""Two connections made one: bytes go through unread, except the frame headers that tell an interaction.

Whatever extension, fragment or size the two ends agreed on passes; the protocols of both transports are exchanged
for these, so nothing else stands in the way of a byte (asyncio, Transports and Protocols).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tmppool.proxy.activity import FrameWatch
from tmppool.proxy.line import HIGH_WATER, Line
from tmppool.proxy.passage import Passage
from tmppool.proxy.sweep import OtherEnd, Sweep

_TOUCH_PAUSE = 1.0  # seconds in which one interaction says as much as many


@dataclass(frozen=True, slots=True)
class Watch:
    """An end that takes nothing of what waits for it for ``deadline`` seconds is lost."""

    sweep: Sweep
    deadline: float


class _End(asyncio.Protocol):
    """One end: what arrives here is written to ``other``, and read no faster than that can be sent on."""

    def __init__(self, other: asyncio.Transport, lost: Callable[[Exception | None], None]) -> None:
        self._other = other
        self._lost = lost
        # No frame of Python stands between the transports: what one reads the other writes.
        self.data_received = other.write  # type: ignore[method-assign]

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def eof_received(self) -> bool:
        return False  # close: half-open WebSockets have no meaning (RFC 6455 section 7.1.1)

    def connection_lost(self, error: Exception | None) -> None:
        self._other.close()
        self._lost(error)


class _WatchedEnd(_End):
    """The visitor's end where a data frame is an interaction."""

    def __init__(
        self, other: asyncio.Transport, lost: Callable[[Exception | None], None], touch: Callable[[], None]
    ) -> None:
        super().__init__(other, lost)
        self._touch = touch
        self._touched_at = 0.0
        self._frames = FrameWatch()
        self._now = asyncio.get_running_loop().time
        self.data_received = self._watch  # type: ignore[method-assign]

    def _watch(self, data: bytes) -> None:
        self._other.write(data)
        if self._frames.feed(data) and (now := self._now()) - self._touched_at >= _TOUCH_PAUSE:
            self._touched_at = now
            self._touch()


def join(
    visitor: asyncio.Transport,
    line: Line,
    first: bytes,
    passage: Passage,
    watch: Watch,
    lost: Callable[[Exception | None], None],
) -> asyncio.Protocol:
    """Send ``first`` to the visitor, then tunnel; returns the visitor's end. ``lost`` hears of the visitor's loss."""
    notebook = line.transport
    line.leave()
    to_visitor, to_notebook = OtherEnd(visitor, watch.deadline), OtherEnd(notebook, watch.deadline)

    def close() -> None:
        visitor.close()
        notebook.abort()

    def visitor_lost(error: Exception | None) -> None:
        passage.on_close.discard(close)
        watch.sweep.discard(to_visitor)
        if notebook.get_write_buffer_size():  # while there is a visitor, a notebook may take as long as it likes
            watch.sweep.add(to_notebook)
        lost(error)

    end = _WatchedEnd(notebook, visitor_lost, passage.touch) if passage.touch else _End(notebook, visitor_lost)
    passage.on_close.add(close)
    watch.sweep.add(to_visitor)
    visitor.set_write_buffer_limits(high=HIGH_WATER)
    visitor.set_protocol(end)
    notebook.set_protocol(_End(visitor, lambda _error: watch.sweep.discard(to_notebook)))
    visitor.write(first)
    visitor.resume_reading()
    return end
