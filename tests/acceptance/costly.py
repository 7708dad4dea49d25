"""Both ends of costly bytes, in processes of their own.

``costly.py notebook BASE_PATH PORT`` is a notebook's server; ``costly.py attack NAME PORT BASE_PATH TOKEN SECRET``
sends what costs its sender little, as fast as it is taken, up to ``RATE``, until it is killed. TOKEN is the notebook's,
SECRET the service's.
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
ENDLESS = 1 << 30
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

ATTACKS: dict[str, tuple[bytes, bytes]] = {
    "empty lines": (b"", b"\r\n"),
    "one-byte chunks to our own page": (b"POST /spawn HTTP/1.1\r\n{host}{secret}Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "one-byte chunks to a notebook": (b"POST {base}x HTTP/1.1\r\n{host}{token}Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "empty frames": (b"GET {base}api/kernels/1/channels HTTP/1.1\r\n{host}{token}" + UPGRADE + b"\r\n", b"\x8a\x80mask"),
    "a notebook's one-byte chunks": (b"GET {base}fine HTTP/1.1\r\n{host}{token}\r\n", b""),
    "cookies without end": (b"GET / HTTP/1.1\r\n{host}Cookie: ", b"a;"),
    "pipelined requests": (b"", b"GET /robots.txt HTTP/1.1\r\n{host}\r\n"),
    "control": (b"POST {base}x HTTP/1.1\r\n{host}{token}Content-Length: 1000000000000\r\n\r\n", b"x"),
}  # fmt: skip
"""What is sent first on each connection, and what then is repeated."""


# The attacker


def attack(name: str, port: int, base: str, token: str, secret: str) -> None:
    known = {
        b"{host}": b"Host: 127.0.0.1:%d\r\n" % port,
        b"{base}": base.encode(),
        b"{secret}": b"Authorization: token %b\r\n" % secret.encode(),
        b"{token}": b"Authorization: token %b\r\n" % token.encode(),
    }
    first, again = ATTACKS[name]
    for mark, value in known.items():
        first, again = first.replace(mark, value), again.replace(mark, value)
    piece = again * (PIECE // len(again)) if again else b""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
            reader = threading.Thread(target=read, args=(sock,), daemon=True)
            reader.start()
            sock.sendall(first)
            while piece:
                sock.sendall(piece)
                time.sleep(PIECE / RATE)
            reader.join()
        time.sleep(PIECE / RATE)


def read(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 18):
            pass


# The notebook


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"/fine " in head:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    writer.write(b"1\r\na\r\n" * 5000)
                    await writer.drain()
                    await asyncio.sleep(30_000 / RATE)
            if b"upgrade: websocket" in head:
                writer.write(switching(head))
            if b"\r\nupgrade:" in head or head.startswith(b"post"):
                while await reader.read(1 << 18):
                    pass
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    writer.close()


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
        attack(sys.argv[2], int(sys.argv[3]), *sys.argv[4:7])
