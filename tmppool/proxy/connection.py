"""A visitor's connection: requests for notebooks are proxied here, all others are answered by aiohttp.

Every head is read strictly and decided once, on its raw bytes. aiohttp's server protocol is the base class: it is
fed the bytes of the requests that are its own, one at a time, and never sees the others.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tmppool.errors import BackendError
from tmppool.proxy import headers, tunnel, wire
from tmppool.proxy.exchange import Exchange
from tmppool.proxy.line import HIGH_WATER, Line
from tmppool.proxy.passage import Passage

Decide = Callable[[wire.Request, str], Passage | None]

_HEAD_DEADLINE = 10.0  # seconds from a head's first byte to its last (CIS nginx benchmark 5.2.1)
_IDLE = 75.0  # seconds between two requests
_FOREVER = 10.0**9  # aiohttp's own keep-alive timer: ours stands instead
_HEAD_TOO_LONG = 431
_NOT_TAKEN = "This request is not one that this service takes."
_END = b"\r\n\r\n"
_REASONS = {400: b"Bad Request", 403: b"Forbidden", 414: b"URI Too Long", 417: b"Expectation Failed",
            431: b"Header Fields Too Large", 508: b"Loop Detected"}  # fmt: skip


class Connection(web.RequestHandler):
    """``decide`` returns the passage of a request, None for one that aiohttp answers. Raises BadMessageError.

    ``failure`` is set while aiohttp answers for a notebook that could not.
    """

    def __init__(self, server: web.Server, decide: Decide, loop: asyncio.AbstractEventLoop) -> None:
        no_log: Any = None  # aiohttp's access log would hold addresses and keys
        most = wire.MAX_REQUEST_HEAD  # aiohttp's own refusal would quote the request
        super().__init__(
            server, loop=loop, keepalive_timeout=_FOREVER, access_log=no_log, max_line_size=most, max_field_size=most
        )
        self._decide = decide
        self._pending = b""
        self._head = b""
        self._exchange: Exchange | None = None
        self._own_body = wire.Body(0)
        self._is_own_unanswered = False
        self._is_last = False
        self._timer: asyncio.TimerHandle | None = None
        self._head_began = False
        self._peer = ""
        self._holds: set[str] = set()
        self.failure: BackendError | None = None

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]).removeprefix("::ffff:") if peer else ""
        self._arm(_HEAD_DEADLINE)

    def data_received(self, data: bytes) -> None:
        self._pending = self._pending + data if self._pending else data
        self._advance()
        if len(self._pending) > HIGH_WATER and (self._exchange or self._is_own or self.writing_paused):
            self._reading("pending", is_held=True)

    def connection_lost(self, error: BaseException | None) -> None:
        self._disarm()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.visitor_lost()
        super().connection_lost(error)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._exchange is not None:
            self._exchange.visitor_congested(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._exchange is not None:
            self._exchange.visitor_congested(False)
        self._advance()

    # What the exchange says

    def send(self, data: bytes) -> None:
        if self.transport is not None and data:
            self.transport.write(data)

    def hold(self, is_held: bool) -> None:  # noqa: FBT001 - stop or go on reading
        self._reading("exchange", is_held=is_held)

    def exchange_done(self, *, keep: bool) -> None:
        self._exchange = None
        self._reading("exchange", is_held=False)
        if self.transport is None:
            return
        if not keep:
            self.transport.close()
        else:
            self._next()

    def exchange_failed(self, error: BackendError) -> None:
        """Nothing was sent yet: a request without a body is answered by aiohttp, which knows our pages."""
        exchange, self._exchange = self._exchange, None
        self._reading("exchange", is_held=False)
        if exchange is not None and not exchange.had_body:
            self.failure = error
            self._feed_own(self._head, 0)
        else:
            self._refuse(502, b"Bad Gateway", "The notebook does not answer.")

    def break_off(self) -> None:
        """End with a reset: an orderly close may be what ends the body (RFC 9112 section 6.3)."""
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def join(self, line: Line, first: bytes, passage: Passage) -> None:
        assert self.transport is not None
        self._exchange = None
        self._disarm()
        early, self._pending = self._pending, b""
        end = tunnel.join(self.transport, line, first, passage, self.connection_lost)
        if early:
            end.data_received(early)

    # What aiohttp says

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.failure = None
            self._is_own_unanswered = False
            self._is_last = not resp.keep_alive  # nothing behind it is a request (RFC 9112 section 9.6)
            if not self._is_own:
                self._next()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what only aiohttp takes for no request; its own text and log would quote it."""
        del request, exc, message
        response = web.Response(status=status, text=_NOT_TAKEN, headers={"X-Content-Type-Options": "nosniff"})
        response.force_close()
        return response

    # Inside

    @property
    def _is_own(self) -> bool:
        """Whether aiohttp is at work."""
        return self._is_own_unanswered or not self._own_body.is_done

    def _next(self) -> None:
        self._reading("pending", is_held=False)
        self._arm(_IDLE)
        if self._pending:
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        while self._pending and self.transport is not None and not self.transport.is_closing():
            if self.writing_paused and self._exchange is None:
                return  # who does not read his answers gets no more of them
            if self._exchange is not None:
                if not self._exchange.wants_body:
                    return
                try:
                    self._pending = self._exchange.feed(self._pending)
                except wire.BadMessageError:
                    self._end_bad_body(self._exchange)
                    return
            elif not self._own_body.is_done:
                self._feed_own_body()
            elif self._is_last or self._is_own_unanswered or not self._take_head():
                return

    def _end_bad_body(self, exchange: Exchange) -> None:
        self._exchange = None
        exchange.visitor_lost()
        if exchange.has_begun:
            self.break_off()
        else:
            self._refuse(400, _REASONS[400], "This body is no HTTP.")

    def _take_head(self) -> bool:
        """Take one request from what is pending; returns whether there was a whole one."""
        while self._pending.startswith(b"\r\n"):  # allowed before a request (RFC 9112 section 2.2)
            self._pending = self._pending[2:]
        end = self._pending.find(_END) + len(_END)
        if end < len(_END):
            if len(self._pending) > wire.MAX_REQUEST_HEAD:
                status = 414 if len(self._pending.partition(b"\r\n")[0]) > wire.MAX_REQUEST_HEAD // 2 else 431
                relief = headers.relief(self._pending)
                self._refuse(status, _REASONS[status], "This request's head is too long.", relief)
            elif self._pending and not self._head_began:
                self._arm(_HEAD_DEADLINE)
                self._head_began = True
            return False
        head, self._pending = self._pending[:end], self._pending[end:]
        self._disarm()
        try:
            request = wire.parse_request(head)
            headers.refuse_loop(request.fields)
            passage = self._decide(request, self._peer)
            if passage is None:
                headers.refuse_worker(request.fields)
        except wire.BadMessageError as error:
            relief = headers.relief(head) if error.status == _HEAD_TOO_LONG else b""
            self._refuse(error.status, _REASONS[error.status], _NOT_TAKEN, relief)
            return False
        if passage is None:
            self._feed_own(request.head, request.length)
        else:
            self._head = request.head
            self._exchange = Exchange(self, request, passage)
            self._exchange.start()
        return True

    def _feed_own(self, head: bytes, length: int) -> None:
        self._is_own_unanswered = True
        self._own_body = wire.Body(length)
        super().data_received(head)

    def _feed_own_body(self) -> None:
        """Feed what is left of aiohttp's request; the body is read here only to know where it ends."""
        try:
            _, rest = self._own_body.feed(self._pending)
        except wire.BadMessageError:
            if self._is_own_unanswered:
                self._refuse(400, _REASONS[400], "This body is no HTTP.")
            elif self.transport is not None:
                self.transport.close()  # a second answer would be taken for the next request's
            return
        end = len(self._pending) - len(rest)
        piece, self._pending = self._pending[:end], rest
        super().data_received(piece)
        if not self._is_own:
            self._next()

    def _refuse(self, status: int, reason: bytes, text: str, line: bytes = b"") -> None:
        """Answer what is no request, and close: what follows on this connection cannot be told apart any more."""
        self._pending = b""
        if self.transport is None:
            return
        body = f"{text}\n".encode()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
            b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n%b%b\r\nConnection: close\r\n\r\n%b"
            % (status, reason, len(body), line, wire.date_line(), body)
        )
        self.transport.close()

    def _reading(self, why: str, *, is_held: bool) -> None:
        """Read on when nobody has a reason to wait."""
        if is_held:
            self._holds.add(why)
        else:
            self._holds.discard(why)
        if self.transport is None or self.transport.is_closing():
            return
        if self._holds:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._late)

    def _disarm(self) -> None:
        self._head_began = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self.transport is not None:
            self.transport.abort()
