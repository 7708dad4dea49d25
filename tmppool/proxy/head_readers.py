"""Heads while they arrive: found in pieces of any size, with work in proportion to their bytes. Pure.

A request's head that is too long because of its cookies is taken without those that are not the service's own: any
page of a domain can fill the browser's jar, in Chromium with 180 cookies of 4 KiB, and the visitor cannot help it.
"""

import re

from tmppool.proxy import cookies
from tmppool.proxy.faults import Fault
from tmppool.proxy.wire import (
    MAX_FIELDS,
    MAX_REQUEST_HEAD,
    MAX_RESPONSE_HEAD,
    BadMessageError,
    Response,
    parse_response,
)

MAX_WITH_COOKIES = 2**20  # bytes of a head as it comes: a browser's whole jar for one domain, and some more
MAX_OWN_COOKIES = 56 * 1024  # bytes of those that look like ours; a page can set some 360 of 156 bytes, in two jars
MAX_EMPTY_LINES = 4  # before a request; RFC 9112 section 2.2 asks for one at least
SWITCHING = 101
_MAX_INTERIM = 8  # 1xx responses before the final one

_END = b"\r\n\r\n"
_MARK = re.compile(rb"\r\n(?:\r\n|cookie:)", re.IGNORECASE)
_BEFORE_MARK = len(b"\r\ncookie:") - 1  # bytes that may be the beginning of one


class RequestHeadReader:
    """Takes one request head after the other out of a stream."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._empty_lines = 0
        self._filter: _CookieFilter | None = None

    @property
    def has_begun(self) -> bool:
        """True while part of a head has arrived, and not all."""
        return bool(self._held) or self._filter is not None

    def feed(self, data: bytes) -> tuple[bytes | None, bytes]:
        """Take what came next; return a head and what follows it, or None and nothing. Raises BadMessageError."""
        if self._filter is not None:
            return self._filter_cookies(data)
        held = self._held
        if len(held) <= 1:  # one byte may be half an empty line
            data = self._without_empty_lines(bytes(held) + data if held else data)
            held.clear()
            end = data.find(_END) + len(_END)
            if len(_END) <= end <= MAX_REQUEST_HEAD:
                self._empty_lines = 0
                return data[:end], data[end:]
            held += data
        else:
            new = max(0, len(held) - len(_END) + 1)
            held += data
            end = held.find(_END, new) + len(_END)
            if len(_END) <= end <= MAX_REQUEST_HEAD:
                whole = self._restart()
                return whole[:end], whole[end:]
        if len(held) <= MAX_REQUEST_HEAD:
            return None, b""
        whole = self._restart()
        self._filter = _CookieFilter()
        return self._filter_cookies(whole)

    def _restart(self) -> bytes:
        whole, self._held, self._empty_lines = bytes(self._held), bytearray(), 0
        return whole

    def _without_empty_lines(self, data: bytes) -> bytes:
        start = 0
        while data.startswith(b"\r\n", start):
            start += 2
            self._empty_lines += 1
            if self._empty_lines > MAX_EMPTY_LINES:
                raise BadMessageError("too many empty lines")
        return data[start:] if start else data

    def _filter_cookies(self, data: bytes) -> tuple[bytes | None, bytes]:
        assert self._filter is not None
        rest = self._filter.feed(data)
        if rest is None:
            return None, b""
        head, self._filter = bytes(self._filter.kept), None
        return head, rest


class _CookieFilter:
    """Drops the cookies that are not the service's own from one head; the rest of it is ``kept``."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self._size = 0
        self._ours = 0
        self._tail = b""
        self._in_cookie = False
        self._field_has_ours = False
        self._cookies = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take what came next; return what follows the head, None before its end. Raises BadMessageError."""
        data, at = self._tail + data, 0
        self._size -= len(self._tail)
        self._tail = b""
        rest: bytes | None = None
        while at < len(data) and rest is None:
            if self._in_cookie:
                at = self._read_cookie(data, at)
                continue
            mark = _MARK.search(data, at)
            if mark is None:
                at = self._keep(data, at, max(at, len(data) - _BEFORE_MARK))
                break
            self._keep(data, at, mark.start())
            at = mark.end()
            if mark[0] == _END:
                self.kept += _END
                rest = data[at:]
            else:
                self._begin_cookie()
        if rest is None:
            self._tail = self._tail or data[at:]
        self._size += len(data) if rest is None else at
        if len(self.kept) - self._ours > MAX_REQUEST_HEAD or self._size > MAX_WITH_COOKIES:
            is_target = len(self.kept.partition(b"\r\n")[0]) > MAX_REQUEST_HEAD // 2
            raise BadMessageError("head too long", Fault.TARGET_TOO_LONG if is_target else Fault.HEAD_TOO_LONG)
        return rest

    def _keep(self, data: bytes, start: int, end: int) -> int:
        self.kept += data[start:end]
        return end

    def _begin_cookie(self) -> None:
        self._in_cookie, self._field_has_ours = True, False
        self._cookies += 1
        if self._cookies > MAX_FIELDS:
            raise BadMessageError("too many fields", Fault.HEAD_TOO_LONG)

    def _read_cookie(self, data: bytes, at: int) -> int:
        """Read on in a field's value; return where it ends, or the end of what is here: then ``_tail`` is its last."""
        end = data.find(b"\r\n", at)
        if end >= 0:
            self._take(data[at:end])
            self._in_cookie = False
            return end
        last = max(at, data.rfind(b";", at))
        self._take(data[at:last])
        self._tail = data[last:]
        if len(self._tail) > cookies.OWN_SIZE:  # not ours, however it goes on
            is_cut = self._tail.endswith(b"\r")
            self._take(self._tail[:-1] if is_cut else self._tail)
            self._tail = b"~\r" if is_cut else b"~"
        return len(data)

    def _take(self, pairs: bytes) -> None:
        """Keep the service's own of these whole pairs."""
        found = cookies.own(pairs)
        if found is None:
            raise BadMessageError("not a request head")
        for pair in found:
            text = (b"; " if self._field_has_ours else b"\r\nCookie: ") + pair
            if self._ours + len(text) > MAX_OWN_COOKIES:
                return
            self.kept += text
            self._ours += len(text)
            self._field_has_ours = True


class ResponseHeadReader:
    """Takes the head of the final response out of a stream, and drops the interim (1xx) ones before it.

    101 is final: it ends HTTP on the connection (RFC 9110 section 15.2.2).
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._interim = 0

    @property
    def has_begun(self) -> bool:
        """True while part of it has arrived, and not all."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[Response | None, bytes]:
        """Take what came next; return the response and what follows its head. Raises BadMessageError."""
        new = 0
        if self._held:
            new = max(0, len(self._held) - len(_END) + 1)
            self._held += data
            if self._held.find(_END, new) < 0 and len(self._held) <= MAX_RESPONSE_HEAD:
                return None, b""
            data, self._held = bytes(self._held), bytearray()
        while (end := data.find(_END, new) + len(_END)) >= len(_END):
            response = parse_response(data[:end])
            data, new = data[end:], 0
            if response.status >= 200 or response.status == SWITCHING:  # noqa: PLR2004 - a final response
                return response, data
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise BadMessageError("too many interim responses")
        if len(data) > MAX_RESPONSE_HEAD:
            raise BadMessageError("head too long")
        self._held += data
        return None, b""
