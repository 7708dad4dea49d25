"""One request and its answer, between a visitor and what answers: a notebook, or the service's own application.

Nothing is held but what cannot be sent on yet: each side is read no faster than the other takes it. What the other
side breaks off must not look complete to the visitor.
"""

from enum import Enum, auto
from typing import Protocol

from tmppool.errors import BackendError
from tmppool.proxy import handshake, wire
from tmppool.proxy.answer import AnswerReader, AnswerWriter
from tmppool.proxy.body import LAST_CHUNK, Body, chunk
from tmppool.proxy.fairness import Turn
from tmppool.proxy.heads import SWITCHING
from tmppool.proxy.upstream import Consumer, UpstreamConnection
from tmppool.tasks import spawn

_MAX_PAGE = 128 * 1024  # bytes of a page that the notice is put into; JupyterLab's has 10 to 30 kB
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REPEATABLE = (b"GET", b"HEAD", b"OPTIONS")  # what RFC 9110 section 9.2.1 calls safe


class Visitor(Protocol):
    """The connection that the request came on."""

    def send(self, data: bytes) -> None: ...

    def hold(self, is_held: bool) -> None: ...  # noqa: FBT001 - stop or go on reading

    def exchange_done(self, *, keep: bool) -> None: ...

    def exchange_failed(self, error: BackendError) -> None: ...

    def break_off(self) -> None: ...

    def join(self, connection: UpstreamConnection, first: bytes) -> None: ...


class Answering(Protocol):
    """What answers a request: ``tmppool.proxy.route.ToNotebook``, or an ``OwnRequest``."""

    @property
    def is_websocket(self) -> bool: ...

    def take(self, *, may_repeat: bool) -> "Answerer | None": ...

    async def dial(self) -> "Answerer": ...

    def request_lines(self, fields: wire.Fields) -> bytes: ...

    def answer_lines(self, fields: wire.Fields) -> list[bytes]: ...

    def switching_lines(self, fields: wire.Fields) -> list[bytes]: ...

    def notice_for(self, answer: wire.Response) -> bytes | None: ...


class Answerer(Protocol):
    """One connection to what answers; whatever it says goes to its ``consumer``."""

    consumer: Consumer | None
    was_used: bool

    @property
    def is_closing(self) -> bool: ...

    def write(self, data: bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def release(self, *, is_reusable: bool) -> None: ...

    def drop(self) -> None: ...


class Stage(Enum):
    """How far an exchange is."""

    CONNECTING = auto()
    ASKED = auto()
    ANSWERED = auto()  # the head of the answer is here
    OVER = auto()


class Exchange:
    """``feed`` takes the request's body; the answer goes to ``visitor``, which hears one of its four endings.

    ``asks`` and ``answers`` are the turns for small chunks, of which the visitor keeps the first; ``go_on`` is to be
    called when the second comes. ``upload_limit``: bytes of the request's body, 0 for any number.
    """

    def __init__(
        self,
        visitor: Visitor,
        request: wire.Request,
        answering: Answering,
        *,
        asks: Turn,
        answers: Turn,
        upload_limit: int = 0,
    ) -> None:
        self._visitor = visitor
        self._request = request
        self._answering = answering
        self._sent = Body(request.length, upload_limit, asks)
        self._unsent: list[bytes] = []  # of the request's body, until there is a connection
        self._connection: Answerer | None = None
        self._reader = AnswerReader(request.method, answers)
        self._writer = AnswerWriter(request, visitor.send)
        self._turn = answers
        self._page: bytearray | None = None
        self._is_congested = False
        self._stage = Stage.CONNECTING

    @property
    def had_body(self) -> bool:
        return self._request.length != 0

    @property
    def wants_body(self) -> bool:
        return not self._sent.is_done

    @property
    def has_begun(self) -> bool:
        """Whether the visitor has a part of the answer."""
        return self._writer.has_begun

    @property
    def is_in_head(self) -> bool:
        """Whether a part of the answer's head has come, and not all of it."""
        return self._reader.is_in_head

    @property
    def is_answered(self) -> bool:
        """Whether the head of the answer has come."""
        return self._reader.response is not None

    def start(self) -> None:
        may_repeat = self._request.method in _REPEATABLE and not self.had_body and not self._answering.is_websocket
        connection = self._answering.take(may_repeat=may_repeat)
        if connection is not None:
            self._ask(connection)
        else:
            self._visitor.hold(True)
            spawn(self._dial(), "dial")

    def feed(self, data: bytes) -> bytes:
        """Take what the visitor sent next; returns what is behind the request's end. Raises BadMessageError."""
        framed, rest = self._sent.feed(data)
        if self._request.length == wire.CHUNKED:
            framed = chunk(framed) + (LAST_CHUNK if self._sent.is_done else b"")
        if self._connection is None:
            self._unsent.append(framed)
        elif framed:
            self._connection.write(framed)
        return rest

    def visitor_lost(self) -> None:
        self._stage = Stage.OVER
        self._drop()

    def drop_answer(self) -> None:
        """Wait no longer for what answers: it is treated as lost."""
        if self._connection is not None:
            self._drop()
            self._give_up("the answer's head came too slowly")

    def visitor_congested(self, is_congested: bool) -> None:  # noqa: FBT001 - one fact, two words
        self._is_congested = is_congested
        self._pace()

    def go_on(self) -> None:
        """It is this answer's turn; a visitor who takes nothing now has another."""
        if not self._is_congested and self._stage is not Stage.OVER:
            self._read(b"", is_turn=True)
            self._pace()

    # What the other side says

    def upstream_congested(self, is_congested: bool) -> None:  # noqa: FBT001 - one fact, two words
        self._visitor.hold(is_congested)

    def upstream_sent(self, data: bytes) -> None:
        self._read(data)

    def upstream_lost(self, *, is_clean: bool) -> None:
        connection, self._connection = self._connection, None
        if self._stage is Stage.OVER:
            return
        if self._stage is Stage.ASKED and connection is not None and connection.was_used and not self.is_in_head:
            self._stage = Stage.CONNECTING
            spawn(self._dial(), "dial again")  # it was closed while it waited
        elif self._stage is Stage.ANSWERED and is_clean and self._reader.end():
            self._finish(b"")
        elif self._stage is Stage.ANSWERED:
            self._give_up("the notebook broke off its answer")
        else:
            self._give_up("the notebook closed before it answered")

    # Inside

    async def _dial(self) -> None:
        try:
            connection = await self._answering.dial()
        except OSError as error:
            self._give_up(f"the notebook cannot be reached: {type(error).__name__}")
            return
        if self._stage is Stage.OVER:
            connection.drop()
        elif connection.is_closing:  # and nobody would hear of it
            self._give_up("the notebook closed before it was asked")
        else:
            self._ask(connection)
            self._visitor.hold(False)

    def _ask(self, connection: Answerer) -> None:
        self._connection, connection.consumer = connection, self
        self._stage = Stage.ASKED
        request = self._request
        if self._answering.is_websocket:
            framing = handshake.UPGRADE
        elif request.length == wire.CHUNKED:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif request.length or request.method in (b"POST", b"PUT", b"PATCH"):
            framing = b"Content-Length: %d\r\n" % request.length
        else:
            framing = b""
        lines = self._answering.request_lines(request.fields)
        head = b"%b %b HTTP/1.1\r\n%b%b\r\n" % (request.method, request.target.encode(), lines, framing)
        if self.wants_body and request.minor == 1 and b"expect" in request.fields.first:
            self._visitor.send(_CONTINUE)
        unsent, self._unsent = self._unsent, []
        connection.write(b"".join([head, *unsent]))

    def _read(self, data: bytes, *, is_turn: bool = False) -> None:
        reader = self._reader
        try:
            content = reader.go_on() if is_turn else reader.feed(data)
            if self._stage is Stage.ASKED and reader.response is not None:
                self._stage = Stage.ANSWERED
                self._begin(reader.response)
        except wire.BadMessageError as error:
            self._give_up(f"the notebook answered no HTTP: {error}")
            return
        if self._stage is not Stage.ANSWERED:
            return
        if reader.is_waiting:
            self._pace()
        self._pass_on(content)

    def _begin(self, answer: wire.Response) -> None:
        """Make the head, unless the page takes the notice and its length is not known yet; or switch protocols."""
        if answer.status == SWITCHING:
            self._switch(answer)
        elif self._reader.has_body and self._answering.notice_for(answer) is not None:
            self._page = bytearray()
        else:
            self._begin_answer(answer, answer.length)

    def _begin_answer(self, answer: wire.Response, length: int) -> None:
        if self.wants_body:
            self._writer.keeps_alive = False  # an answer before the end of the request
        lines = self._answering.answer_lines(answer.fields)
        self._writer.begin(answer, lines, length, has_body=self._reader.has_body)

    def _switch(self, answer: wire.Response) -> None:
        if not self._answering.is_websocket or not handshake.is_accepted(self._request, answer):
            raise wire.BadMessageError("a switch of protocols that does not fit the handshake")
        connection, self._connection = self._connection, None
        self._stage = Stage.OVER
        assert isinstance(connection, UpstreamConnection)
        lines = self._answering.switching_lines(answer.fields)
        self._visitor.join(connection, handshake.switching(lines) + self._reader.behind)

    def _pass_on(self, content: bytes) -> None:
        reader = self._reader
        if self._page is not None:
            self._page += content
            if not reader.is_done and len(self._page) <= _MAX_PAGE:
                return
            content = self._end_page(self._page)
        if reader.is_done:
            self._finish(content)
        else:
            self._writer.write(content)

    def _end_page(self, held: bytearray) -> bytes:
        """Return the page with the notice in it; one that is too long goes on without."""
        answer, self._page = self._reader.response, None
        assert answer is not None
        if not self._reader.is_done:
            self._begin_answer(answer, answer.length)
            return bytes(held)
        notice = self._answering.notice_for(answer) or b""
        page = bytes(held).replace(b"</head>", notice + b"</head>", 1)
        self._begin_answer(answer, len(page))
        return page

    def _finish(self, content: bytes) -> None:
        if self._page is not None:
            content = self._end_page(self._page)
        self._writer.end(content)
        self._stage = Stage.OVER
        connection, self._connection = self._connection, None
        answer = self._reader.response
        assert answer is not None
        if connection is not None:
            is_whole = answer.keeps_alive and self._sent.is_done and not self._reader.behind
            # Behind a handshake, also one that was not taken up, some servers read no more requests.
            connection.release(is_reusable=is_whole and not self._answering.is_websocket)
        self._visitor.exchange_done(keep=self._writer.keeps_alive and self._sent.is_done)

    def _pace(self) -> None:
        """Read the answer as fast as its visitor takes it and its turns come."""
        if self._reader.is_waiting and not self._is_congested:
            self._turn.wait()
        if self._connection is None or self._connection.is_closing:
            return
        if self._is_congested or self._reader.is_waiting:
            self._connection.pause_reading()
        else:
            self._connection.resume_reading()

    def _give_up(self, why: str) -> None:
        if self._stage is Stage.OVER:
            return
        self._stage = Stage.OVER
        self._drop()
        if self.has_begun:
            self._visitor.break_off()
        else:
            self._visitor.exchange_failed(BackendError(why))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()
