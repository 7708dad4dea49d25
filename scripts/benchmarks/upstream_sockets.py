"""A "notebook" that only transfers bytes: WebSockets that echo, send or discard, and long HTTP bodies.

Run by the process backend as ``upstream_sockets.py BASE_PATH PORT PORT_FILE``. Below the base path:

- ``api``: 200, for the pool's probe of a starting notebook
- ``api/kernels/echo/channels``: a WebSocket that echoes every message
- ``api/kernels/sink/channels``: a WebSocket that reads and discards
- ``bulk``: a WebSocket that sends binary frames without end
- ``download?BYTES``: a body of that size; ``upload``: reads a body, then answers

Frames are not unmasked, since the clients here mask with zero.
"""

import asyncio
import base64
import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

FRAME = 64 * 1024  # bytes of payload of a bulk frame
BULK = b"\x82\x7f" + FRAME.to_bytes(8, "big") + bytes(FRAME)
_PIECE = bytes(FRAME)
_HIGH_WATER = 512 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"\r\nsec-websocket-key: *(\S+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Conversation(asyncio.Protocol):
    """One connection; ``_take`` handles the next bytes."""

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._is_paused = False
        self._take: Callable[[bytes], None] = self._read_head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._pour()

    def _read_head(self, data: bytes) -> None:
        head, end, rest = (self._held + data).partition(b"\r\n\r\n")
        if not end:
            self._held = head
            return
        self._held = b""
        target = head.split(b" ", 2)[1]
        key = _KEY.search(head)
        if key is not None:
            self._open_socket(target, key[1])
        elif b"/download?" in target:
            self._answer(b"", int(target.partition(b"?")[2]))
        elif target.endswith(b"/upload"):
            found = _LENGTH.search(head)
            self._left = int(found[1]) if found else 0
            self._take = self._swallow_body
        else:
            self._answer(b"{}", 2)
        if rest:
            self._take(rest)

    def _answer(self, body: bytes, length: int) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (length, body))
        self._left = length - len(body)
        self._pour()

    def _open_socket(self, target: bytes, key: bytes) -> None:
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        if b"/echo/" in target:
            self._take = self._echo
            return
        self._take = lambda _data: None
        if target.endswith(b"/bulk"):
            self._left = -1
            self._pour()

    def _pour(self) -> None:
        """Send ``_left`` bytes, or frames without end if it is negative, until the transport applies back-pressure."""
        while self._left < 0 and not self._is_paused and not self._transport.is_closing():
            self._transport.write(BULK)
        while self._left > 0 and not self._is_paused and not self._transport.is_closing():
            piece = _PIECE if self._left >= FRAME else _PIECE[: self._left]
            self._left -= len(piece)
            self._transport.write(piece)

    def _swallow_body(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left <= 0:
            self._take = self._read_head
            self._answer(b"{}", 2)

    def _echo(self, data: bytes) -> None:
        data = self._held + data if self._held else data
        position, replies = 0, []
        while len(data) - position >= 8:
            length = data[position + 1] & 0x7F
            start = position + 6
            if length == 126:
                length, start = int.from_bytes(data[position + 2 : position + 4], "big"), position + 8
            if len(data) < start + length:
                break
            size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
            replies.append(data[position : position + 1] + size + data[start : start + length])
            position = start + length
        self._held = data[position:]
        if replies:
            self._transport.write(replies[0] if len(replies) == 1 else b"".join(replies))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(sys.argv[2])
    uvloop.run(serve(int(sys.argv[2])))
