"""Both ends of costly bytes, in processes of their own.

``costly.py notebook BASE_PATH PORT`` is a notebook's server; ``costly.py attack NAME PORT ADMIN_PORT BASE_PATH TOKEN
SECRET`` sends what costs its sender little, as fast as it is taken, up to ``RATE``, until it is killed. TOKEN is the
notebook's, SECRET the service's.
"""

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import sys
import threading
import time

RATE = 4 * 2**20  # bytes a second
PIECE = 32 * 1024  # bytes
SEGMENTS = 20  # of one byte, and then a pause
SEGMENT_PAUSE = 0.0005  # seconds
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

SOCKET = b"GET {base}api/kernels/1/channels HTTP/1.1\r\n{host}{token}" + UPGRADE + b"\r\n"
CHUNKED = b" HTTP/1.1\r\n{host}{token}Transfer-Encoding: chunked\r\n\r\n"

ATTACKS: dict[str, tuple[bytes, bytes]] = {
    "empty lines": (b"", b"\r\n"),
    "one-byte chunks to our own page": (b"POST /spawn HTTP/1.1\r\n{host}{secret}Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "one-byte chunks to a notebook": (b"POST {base}x" + CHUNKED, b"1\r\na\r\n"),
    "chunks with extensions": (b"POST {base}x" + CHUNKED, b"200;a\r\n" + b"x" * 512 + b"\r\n"),
    "trailers": (b"", b"POST {base}x" + CHUNKED + b"0\r\n" + b"a:\r\n" * 200 + b"\r\n"),
    "empty frames": (SOCKET, b"\x8a\x80mask"),
    "empty frames without a mask": (SOCKET, b"\x8a\x00"),
    "fragments of one byte": (SOCKET + b"\x01\x81maska", b"\x00\x81maska"),
    "a notebook's one-byte chunks": (b"GET {base}chunks HTTP/1.1\r\n{host}{token}\r\n", b""),
    "a notebook's empty frames": (b"GET {base}frames HTTP/1.1\r\n{host}{token}" + UPGRADE + b"\r\n", b""),
    "a notebook's one-byte segments": (b"GET {base}segments HTTP/1.1\r\n{host}{token}\r\n", b""),
    "a notebook's interim responses": (b"GET {base}interim HTTP/1.1\r\n{host}{token}\r\n", b""),
    "cookies without end": (b"GET / HTTP/1.1\r\n{host}Cookie: ", b"a;"),
    "cookies that look like ours": (b"GET / HTTP/1.1\r\n{host}Cookie: ", b"tmppool-a=1;"),
    "pipelined requests": (b"", b"GET /robots.txt HTTP/1.1\r\n{host}\r\n"),
    "pipelined requests of many fields": (b"", b"TRACE {base} HTTP/1.1\r\n{host}{token}" + b"a:\r\n" * 90 + b"\r\n"),
    "one-byte segments": (b"POST {base}x HTTP/1.1\r\n{host}{token}Content-Length: 1000000000000\r\n\r\n", b"x"),
    "connections that say nothing": (b"", b""),
    "handshakes": (SOCKET, b""),
    "the operator's listener: one-byte chunks": (b"POST /api/pool HTTP/1.1\r\n{host}{secret}Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "the operator's listener: empty lines": (b"", b"\r\n"),
    "control": (b"POST {base}x HTTP/1.1\r\n{host}{token}Content-Length: 1000000000000\r\n\r\n", b"x"),
}  # fmt: skip
"""What is sent first on each connection, and what then is repeated."""

SHORT = {"connections that say nothing", "handshakes"}
"""Attacks by connections that end at once, each after the first answer if something is sent on it."""


# The attacker


def attack(name: str, port: int, admin_port: int, base: str, token: str, secret: str) -> None:
    port = admin_port if name.startswith("the operator's listener") else port
    known = {
        b"{host}": b"Host: 127.0.0.1:%d\r\n" % port,
        b"{base}": base.encode(),
        b"{secret}": b"Authorization: token %b\r\n" % secret.encode(),
        b"{token}": b"Authorization: token %b\r\n" % token.encode(),
    }
    first, again = ATTACKS[name]
    for mark, value in known.items():
        first, again = first.replace(mark, value), again.replace(mark, value)
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(first)
            if name in SHORT:
                if first:
                    sock.recv(1000)
            else:
                flood(sock, again, is_slow=name == "one-byte segments")
        time.sleep(0.001 if name in SHORT else PIECE / RATE)


def flood(sock: socket.socket, again: bytes, *, is_slow: bool) -> None:
    reader = threading.Thread(target=read, args=(sock,), daemon=True)
    reader.start()
    while is_slow:
        for _ in range(SEGMENTS):
            sock.send(again)
        time.sleep(SEGMENT_PAUSE)
    piece = again * (PIECE // len(again)) if again else b""
    while piece:
        sock.sendall(piece)
        time.sleep(PIECE / RATE)
    reader.join()


def read(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 18):
            pass


# The notebook


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            name = head.split(b" ")[1].rpartition(b"/")[2].decode()
            if name in FLOODS:
                first, again, pause = FLOODS[name]
                writer.write(first or switching(head))
                while True:
                    writer.write(again)
                    await writer.drain()
                    await asyncio.sleep(pause)
            if b"upgrade: websocket" in head:
                writer.write(switching(head))
            if b"\r\nupgrade:" in head or head.startswith(b"post"):
                while await reader.read(1 << 18):
                    pass
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    writer.close()


FLOODS: dict[str, tuple[bytes, bytes, float]] = {
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 5000, 30_000 / RATE),
    "frames": (b"", b"\x8a\x00" * 16_000, 32_000 / RATE),
    "segments": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", b"x", SEGMENT_PAUSE / SEGMENTS),
    "interim": (b"HTTP/1.1 103 E\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n" * 1600, 32_000 / RATE),
}
"""What a notebook sends first, where nothing is there the switch to a WebSocket; what then; the seconds between."""


def switching(head: bytes) -> bytes:
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    assert re.search(rb"sec-websocket-key: " + key.lower(), head)
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
        % accept
    )


async def notebook(port: int) -> None:
    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "notebook":
        asyncio.run(notebook(int(sys.argv[3])))
    else:
        attack(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:8])
