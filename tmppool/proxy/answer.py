"""One answer on its way: read as strictly as a request, and framed anew for the visitor. Pure but for ``send``."""

from collections.abc import Callable

from tmppool.proxy import wire
from tmppool.proxy.body import LAST_CHUNK, Allowance, Body, chunk
from tmppool.proxy.heads import SWITCHING, AnswerHead

_NO_BODY = (204, 304)


class AnswerReader:
    """Takes one answer to a request of this ``method`` out of a stream.

    ``response`` is its head once that is complete. ``behind`` is what came behind the answer's end, or behind the head
    of a switch of protocols. Small chunks are counted against ``allowance``; while there is none left the rest waits.
    """

    def __init__(self, method: bytes, allowance: Allowance) -> None:
        self._is_head_only = method == b"HEAD"
        self._allowance = allowance
        self._head = AnswerHead()
        self._body = Body(0)
        self._unread = b""
        self.response: wire.Response | None = None
        self.behind = b""
        self.is_done = False

    @property
    def is_in_head(self) -> bool:
        """Whether a part of the head is here, and not all of it."""
        return self._head.has_begun

    @property
    def is_waiting(self) -> bool:
        """Whether something came that is to be read by ``go_on``."""
        return bool(self._unread)

    @property
    def has_body(self) -> bool:
        """Whether content belongs to this answer, if only none (RFC 9110 section 6.4.1)."""
        return not self._is_head_only and self.response is not None and self.response.status not in _NO_BODY

    def feed(self, data: bytes) -> bytes:
        """Take what came next; returns content. Raises BadMessageError."""
        if self._unread:
            self._unread += data
            return b""
        if self.response is None:
            self.response, data = self._head.feed(data)
            if self.response is None:
                return b""
            if self.response.status == SWITCHING:
                self.behind = data
                return b""
            self._body = Body(self.response.length if self.has_body else 0, 0, self._allowance)
        content, rest = self._body.feed(data)
        self.is_done = self._body.is_done
        if self.is_done:
            self.behind = rest
        else:
            self._unread = rest
        return content

    def go_on(self) -> bytes:
        """Read what waited; returns content. Raises BadMessageError."""
        unread, self._unread = self._unread, b""
        return self.feed(unread)

    def end(self) -> bool:
        """Take note that the stream ended in order; returns whether that completes the answer."""
        self.is_done = self.is_done or self._body.length == wire.UNTIL_CLOSE
        return self.is_done


class AnswerWriter:
    """Writes one answer for ``request`` with ``send``, framed for the visitor's version of HTTP.

    The head goes out with the first content. ``keeps_alive``: whether another request may follow on this connection.
    """

    def __init__(self, request: wire.Request, send: Callable[[bytes], None]) -> None:
        self._minor = request.minor
        self._send = send
        self._is_chunked = False
        self._unsent_head = b""
        self.keeps_alive = request.keeps_alive
        self.has_begun = False
        """Whether the visitor has a part of the answer."""

    def begin(self, answer: wire.Response, lines: list[bytes], length: int, *, has_body: bool) -> None:
        """Make the head of ``lines``; ``length`` is of the content in bytes, negative when it is not known yet."""
        framing = self._framing(answer.status, length, has_body=has_body)
        lines = lines if b"date" in answer.fields.first else [*lines, wire.date_line()]
        if not self.keeps_alive:
            lines = [*lines, b"Connection: close"]
        elif self._minor == 0:
            lines = [*lines, b"Connection: keep-alive"]
        block = b"\r\n".join([*lines, framing])
        self._unsent_head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (answer.status, answer.reason, block)

    def write(self, content: bytes) -> None:
        """Send the next piece of the content, which may be empty."""
        head, self._unsent_head = self._unsent_head, b""
        if head or content:
            self.has_begun = True
            self._send(head + (chunk(content) if self._is_chunked else content))

    def end(self, content: bytes) -> None:
        """Send the last piece of the content, which may be empty."""
        head, self._unsent_head = self._unsent_head, b""
        self.has_begun = True
        self._send(head + (chunk(content) + LAST_CHUNK if self._is_chunked else content))

    def _framing(self, status: int, length: int, *, has_body: bool) -> bytes:
        if length >= 0:
            return b"" if status == 204 else b"Content-Length: %d\r\n" % length  # noqa: PLR2004 - RFC 9110 section 8.6
        if not has_body:
            return b""
        if self._minor == 1:
            self._is_chunked = True
            return b"Transfer-Encoding: chunked\r\n"
        self.keeps_alive = False  # to HTTP/1.0 the end of the connection is the end of the content
        return b""
