"""The end of a connection whose visitor may still be sending.

To close while something is unread resets the connection, and a reset may take the last answer away before it is
read (RFC 9112 section 9.6): the last word is said, then what comes is dropped until the visitor closes too.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus

from tmppool.proxy import wire
from tmppool.proxy.sweep import Sweep


def reset(transport: asyncio.Transport) -> None:
    """End with a reset, which nobody takes for the end of what came before."""
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def refusal(status: int, text: str, more: bytes = b"") -> bytes:
    """Return a whole answer that ends the connection; ``more`` are further lines of its head."""
    body = f"{text}\n".encode()
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n%b%b\r\nConnection: close\r\n\r\n%b"
        % (status, HTTPStatus(status).phrase.encode(), len(body), more, wire.date_line(), body)
    )


class Linger(asyncio.Protocol):
    """Says ``last`` and waits ``deadline`` seconds for the other end to close; ``lost`` hears when it is over."""

    def __init__(
        self,
        transport: asyncio.Transport,
        last: bytes,
        sweep: Sweep,
        deadline: float,
        lost: Callable[[Exception | None], None],
    ) -> None:
        self._transport = transport
        self._until = sweep.time() + deadline
        self._sweep = sweep
        self._lost = lost
        sweep.add(self)
        transport.set_protocol(self)
        transport.write(last)
        transport.write_eof()
        transport.resume_reading()

    def look(self, now: float) -> None:
        if now > self._until:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._sweep.discard(self)
        self._lost(error)
