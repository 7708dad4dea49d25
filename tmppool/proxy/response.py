"""One response on its way: read as strictly as a request, and framed anew for the visitor. Pure but for ``send``."""

from collections.abc import Callable

from tmppool.proxy import wire
from tmppool.proxy.body import LAST_CHUNK, Allowance, Body, chunk
from tmppool.proxy.head_readers import SWITCHING, ResponseHeadReader

_NO_CONTENT = 204
_WITHOUT_CONTENT = (_NO_CONTENT, 304)  # 304 Not Modified


class ResponseReader:
    """Takes one response to a request of this ``method`` out of a stream.

    ``response`` is its head once that is complete, and ``has_body`` is True if it has content then, even if none of it
    (RFC 9110 section 6.4.1). ``behind`` holds the bytes behind the response's end, or behind the
    head of a switch of protocols. Small chunks are counted against ``allowance``; while none may be taken, bytes wait.
    """

    def __init__(self, method: bytes, allowance: Allowance) -> None:
        self._method = method
        self._allowance = allowance
        self._head = ResponseHeadReader()
        self._body: Body | None = None
        self._waiting = b""
        self.response: wire.Response | None = None
        self.has_body = False
        self.behind = b""

    @property
    def is_in_head(self) -> bool:
        """True while part of the head has arrived, and not all."""
        return self._head.has_begun

    @property
    def is_waiting(self) -> bool:
        """True while bytes wait for ``go_on``."""
        return bool(self._waiting)

    @property
    def is_done(self) -> bool:
        """True once the response is complete."""
        return self._body is not None and self._body.is_done

    def feed(self, data: bytes) -> bytes:
        """Take what came next; return content. Raises BadMessageError."""
        if self._waiting:
            self._waiting += data
            return b""
        if self._body is None:
            self.response, data = self._head.feed(data)
            if self.response is None:
                return b""
            if self.response.status == SWITCHING:
                self.behind = data
                return b""
            self.has_body = self._method != b"HEAD" and self.response.status not in _WITHOUT_CONTENT
            self._body = Body(self.response.length if self.has_body else 0, 0, self._allowance)
        content, rest = self._body.feed(data)
        if self._body.is_done:
            self.behind = rest
        else:
            self._waiting = rest
        return content

    def go_on(self) -> bytes:
        """Read what waited; return content. Raises BadMessageError."""
        data, self._waiting = self._waiting, b""
        return self.feed(data)

    def end_of_stream(self) -> None:
        """Note that the stream ended in order, which completes a response that has no other end."""
        if self._body is not None:
            self._body.end_of_stream()


class ResponseWriter:
    """Writes one response for ``request`` with ``send``, framed for the visitor's version of HTTP.

    The head goes out with the first content. ``keeps_alive``: another request may follow on this connection.
    ``has_begun``: the visitor has part of the response, so no other can take its place.
    """

    def __init__(self, request: wire.Request, send: Callable[[bytes], None]) -> None:
        self._minor = request.minor
        self._send = send
        self._is_chunked = False
        self._unsent_head = b""
        self.keeps_alive = request.keeps_alive
        self.has_begun = False

    def begin(self, response: wire.Response, lines: list[bytes], length: int, *, has_body: bool) -> None:
        """Make the head of ``lines``; ``length`` is the content's in bytes, negative when it is not known yet."""
        framing = self._framing(response.status, length, has_body=has_body)
        lines = lines if b"date" in response.fields.first else [*lines, wire.date_line()]
        if not self.keeps_alive:
            lines = [*lines, b"Connection: close"]
        elif self._minor == 0:
            lines = [*lines, b"Connection: keep-alive"]
        block = b"\r\n".join([*lines, framing])
        self._unsent_head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (response.status, response.reason, block)

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
        """Return the line that says how the content is framed, and frame it so (RFC 9112 section 6)."""
        if length >= 0:
            return b"" if status == _NO_CONTENT else b"Content-Length: %d\r\n" % length  # RFC 9110 section 8.6
        if not has_body:
            return b""
        if self._minor == 1:
            self._is_chunked = True
            return b"Transfer-Encoding: chunked\r\n"
        self.keeps_alive = False  # to HTTP/1.0 the end of the connection is the end of the content
        return b""
