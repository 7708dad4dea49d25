"""A visitor's connection: requests for notebooks are proxied here, all others are answered by aiohttp.

Every head is read strictly and decided once, on its raw bytes. aiohttp's server protocol is the base class: it is
fed the bytes of the requests that are its own, one at a time, and never sees the others.
"""

import asyncio
from collections.abc import Callable

from tmppool.errors import BackendError
from tmppool.proxy import headers, tunnel, wire
from tmppool.proxy.exchange import Exchange
from tmppool.proxy.heads import Heads
from tmppool.proxy.line import HIGH_WATER, Line
from tmppool.proxy.own import NOT_TAKEN, OwnRequests
from tmppool.proxy.parting import Parting, refusal, reset
from tmppool.proxy.passage import Passage
from tmppool.proxy.patience import Patience
from tmppool.proxy.service import Service
from tmppool.proxy.sweep import OtherEnd
from tmppool.proxy.turns import Turn

_MAX_AHEAD = 4096  # bytes of later requests; each further read copies them
_TOO_LONG = "This request's head is too long."
_BAD_BODY = "This body is no HTTP."
_TOO_LARGE = "This body is larger than a notebook of this service may be sent."


class Connection(OwnRequests):
    """``peer`` is the address of who connected, ``left`` is called when he is gone.

    ``failure`` is set while aiohttp answers for a notebook that could not.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, peer: str, left: Callable[[], None]) -> None:
        super().__init__(service.server, loop)
        self._service = service
        self._peer = peer
        self._left = left
        self._pending = b""
        self._heads = Heads()
        self._head = b""
        self._turn = Turn(service.turns, self._go_on)
        self._answers_turn = Turn(service.turns, self._answer_goes_on)
        self._exchange: Exchange | None = None
        self._holds: set[str] = set()
        self._patience = Patience(service.deadlines, service.sweep.time())
        self.failure: BackendError | None = None

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.set_write_buffer_limits(high=HIGH_WATER)
        self._visitor: OtherEnd = OtherEnd(self.transport, self._service.deadlines.unread)
        self._service.sweep.add(self)

    def data_received(self, data: bytes) -> None:
        self._patience.body_size += len(data)
        self._pending = self._pending + data if self._pending else data
        self._advance()
        if len(self._pending) > _MAX_AHEAD and "turn" not in self._holds:
            self._reading("pending", is_held=True)

    def connection_lost(self, error: BaseException | None) -> None:
        self._service.sweep.discard(self)
        self._left()
        exchange = self._leave()
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
        for turn in (self._turn, self._answers_turn):
            turn.look()
        is_slow = self._visitor.look(now)
        if is_slow:
            patience.extend_rest(now)
        if exchange is None and not self.is_own:
            if self.transport is not None and patience.ends_rest(now):
                self.transport.abort()
            return
        is_wanted = exchange.wants_body if exchange is not None else not self.own_body.is_done
        is_held = bool(self._holds) or self._reading_paused
        line = exchange.unfinished_head if exchange is not None else None
        is_ours = exchange is None and self.own_body.is_done and not is_slow
        if patience.ends_body(exchange or self.own_body, now, is_wanted=is_wanted, is_held=is_held):
            self._end_body(408, "This body comes too slowly.")
        elif patience.ends_answer(now, has_begun=line is not None or is_ours):
            end = line.transport if line is not None else self.transport
            if end is not None:
                end.abort()

    # What the exchange says

    def send(self, data: bytes) -> None:
        if self.transport is not None and data:
            self.transport.write(data)

    def hold(self, is_held: bool) -> None:  # noqa: FBT001 - stop or go on reading
        self._reading("exchange", is_held=is_held)

    def exchange_done(self, *, keep: bool) -> None:
        exchange = self._leave()
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
        exchange = self._leave()
        if exchange is not None and not exchange.had_body:
            self.failure = error
            self.feed_own(self._head, 0)
        else:
            self._refuse(502, "The notebook does not answer.")

    def break_off(self) -> None:
        """End with a reset: an orderly close may be what ends the body (RFC 9112 section 6.3)."""
        if self.transport is not None:
            reset(self.transport)

    def join(self, line: Line, first: bytes, passage: Passage) -> None:
        assert self.transport is not None
        self._leave()
        self._service.sweep.discard(self)
        watch = tunnel.Watch(self._service.sweep, self._service.deadlines.unread_tunnel)
        tunnel.join(self.transport, line, first, self._pending, passage, watch, self.connection_lost)
        self._pending = b""

    # What aiohttp says

    def answered(self) -> None:
        self.failure = None
        if self.is_too_long:
            self._part(b"")
        elif not self.is_own:
            self._next()

    # Inside

    def _leave(self) -> Exchange | None:
        """The exchange under way, if there is one, is over."""
        exchange, self._exchange = self._exchange, None
        self._turn.leave()
        if exchange is not None:
            exchange.passage.on_close.discard(self._cut)
            self._answers_turn.leave()
            self._reading("exchange", is_held=False)
        return exchange

    def _cut(self) -> None:
        """The notebook is no longer this visitor's: what is under way ends too."""
        exchange = self._exchange
        if exchange is None:
            return
        exchange.visitor_lost()
        if exchange.has_begun:
            self._leave()
            self.break_off()
        else:
            self.exchange_failed(BackendError("the notebook is closed to this visitor"))

    def _next(self) -> None:
        if len(self._pending) <= _MAX_AHEAD:
            self._reading("pending", is_held=False)
        self._patience.rest(self._service.sweep.time())
        if self._pending:
            self._turn.wait()  # no browser sends requests ahead

    def _advance(self) -> None:
        while self._pending and self.transport and not (self.transport.is_closing() or self._turn.is_awaited):
            if self.writing_paused and self._exchange is None:
                return  # who does not read his answers gets no more of them
            if self._exchange is not None:
                if not self._exchange.wants_body:
                    return
                try:
                    self._pending = self._exchange.feed(self._pending)
                except wire.BadMessageError as error:
                    self._end_body(error.status, _TOO_LARGE if error.status == wire.TOO_LARGE else _BAD_BODY)
                    return
                if self._pending and self._exchange.wants_body:
                    self._turn.wait()
                    self._reading("turn", is_held=True)
            elif not self.own_body.is_done:
                self._feed_own_body()
            elif self.is_last or self.is_unanswered or not self._take_head():
                return

    def _go_on(self) -> None:
        self._advance()
        if not self._turn.is_awaited:
            self._reading("turn", is_held=False)

    def _answer_goes_on(self) -> None:
        if self._exchange is not None:
            self._exchange.go_on()

    def _end_body(self, status: int, text: str) -> None:
        """End a request whose body is not one that is waited for any longer."""
        exchange = self._leave()
        if exchange is not None:
            exchange.visitor_lost()
        if exchange is None or exchange.has_begun:
            self.break_off()
        else:
            self._refuse(status, text)

    def _take_head(self) -> bool:
        """Take one request from what is pending; returns whether there was a whole one."""
        try:
            head, self._pending = self._heads.feed(self._pending)
            if head is None:
                if self._heads.has_begun and not self._patience.awaits_head:
                    self._patience.head_began(self._service.sweep.time())
                if self._holds:
                    self._reading("pending", is_held=False)
                return False
            request = wire.parse_request(head)
            headers.refuse_loop(request.fields)
            passage = self._service.decide(request, self._peer)
            if passage is None:
                headers.refuse_worker(request.fields)
        except wire.BadMessageError as error:
            self._refuse(error.status, _TOO_LONG if error.status in (414, 431) else NOT_TAKEN)
            return False
        self._patience.body_size = len(self._pending)
        limit = self._service.upload_limit
        if passage is None:
            self.feed_own(request.head, request.length)
        elif 0 < limit < request.length:
            self._refuse(wire.TOO_LARGE, _TOO_LARGE)
        else:
            self._head = request.head
            passage.on_close.add(self._cut)
            self._exchange = Exchange(self, request, passage, limit, self._turn, self._answers_turn)
            self._exchange.start()
        return True

    def _feed_own_body(self) -> None:
        try:
            self._pending = self.feed_own_body(self._pending)
        except wire.BadMessageError:
            if self.is_unanswered:
                self._refuse(400, _BAD_BODY)
            else:
                self._part(b"")  # a second answer would be taken for the next request's
            return
        if not self.is_own:
            self._next()
        elif self.is_full and self.is_unanswered:
            self._reading("own", is_held=True)
        elif self.is_full:
            self._part(b"")

    def _refuse(self, status: int, text: str) -> None:
        """Answer what is no request, and close: what follows on this connection cannot be told apart any more."""
        self._pending = b""
        if self.transport is not None:
            self._part(refusal(status, text))

    def _part(self, last: bytes) -> None:
        transport, self.transport = self.transport, None
        assert transport is not None
        if self.is_unanswered:
            self.stop_answering()
        self._service.sweep.discard(self)
        Parting(transport, last, self._service.sweep, self._service.deadlines.parting, self.connection_lost)

    def _reading(self, why: str, *, is_held: bool) -> None:
        """Read on when nobody has a reason to wait."""
        (self._holds.add if is_held else self._holds.discard)(why)
        if self.transport is None or self.transport.is_closing():
            return
        if self._holds:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
