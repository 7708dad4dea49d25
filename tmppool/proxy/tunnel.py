"""Two connections made one: bytes go through unread, except the frame headers that tell an interaction.

aiohttp has no public way to give a connection away, so this is the one module that knows its insides: the request's
protocol object keeps its transport, whose protocol is exchanged for ours (asyncio Transports and Protocols,
``set_protocol``), and is told when the connection is lost, as if it had never been replaced.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

from tmppool.proxy.activity import FrameWatch

_HIGH_WATER = 64 * 1024  # bytes in one direction before its source is paused


class _End(asyncio.Protocol):
    """One end: what arrives here is written to ``other``, and read no faster than that can be sent on."""

    def __init__(
        self, other: asyncio.Transport, lost: Callable[[], None], watch: Callable[[bytes], None] | None
    ) -> None:
        self._other = other
        self._lost = lost
        self._watch = watch

    def data_received(self, data: bytes) -> None:
        if self._watch is not None:
            self._watch(data)
        self._other.write(data)

    def pause_writing(self) -> None:
        self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def eof_received(self) -> bool:
        return False  # close: half-open WebSockets have no meaning (RFC 6455 section 7.1.1)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._other.close()
        self._lost()


async def run(
    request: web.Request,
    writer: asyncio.StreamWriter,
    head: bytes,
    early: bytes,
    on_close: set[Callable[[], None]],
    touch: Callable[[], None] | None,
) -> None:
    """Answer the visitor with ``head``, then tunnel until both connections are closed.

    ``early`` is what the notebook sent behind its own head. ``close`` is registered in ``on_close`` meanwhile.
    """
    visitor, notebook = request.transport, cast("asyncio.Transport", writer.transport)
    if visitor is None or visitor.is_closing():
        writer.close()
        raise ConnectionResetError("the visitor left")
    done = asyncio.Event()

    def close() -> None:
        visitor.close()
        notebook.abort()

    def visitor_lost() -> None:
        request.protocol.connection_lost(None)
        done.set()

    on_close.add(close)
    try:
        _join(request, visitor, notebook, head + early, visitor_lost, _watcher(touch))
        await done.wait()
    finally:
        on_close.discard(close)
        close()


def _join(
    request: web.Request,
    visitor: asyncio.Transport,
    notebook: asyncio.Transport,
    first: bytes,
    visitor_lost: Callable[[], None],
    watch: Callable[[bytes], None] | None,
) -> None:
    sent_early = _Early()
    request.protocol.set_parser(sent_early)  # type: ignore[arg-type]  # any object with this one method
    visitor_end = _End(notebook, visitor_lost, watch)
    for transport, end in ((visitor, visitor_end), (notebook, _End(visitor, lambda: None, None))):
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        transport.set_protocol(end)
    visitor.write(first)
    if sent_early.data:
        visitor_end.data_received(bytes(sent_early.data))
    for transport in (visitor, notebook):
        transport.resume_reading()


class _Early:
    """Takes what the visitor sent behind the handshake, before it was answered."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None: ...


def _watcher(touch: Callable[[], None] | None) -> Callable[[bytes], None] | None:
    if touch is None:
        return None
    frames = FrameWatch()

    def watch(data: Any) -> None:
        if frames.feed(data):
            touch()

    return watch
