"""Bodies on the wire: taken out of their framing, and framed anew by whoever sends them on. Pure.

No length that a stranger chose is ever passed along. A chunk costs some 2 µs of the loop, however few bytes it has:
what is sent in one-byte chunks costs a hundred times what the same content costs in large ones, so small chunks are
counted against an allowance.
"""

import re
from dataclasses import dataclass, field

from tmppool.proxy.wire import CHUNKED, TOKEN, TOO_LARGE, UNTIL_CLOSE, BadMessageError

SMALL = 512  # bytes; chunks below it count. A larger one costs less per byte than to send it on does
LAST_CHUNK = b"0\r\n\r\n"

_MAX_CHUNK_LINE = 1024  # bytes
_MAX_ASIDE = 1024  # bytes of chunk extensions and trailer fields in one body
_MAX_CHUNK = 2**40  # bytes
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER = re.compile(TOKEN + rb":[\t\x20-\x7e\x80-\xff]*")


class Allowance:
    """``left``: small chunks that may still be taken, from all bodies that share this."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


UNLIMITED = Allowance(2**62)


@dataclass(slots=True)
class Body:
    """Takes a body out of its framing. ``left`` counts bytes still to come; ``is_done`` when all came.

    ``limit``: bytes of content that chunks may have, 0 for any number.
    """

    length: int
    limit: int = 0
    allowance: Allowance = UNLIMITED
    left: int = 0
    is_done: bool = False
    _size_so_far: int = 0
    _held: bytes = b""
    _aside: int = 0
    _stage: str = field(default="size", repr=False)

    def __post_init__(self) -> None:
        if self.length >= 0:
            self.left = self.length
            self.is_done = self.length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came next; returns content, and what was not taken. Raises BadMessageError.

        That is what is behind the body's end; or, while ``is_done`` is false, what comes after the allowance is used
        up: to be fed again when there is more of it.
        """
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
        data, self._held = self._held + data if self._held else data, b""
        content: list[bytes] = []
        position = 0
        while position < len(data) and not self.is_done:
            if self._stage == "size" and self.allowance.left <= 0:
                break
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
        if data.find(b"\n", position, position + _MAX_CHUNK_LINE + 1) < 0:
            return 0
        found = _CHUNK.match(data, position)
        if found is None or (left := int(found[1], 16)) > _MAX_CHUNK:
            raise BadMessageError("not a chunk size")
        self._set_aside(found.end() - found.end(1) - 2)
        self.left = left
        self._size_so_far += left
        if 0 < self.limit < self._size_so_far:
            raise BadMessageError("body too large", TOO_LARGE)
        if left < SMALL:
            self.allowance.left -= 1
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
        end = data.find(b"\r\n", position, position + _MAX_CHUNK_LINE + 2)
        if end < 0:
            if b"\n" in data[position : position + _MAX_CHUNK_LINE]:
                raise BadMessageError("bare LF in a trailer")
            return 0
        if end == position:
            self.is_done = True
        elif not _TRAILER.fullmatch(data[position:end]):
            raise BadMessageError("not a trailer field")
        self._set_aside(end - position)
        return end + 2 - position

    def _set_aside(self, size: int) -> None:
        """Count what is no content: without bound, a body of one byte would be work for ever."""
        self._aside += size
        if self._aside > _MAX_ASIDE:
            raise BadMessageError("too much in extensions and trailers")


_STAGES = {"size": Body._size, "data": Body._data, "end": Body._end, "trailer": Body._trailer}  # noqa: SLF001 - same file


def chunk(content: bytes) -> bytes:
    """Frame content as one chunk; nothing for nothing, which would be the last chunk."""
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""
