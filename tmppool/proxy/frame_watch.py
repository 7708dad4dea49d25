"""Finds data frames in the WebSocket stream that a program sends: its activity. Pings and pongs are none."""

_DATA = 2  # the last of a frame's codes that are data: continuation, text, binary (RFC 6455 section 5.2)
_LONGER = 254  # a masked frame's second byte where two more hold the length
_LONGER_HEAD = 8  # bytes
_MOST_FRAMES = 1000  # read one by one in a second, 1 ms of the loop; a page that pastes a book sends fewer


class FrameWatch:
    """Reads the headers of the WebSocket frames in a stream (RFC 6455 section 5.2), never their payload.

    Once a stream has more frames than a page would send, no more of it is read: a flood counts as activity. Empty
    frames cost the loop a hundred times what they cost their sender.
    """

    def __init__(self) -> None:
        self._left = _MOST_FRAMES
        self._skip = 0
        self._head = b""

    @property
    def is_flood(self) -> bool:
        """True once no more of this stream is read."""
        return self._left < 0

    def look(self) -> None:
        """Begin the next second."""
        if not self.is_flood:
            self._left = _MOST_FRAMES

    def feed(self, data: bytes) -> bool:
        """Take the next bytes of the stream; return True if a data frame begins in them, or they are a flood's."""
        size = len(data)
        # Exactly one masked frame of a 7- or 16-bit length, as nearly all that a page sends, is read in one go: the
        # payload of the one has 6 bytes before it, with the mask's 128 in its length, that of the other has 8.
        if (
            size >= _LONGER_HEAD
            and not self._skip
            and not self._head
            and (data[1] == size - 6 + 128 < _LONGER or (data[1] == _LONGER and data[2] << 8 | data[3] == size - 8))
        ):
            return data[0] & 0x0F <= _DATA
        return self._left < 0 or self._feed(data)

    def _feed(self, data: bytes) -> bool:
        found = False
        position, end = 0, len(data)
        while position < end:
            if self._skip:
                step = min(self._skip, end - position)
                self._skip -= step
                position += step
                continue
            head = self._head + data[position : position + 14 - len(self._head)]
            size = _head_size(head)
            if size is None or len(head) < size:
                self._head = head
                return found
            position += size - len(self._head)
            self._head = b""
            self._skip = _payload_size(head)
            found = found or head[0] & 0x0F <= _DATA
            self._left -= 1
            if self._left < 0:
                self._skip = 1  # no read is one frame any more
                return True
        return found


def _head_size(head: bytes) -> int | None:
    if len(head) < 2:  # noqa: PLR2004 - flags and length
        return None
    length = head[1] & 0x7F
    return 2 + {126: 2, 127: 8}.get(length, 0) + (4 if head[1] & 0x80 else 0)


def _payload_size(head: bytes) -> int:
    length = head[1] & 0x7F
    if length < 126:  # noqa: PLR2004 - RFC 6455 section 5.2
        return length
    return int.from_bytes(head[2:4] if length == 126 else head[2:10], "big")  # noqa: PLR2004 - as above
