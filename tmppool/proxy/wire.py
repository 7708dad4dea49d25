"""HTTP/1 on the wire, read strictly: what could be understood in two ways is refused, not guessed. Pure.

A head is accepted by one grammar (RFC 9112 sections 2 to 6, RFC 9110 section 5); bodies are taken out of their
framing and framed anew by whoever sends them on, so no length that a stranger chose is ever passed along.
"""

import re
import time
from dataclasses import dataclass, field
from email.utils import formatdate

from multidict import CIMultiDict

MAX_REQUEST_HEAD = 32 * 1024  # bytes
MAX_RESPONSE_HEAD = 64 * 1024  # bytes
MAX_FIELDS = 128
_MAX_TARGET = 16 * 1024  # bytes
_MAX_CHUNK_LINE = 1024  # bytes

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELDS = rb"((?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\r\n" + _FIELDS)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n" + _FIELDS)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_ONCE = (b"host", b"content-length", b"transfer-encoding", b"upgrade", b"sec-websocket-key", b"sec-websocket-version",
         b"sec-websocket-accept", b"authorization", b"origin", b"expect")  # fmt: skip

TOO_LARGE = 413
CHUNKED = -1
UNTIL_CLOSE = -2


class BadMessageError(Exception):
    """What came is not one unambiguous message; ``status`` is the answer to a visitor who sent it."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class Fields:
    """Header fields. ``lines`` hold each as (name in lower case, its line without CRLF); ``first`` the first value."""

    lines: list[tuple[bytes, bytes]]
    first: dict[bytes, bytes]

    def text(self) -> CIMultiDict[str]:
        """Return them as aiohttp would have read them."""
        found: CIMultiDict[str] = CIMultiDict()
        for _, line in self.lines:
            name, _, value = line.partition(b":")
            found.add(name.decode("ascii"), value.strip(b" \t").decode("utf-8", "surrogateescape"))
        return found

    def has_token(self, name: bytes, token: bytes) -> bool:
        """Whether a comma list holds ``token``, in any case."""
        return any(
            token in [part.strip().lower() for part in line.partition(b":")[2].split(b",")]
            for key, line in self.lines
            if key == name
        )


@dataclass(slots=True)
class Request:
    """``length``: bytes of the body, CHUNKED, or 0. ``keeps_alive``: what the visitor would like."""

    method: bytes
    target: str
    minor: int
    fields: Fields
    length: int
    keeps_alive: bool


@dataclass(slots=True)
class Response:
    """``length``: bytes of the body as framed, CHUNKED or UNTIL_CLOSE; a response to HEAD has none all the same."""

    status: int
    reason: bytes
    fields: Fields
    length: int
    keeps_alive: bool


def parse_request(head: bytes) -> Request:
    """Read a whole head, its empty line included. Raises BadMessageError."""
    found = _REQUEST.fullmatch(head)
    if found is None:
        raise BadMessageError("not a request head")
    method, target, minor, block = found.groups()
    if len(head) > MAX_REQUEST_HEAD:
        raise BadMessageError("head too long", 431)
    if not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
        raise BadMessageError("not in origin form")
    if len(target) > _MAX_TARGET:
        raise BadMessageError("target too long", 414)
    fields = _parse_fields(block)
    first = fields.first
    if minor == b"1" and b"host" not in first:
        raise BadMessageError("no Host")
    if b"expect" in first and first[b"expect"].lower() != b"100-continue":
        raise BadMessageError("unknown expectation", 417)
    length = _length(fields, minor, 0)
    return Request(method, target.decode("ascii"), int(minor), fields, length, _keeps_alive(fields, minor))


def parse_response(head: bytes) -> Response:
    """Read a whole head, its empty line included. Raises BadMessageError."""
    found = _RESPONSE.fullmatch(head)
    if found is None:
        raise BadMessageError("not a response head")
    if len(head) > MAX_RESPONSE_HEAD:
        raise BadMessageError("head too long")
    minor, status, reason, block = found.groups()
    fields = _parse_fields(block)
    length = _length(fields, minor, UNTIL_CLOSE)
    keeps_alive = length != UNTIL_CLOSE and _keeps_alive(fields, minor)
    return Response(int(status), reason or b"", fields, length, keeps_alive)


def _parse_fields(block: bytes) -> Fields:
    lines: list[tuple[bytes, bytes]] = []
    first: dict[bytes, bytes] = {}
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        key = name.lower()
        lines.append((key, line))
        if key not in first:
            first[key] = value.strip(b" \t")
        elif key in _ONCE:
            raise BadMessageError(f"more than one {key.decode()}")
    if len(lines) > MAX_FIELDS:
        raise BadMessageError("too many fields", 431)
    return Fields(lines, first)


def _length(fields: Fields, minor: bytes, otherwise: int) -> int:
    first = fields.first
    coding, length = first.get(b"transfer-encoding"), first.get(b"content-length")
    if coding is not None:
        if length is not None or minor == b"0" or coding.lower() != b"chunked":
            raise BadMessageError("ambiguous framing")
        return CHUNKED
    if length is None:
        return otherwise
    if not _LENGTH.fullmatch(length):
        raise BadMessageError("Content-Length is no number")
    return int(length)


def _keeps_alive(fields: Fields, minor: bytes) -> bool:
    if b"connection" not in fields.first:
        return minor == b"1"
    if minor == b"1":
        return not fields.has_token(b"connection", b"close")
    return fields.has_token(b"connection", b"keep-alive")


@dataclass(slots=True)
class Body:
    """Takes a body out of its framing. ``left`` counts bytes still to come; ``is_done`` when all came.

    ``limit``: bytes of content that chunks may have, 0 for any number.
    """

    length: int
    limit: int = 0
    left: int = 0
    is_done: bool = False
    _size_so_far: int = 0
    _held: bytes = b""
    _stage: str = field(default="size", repr=False)

    def __post_init__(self) -> None:
        if self.length >= 0:
            self.left = self.length
            self.is_done = self.length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came next; returns content, and what is behind the body's end. Raises BadMessageError."""
        if self.length == UNTIL_CLOSE:
            return data, b""
        if self.length == CHUNKED:
            return self._feed_chunks(data)
        if len(data) < self.left:
            self.left -= len(data)
            return data, b""
        content, rest = data[: self.left], data[self.left :]
        self.left = 0
        self.is_done = True
        return content, rest

    def _feed_chunks(self, data: bytes) -> tuple[bytes, bytes]:
        data, self._held = self._held + data, b""
        content: list[bytes] = []
        position = 0
        while position < len(data) and not self.is_done:
            step = _STAGES[self._stage](self, data, position, content)
            if step == 0:
                self._held = data[position:]
                if len(self._held) > _MAX_CHUNK_LINE:
                    raise BadMessageError("chunk line too long")
                return b"".join(content), b""
            position += step
        return b"".join(content), data[position:]

    def _size(self, data: bytes, position: int, content: list[bytes]) -> int:
        del content
        if data.find(b"\n", position) < 0:
            return 0
        found = _CHUNK.match(data, position)
        if found is None or found.end() - position > _MAX_CHUNK_LINE:
            raise BadMessageError("not a chunk size")
        self.left = int(found[1], 16)
        self._size_so_far += self.left
        if 0 < self.limit < self._size_so_far:
            raise BadMessageError("body too large", TOO_LARGE)
        self._stage = "data" if self.left else "trailer"
        return found.end() - position

    def _data(self, data: bytes, position: int, content: list[bytes]) -> int:
        piece = data[position : position + self.left]
        content.append(piece)
        self.left -= len(piece)
        if self.left == 0:
            self._stage = "end"
        return len(piece)

    def _end(self, data: bytes, position: int, content: list[bytes]) -> int:
        del content
        if len(data) - position < 2:  # noqa: PLR2004 - CR and LF
            if data[position:] != b"\r":
                raise BadMessageError("chunk longer than its size")
            return 0
        if data[position : position + 2] != b"\r\n":
            raise BadMessageError("chunk longer than its size")
        self._stage = "size"
        return 2

    def _trailer(self, data: bytes, position: int, content: list[bytes]) -> int:
        """Trailer fields are read and dropped (RFC 9110 section 6.5.1 lets a proxy do so)."""
        del content
        end = data.find(b"\r\n", position)
        if end < 0:
            if b"\n" in data[position:]:
                raise BadMessageError("bare LF in a trailer")
            return 0
        if end == position:
            self.is_done = True
        elif end - position > _MAX_CHUNK_LINE or not _TRAILER.fullmatch(data[position:end]):
            raise BadMessageError("not a trailer field")
        return end + 2 - position


_STAGES = {"size": Body._size, "data": Body._data, "end": Body._end, "trailer": Body._trailer}  # noqa: SLF001 - same file


def chunk(content: bytes) -> bytes:
    """Frame content as one chunk; nothing for nothing, which would be the last chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


LAST_CHUNK = b"0\r\n\r\n"

_dated: tuple[int, bytes] = (0, b"")


def date_line() -> bytes:
    """Return the Date field (RFC 9110 section 6.6.1), made once a second."""
    global _dated  # noqa: PLW0603 - a cache of one
    now = int(time.time())
    if _dated[0] != now:
        _dated = (now, b"Date: " + formatdate(now, usegmt=True).encode())
    return _dated[1]
