"""Bodies on the wire: taken out of their framing, and framed anew by whoever sends them on. Pure.

No length that a stranger chose is ever passed on. A chunk costs some 2 µs of the loop, however few bytes it has:
what is sent in one-byte chunks costs a hundred times what the same content costs in large ones, so small chunks are
counted against an allowance.
"""

import re
from collections.abc import Callable

from tmppool.proxy.faults import Fault
from tmppool.proxy.wire import CHUNKED, TOKEN, UNTIL_CLOSE, BadMessageError

SMALL = 512  # bytes; chunks below it count. A larger one costs less per byte than to send it on does
LAST_CHUNK = b"0\r\n\r\n"

_MAX_CHUNK_LINE = 1024  # bytes
_MAX_ASIDE = 1024  # bytes of chunk extensions and trailer fields in one body
_MAX_CHUNK = 2**40  # bytes
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")


class Allowance:
    """``remaining``: small chunks that may still be taken, from all bodies that share this."""

    __slots__ = ("remaining",)

    def __init__(self, remaining: int) -> None:
        self.remaining = remaining


UNLIMITED = Allowance(2**62)


def _malformed(why: str) -> BadMessageError:
    return BadMessageError(why, Fault.MALFORMED_BODY)


class Body:
    """Takes a body out of its framing; ``length`` is what the head's framing says: bytes, CHUNKED or UNTIL_CLOSE.

    ``limit``: bytes of content that chunks may have, 0 for any number. ``remaining`` counts the bytes still to come of
    a body by length, or of the chunk under way.
    """

    __slots__ = (
        "_aside",
        "_held",
        "_limit",
        "_read_part",
        "_size_so_far",
        "allowance",
        "is_done",
        "length",
        "remaining",
    )

    def __init__(self, length: int, limit: int = 0, allowance: Allowance = UNLIMITED) -> None:
        self.length = length
        self.remaining = max(0, length)
        self.allowance = allowance
        self.is_done = length == 0
        self._limit = limit
        self._size_so_far = 0
        self._held = b""
        self._aside = 0
        self._read_part: _ReadPart = Body._size

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came next; return content, and what was not taken. Raises BadMessageError.

        That is what follows the body's end; or, while ``is_done`` is false, what came after the allowance was used up:
        to be fed again once there is more of it.
        """
        if self.length == UNTIL_CLOSE:
            return data, b""
        if self.length == CHUNKED:
            return self._feed_chunks(data)
        if len(data) < self.remaining:
            self.remaining -= len(data)
            return data, b""
        content, rest = data[: self.remaining], data[self.remaining :]
        self.remaining = 0
        self.is_done = True
        return content, rest

    def end_of_stream(self) -> None:
        """Note that nothing more comes, which completes a body that has no other end (RFC 9112 section 6.3)."""
        self.is_done = self.is_done or self.length == UNTIL_CLOSE

    def _feed_chunks(self, data: bytes) -> tuple[bytes, bytes]:
        data, self._held = self._held + data if self._held else data, b""
        content: list[bytes] = []
        position = 0
        while position < len(data) and not self.is_done:
            if self._read_part is Body._size and self.allowance.remaining <= 0:
                break
            step = self._read_part(self, data, position, content)
            if step == 0:
                self._held = data[position:]
                if len(self._held) > _MAX_CHUNK_LINE:
                    raise _malformed("chunk line too long")
                return b"".join(content), b""
            position += step
        return b"".join(content), data[position:]

    def _size(self, data: bytes, position: int, content: list[bytes]) -> int:
        del content
        if data.find(b"\n", position, position + _MAX_CHUNK_LINE + 1) < 0:
            return 0
        found = _CHUNK.match(data, position)
        if found is None or (size := int(found[1], 16)) > _MAX_CHUNK:
            raise _malformed("not a chunk size")
        self._set_aside(found.end() - found.end(1) - 2)
        self.remaining = size
        self._size_so_far += size
        if 0 < self._limit < self._size_so_far:
            raise BadMessageError("body too large", Fault.BODY_TOO_LARGE)
        if size < SMALL:
            self.allowance.remaining -= 1
        self._read_part = Body._data if size else Body._trailer
        return found.end() - position

    def _data(self, data: bytes, position: int, content: list[bytes]) -> int:
        piece = data[position : position + self.remaining]
        content.append(piece)
        self.remaining -= len(piece)
        if self.remaining == 0:
            self._read_part = Body._end
        return len(piece)

    def _end(self, data: bytes, position: int, content: list[bytes]) -> int:
        del content
        if len(data) - position < 2:  # noqa: PLR2004 - CR and LF
            if data[position:] != b"\r":
                raise _malformed("chunk longer than its size")
            return 0
        if data[position : position + 2] != b"\r\n":
            raise _malformed("chunk longer than its size")
        self._read_part = Body._size
        return 2

    def _trailer(self, data: bytes, position: int, content: list[bytes]) -> int:
        """Trailer fields are read and dropped (RFC 9110 section 6.5.1 lets a proxy do so)."""
        del content
        end = data.find(b"\r\n", position, position + _MAX_CHUNK_LINE + 2)
        if end < 0:
            if b"\n" in data[position : position + _MAX_CHUNK_LINE]:
                raise _malformed("bare LF in a trailer")
            return 0
        if end == position:
            self.is_done = True
        elif not _TRAILER.fullmatch(data[position:end]):
            raise _malformed("not a trailer field")
        self._set_aside(end - position)
        return end + 2 - position

    def _set_aside(self, size: int) -> None:
        """Count what is not content: without a bound, a body of one byte could be endless work."""
        self._aside += size
        if self._aside > _MAX_ASIDE:
            raise _malformed("too much in extensions and trailers")


_ReadPart = Callable[[Body, bytes, int, list[bytes]], int]
"""Reads one part of the framing at a position and appends content; returns its bytes, 0 if it is not all here."""


def chunk(content: bytes) -> bytes:
    """Frame content as one chunk; nothing for nothing, which would be the last chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""
