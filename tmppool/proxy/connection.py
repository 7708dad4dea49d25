"""A visitor's connection: reads one request after the other, and hands each to what responds to it.

Every head is parsed strictly, and its route is decided once, on its raw bytes: to a notebook, or to the service's own
application.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum, auto
from typing import cast

import structlog

from tmppool.proxy import headers, tunnel, wire
from tmppool.proxy.application import MAX_BODY, CollectedBody
from tmppool.proxy.connection_context import ConnectionContext
from tmppool.proxy.connection_timer import ConnectionTimer
from tmppool.proxy.exchange import Destination, Exchange
from tmppool.proxy.fairness import Turn
from tmppool.proxy.faults import Fault
from tmppool.proxy.head_readers import RequestHeadReader
from tmppool.proxy.linger import Linger, reset
from tmppool.proxy.refusals import refusal
from tmppool.proxy.route import Route, ToApplication, ToNotebook
from tmppool.proxy.upstream import HIGH_WATER, UpstreamConnection
from tmppool.proxy.watchdog import ReaderWatch

_log = structlog.get_logger("tmppool.proxy")

_MAX_AHEAD = 4096  # bytes of later requests; each further read copies them


class Phase(StrEnum):
    """The part of a request, or of its response, that a connection is at."""

    HEAD = auto()  # the next request's head is awaited, or being read
    BODY = auto()  # the body of a request to the application is collected
    APPLICATION = auto()  # the application responds
    NOTEBOOK = auto()  # a notebook responds
    TUNNEL = auto()  # the bytes of a WebSocket pass by
    LINGER = auto()  # the last words are sent, and nothing more is read
    CLOSED = auto()


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.HEAD: frozenset({Phase.BODY, Phase.APPLICATION, Phase.NOTEBOOK, Phase.LINGER, Phase.CLOSED}),
    Phase.BODY: frozenset({Phase.APPLICATION, Phase.LINGER, Phase.CLOSED}),
    Phase.APPLICATION: frozenset({Phase.HEAD, Phase.LINGER, Phase.CLOSED}),
    Phase.NOTEBOOK: frozenset({Phase.HEAD, Phase.APPLICATION, Phase.TUNNEL, Phase.LINGER, Phase.CLOSED}),
    Phase.TUNNEL: frozenset({Phase.CLOSED}),
    Phase.LINGER: frozenset({Phase.CLOSED}),
    Phase.CLOSED: frozenset(),
}
"""The phases that may follow each."""


class Hold(StrEnum):
    """A reason not to read from the visitor now."""

    AHEAD = auto()  # enough of later requests is here
    TURN = auto()  # what is here waits for its turn
    EXCHANGE = auto()  # what responds does not take the body now


class Connection(asyncio.Protocol):
    """One connection from the address ``peer``; ``on_lost`` is called when it is gone.

    ``is_congested`` repeats what the transport says in pairs of calls and tells nobody else.
    """

    def __init__(self, context: ConnectionContext, peer: str, on_lost: Callable[[], None]) -> None:
        self.phase = Phase.HEAD
        self.is_congested = False
        self._context = context
        self._peer = peer
        self._on_lost = on_lost
        self._transport = cast("asyncio.Transport", None)
        self._unread = b""
        self._heads = RequestHeadReader()
        self._request: wire.Request | None = None
        self._route: Route | None = None
        self._body: CollectedBody | None = None  # in the phase BODY
        self._exchange: Exchange | None = None
        self._request_turn = Turn(context.turns, self._go_on)
        self._response_turn = Turn(context.turns, self._response_goes_on)
        self._holds: set[Hold] = set()
        self._timer = ConnectionTimer(context.timeouts, context.watchdog.time())

    # The transport's events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._reader_watch = ReaderWatch(self._transport, self._context.timeouts.unread)
        self._context.watchdog.add(self)

    def data_received(self, data: bytes) -> None:
        self._timer.body_size += len(data)
        self._unread = self._unread + data if self._unread else data
        self._advance()

    def connection_lost(self, error: BaseException | None) -> None:
        del error
        self._move(Phase.CLOSED)
        self._context.watchdog.discard(self)
        self._on_lost()
        exchange = self._leave()
        if exchange is not None:
            exchange.abandon()

    def pause_writing(self) -> None:
        self.is_congested = True
        if self._exchange is not None:
            self._exchange.visitor_congestion_changed()

    def resume_writing(self) -> None:
        self.is_congested = False
        if self._exchange is not None:
            self._exchange.visitor_congestion_changed()
        self._advance()

    # The watchdog's events

    def check(self, now: float) -> None:
        """End what takes too long."""
        self._request_turn.renew()
        self._response_turn.renew()
        is_unread = self._reader_watch.check(now)
        if self.phase is Phase.HEAD:
            if is_unread:
                self._timer.response_is_unread(now)
            elif self._timer.is_head_late(now):
                self._transport.abort()
        elif self.phase is not Phase.LINGER:
            self._check_request(now, is_unread=is_unread)

    def abort(self) -> None:
        self._transport.abort()

    def _check_request(self, now: float, *, is_unread: bool) -> None:
        exchange = self._exchange
        body = self._body or exchange
        is_wanted = self._body is not None or (exchange is not None and exchange.wants_body)
        if self._timer.is_body_late(body, now, is_wanted=is_wanted, is_held=bool(self._holds)):
            self._end_body(Fault.BODY_TOO_SLOW)
        elif self._timer.is_response_head_late(now, has_begun=self._awaits_response_head and not is_unread):
            assert exchange is not None
            exchange.drop_response()

    @property
    def _awaits_response_head(self) -> bool:
        """True if a response's head should be complete before long: a notebook may take for ever to begin it."""
        exchange = self._exchange
        if exchange is None:
            return False
        return exchange.is_in_head if self.phase is Phase.NOTEBOOK else not exchange.has_response_head

    # The exchange's events

    def send(self, data: bytes) -> None:
        if data:
            self._transport.write(data)

    def hold(self, is_held: bool) -> None:  # noqa: FBT001 - stop or go on reading
        if is_held:
            self._hold(Hold.EXCHANGE)
        else:
            self._let_go(Hold.EXCHANGE)

    def exchange_done(self, *, keeps_alive: bool) -> None:
        exchange = self._leave()
        if keeps_alive:
            self._move(Phase.HEAD)
            self._await_request()
        elif exchange is not None and exchange.wants_body:
            self._linger(b"")
        else:
            self._move(Phase.LINGER)
            self._transport.close()

    def exchange_failed(self, fault: Fault, why: str) -> None:
        """Respond in place of what did not: where there was no body, the application does, which knows our pages."""
        exchange = self._leave()
        if self.phase is Phase.APPLICATION:
            if fault is Fault.MALFORMED_HEAD:
                self._refuse(fault)
            else:
                self.break_off()
            return
        _log.warning("upstream.failed", error=why)
        assert self._request is not None
        assert isinstance(self._route, ToNotebook)
        if exchange is not None and exchange.had_body:
            self._refuse(Fault.NO_RESPONSE)
        else:
            self._ask_application(self._request, self._route.unreachable())

    def break_off(self) -> None:
        """End with a reset: an orderly close may be what ends the body (RFC 9112 section 6.3)."""
        self._leave()
        self._move(Phase.LINGER)
        reset(self._transport)

    def join(self, connection: UpstreamConnection, first: bytes) -> None:
        assert isinstance(self._route, ToNotebook)
        self._leave()
        self._move(Phase.TUNNEL)
        self._context.watchdog.discard(self)
        early, self._unread = self._unread, b""
        limit = tunnel.UnreadLimit(self._context.watchdog, self._context.timeouts.unread_tunnel)
        tunnel.join(self._transport, connection, first, early, self._route, limit, self.connection_lost)

    # Inside

    def _move(self, phase: Phase) -> None:
        """Change the phase: the one place that does."""
        if phase not in PHASES[self.phase]:
            raise RuntimeError(f"a connection that is in {self.phase} may not come to {phase}")
        self.phase = phase

    def _advance(self) -> None:
        """Read on in what is here, as far as it may be read now; more may come once little of it is left."""
        self._read_here()
        self._pace_ahead()

    def _read_here(self) -> None:
        while self._unread and not (self._transport.is_closing() or self._request_turn.is_awaited):
            if self.phase is Phase.HEAD:
                if self.is_congested or not self._take_head():  # who does not read responses gets no more of them
                    return
            elif self._body is not None:
                self._collect(self._body)
            elif self.phase is Phase.NOTEBOOK and self._exchange is not None and self._exchange.wants_body:
                self._pass_body_on(self._exchange)
            else:
                return

    def _pace_ahead(self) -> None:
        if len(self._unread) > _MAX_AHEAD and Hold.TURN not in self._holds:
            self._hold(Hold.AHEAD)
        else:
            self._let_go(Hold.AHEAD)

    def _take_head(self) -> bool:
        """Take one request from what is here; return False while there is no whole one."""
        try:
            head, self._unread = self._heads.feed(self._unread)
            if head is None:
                self._await_rest_of_head()
                return False
            request = wire.parse_request(head)
            headers.refuse_loop(request.fields)
            route = self._context.decide(request, self._peer)
            if isinstance(route, ToApplication):
                headers.refuse_worker(request.fields)
        except wire.BadMessageError as error:
            self._refuse(error.fault)
            return False
        self._request, self._route = request, route
        self._timer.body_size = len(self._unread)
        if isinstance(route, ToNotebook):
            self._ask_notebook(request, route)
        else:
            self._collect_or_ask(request, route)
        return True

    def _await_rest_of_head(self) -> None:
        if self._heads.has_begun and not self._timer.awaits_head:
            self._timer.head_begins(self._context.watchdog.time())

    def _ask_notebook(self, request: wire.Request, route: ToNotebook) -> None:
        if route.on_taken is not None:
            route.on_taken()
        limit = self._context.upload_limit
        if 0 < limit < request.length:
            self._refuse(Fault.BODY_TOO_LARGE)
            return
        self._move(Phase.NOTEBOOK)
        route.on_close.add(self._cut)
        self._begin_exchange(request, route, upload_limit=limit)

    def _collect_or_ask(self, request: wire.Request, route: ToApplication) -> None:
        if not request.length:
            self._ask_application(request, route)
        elif request.length > MAX_BODY:
            self._refuse(Fault.BODY_TOO_LARGE)
        else:
            self._move(Phase.BODY)
            self._body = CollectedBody(request.length)
            if request.expects_continue:
                self.send(wire.CONTINUE)

    def _collect(self, body: CollectedBody) -> None:
        request, route = self._request, self._route
        assert request is not None
        assert isinstance(route, ToApplication)
        try:
            self._unread = body.feed(self._unread)
            # Once it is complete: its sender's rights may have ended since the head.
            again = self._context.decide(request, self._peer) if body.is_done else route
        except wire.BadMessageError as error:
            self._end_body(error.fault)
            return
        if body.is_done:
            self._body = None
            request.length = len(body.content)
            self._ask_application(request, again if isinstance(again, ToApplication) else route, body.content)

    def _ask_application(self, request: wire.Request, route: ToApplication, body: bytes = b"") -> None:
        self._move(Phase.APPLICATION)
        destination = self._context.application.request({"peername": (self._peer, 0), **route.extra})
        self._begin_exchange(request, destination, body=body)

    def _begin_exchange(
        self, request: wire.Request, destination: Destination, *, upload_limit: int = 0, body: bytes = b""
    ) -> None:
        exchange = self._exchange = Exchange(
            self,
            request,
            destination,
            request_turn=self._request_turn,
            response_turn=self._response_turn,
            upload_limit=upload_limit,
        )
        if body:
            exchange.feed(body)
        exchange.start()

    def _pass_body_on(self, exchange: Exchange) -> None:
        try:
            self._unread = exchange.feed(self._unread)
        except wire.BadMessageError as error:
            self._end_body(error.fault)
            return
        if self._unread and exchange.wants_body:
            self._request_turn.wait()
            self._hold(Hold.TURN)

    def _await_request(self) -> None:
        self._timer.await_request(self._context.watchdog.time())
        if self._unread:
            self._request_turn.wait()  # no browser sends requests ahead

    def _go_on(self) -> None:
        self._advance()
        if not self._request_turn.is_awaited:
            self._let_go(Hold.TURN)
            self._pace_ahead()

    def _response_goes_on(self) -> None:
        if self._exchange is not None:
            self._exchange.go_on()

    def _leave(self) -> Exchange | None:
        """Part from the exchange under way; return it, if there was one."""
        exchange, self._exchange = self._exchange, None
        self._request_turn.leave()
        if exchange is not None:
            if isinstance(self._route, ToNotebook):
                self._route.on_close.discard(self._cut)
            self._response_turn.leave()
            self._let_go(Hold.EXCHANGE)
        return exchange

    def _cut(self) -> None:
        """End what is under way: the notebook is no longer this visitor's."""
        exchange = self._exchange
        if exchange is None:
            return
        exchange.abandon()
        if exchange.has_begun:
            self.break_off()
        else:
            self.exchange_failed(Fault.NO_RESPONSE, "the visitor no longer has access to this notebook")

    def _end_body(self, fault: Fault) -> None:
        """End a request whose body is not one that is waited for any longer."""
        exchange, self._body = self._leave(), None
        if exchange is not None:
            exchange.abandon()
        if exchange is not None and exchange.has_begun:
            self.break_off()
        else:
            self._refuse(fault)

    def _refuse(self, fault: Fault) -> None:
        """Refuse what is no request, and close: where the next one would begin cannot be told any more."""
        self._unread = b""
        self._linger(refusal(fault))

    def _linger(self, last_words: bytes) -> None:
        self._move(Phase.LINGER)
        context = self._context
        context.watchdog.discard(self)
        Linger(self._transport, last_words, context.watchdog, context.timeouts.linger, self.connection_lost)

    def _hold(self, why: Hold) -> None:
        """Do not read from the visitor now."""
        self._holds.add(why)
        if self._may_pace:
            self._transport.pause_reading()

    def _let_go(self, why: Hold) -> None:
        """Read on when there is no other reason to wait."""
        if not self._holds:  # nearly always
            return
        self._holds.discard(why)
        if not self._holds and self._may_pace:
            self._transport.resume_reading()

    @property
    def _may_pace(self) -> bool:
        return self.phase not in (Phase.LINGER, Phase.CLOSED) and not self._transport.is_closing()
