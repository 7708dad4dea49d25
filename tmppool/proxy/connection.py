"""A visitor's connection: reads one request after the other, and has each answered where it belongs.

Every head is read strictly, and it is decided once, on its raw bytes, where the request goes: to a notebook, or to
the service's own application.
"""

import asyncio
import math
from collections.abc import Callable
from enum import Enum, auto
from typing import cast

import structlog

from tmppool.errors import BackendError
from tmppool.proxy import headers, tunnel, wire
from tmppool.proxy.application import MAX_BODY, MAX_SMALL_CHUNKS
from tmppool.proxy.body import UNLIMITED, Allowance, Body
from tmppool.proxy.exchange import Answering, Exchange
from tmppool.proxy.fairness import Turn
from tmppool.proxy.heads import Heads
from tmppool.proxy.linger import Linger, refusal, reset
from tmppool.proxy.route import ToApplication, ToNotebook
from tmppool.proxy.service import Service
from tmppool.proxy.sweep import OtherEnd
from tmppool.proxy.timer import ConnectionTimer
from tmppool.proxy.upstream import HIGH_WATER, UpstreamConnection

_log = structlog.get_logger("tmppool.proxy")

NOT_TAKEN = "This request is not one that this service takes."
_MAX_AHEAD = 4096  # bytes of later requests; each further read copies them
_TOO_LONG = "This request's head is too long."
_BAD_BODY = "This body is no HTTP."
_TOO_LARGE = "This body is larger than a notebook of this service may be sent."
_TOO_LARGE_HERE = "What was sent is larger than this service takes."
_SLOW_BODY = "This body comes too slowly."
_NO_ANSWER = "The notebook does not answer."
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """What a connection is about."""

    HEAD = auto()  # the next request's head is awaited, or being read
    BODY = auto()  # the body of a request to the application is collected
    OWN = auto()  # the application answers
    EXCHANGE = auto()  # a notebook answers
    TUNNEL = auto()  # the bytes of a WebSocket pass by
    PARTING = auto()  # the last word is said
    CLOSED = auto()


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.HEAD: frozenset({Phase.BODY, Phase.OWN, Phase.EXCHANGE, Phase.PARTING, Phase.CLOSED}),
    Phase.BODY: frozenset({Phase.OWN, Phase.PARTING, Phase.CLOSED}),
    Phase.OWN: frozenset({Phase.HEAD, Phase.PARTING, Phase.CLOSED}),
    Phase.EXCHANGE: frozenset({Phase.HEAD, Phase.OWN, Phase.TUNNEL, Phase.PARTING, Phase.CLOSED}),
    Phase.TUNNEL: frozenset({Phase.CLOSED}),
    Phase.PARTING: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}
"""Which phase may follow which."""


class _OwnBody:
    """The body of a request to the application, until it is complete."""

    def __init__(self, request: wire.Request, route: ToApplication) -> None:
        self.request = request
        self.route = route
        self.content = bytearray()
        is_chunked = request.length == wire.CHUNKED
        self.body = Body(request.length, MAX_BODY, Allowance(MAX_SMALL_CHUNKS) if is_chunked else UNLIMITED)

    def feed(self, data: bytes) -> bytes:
        """Take what came next; returns what is behind the body. Raises BadMessageError."""
        content, rest = self.body.feed(data)
        if rest and not self.body.is_done:
            raise wire.BadMessageError("too many small chunks")
        self.content += content
        return rest


class Connection(asyncio.Protocol):
    """``peer`` is the address of who connected, ``left`` is called when they are gone."""

    def __init__(self, service: Service, peer: str, left: Callable[[], None]) -> None:
        self._service = service
        self._peer = peer
        self._left = left
        self._phase = Phase.HEAD
        self._transport = cast("asyncio.Transport", None)
        self._unread = b""
        self._heads = Heads()
        self._request: wire.Request | None = None
        self._route: ToNotebook | ToApplication | None = None
        self._own_body: _OwnBody | None = None
        self._exchange: Exchange | None = None
        self._turn = Turn(service.turns, self._go_on)
        self._answers_turn = Turn(service.turns, self._answer_goes_on)
        self._holds: set[str] = set()
        self._timer = ConnectionTimer(service.timeouts, service.sweep.time())
        self._is_congested = False

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._visitor = OtherEnd(self._transport, self._service.timeouts.unread)
        self._service.sweep.add(self)

    def data_received(self, data: bytes) -> None:
        self._timer.body_size += len(data)
        self._unread = self._unread + data if self._unread else data
        self._advance()
        if len(self._unread) > _MAX_AHEAD and "turn" not in self._holds:
            self._reading("ahead", is_held=True)

    def connection_lost(self, error: BaseException | None) -> None:
        del error
        self._to(Phase.CLOSED)
        self._service.sweep.discard(self)
        self._left()
        exchange = self._leave()
        if exchange is not None:
            exchange.visitor_lost()

    def pause_writing(self) -> None:
        self._is_congested = True
        if self._exchange is not None:
            self._exchange.visitor_congested(True)

    def resume_writing(self) -> None:
        self._is_congested = False
        if self._exchange is not None:
            self._exchange.visitor_congested(False)
        self._advance()

    # What the clock says

    def look(self, now: float) -> None:
        """End what is waited for too long."""
        if now == math.inf:
            self._transport.abort()
            return
        for turn in (self._turn, self._answers_turn):
            turn.look()
        is_slow = self._visitor.look(now)
        if self._phase is Phase.PARTING:
            return
        if is_slow:
            self._timer.extend_rest(now)
        if self._phase is Phase.HEAD:
            if self._timer.ends_rest(now):
                self._transport.abort()
            return
        exchange = self._exchange
        is_wanted = self._own_body is not None or (exchange is not None and exchange.wants_body)
        body = self._own_body or exchange
        if self._timer.ends_body(body, now, is_wanted=is_wanted, is_held=bool(self._holds)):
            self._end_body(408, _SLOW_BODY)
        elif self._timer.ends_answer(now, has_begun=self._awaits_head_of_answer and not is_slow):
            assert exchange is not None
            exchange.drop_answer()

    @property
    def _awaits_head_of_answer(self) -> bool:
        """Whether the head of an answer should be complete before long: a notebook may take for ever to begin it."""
        exchange = self._exchange
        if exchange is None:
            return False
        return not exchange.is_answered if self._phase is Phase.OWN else exchange.is_in_head

    # What the exchange says

    def send(self, data: bytes) -> None:
        if data:
            self._transport.write(data)

    def hold(self, is_held: bool) -> None:  # noqa: FBT001 - stop or go on reading
        self._reading("exchange", is_held=is_held)

    def exchange_done(self, *, keep: bool) -> None:
        exchange = self._leave()
        if keep:
            self._to(Phase.HEAD)
            self._next()
        elif exchange is not None and exchange.wants_body:
            self._part(b"")
        else:
            self._to(Phase.PARTING)
            self._transport.close()

    def exchange_failed(self, error: BackendError) -> None:
        """Nothing was sent yet: a request without a body is answered by the application, which knows our pages."""
        exchange = self._leave()
        if self._phase is Phase.OWN:
            self.break_off()
            return
        _log.warning("notebook.silent", error=str(error))
        assert self._request is not None
        assert isinstance(self._route, ToNotebook)
        if exchange is not None and exchange.had_body:
            self._refuse(502, _NO_ANSWER)
        else:
            self._ask_application(self._request, self._route.unreachable)

    def break_off(self) -> None:
        """End with a reset: an orderly close may be what ends the body (RFC 9112 section 6.3)."""
        self._to(Phase.PARTING)
        reset(self._transport)

    def join(self, connection: UpstreamConnection, first: bytes) -> None:
        assert isinstance(self._route, ToNotebook)
        self._leave()
        self._to(Phase.TUNNEL)
        self._service.sweep.discard(self)
        watch = tunnel.Watch(self._service.sweep, self._service.timeouts.unread_tunnel)
        early, self._unread = self._unread, b""
        tunnel.join(self._transport, connection, first, early, self._route, watch, self.connection_lost)

    # Inside

    def _to(self, phase: Phase) -> None:
        """The one place where the phase changes."""
        if phase not in PHASES[self._phase]:
            raise RuntimeError(f"a connection goes from {self._phase.name} to {phase.name}")
        self._phase = phase

    def _advance(self) -> None:
        """Read on in what is here, as far as it may be read now."""
        while self._unread and not (self._transport.is_closing() or self._turn.is_awaited):
            if self._phase is Phase.HEAD:
                if self._is_congested or not self._take_head():  # who does not read answers gets no more of them
                    return
            elif self._phase is Phase.BODY:
                self._collect_body()
            elif self._phase is Phase.EXCHANGE and self._exchange is not None and self._exchange.wants_body:
                self._pass_body_on(self._exchange)
            else:
                return

    def _take_head(self) -> bool:
        """Take one request from what is here; returns whether there was a whole one."""
        try:
            head, self._unread = self._heads.feed(self._unread)
            if head is None:
                if self._heads.has_begun and not self._timer.awaits_head:
                    self._timer.head_began(self._service.sweep.time())
                if self._holds:
                    self._reading("ahead", is_held=False)
                return False
            request = wire.parse_request(head)
            headers.refuse_loop(request.fields)
            route = self._service.decide(request, self._peer)
            if isinstance(route, ToApplication):
                headers.refuse_worker(request.fields)
        except wire.BadMessageError as error:
            self._refuse(error.status, _TOO_LONG if error.status in (414, 431) else NOT_TAKEN)
            return False
        self._request, self._route = request, route
        self._timer.body_size = len(self._unread)
        if isinstance(route, ToNotebook):
            self._ask_notebook(request, route)
        else:
            self._begin_own(request, route)
        return True

    def _ask_notebook(self, request: wire.Request, route: ToNotebook) -> None:
        limit = self._service.upload_limit
        if 0 < limit < request.length:
            self._refuse(wire.TOO_LARGE, _TOO_LARGE)
            return
        self._to(Phase.EXCHANGE)
        route.on_close.add(self._cut)
        self._begin_exchange(request, route, limit)

    def _begin_own(self, request: wire.Request, route: ToApplication) -> None:
        """Ask the application once the body is complete, so that no handler waits for one."""
        if not request.length:
            self._ask_application(request, route)
        elif request.length > MAX_BODY:
            self._refuse(wire.TOO_LARGE, _TOO_LARGE_HERE)
        else:
            self._to(Phase.BODY)
            self._own_body = _OwnBody(request, route)
            if b"expect" in request.fields.first and request.minor == 1:
                self.send(_CONTINUE)

    def _collect_body(self) -> None:
        assert self._own_body is not None
        own = self._own_body
        try:
            self._unread = own.feed(self._unread)
        except wire.BadMessageError as error:
            self._end_body(error.status, _TOO_LARGE_HERE if error.status == wire.TOO_LARGE else _BAD_BODY)
            return
        if own.body.is_done:
            self._own_body = None
            own.request.length = len(own.content)
            self._ask_application(own.request, own.route, bytes(own.content))

    def _ask_application(self, request: wire.Request, route: ToApplication, body: bytes = b"") -> None:
        self._to(Phase.OWN)
        exchange = self._begin_exchange(
            request, self._service.application.request({"peername": (self._peer, 0), **route.extra})
        )
        if body:
            exchange.feed(body)

    def _begin_exchange(self, request: wire.Request, answering: Answering, limit: int = 0) -> Exchange:
        exchange = self._exchange = Exchange(
            self, request, answering, asks=self._turn, answers=self._answers_turn, upload_limit=limit
        )
        exchange.start()
        return exchange

    def _pass_body_on(self, exchange: Exchange) -> None:
        try:
            self._unread = exchange.feed(self._unread)
        except wire.BadMessageError as error:
            self._end_body(error.status, _TOO_LARGE if error.status == wire.TOO_LARGE else _BAD_BODY)
            return
        if self._unread and exchange.wants_body:
            self._turn.wait()
            self._reading("turn", is_held=True)

    def _next(self) -> None:
        if len(self._unread) <= _MAX_AHEAD:
            self._reading("ahead", is_held=False)
        self._timer.rest(self._service.sweep.time())
        if self._unread:
            self._turn.wait()  # no browser sends requests ahead

    def _go_on(self) -> None:
        self._advance()
        if not self._turn.is_awaited:
            self._reading("turn", is_held=False)

    def _answer_goes_on(self) -> None:
        if self._exchange is not None:
            self._exchange.go_on()

    def _leave(self) -> Exchange | None:
        """The exchange under way, if there is one, is over."""
        exchange, self._exchange = self._exchange, None
        self._turn.leave()
        if exchange is not None:
            if isinstance(self._route, ToNotebook):
                self._route.on_close.discard(self._cut)
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

    def _end_body(self, status: int, text: str) -> None:
        """End a request whose body is not one that is waited for any longer."""
        exchange, self._own_body = self._leave(), None
        if exchange is not None:
            exchange.visitor_lost()
        if exchange is not None and exchange.has_begun:
            self.break_off()
        else:
            self._refuse(status, text)

    def _refuse(self, status: int, text: str) -> None:
        """Answer what is no request, and close: what follows on this connection cannot be told apart any more."""
        self._unread = b""
        self._part(refusal(status, text))

    def _part(self, last: bytes) -> None:
        self._to(Phase.PARTING)
        self._service.sweep.discard(self)
        Linger(self._transport, last, self._service.sweep, self._service.timeouts.parting, self.connection_lost)

    def _reading(self, why: str, *, is_held: bool) -> None:
        """Read on when nobody has a reason to wait."""
        (self._holds.add if is_held else self._holds.discard)(why)
        if self._phase in (Phase.PARTING, Phase.CLOSED) or self._transport.is_closing():
            return
        if self._holds:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
