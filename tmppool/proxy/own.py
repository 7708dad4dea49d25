"""aiohttp's side of a connection: the requests that are answered here, not by a notebook.

aiohttp's server protocol is fed the bytes of the requests that are its own, one at a time, and never sees the others.
"""

import asyncio
import re
from typing import Any

from aiohttp import web

from tmppool.proxy import wire
from tmppool.proxy.body import LAST_CHUNK, UNLIMITED, Allowance, Body, chunk
from tmppool.proxy.heads import MAX_OWN_COOKIES

MAX_BODY = 64 * 1024  # bytes: our own forms have less than one
NOT_TAKEN = "This request is not one that this service takes."
_MAX_CHUNKS = 512  # small ones of one body: our own forms come by length
_LENGTH = re.compile(rb"\r\ncontent-length:[^\r\n]*\r\n", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*\r\n", re.IGNORECASE)
_FOREVER = 10.0**9  # aiohttp's own keep-alive timer: ours stands instead


class OwnRequests(web.RequestHandler):
    """``answered`` is called after each answer of ours."""

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        no_log: Any = None  # aiohttp's access log would hold addresses and keys
        most = wire.MAX_REQUEST_HEAD + MAX_OWN_COOKIES  # aiohttp's own refusal would quote the request
        super().__init__(
            server, loop=loop, keepalive_timeout=_FOREVER, access_log=no_log, max_line_size=most, max_field_size=most,
            auto_decompress=False,
        )  # fmt: skip
        self.own_body = Body(0)
        self._room = 0  # bytes of content that aiohttp may still be given
        self.is_unanswered = False
        self.is_last = False

    @property
    def is_own(self) -> bool:
        """Whether aiohttp is at work."""
        return self.is_unanswered or not self.own_body.is_done

    @property
    def is_full(self) -> bool:
        """Whether a body is longer than any that is read here, and aiohttp has been given what shows that."""
        return not self._room and not self.own_body.is_done

    @property
    def is_too_long(self) -> bool:
        """Whether a body is, or says that it will be, longer than any that is read here."""
        return self.is_full or (self.own_body.length > MAX_BODY and not self.own_body.is_done)

    def answered(self) -> None:
        """Go on with what is next."""

    def feed_own(self, head: bytes, length: int) -> None:
        """Begin a request; what belongs to its body is fed by ``feed_own_body``.

        Of a body that is too long aiohttp is given one byte more than the limit, as if that were all: a handler that
        reads it answers 413, any other as it always does.
        """
        self.is_unanswered = True
        self.own_body = Body(length, allowance=Allowance(_MAX_CHUNKS) if length == wire.CHUNKED else UNLIMITED)
        self._room = MAX_BODY + 1
        if length > MAX_BODY:
            head = _LENGTH.sub(b"\r\nContent-Length: %d\r\n" % self._room, head)
        # A request with a body switches nothing here; aiohttp would take what follows it for another protocol's.
        super().data_received(_UPGRADE.sub(b"\r\n", head) if length else head)

    def feed_own_body(self, data: bytes) -> bytes:
        """Feed the body; returns what is behind it. Raises BadMessageError.

        It is framed anew: aiohttp takes the fields of a trailer for fields of the next request's head.
        """
        if self.is_full:
            return b""
        content, rest = self.own_body.feed(data)
        if rest and not self.own_body.is_done:
            raise wire.BadMessageError("too many small chunks")
        content = content[: self._room]
        self._room -= len(content)
        if self.own_body.length == wire.CHUNKED:
            is_all = self.own_body.is_done or not self._room
            content = chunk(content) + (LAST_CHUNK if is_all else b"")
        if content:
            super().data_received(content)
        return rest

    def stop_answering(self) -> None:
        """Nobody hears the answer that aiohttp is at work on."""
        self.force_close()
        if self._task_handler is not None:
            self._task_handler.cancel()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self.is_too_long:
            self._lingering_time = 0.0  # aiohttp would wait for the rest of the body
            if not resp.prepared:
                resp.headers["Connection"] = "close"
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.is_unanswered = False
            self.is_last = not resp.keep_alive  # nothing behind it is a request (RFC 9112 section 9.6)
            self.answered()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what aiohttp cannot read. By itself it would log the sender and what he sent, and say that again."""
        if status >= 500:  # noqa: PLR2004 - only a bug can do this
            return super().handle_error(request, status, exc, message)
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Server": "tmppool"}
        response = web.Response(status=status, text=f"{NOT_TAKEN}\n", headers=headers)
        response.force_close()
        return response
