"""The end of a connection whose visitor may still be sending.

To close while something is unread resets the connection, and a reset may take the last response away before it is
read (RFC 9112 section 9.6). So the last words are sent, and whatever still comes is dropped until the visitor closes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable

from tmppool.proxy.watchdog import Watchdog


def reset(transport: asyncio.Transport) -> None:
    """End with a reset (SO_LINGER of zero, socket(7)), which nobody takes for the end of a body."""
    option = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
    transport.abort()


class Linger(asyncio.Protocol):
    """Writes ``last_words`` and waits ``deadline`` seconds for the other end to close; then calls ``on_lost``."""

    def __init__(
        self,
        transport: asyncio.Transport,
        last_words: bytes,
        watchdog: Watchdog,
        deadline: float,
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        self._transport = transport
        self._until = watchdog.time() + deadline
        self._watchdog = watchdog
        self._on_lost = on_lost
        watchdog.add(self)
        transport.set_protocol(self)
        transport.write(last_words)
        transport.write_eof()
        transport.resume_reading()

    def check(self, now: float) -> None:
        if now > self._until:
            self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._watchdog.discard(self)
        self._on_lost(error)
