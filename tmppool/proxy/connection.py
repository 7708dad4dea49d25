"""A visitor's connection: reads one request after another, and hands each to whatever responds to it.

Every head is parsed strictly, and its route is decided on its raw bytes: to a notebook, or to the service's own
application. The route of a request to the application is decided again once its body is complete: rights may end while
it arrives.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import ClassVar, cast

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
from tmppool.proxy.read_pause import Hold, ReadPause
from tmppool.proxy.refusals import refusal
from tmppool.proxy.route import ToApplication, ToNotebook
from tmppool.proxy.upstream import HIGH_WATER, UpstreamConnection
from tmppool.proxy.watchdog import ReaderWatch

_log = structlog.get_logger("tmppool.proxy")

_MAX_AHEAD = 4096  # bytes of later requests; each further read copies them


_PROXY_PROTOCOL = (
    "the proxy in front sends the PROXY protocol, which this service does not read: remove it (HAProxy: send-proxy,"
    " send-proxy-v2; nginx: proxy_protocol on) and let the proxy set X-Forwarded-For (HAProxy: option forwardfor)"
)


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


@dataclass(frozen=True, slots=True)
class Bare:
    """A phase to which nothing belongs."""

    phase: Phase


@dataclass(slots=True)
class Collecting:
    """A request to the application, while its body is collected."""

    phase: ClassVar[Phase] = Phase.BODY
    request: wire.Request
    route: ToApplication
    body: CollectedBody


@dataclass(slots=True)
class Responding:
    """A request whose ``exchange`` is under way."""

    phase: ClassVar[Phase]
    exchange: Exchange

    @property
    def awaits_response_head(self) -> bool:
        """True if the response's head should be complete before long."""
        return not self.exchange.has_response_head


@dataclass(slots=True)
class AtApplication(Responding):
    """A request that the application responds to."""

    phase: ClassVar[Phase] = Phase.APPLICATION


@dataclass(slots=True)
class AtNotebook(Responding):
    """A request that a notebook responds to."""

    phase: ClassVar[Phase] = Phase.NOTEBOOK
    request: wire.Request
    route: ToNotebook

    @property
    def awaits_response_head(self) -> bool:
        return self.exchange.is_in_head  # to begin it, a notebook may take for ever

    @property
    def waits_in_vain(self) -> bool:
        """True for a question to a paused notebook: a few would hold all connections that a browser makes to a host.

        A request that changes something waits: it is carried out when the notebook goes on, and must not seem to fail.
        """
        is_question = self.request.is_safe and not self.exchange.had_body
        return is_question and not self.exchange.has_begun and self.route.is_paused()


At = Bare | Collecting | Responding
"""A phase, with all that belongs to it."""

_HEAD, _TUNNEL, _LINGER, _CLOSED = (Bare(phase) for phase in (Phase.HEAD, Phase.TUNNEL, Phase.LINGER, Phase.CLOSED))


class Connection(asyncio.Protocol):
    """One connection from the address ``peer``; ``on_lost`` is called when it is gone.

    ``is_congested``: the transport has called ``pause_writing`` and not yet ``resume_writing``.
    """

    def __init__(self, context: ConnectionContext, peer: str, on_lost: Callable[[], None]) -> None:
        self._at: At = _HEAD
        self.is_congested = False
        self._context = context
        self._peer = peer
        self._on_lost = on_lost
        self._transport = cast("asyncio.Transport", None)
        self._unread = b""
        self._heads = RequestHeadReader()
        self._request_turn = Turn(context.turns, self._go_on)
        self._response_turn = Turn(context.turns, self._response_goes_on)
        self._timer = ConnectionTimer(context.timeouts, context.watchdog.time())

    @property
    def phase(self) -> Phase:
        return self._at.phase

    # The transport's events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._read_pause = ReadPause(self._transport)
        self._reader_watch = ReaderWatch(self._transport, self._context.timeouts.unread)
        self._context.watchdog.add(self)

    def data_received(self, data: bytes) -> None:
        self._timer.body_size += len(data)
        self._unread = self._unread + data if self._unread else data
        self._advance()

    def connection_lost(self, error: BaseException | None) -> None:
        del error
        at = self._at
        self._move(_CLOSED)
        self._context.watchdog.discard(self)
        self._on_lost()
        if isinstance(at, Responding):
            at.exchange.abandon()

    def pause_writing(self) -> None:
        self.is_congested = True
        self._congestion_changed()

    def resume_writing(self) -> None:
        self.is_congested = False
        self._congestion_changed()
        self._advance()

    def _congestion_changed(self) -> None:
        if isinstance(self._at, Responding):
            self._at.exchange.visitor_congestion_changed()

    # The watchdog's events

    def check(self, now: float) -> None:
        """End what takes too long."""
        self._request_turn.renew()
        self._response_turn.renew()
        is_unread = self._reader_watch.check(now)
        at = self._at
        if isinstance(at, Collecting):
            self._check_body(at.body, now, is_wanted=True)
        elif isinstance(at, Responding):
            self._check_exchange(at, now, is_unread=is_unread)
        elif at is _HEAD:
            if is_unread:
                self._timer.response_is_unread(now)
            elif self._timer.is_head_late(now):
                self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    def _check_exchange(self, at: Responding, now: float, *, is_unread: bool) -> None:
        if isinstance(at, AtNotebook) and at.waits_in_vain:
            at.exchange.abandon()
            self._ask_application(at.request, at.route.unreachable())
        elif not self._check_body(at.exchange, now, is_wanted=at.exchange.wants_body):
            has_begun = at.awaits_response_head and not is_unread
            if self._timer.is_response_head_late(now, has_begun=has_begun):
                at.exchange.drop_response()

    def _check_body(self, body: object, now: float, *, is_wanted: bool) -> bool:
        """End a request whose body comes too slowly; return True if it was ended."""
        is_late = self._timer.is_body_late(body, now, is_wanted=is_wanted, is_held=self._read_pause.is_held)
        if is_late:
            self._end_request(Fault.BODY_TOO_SLOW)
        return is_late

    # The exchange's events

    def send(self, data: bytes) -> None:
        if data:
            self._transport.write(data)

    def hold(self, is_held: bool) -> None:  # noqa: FBT001 - stop or go on reading
        if is_held:
            self._read_pause.hold(Hold.EXCHANGE)
        else:
            self._read_pause.let_go(Hold.EXCHANGE)

    def exchange_done(self, *, keeps_alive: bool, is_request_whole: bool) -> None:
        if keeps_alive:
            self._move(_HEAD)
            self._await_request()
        elif is_request_whole:
            self._move(_LINGER)
            self._transport.close()
        else:
            self._linger(b"")

    def exchange_failed(self, fault: Fault, why: str) -> None:
        """Respond in place of what did not: where there was no body, the application does, which knows our pages."""
        at = self._at
        if isinstance(at, AtNotebook):
            count = at.route.upstream.failures.note(self._context.watchdog.time())
            if count:
                _log.warning("upstream.failed", notebook=at.route.notebook_id, error=why, count=count)
            if at.exchange.had_body:
                self._refuse(Fault.NO_RESPONSE)
            else:
                self._ask_application(at.request, at.route.unreachable())
        elif fault is Fault.MALFORMED_HEAD:
            self._refuse(fault)
        else:
            self.break_off()

    def break_off(self) -> None:
        """End with a reset: an orderly close may be what ends the body (RFC 9112 section 6.3)."""
        self._move(_LINGER)
        reset(self._transport)

    def join(self, connection: UpstreamConnection, first: bytes) -> None:
        at = self._at
        assert isinstance(at, AtNotebook)  # nothing else opens a WebSocket
        self._move(_TUNNEL)
        context = self._context
        context.watchdog.discard(self)
        early, self._unread = self._unread, b""
        limit = tunnel.UnreadLimit(context.watchdog, context.timeouts.unread_tunnel)
        tunnel.join(self._transport, connection, first, early, at.route, limit, self.connection_lost)

    # Inside

    def _move(self, at: At) -> None:
        """Change the phase, and part from what belonged to the last one: the one place that does."""
        last = self._at
        if at.phase not in PHASES[last.phase]:
            raise RuntimeError(f"a connection that is in {last.phase} may not come to {at.phase}")
        self._at = at
        if at is _LINGER or at is _CLOSED:
            self._request_turn.leave()
            self._read_pause.end()
        if isinstance(last, Responding):
            self._request_turn.leave()
            self._response_turn.leave()
            self._read_pause.let_go(Hold.EXCHANGE)
            if isinstance(last, AtNotebook):
                last.route.on_close.discard(self._cut)

    def _advance(self) -> None:
        """Read as much of what has arrived as may be read now, and pause reading while much is left."""
        self._read_here()
        self._pace_ahead()

    def _read_here(self) -> None:
        while self._unread and not (self._transport.is_closing() or self._request_turn.is_awaited):
            at = self._at
            if at is _HEAD:
                if self.is_congested or not self._take_head():  # one who does not read responses gets no more
                    return
            elif isinstance(at, AtNotebook) and at.exchange.wants_body:
                self._pass_body_on(at.exchange)
            elif isinstance(at, Collecting):
                self._collect(at)
            else:
                return

    def _pace_ahead(self) -> None:
        if len(self._unread) > _MAX_AHEAD and not self._read_pause.has(Hold.TURN):
            self._read_pause.hold(Hold.AHEAD)
        elif self._read_pause.is_held:
            self._read_pause.let_go(Hold.AHEAD)

    def _take_head(self) -> bool:
        """Take one request from what has arrived; return False while none is complete."""
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
        exchange = self._exchange(request, route, upload_limit=limit)
        self._move(AtNotebook(exchange, request, route))
        route.on_close.add(self._cut)
        exchange.start()

    def _collect_or_ask(self, request: wire.Request, route: ToApplication) -> None:
        if not request.length:
            self._ask_application(request, route)
        elif request.length > MAX_BODY:
            self._refuse(Fault.BODY_TOO_LARGE)
        else:
            self._move(Collecting(request, route, CollectedBody(request.length)))
            if request.expects_continue:
                self.send(wire.CONTINUE)

    def _collect(self, at: Collecting) -> None:
        try:
            self._unread = at.body.feed(self._unread)
            # Judged again once it is complete: the sender's rights may have ended since the head.
            route = self._context.decide(at.request, self._peer) if at.body.is_done else at.route
        except wire.BadMessageError as error:
            self._end_request(error.fault)
            return
        if at.body.is_done:
            at.request.length = len(at.body.content)
            self._ask_application(at.request, route if isinstance(route, ToApplication) else at.route, at.body.content)

    def _ask_application(self, request: wire.Request, route: ToApplication, body: bytes = b"") -> None:
        destination = self._context.application.request({"peername": (self._peer, 0), **route.extra})
        exchange = self._exchange(request, destination)
        self._move(AtApplication(exchange))
        if body:
            exchange.feed(body)
        exchange.start()

    def _exchange(self, request: wire.Request, destination: Destination, *, upload_limit: int = 0) -> Exchange:
        return Exchange(
            self,
            request,
            destination,
            request_turn=self._request_turn,
            response_turn=self._response_turn,
            upload_limit=upload_limit,
        )

    def _pass_body_on(self, exchange: Exchange) -> None:
        try:
            self._unread = exchange.feed(self._unread)
        except wire.BadMessageError as error:
            self._end_request(error.fault)
            return
        if self._unread and exchange.wants_body:
            self._request_turn.wait()
            self._read_pause.hold(Hold.TURN)

    def _await_request(self) -> None:
        self._timer.await_request(self._context.watchdog.time())
        if self._unread:
            self._request_turn.wait()  # no browser pipelines its requests

    def _go_on(self) -> None:
        self._advance()
        if not self._request_turn.is_awaited:
            self._read_pause.let_go(Hold.TURN)
            self._pace_ahead()

    def _response_goes_on(self) -> None:
        if isinstance(self._at, Responding):
            self._at.exchange.go_on()

    def _cut(self) -> None:
        """End what is under way: the notebook is no longer this visitor's."""
        at = self._at
        if isinstance(at, AtNotebook):
            at.exchange.abandon()
            if at.exchange.has_begun:
                self.break_off()
            else:
                self.exchange_failed(Fault.NO_RESPONSE, "the visitor no longer has access to this notebook")

    def _end_request(self, fault: Fault) -> None:
        """End a request whose body is malformed, too large or too slow."""
        at = self._at
        has_begun = False
        if isinstance(at, Responding):
            at.exchange.abandon()
            has_begun = at.exchange.has_begun
        if has_begun:
            self.break_off()
        else:
            self._refuse(fault)

    def _refuse(self, fault: Fault) -> None:
        """Respond with a refusal and close, since the next request cannot be found: what follows is not read."""
        if fault is Fault.PROXY_PROTOCOL:
            self._warn_of_proxy_protocol()
        self._unread = b""
        self._linger(refusal(fault))

    def _warn_of_proxy_protocol(self) -> None:
        """Tell the operator: behind such a proxy everybody is refused, and no visitor can help it."""
        count = self._context.proxy_protocol.note(self._context.watchdog.time())
        if count:
            _log.warning("protocol.refused", message=_PROXY_PROTOCOL, count=count)

    def _linger(self, last_words: bytes) -> None:
        self._move(_LINGER)
        context = self._context
        context.watchdog.discard(self)
        Linger(self._transport, last_words, context.watchdog, context.timeouts.linger, self.connection_lost)
