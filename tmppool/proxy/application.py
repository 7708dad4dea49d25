"""The service's own pages, answered by aiohttp: it is asked one request at a time, as a notebook is, in this process.

aiohttp's server protocol is used as its event loop would use it: connected to a transport, fed bytes, told when the
other end is slow or gone. Its transport is a small one that hands what is written to the exchange. So a visitor's
connection knows one kind of exchange only, and no request that is for a notebook ever comes near aiohttp.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tmppool.proxy import wire
from tmppool.proxy.headers import HOP_BY_HOP
from tmppool.proxy.heads import MAX_OWN_COOKIES
from tmppool.proxy.upstream import Consumer

MAX_BODY = 64 * 1024  # bytes: our own forms have less than one
MAX_SMALL_CHUNKS = 512  # of one body: our own forms come by length
SERVER = b"tmppool"
"""What our answers say in their Server field; aiohttp's own refusals, which quote the request, do not."""

_NOT_PASSED = HOP_BY_HOP | {b"expect"}
_CONFIG: dict[str, Any] = {
    "access_log": None,  # it would hold addresses and keys
    "handler_cancellation": True,  # what must be finished is shielded where it is done
    "keepalive_timeout": 0.0,  # each request has a protocol of its own
    "max_line_size": wire.MAX_REQUEST_HEAD + MAX_OWN_COOKIES,
    "max_field_size": wire.MAX_REQUEST_HEAD + MAX_OWN_COOKIES,
    "auto_decompress": False,
}


class Application:
    """``app`` on a loop, without a socket of its own. ``close`` gives answers under way ``grace`` seconds."""

    def __init__(self, app: web.Application, grace: float) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=grace, **_CONFIG)

    async def open(self) -> None:
        await self._runner.setup()

    async def close(self) -> None:
        await self._runner.cleanup()

    def request(self, extra: Mapping[str, object]) -> "OwnRequest":
        assert self._runner.server is not None
        return OwnRequest(self._runner.server, extra)


class OwnRequest:
    """One request to the application, complete when it is asked."""

    is_websocket = False

    def __init__(self, server: web.Server, extra: Mapping[str, object]) -> None:
        self._server = server
        self._extra = extra

    def take(self, *, may_repeat: bool) -> "OwnConnection":
        del may_repeat
        return OwnConnection(self._server, self._extra)

    async def dial(self) -> "OwnConnection":
        return OwnConnection(self._server, self._extra)

    def request_lines(self, fields: wire.Fields) -> bytes:
        """Return a visitor's fields, on a connection that ends with the answer."""
        lines = [line for name, line in fields.lines if name not in _NOT_PASSED]
        if b"host" not in fields.first:  # of HTTP/1.0; what goes to the application is 1.1 (RFC 9112 section 3.2)
            lines.append(b"Host: localhost")
        return b"".join(line + b"\r\n" for line in [*lines, b"Connection: close"])

    def answer_lines(self, fields: wire.Fields) -> list[bytes]:
        return [line for name, line in fields.lines if name not in HOP_BY_HOP]

    def switching_lines(self, fields: wire.Fields) -> list[bytes]:
        return self.answer_lines(fields)

    def notice_for(self, answer: wire.Response) -> None:
        """Our own pages need no notice."""
        del answer


class OwnConnection:
    """One request's server protocol of aiohttp's; whatever it answers goes to the ``consumer``."""

    was_used = False

    def __init__(self, server: web.Server, extra: Mapping[str, object]) -> None:
        self.consumer: Consumer | None = None
        self._handler = server()
        self._transport = _Transport(self, extra)
        self._is_paused = False
        self._is_lost = False
        self._handler.connection_made(self._transport)

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        self._handler.data_received(data)

    def pause_reading(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._handler.pause_writing()

    def resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._handler.resume_writing()

    def release(self, *, is_reusable: bool) -> None:
        """The answer is complete; its handler may still have something to do, and ends by itself."""
        del is_reusable
        self.consumer = None
        self.resume_reading()

    def drop(self) -> None:
        """End it now: its handler is cancelled."""
        self.consumer = None
        self._lose()

    def said(self, data: bytes) -> None:
        if self.consumer is not None:
            self.consumer.upstream_sent(data)

    def closed(self) -> None:
        """Aiohttp is done: as of any transport, its protocol hears of that later (asyncio, Transports)."""
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            consumer.upstream_lost(is_clean=True)
        asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._transport.close()
            self._handler.connection_lost(None)


class _Transport(asyncio.Transport):
    """What aiohttp writes to. Nothing can be read faster or slower: the whole request was there at once."""

    def __init__(self, connection: OwnConnection, extra: Mapping[str, object]) -> None:
        super().__init__(dict(extra))
        self._connection = connection
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing:
            self._connection.said(bytes(data))

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._connection.closed()

    def abort(self) -> None:
        self.close()

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""

    def get_write_buffer_size(self) -> int:
        return 0
