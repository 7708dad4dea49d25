"""The service's own pages, answered by aiohttp: it is sent one request at a time, as a notebook is, in this process.

aiohttp's server protocol is used as its event loop would use it: connected to a transport, fed bytes, told when the
other end is slow or gone. Its transport is a small one that hands what is written to the exchange. So a visitor's
connection knows one kind of exchange only, and no request that is for a notebook ever comes near aiohttp.
"""

import asyncio
import logging
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from tmppool.proxy import wire
from tmppool.proxy.body import UNLIMITED, Allowance, Body
from tmppool.proxy.faults import Fault
from tmppool.proxy.head_readers import MAX_OWN_COOKIES
from tmppool.proxy.headers import HOP_BY_HOP
from tmppool.proxy.upstream import Consumer

MAX_BODY = 64 * 1024  # bytes: our own forms have less than one
MAX_SMALL_CHUNKS = 128  # of one body, a sixth of a millisecond of the loop; our own forms come by length
SERVER = b"tmppool"
"""The Server field of our own responses. aiohttp's own refusals, which quote the request, have another one."""

_BAD_REQUEST = 400
# A handler may see which upgrade was asked for; without ``Connection: Upgrade`` aiohttp takes no notice of it.
_NOT_PASSED = (HOP_BY_HOP | {b"expect"}) - {b"upgrade"}


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """Return False for what aiohttp's parser says of a request that it refuses: it quotes the request."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_logger = logging.getLogger("aiohttp.server.application")
_logger.addFilter(_is_no_refusal)

_CONFIG: dict[str, Any] = {
    "logger": _logger,
    "access_log": None,  # it would hold addresses and keys
    "handler_cancellation": True,  # what must be finished is shielded where it is done
    "keepalive_timeout": 0.0,  # each request has a protocol of its own
    "max_line_size": wire.MAX_REQUEST_HEAD + MAX_OWN_COOKIES,
    "max_field_size": wire.MAX_REQUEST_HEAD + MAX_OWN_COOKIES,
    "auto_decompress": False,
}


class Application:
    """``app`` on a loop, without a socket of its own. ``close`` gives responses under way ``grace`` seconds."""

    def __init__(self, app: web.Application, grace: float) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=grace, **_CONFIG)

    async def open(self) -> None:
        await self._runner.setup()

    async def close(self) -> None:
        await self._runner.cleanup()

    def request(self, extra: Mapping[str, object]) -> "ApplicationRequest":
        """Return where one request can be sent; its handler has ``extra`` from ``request.get_extra_info``."""
        assert self._runner.server is not None
        return ApplicationRequest(self._runner.server, extra)


class CollectedBody:
    """The body of a request to the application, until it is complete, so that no handler waits for it."""

    def __init__(self, length: int) -> None:
        self._body = Body(length, MAX_BODY, Allowance(MAX_SMALL_CHUNKS) if length == wire.CHUNKED else UNLIMITED)
        self._content = bytearray()

    @property
    def is_done(self) -> bool:
        return self._body.is_done

    @property
    def content(self) -> bytes:
        return bytes(self._content)

    def feed(self, data: bytes) -> bytes:
        """Take what came next; return what follows the body. Raises BadMessageError."""
        content, rest = self._body.feed(data)
        if rest and not self._body.is_done:
            raise wire.BadMessageError("too many small chunks", Fault.MALFORMED_BODY)
        self._content += content
        return rest


class ApplicationRequest:
    """One request to the application, which gets it complete."""

    target = None
    is_websocket = False

    def __init__(self, server: web.Server, extra: Mapping[str, object]) -> None:
        self._server = server
        self._extra = extra

    def take(self, *, may_repeat: bool) -> "ApplicationConnection":
        del may_repeat
        return ApplicationConnection(self._server, self._extra)

    async def dial(self) -> "ApplicationConnection":
        return ApplicationConnection(self._server, self._extra)

    def request_lines(self, fields: wire.Fields) -> bytes:
        """Return a visitor's fields, on a connection that ends with the response.

        A request of HTTP/1.0 may name no host; one of 1.1, as aiohttp is sent, then has an empty field (RFC 9112
        section 3.2).
        """
        lines = [line for name, line in fields.lines if name not in _NOT_PASSED]
        if b"host" not in fields.first:
            lines.append(b"Host:")
        return b"".join(line + b"\r\n" for line in [*lines, b"Connection: close"])

    def response_lines(self, response: wire.Response) -> list[bytes]:
        """Return the lines of the response's head. Raises BadMessageError where aiohttp refused the request itself."""
        if response.status == _BAD_REQUEST and response.fields.first.get(b"server") != SERVER:
            raise wire.BadMessageError("not a request to aiohttp")
        return [line for name, line in response.fields.lines if name not in HOP_BY_HOP]

    def switching_lines(self, response: wire.Response) -> list[bytes]:
        return self.response_lines(response)

    def page_of(self, response: wire.Response) -> None:
        """Return None: our own pages are not edited."""
        del response


class _Link(Enum):
    """The connection between aiohttp's protocol and its transport."""

    OPEN = auto()
    CLOSED = auto()  # the transport is; the protocol is told in the loop's next round
    LOST = auto()  # the protocol has been told


class ApplicationConnection:
    """One request's server protocol of aiohttp's; whatever it sends goes to the ``consumer``."""

    was_used = False

    def __init__(self, server: web.Server, extra: Mapping[str, object]) -> None:
        self.consumer: Consumer | None = None
        self._protocol = server()
        self._transport = _Transport(self, extra)
        self._link = _Link.OPEN
        self._is_paused = False  # aiohttp takes each pause once only
        self._protocol.connection_made(self._transport)

    @property
    def is_closing(self) -> bool:
        return self._link is not _Link.OPEN

    def write(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def pause_reading(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._protocol.resume_writing()

    def release(self, *, is_reusable: bool) -> None:
        """The response is complete; its handler may still have something to do, and ends by itself."""
        del is_reusable
        self.consumer = None
        self.resume_reading()

    def drop(self) -> None:
        """End it now, and cancel its handler."""
        self.consumer = None
        self._lose()

    def protocol_wrote(self, data: bytes) -> None:
        if self._link is _Link.OPEN and self.consumer is not None:
            self.consumer.upstream_sent(data)

    def protocol_closed(self) -> None:
        """Tell the consumer now, and the protocol later, as any transport does (asyncio, Transports)."""
        if self._link is not _Link.OPEN:
            return
        self._link = _Link.CLOSED
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            consumer.upstream_lost(is_clean=True)
        asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        if self._link is not _Link.LOST:
            self._link = _Link.LOST
            self._protocol.connection_lost(None)


class _Transport(asyncio.Transport):
    """The transport that aiohttp writes to. It is never paused: the whole request was there at once."""

    def __init__(self, connection: ApplicationConnection, extra: Mapping[str, object]) -> None:
        super().__init__(dict(extra))
        self._connection = connection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._connection.protocol_wrote(bytes(data))

    def is_closing(self) -> bool:
        return self._connection.is_closing

    def close(self) -> None:
        self._connection.protocol_closed()

    def abort(self) -> None:
        self._connection.protocol_closed()

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""

    def get_write_buffer_size(self) -> int:
        return 0
