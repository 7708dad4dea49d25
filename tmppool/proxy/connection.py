"""A visitor's connection: requests for notebooks are proxied here, all others are answered by aiohttp.

Every head is read strictly and decided once, on its raw bytes. aiohttp's server protocol is the base class: it is
fed the bytes of the requests that are its own, one at a time, and never sees the others.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tmppool.errors import BackendError
from tmppool.proxy import tunnel, wire
from tmppool.proxy.deadlines import Deadlines
from tmppool.proxy.exchange import Exchange
from tmppool.proxy.line import HIGH_WATER, Line
from tmppool.proxy.parting import Parting, refusal
from tmppool.proxy.passage import Decide, Passage
from tmppool.proxy.patience import Patience
from tmppool.proxy.sweep import OtherEnd, Sweep

_FOREVER = 10.0**9  # aiohttp's own keep-alive timer: ours stands instead
_NOT_TAKEN = "This request is not one that this service takes."
_END = b"\r\n\r\n"
_BAD_BODY = "This body is no HTTP."
_TOO_LARGE = "This body is larger than a notebook of this service may be sent."


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one listener share.

    ``decide`` returns the passage of a request, None for one that aiohttp answers. Raises BadMessageError.
    ``upload_limit``: bytes of one request's body for a notebook, 0 for any number.
    """

    server: web.Server
    decide: Decide
    sweep: Sweep
    deadlines: Deadlines
    upload_limit: int


class Connection(web.RequestHandler):
    """``peer`` is the address of who connected, ``left`` is called when he is gone.

    ``failure`` is set while aiohttp answers for a notebook that could not.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, peer: str, left: Callable[[], None]) -> None:
        no_log: Any = None  # aiohttp's access log would hold addresses and keys
        super().__init__(service.server, loop=loop, keepalive_timeout=_FOREVER, access_log=no_log)
        self._service = service
        self._peer = peer
        self._left = left
        self._pending = b""
        self._head = b""
        self._exchange: Exchange | None = None
        self._own_body = wire.Body(0)
        self._is_own_unanswered = False
        self._holds: set[str] = set()
        self._patience = Patience(service.deadlines, loop.time())
        self._visitor: OtherEnd
        self.failure: BackendError | None = None

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self._visitor = OtherEnd(self.transport, self._service.deadlines.unread)
        self._service.sweep.add(self)

    def data_received(self, data: bytes) -> None:
        self._pending = self._pending + data if self._pending else data
        self._advance()
        if len(self._pending) > HIGH_WATER and (self._exchange or self._is_own or self.writing_paused):
            self._reading("pending", is_held=True)

    def connection_lost(self, error: BaseException | None) -> None:
        self._service.sweep.discard(self)
        self._left()
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

    # What the clock says

    def look(self, now: float) -> None:
        """End what its visitor or its notebook lets wait too long."""
        exchange, patience = self._exchange, self._patience
        if self._visitor.look(now):
            patience.extend_rest(now)
        if exchange is None and not self._is_own:
            if self.transport is not None and patience.ends_rest(now):
                self.transport.abort()
            return
        is_wanted = exchange.wants_body if exchange is not None else not self._own_body.is_done
        is_held = bool(self._holds) or self._reading_paused
        line = exchange.unfinished_head if exchange is not None else None
        if patience.ends_body(exchange or self._own_body, now, is_wanted=is_wanted, is_held=is_held):
            self._end_body(408, "This body comes too slowly.")
        elif patience.ends_answer(now, has_begun=line is not None) and line is not None:
            line.transport.abort()

    # What the exchange says

    def send(self, data: bytes) -> None:
        if self.transport is not None and data:
            self.transport.write(data)

    def hold(self, is_held: bool) -> None:  # noqa: FBT001 - stop or go on reading
        self._reading("exchange", is_held=is_held)

    def exchange_done(self, *, keep: bool) -> None:
        exchange, self._exchange = self._exchange, None
        self._reading("exchange", is_held=False)
        if self.transport is None:
            return
        if keep:
            self._next()
        elif exchange is not None and exchange.wants_body:
            self._part(b"")
        else:
            self.transport.close()

    def exchange_failed(self, error: BackendError) -> None:
        """Nothing was sent yet: a request without a body is answered by aiohttp, which knows our pages."""
        exchange, self._exchange = self._exchange, None
        self._reading("exchange", is_held=False)
        if exchange is not None and not exchange.had_body:
            self.failure = error
            self._feed_own(self._head, 0)
        else:
            self._refuse(502, "The notebook does not answer.")

    def break_off(self) -> None:
        """End with a reset: an orderly close may be what ends the body (RFC 9112 section 6.3)."""
        if self.transport is not None:
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()

    def join(self, line: Line, first: bytes, passage: Passage) -> None:
        assert self.transport is not None
        self._exchange = None
        self._service.sweep.discard(self)
        early, self._pending = self._pending, b""
        watch = tunnel.Watch(self._service.sweep, self._service.deadlines.unread_tunnel)
        end = tunnel.join(self.transport, line, first, passage, watch, self.connection_lost)
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
            if not self._is_own:
                self._next()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what aiohttp cannot read. By itself it would log the sender and what he sent, and say that again."""
        if status >= 500:  # noqa: PLR2004 - only a bug can do this
            return super().handle_error(request, status, exc, message)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        response = web.Response(status=status, text=f"{_NOT_TAKEN}\n", headers=headers)
        response.force_close()
        return response

    # Inside

    @property
    def _is_own(self) -> bool:
        """Whether aiohttp is at work."""
        return self._is_own_unanswered or not self._own_body.is_done

    def _next(self) -> None:
        self._reading("pending", is_held=False)
        self._patience.rest(self._loop.time())
        if self._pending:
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        while self._pending and self.transport is not None and not self.transport.is_closing():
            if self.writing_paused and self._exchange is None:
                return  # who does not read his answers gets no more of them
            if self._exchange is not None:
                if not self._exchange.wants_body:
                    return
                self._patience.body_size += len(self._pending)
                try:
                    self._pending = self._exchange.feed(self._pending)
                except wire.BadMessageError as error:
                    self._end_body(error.status, _TOO_LARGE if error.status == wire.TOO_LARGE else _BAD_BODY)
                    return
            elif not self._own_body.is_done:
                self._feed_own_body()
            elif self._is_own_unanswered or not self._take_head():
                return

    def _end_body(self, status: int, text: str) -> None:
        """End a request whose body is not one that is waited for any longer."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.visitor_lost()
        if exchange is None or exchange.has_begun:
            self.break_off()
        else:
            self._refuse(status, text)

    def _take_head(self) -> bool:
        """Take one request from what is pending; returns whether there was a whole one."""
        while self._pending.startswith(b"\r\n"):  # allowed before a request (RFC 9112 section 2.2)
            self._pending = self._pending[2:]
        end = self._pending.find(_END) + len(_END)
        if end < len(_END):
            if len(self._pending) > wire.MAX_REQUEST_HEAD:
                self._refuse(431, "This request's head is too long.")
            elif self._pending and not self._patience.awaits_head:
                self._patience.head_began(self._loop.time())
            return False
        head, self._pending = self._pending[:end], self._pending[end:]
        try:
            request = wire.parse_request(head)
            passage = self._service.decide(request, self._peer)
        except wire.BadMessageError as error:
            self._refuse(error.status, _NOT_TAKEN)
            return False
        limit = self._service.upload_limit
        if passage is None:
            self._feed_own(head, request.length)
        elif 0 < limit < request.length:
            self._refuse(wire.TOO_LARGE, _TOO_LARGE)
        else:
            self._head = head
            self._exchange = Exchange(self, request, passage, limit)
            self._exchange.start()
        return True

    def _feed_own(self, head: bytes, length: int) -> None:
        self._is_own_unanswered = True
        self._own_body = wire.Body(length)
        super().data_received(head)

    def _feed_own_body(self) -> None:
        """Feed what is left of aiohttp's request; the body is read here only to know where it ends."""
        self._patience.body_size += len(self._pending)
        try:
            _, rest = self._own_body.feed(self._pending)
        except wire.BadMessageError:
            self._refuse(400, _BAD_BODY)
            return
        end = len(self._pending) - len(rest)
        piece, self._pending = self._pending[:end], rest
        super().data_received(piece)
        if not self._is_own:
            self._next()

    def _refuse(self, status: int, text: str) -> None:
        """Answer what is no request, and close: what follows on this connection cannot be told apart any more."""
        self._pending = b""
        if self.transport is None:
            return
        if self._is_own:  # aiohttp may still have a word to say, which must not meet an end of writing
            self.transport.write(refusal(status, text))
            self.transport.close()
        else:
            self._part(refusal(status, text))

    def _part(self, last: bytes) -> None:
        assert self.transport is not None
        self._service.sweep.discard(self)
        Parting(self.transport, last, self._service.sweep, self._service.deadlines.parting, self.connection_lost)

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
