"""One request to a notebook and its response.

Nothing is held but what cannot be sent on yet: each side is read no faster than the other takes it. The notebook's
answer is read as strictly as the visitor's request; what it breaks off must not look complete to the visitor.
"""

from typing import Protocol

from tmppool.errors import BackendError
from tmppool.proxy import handshake, headers, wire
from tmppool.proxy.body import LAST_CHUNK, Body, chunk
from tmppool.proxy.heads import SWITCHING, AnswerHead
from tmppool.proxy.line import Line
from tmppool.proxy.passage import Passage
from tmppool.proxy.turns import Turn
from tmppool.tasks import spawn

_MAX_PAGE = 128 * 1024  # bytes of a page that the notice is put into; JupyterLab's has 10 to 30 kB
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REPEATABLE = (b"GET", b"HEAD", b"OPTIONS")  # what RFC 9110 section 9.2.1 calls safe
_NO_BODY = (204, 304)


class Visitor(Protocol):
    """The connection that the request came on."""

    def send(self, data: bytes) -> None: ...

    def hold(self, is_held: bool) -> None: ...  # noqa: FBT001 - stop or go on reading

    def exchange_done(self, *, keep: bool) -> None: ...

    def exchange_failed(self, error: BackendError) -> None: ...

    def break_off(self) -> None: ...

    def join(self, line: Line, first: bytes, passage: Passage) -> None: ...


class Exchange:
    """``feed`` takes the request's body; the answer goes to ``visitor``, which hears one of its four endings.

    ``has_begun``: the visitor has a part of the answer. ``asks`` and ``answers`` are the turns for small chunks, of
    which the visitor keeps the first; ``go_on`` is to be called when the second comes.
    """

    def __init__(
        self, visitor: Visitor, request: wire.Request, passage: Passage, upload_limit: int, asks: Turn, answers: Turn
    ) -> None:
        self._visitor = visitor
        self._request = request
        self.passage = passage
        self._sent = Body(request.length, upload_limit, asks)
        self._turn = answers
        self._line: Line | None = None
        self._waiting: list[bytes] = []
        self._coming = AnswerHead()
        self._head = b""
        self._rest = b""  # of the answer's body, until its turn comes
        self._is_congested = False
        self._answer: wire.Response | None = None
        self._received = Body(0)
        self._is_chunked = False
        self._page: bytearray | None = None
        self._keeps_visitor = request.keeps_alive
        self._is_over = False
        self.had_body = request.length != 0
        self.has_begun = False

    @property
    def wants_body(self) -> bool:
        return not self._sent.is_done

    @property
    def unfinished_head(self) -> Line | None:
        """The line on which a part of an answer's head has come."""
        return self._line if self._coming.has_begun else None

    def start(self) -> None:
        # A line that has waited may be closed under a request, which must then be sent again.
        may_repeat = self._request.method in _REPEATABLE and not self.had_body and not self.passage.is_websocket
        line = self.passage.lines.take() if may_repeat else None
        if line is not None:
            self._use(line)
        else:
            self._visitor.hold(True)
            spawn(self._dial(), "dial")

    def feed(self, data: bytes) -> bytes:
        """Take what the visitor sent next; returns what is behind the request's end. Raises BadMessageError."""
        framed, rest = self._sent.feed(data)
        if self._request.length == wire.CHUNKED:
            framed = chunk(framed) + (LAST_CHUNK if self._sent.is_done else b"")
        if self._line is None:
            self._waiting.append(framed)
        elif framed:
            self._line.transport.write(framed)
        return rest

    def visitor_lost(self) -> None:
        self._is_over = True
        if self._line is not None:
            self._line.drop()

    def visitor_congested(self, is_congested: bool) -> None:  # noqa: FBT001 - one fact, two words
        self._is_congested = is_congested
        self._pace()

    def go_on(self) -> None:
        """It is this answer's turn; a visitor who takes nothing now has another."""
        if not self._is_congested:
            rest, self._rest = self._rest, b""
            self.notebook_sent(rest)
            self._pace()

    def _pace(self) -> None:
        """Read the answer as fast as its visitor takes it and its turns come."""
        if self._rest and not self._is_congested:
            self._turn.wait()
        if self._line is None or self._line.transport.is_closing():
            return
        if self._is_congested or self._rest:
            self._line.transport.pause_reading()
        else:
            self._line.transport.resume_reading()

    # The line's side

    def notebook_congested(self, is_congested: bool) -> None:  # noqa: FBT001 - one fact, two words
        self._visitor.hold(is_congested)

    def notebook_sent(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            return
        try:
            if self._answer is None:
                self._answer, data = self._coming.feed(data)
                if self._answer is None:
                    return
                self._begin(self._answer, data)
            if not self._is_over:
                self._read_body(data)
        except wire.BadMessageError as error:
            self._give_up(f"the notebook answered no HTTP: {error}")

    def notebook_lost(self, *, is_clean: bool) -> None:
        line, self._line = self._line, None
        if self._is_over:
            return
        if self._answer is None:
            if line is not None and line.was_used and not self._coming.has_begun:
                spawn(self._dial(), "dial again")  # it was closed while it waited
            else:
                self._give_up("the notebook closed before it answered")
        elif self._received.length == wire.UNTIL_CLOSE and is_clean:
            self._received.is_done = True
            self._finish(b"", is_clean=False)
        else:
            self._give_up("the notebook broke off its answer")

    # Inside

    async def _dial(self) -> None:
        try:
            line = await self.passage.lines.dial()
        except OSError as error:
            self._give_up(f"the notebook cannot be reached: {type(error).__name__}")
            return
        if self._is_over:
            line.drop()
        elif line.transport.is_closing():  # and nobody would hear of it
            self._give_up("the notebook closed before it was asked")
        else:
            self._use(line)
            self._visitor.hold(False)

    def _use(self, line: Line) -> None:
        self._line, line.user = line, self
        request = self._request
        lines = headers.to_notebook(request.fields, self.passage.said, self.passage.jar)
        if self.passage.is_websocket:
            framing = handshake.UPGRADE
        elif request.length == wire.CHUNKED:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif request.length or request.method in (b"POST", b"PUT", b"PATCH"):
            framing = b"Content-Length: %d\r\n" % request.length
        else:
            framing = b""
        head = b"%b %b HTTP/1.1\r\n%b%b\r\n" % (request.method, request.target.encode(), lines, framing)
        if b"expect" in request.fields.first and request.minor == 1:
            self._visitor.send(_CONTINUE)
        waiting, self._waiting = self._waiting, []
        line.transport.write(b"".join([head, *waiting]))

    def _switch(self, response: wire.Response, early: bytes) -> None:
        if not self.passage.is_websocket or not handshake.is_accepted(self._request, response):
            raise wire.BadMessageError("a switch of protocols that does not fit the handshake")
        assert self._line is not None
        line, self._line, self._is_over = self._line, None, True
        lines = headers.to_visitor(response.fields, self.passage.base_path, self.passage.jar)
        self._visitor.join(line, handshake.switching(lines) + early, self.passage)

    def _begin(self, answer: wire.Response, early: bytes) -> None:
        """Make the head, unless the page takes the notice and its length is not known yet; or switch protocols."""
        if answer.status == SWITCHING:
            self._switch(answer, early)
            return
        has_body = self._request.method != b"HEAD" and answer.status not in _NO_BODY
        self._received = Body(answer.length if has_body else 0, 0, self._turn)
        if has_body and self.passage.takes_notice(answer):
            self._page = bytearray()
            return
        self._send_head(answer, self._framing(answer, has_body=has_body))

    def _framing(self, answer: wire.Response, *, has_body: bool) -> bytes:
        if answer.length >= 0:
            return b"Content-Length: %d\r\n" % answer.length if answer.status != 204 else b""  # noqa: PLR2004
        if not has_body:
            return b""
        if self._request.minor == 1:
            self._is_chunked = True
            return b"Transfer-Encoding: chunked\r\n"
        self._keeps_visitor = False
        return b""

    def _send_head(self, answer: wire.Response, framing: bytes) -> None:
        if self.wants_body:
            self._keeps_visitor = False  # an answer before the end of the request
        passed = headers.to_visitor(answer.fields, self.passage.base_path, self.passage.jar)
        lines = [*passed, *headers.PAGE_POLICY]
        if b"date" not in answer.fields.first:
            lines.append(wire.date_line())
        if not self._keeps_visitor:
            lines.append(b"Connection: close")
        elif self._request.minor == 0:
            lines.append(b"Connection: keep-alive")
        block = b"\r\n".join([*lines, framing])
        self._head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (answer.status, answer.reason, block)

    def _read_body(self, data: bytes) -> None:
        content, rest = self._received.feed(data)
        if rest and not self._received.is_done:
            self._rest = rest
            self._pace()
        if self._page is not None:
            self._page += content
            if not self._received.is_done and len(self._page) <= _MAX_PAGE:
                return
            content = self._end_page()
        if self._received.is_done:
            self._finish(content, is_clean=not rest)
        elif content or self._head:
            self._send(chunk(content) if self._is_chunked else content)

    def _end_page(self) -> bytes:
        """Put the notice into the page; one that is too long goes on without."""
        assert self._answer is not None
        assert self._page is not None
        page, self._page = bytes(self._page), None
        if not self._received.is_done:
            self._send_head(self._answer, self._framing(self._answer, has_body=True))
            return page
        page = page.replace(b"</head>", (self.passage.notice or b"") + b"</head>", 1)
        self._send_head(self._answer, b"Content-Length: %d\r\n" % len(page))
        return page

    def _send(self, data: bytes) -> None:
        head, self._head = self._head, b""
        self.has_begun = True
        self._visitor.send(head + data)

    def _finish(self, content: bytes, *, is_clean: bool) -> None:
        if self._page is not None:
            content = self._end_page() + content
        end = chunk(content) + LAST_CHUNK if self._is_chunked else content
        self._send(end)
        self._is_over = True
        line, self._line = self._line, None
        assert self._answer is not None
        if line is not None:
            # Behind a handshake, also one that was not taken up, some servers read no more requests.
            if is_clean and self._answer.keeps_alive and self._sent.is_done and not self.passage.is_websocket:
                line.give_back()
            else:
                line.drop()
        self._visitor.exchange_done(keep=self._keeps_visitor and self._sent.is_done)

    def _give_up(self, why: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        line, self._line = self._line, None
        if line is not None:
            line.drop()
        if self.has_begun:
            self._visitor.break_off()
        else:
            self._visitor.exchange_failed(BackendError(why))
