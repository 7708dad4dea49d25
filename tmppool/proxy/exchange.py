"""One request and its response, between a visitor and whatever responds: a notebook, or the service's own application.

Nothing is kept that could be sent on already: each side is read no faster than the other takes it. A response that
is broken off must not look complete to the visitor.
"""

from enum import StrEnum, auto
from typing import Protocol

from tmppool.proxy import handshake, wire
from tmppool.proxy.body import LAST_CHUNK, Body, chunk
from tmppool.proxy.fairness import Turn
from tmppool.proxy.faults import Fault
from tmppool.proxy.head_readers import SWITCHING
from tmppool.proxy.response import ResponseReader, ResponseWriter
from tmppool.proxy.route import EditedPage
from tmppool.proxy.upstream import Consumer, UpstreamConnection
from tmppool.tasks import spawn

_WITH_BODY = (b"POST", b"PUT", b"PATCH")  # a length is expected of these, if only of zero (RFC 9110 section 8.6)


class VisitorConnection(Protocol):
    """The connection that the request came on."""

    @property
    def is_congested(self) -> bool:
        """True while the visitor does not take what was sent."""

    def send(self, data: bytes) -> None: ...

    def hold(self, is_held: bool) -> None:  # noqa: FBT001 - stop or go on reading
        """Stop reading the request's body, or go on."""

    def exchange_done(self, *, keeps_alive: bool, is_request_whole: bool) -> None:
        """The response is complete; the request need not be."""

    def exchange_failed(self, fault: Fault, why: str) -> None:
        """There is no response, and none of it was sent."""

    def break_off(self) -> None:
        """The response ends in the middle."""

    def join(self, connection: UpstreamConnection, first: bytes) -> None:
        """From now on the two connections carry one WebSocket."""


class Destination(Protocol):
    """Where a request goes: ``tmppool.proxy.route.ToNotebook``, or an ``ApplicationRequest``."""

    @property
    def target(self) -> str | None:
        """The target to ask for; None for the request's own."""

    @property
    def is_websocket(self) -> bool: ...

    def take(self, *, may_repeat: bool) -> "DestinationConnection | None": ...

    async def dial(self) -> "DestinationConnection": ...

    def request_lines(self, fields: wire.Fields) -> bytes: ...

    def response_lines(self, response: wire.Response) -> list[bytes]: ...

    def switching_lines(self, response: wire.Response) -> list[bytes]: ...

    def page_of(self, response: wire.Response) -> EditedPage | None: ...


class DestinationConnection(Protocol):
    """One connection to what responds; whatever comes on it goes to its ``consumer``."""

    consumer: Consumer | None
    was_used: bool

    @property
    def is_closing(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def release(self, *, is_reusable: bool) -> None: ...

    def drop(self) -> None: ...


class Stage(StrEnum):
    """The progress of an exchange."""

    CONNECTING = auto()
    ASKED = auto()  # the response's head is awaited, or being read
    PAGE = auto()  # the beginning of a page is collected, to put the notice in
    RESPONDING = auto()  # the content is passed on
    OVER = auto()


STAGES: dict[Stage, frozenset[Stage]] = {
    Stage.CONNECTING: frozenset({Stage.ASKED, Stage.OVER}),
    Stage.ASKED: frozenset({Stage.CONNECTING, Stage.PAGE, Stage.RESPONDING, Stage.OVER}),
    Stage.PAGE: frozenset({Stage.RESPONDING, Stage.OVER}),
    Stage.RESPONDING: frozenset({Stage.OVER}),
    Stage.OVER: frozenset(),
}
"""The stages that may follow each. From ASKED back to CONNECTING: the connection was closed while it lay idle."""


class Exchange:
    """``feed`` takes the request's body. ``visitor_connection`` gets the response, and one of its four endings.

    ``request_turn`` and ``response_turn`` are for small chunks; ``go_on`` is to be called when the second comes.
    ``upload_limit``: bytes of the request's body, 0 for any number.
    """

    def __init__(
        self,
        visitor_connection: VisitorConnection,
        request: wire.Request,
        destination: Destination,
        *,
        request_turn: Turn,
        response_turn: Turn,
        upload_limit: int = 0,
    ) -> None:
        self.stage = Stage.CONNECTING
        self._visitor_connection = visitor_connection
        self._request = request
        self._destination = destination
        self._body = Body(request.length, upload_limit, request_turn)
        self._unsent: list[bytes] = []  # of the request's body, until there is a connection
        self._connection: DestinationConnection | None = None
        self._reader = ResponseReader(request.method, response_turn)
        self._writer = ResponseWriter(request, visitor_connection.send)
        self._turn = response_turn
        self._edited: EditedPage | None = None  # the page that is collected

    @property
    def had_body(self) -> bool:
        return self._request.length != 0

    @property
    def wants_body(self) -> bool:
        return not self._body.is_done

    @property
    def has_begun(self) -> bool:
        """True once the visitor has a part of the response."""
        return self._writer.has_begun

    @property
    def is_in_head(self) -> bool:
        """True while a part of the response's head is here, and not all of it."""
        return self._reader.is_in_head

    @property
    def has_response_head(self) -> bool:
        """True once the head of the response has come."""
        return self._reader.response is not None

    def start(self) -> None:
        may_repeat = self._request.is_safe and not self.had_body and not self._destination.is_websocket
        connection = self._destination.take(may_repeat=may_repeat)
        if connection is not None:
            self._ask(connection)
        else:
            self._visitor_connection.hold(True)
            spawn(self._dial(), "dial")

    def feed(self, data: bytes) -> bytes:
        """Take what the visitor sent next; return what follows the request's end. Raises BadMessageError."""
        framed, rest = self._body.feed(data)
        if self._request.length == wire.CHUNKED:
            framed = chunk(framed) + (LAST_CHUNK if self._body.is_done else b"")
        if self._connection is None:
            self._unsent.append(framed)
        elif framed:
            self._connection.write(framed)
        return rest

    def abandon(self) -> None:
        """End without a word to the visitor's connection, which has lost its visitor or ends the request itself."""
        if self.stage is not Stage.OVER:
            self._move(Stage.OVER)
            self._drop()

    def drop_response(self) -> None:
        """Wait no longer for the response: treat it as lost."""
        if self._connection is not None:
            self._drop()
            self._give_up("the response head arrived too slowly")

    def visitor_congestion_changed(self) -> None:
        self._pace()

    def go_on(self) -> None:
        """Read on, since it is this response's turn; a visitor who is not reading gets another turn later."""
        if not self._visitor_connection.is_congested and self.stage is not Stage.OVER:
            self._read(b"", is_turn=True)
            self._pace()

    # The connection's events

    def upstream_congested(self, is_congested: bool) -> None:  # noqa: FBT001 - one fact, two words
        self._visitor_connection.hold(is_congested)

    def upstream_sent(self, data: bytes) -> None:
        self._read(data)

    def upstream_lost(self, *, is_clean: bool) -> None:
        connection, self._connection = self._connection, None
        if self.stage is Stage.OVER:
            return
        if self.stage is Stage.ASKED:
            if connection is not None and connection.was_used and not self.is_in_head:
                self._move(Stage.CONNECTING)
                spawn(self._dial(), "dial again")  # it was closed while it waited
            else:
                self._give_up("the notebook closed the connection before it responded")
            return
        if is_clean:
            self._reader.end_of_stream()
        if self._reader.is_done and self.stage is Stage.PAGE:
            self._collect(b"")
        elif self._reader.is_done:
            self._finish(b"")
        else:
            self._give_up("the notebook truncated its response")

    # Inside

    def _move(self, stage: Stage) -> None:
        """Change the stage: the one place that does."""
        if stage not in STAGES[self.stage]:
            raise RuntimeError(f"an exchange that is {self.stage} may not become {stage}")
        self.stage = stage

    async def _dial(self) -> None:
        try:
            connection = await self._destination.dial()
        except OSError as error:
            self._give_up(f"the notebook cannot be reached: {type(error).__name__}")
            return
        if self.stage is Stage.OVER:
            connection.drop()
        elif connection.is_closing:  # or nobody would ever hear of it
            self._give_up("the notebook closed the connection before the request was sent")
        else:
            self._ask(connection)
            self._visitor_connection.hold(False)

    def _ask(self, connection: DestinationConnection) -> None:
        self._connection, connection.consumer = connection, self
        self._move(Stage.ASKED)
        request = self._request
        target = (self._destination.target or request.target).encode()
        lines = self._destination.request_lines(request.fields)
        head = b"%b %b HTTP/1.1\r\n%b%b\r\n" % (request.method, target, lines, self._framing())
        if self.wants_body and request.expects_continue:
            self._visitor_connection.send(wire.CONTINUE)
        unsent, self._unsent = self._unsent, []
        connection.write(b"".join([head, *unsent]))

    def _framing(self) -> bytes:
        """Return the lines that frame the request's body, or ask for the WebSocket."""
        length = self._request.length
        if self._destination.is_websocket:
            return handshake.UPGRADE
        if length == wire.CHUNKED:
            return b"Transfer-Encoding: chunked\r\n"
        if length or self._request.method in _WITH_BODY:
            return b"Content-Length: %d\r\n" % length
        return b""

    def _read(self, data: bytes, *, is_turn: bool = False) -> None:
        reader = self._reader
        try:
            content = reader.go_on() if is_turn else reader.feed(data)
            if self.stage is Stage.ASKED and reader.response is not None:
                self._begin(reader.response)
        except wire.BadMessageError as error:
            self._give_up(f"the notebook's response is not valid HTTP: {error}", error.fault)
            return
        if self.stage is Stage.PAGE:
            self._collect(content)
        elif self.stage is Stage.RESPONDING:
            self._pass_on(content)
        if reader.is_waiting:
            self._pace()

    def _begin(self, response: wire.Response) -> None:
        """Begin to respond, collect a page that a notice goes into, or switch protocols."""
        if response.status == SWITCHING:
            self._switch(response)
            return
        self._edited = self._destination.page_of(response) if self._reader.has_body else None
        if self._edited is None:
            self._begin_response(response, self._destination.response_lines(response), response.length)
        else:
            self._move(Stage.PAGE)

    def _begin_response(self, response: wire.Response, lines: list[bytes], length: int) -> None:
        if self.wants_body:
            self._writer.keeps_alive = False  # a response before the end of the request
        self._move(Stage.RESPONDING)
        self._writer.begin(response, lines, length, has_body=self._reader.has_body)

    def _switch(self, response: wire.Response) -> None:
        if not self._destination.is_websocket or not handshake.is_accepted(self._request, response):
            raise wire.BadMessageError("a 101 response that does not match the handshake")
        connection, self._connection = self._connection, None
        self._move(Stage.OVER)
        assert isinstance(connection, UpstreamConnection)
        lines = self._destination.switching_lines(response)
        self._visitor_connection.join(connection, handshake.switching(lines) + self._reader.behind)

    def _collect(self, content: bytes) -> None:
        """Collect the beginning of a page; send it once it is known where the notice goes, or that it does not."""
        response, edited = self._reader.response, self._edited
        assert response is not None
        assert edited is not None
        page = edited.page
        page.add(content, is_whole=self._reader.is_done)
        if not page.is_decided:
            return
        self._edited = None
        length = response.length + page.growth if response.length >= 0 else response.length
        lines = edited.lines if page.has_notice else self._destination.response_lines(response)
        self._begin_response(response, lines, len(page.content) if self._reader.is_done else length)
        self._pass_on(page.content)

    def _pass_on(self, content: bytes) -> None:
        if self._reader.is_done:
            self._finish(content)
        else:
            self._writer.write(content)

    def _finish(self, content: bytes) -> None:
        response = self._reader.response
        assert response is not None
        self._writer.end(content)
        self._move(Stage.OVER)
        connection, self._connection = self._connection, None
        if connection is not None:
            is_whole = response.keeps_alive and self._body.is_done and not self._reader.behind
            # Behind a handshake, also one that was not taken up, some servers read no more requests.
            connection.release(is_reusable=is_whole and not self._destination.is_websocket)
        is_request_whole = self._body.is_done
        keeps_alive = self._writer.keeps_alive and is_request_whole
        self._visitor_connection.exchange_done(keeps_alive=keeps_alive, is_request_whole=is_request_whole)

    def _pace(self) -> None:
        """Read the response as fast as its visitor takes it and its turns come."""
        is_congested, is_waiting = self._visitor_connection.is_congested, self._reader.is_waiting
        if is_waiting and not is_congested and self.stage is not Stage.OVER:
            self._turn.wait()
        if self._connection is None or self._connection.is_closing:
            return
        if is_congested or is_waiting:
            self._connection.pause_reading()
        else:
            self._connection.resume_reading()

    def _give_up(self, why: str, fault: Fault = Fault.NO_RESPONSE) -> None:
        if self.stage is Stage.OVER:
            return
        self._move(Stage.OVER)
        self._drop()
        if self.has_begun:
            self._visitor_connection.break_off()
        else:
            self._visitor_connection.exchange_failed(fault, why)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()
