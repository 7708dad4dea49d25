"""Both ends of costly bytes, in processes of their own.

``costly.py notebook BASE_PATH PORT`` is a notebook's server; ``costly.py attack NAME PORT ADMIN_PORT BASE_PATH TOKEN
SECRET`` sends what costs its sender little, as fast as it is taken, up to ``RATE``, until it is killed. TOKEN is the
notebook's, SECRET the service's. It says ``{}`` when it is ready, begins with the first line on its stdin, and tells
what it has done so far for each further one. Whoever refuses it, or is done, is connected to anew.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass

RATE = 4 * 2**20  # bytes a second
PIECE = 32 * 1024  # bytes
SMALL_PIECE = 4 * 1024  # bytes, where little is read before the refusal: the rest of a piece would cost nobody anything
SEGMENTS = 20  # of one byte, and then a pause
SEGMENT_PAUSE = 0.0005  # seconds
PAUSE = 0.001  # seconds between two connections
LONGEST_FIELD = 60 * 1024  # bytes of a notebook's
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

SOCKET = b"GET {base}api/kernels/1/channels HTTP/1.1\r\n{host}{token}" + UPGRADE + b"\r\n"
CHUNKED = b" HTTP/1.1\r\n{host}{token}Transfer-Encoding: chunked\r\n\r\n"
SMALL_CHUNK = b"1\r\na\r\n"
LONG = b"POST {base}x HTTP/1.1\r\n{host}{token}Content-Length: 1000000000\r\n\r\n"


def ask(name: bytes, *lines: bytes) -> bytes:
    return b"GET {base}" + name + b" HTTP/1.1\r\n{host}{token}" + b"".join(lines) + b"\r\n"


@dataclass(frozen=True)
class Attack:
    """``first`` is sent first on each connection, and ``again`` is then repeated, in pieces of about ``piece`` bytes.

    ``counts`` is what shows that it goes on: bytes that have ``arrived`` at the notebook, were ``received`` from it or
    ``sent`` to who takes no more after a refusal, ``answers``, or ``connections``. ``least`` is so many in a second, a
    small part of what goes over on a slow machine. ``cost`` are the bytes that one repeat moves,
    where a notebook sends more than it is sent. ``is_short``: each connection ends with what it is sent first.
    """

    first: bytes
    again: bytes = b""
    counts: str = "arrived"
    least: int = 20_000
    piece: int = PIECE
    cost: int = 0
    is_short: bool = False
    is_in_segments: bool = False


ATTACKS = {
    "empty lines": Attack(b"", b"\r\n", "answers", 10, SMALL_PIECE),
    "one-byte chunks to our own page": Attack(b"POST /spawn HTTP/1.1\r\n{host}{secret}Transfer-Encoding: chunked\r\n\r\n", SMALL_CHUNK, "answers", 10, SMALL_PIECE),
    "one-byte chunks to a notebook": Attack(b"POST {base}x" + CHUNKED, SMALL_CHUNK, least=1000),
    "chunks with extensions": Attack(b"POST {base}x" + CHUNKED, b"200;a\r\n" + b"x" * 512 + b"\r\n"),
    "trailers": Attack(b"", b"POST {base}x" + CHUNKED + b"0\r\n" + b"a:\r\n" * 200 + b"\r\n", "answers", 10),
    "empty frames": Attack(SOCKET, b"\x8a\x80mask"),
    "empty frames without a mask": Attack(SOCKET, b"\x8a\x00"),
    "fragments of one byte": Attack(SOCKET + b"\x01\x81maska", b"\x00\x81maska"),
    "a notebook's one-byte chunks": Attack(ask(b"chunks"), counts="received", least=1000),
    "a notebook's empty frames": Attack(ask(b"frames", UPGRADE), counts="received"),
    "a notebook's one-byte segments": Attack(ask(b"segments"), counts="received", least=2000),
    "a notebook's interim responses": Attack(ask(b"interim"), counts="answers", least=10, is_short=True),
    "a notebook's challenges": Attack(b"", ask(b"challenges"), "answers", 5, PIECE, LONGEST_FIELD),
    "a notebook's lists": Attack(b"", ask(b"lists"), "answers", 5, PIECE, LONGEST_FIELD),
    "a notebook's cookies": Attack(b"", ask(b"cookies"), "answers", 5, PIECE, LONGEST_FIELD),
    "tokens in a query": Attack(b"", ask(b"x?" + b"token=%41&" * 700), "answers", 10),
    "cookies without end": Attack(b"GET / HTTP/1.1\r\n{host}Cookie: ", b"a;", "sent", 200_000),
    "cookies that look like ours": Attack(b"GET / HTTP/1.1\r\n{host}Cookie: ", b"tmppool-a=1;", "sent", 200_000),
    "pipelined requests": Attack(b"", b"GET /robots.txt HTTP/1.1\r\n{host}\r\n", "answers", 10),
    "pipelined requests of many fields": Attack(b"", b"TRACE {base} HTTP/1.1\r\n{host}{token}" + b"a:\r\n" * 90 + b"\r\n", "answers", 10),
    "one-byte segments": Attack(LONG, b"x", least=2000, is_in_segments=True),
    "connections that say nothing": Attack(b"", counts="connections", least=10, is_short=True),
    "handshakes": Attack(SOCKET, counts="answers", least=10, is_short=True),
    "the operator's listener: one-byte chunks": Attack(b"POST /api/pool HTTP/1.1\r\n{host}{secret}Transfer-Encoding: chunked\r\n\r\n", SMALL_CHUNK, "answers", 10, SMALL_PIECE),
    "the operator's listener: empty lines": Attack(b"", b"\r\n", "answers", 10, SMALL_PIECE),
    "control": Attack(LONG, b"x"),
}  # fmt: skip


# The attacker


class Attacker:
    """One attack, on one connection at a time. ``done`` counts what ``Attack.counts`` may name."""

    def __init__(self, attack: Attack, port: int, known: dict[bytes, bytes]) -> None:
        first, again = attack.first, attack.again
        for mark, value in known.items():
            first, again = first.replace(mark, value), again.replace(mark, value)
        self._attack = attack
        self._port = port
        self._first = first
        repeats = max(1, attack.piece // max(1, attack.cost, len(again)))
        self._piece = b"x" if attack.is_in_segments else again * repeats
        self._pause = max(len(self._piece), attack.cost * repeats) / RATE / max(1, len(self._piece))  # for each byte
        self.done = {"sent": 0, "received": 0, "answers": 0, "connections": 0}

    def go_on(self) -> None:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(self._first)
                if self._first or not self._attack.is_short:
                    self._converse(sock)
                self.done["connections"] += 1
            time.sleep(PAUSE)

    def _converse(self, sock: socket.socket) -> None:
        """Read and write until the other end closes; what is short ends with the first that it reads."""
        sock.setblocking(False)
        rest = b""
        while True:
            readable, writable, _ = select.select([sock], [sock] if self._piece else [], [])
            if readable and (not self._read(sock) or self._attack.is_short):
                return
            if writable and self._attack.is_in_segments:
                self._send_segments(sock)
            elif writable:
                rest = self._send(sock, rest or self._piece)

    def _read(self, sock: socket.socket) -> bool:
        read = sock.recv(1 << 18)
        self.done["received"] += len(read)
        self.done["answers"] += read.count(b"HTTP/1.1 ")
        return bool(read)

    def _send(self, sock: socket.socket, piece: bytes) -> bytes:
        size = sock.send(piece)
        self.done["sent"] += size
        time.sleep(size * self._pause)
        return piece[size:]

    def _send_segments(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(SEGMENTS):
                self.done["sent"] += sock.send(b"x")
        time.sleep(SEGMENT_PAUSE)


def attack(name: str, port: int, admin_port: int, base: str, token: str, secret: str) -> None:
    port = admin_port if name.startswith("the operator's listener") else port
    known = {
        b"{host}": b"Host: 127.0.0.1:%d\r\n" % port,
        b"{base}": base.encode(),
        b"{secret}": b"Authorization: token %b\r\n" % secret.encode(),
        b"{token}": b"Authorization: token %b\r\n" % token.encode(),
    }
    attacker = Attacker(ATTACKS[name], port, known)
    tell({})
    sys.stdin.readline()
    threading.Thread(target=attacker.go_on, daemon=True).start()
    for _line in sys.stdin:
        tell(attacker.done)


def tell(facts: dict[str, int]) -> None:
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()


# The notebook


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            name = head.split(b" ")[1].rpartition(b"/")[2].decode()
            if name in FLOODS:
                first, again, repeats, pause = FLOODS[name]
                writer.write(first or switching(head))
                while True:
                    for _ in range(repeats):
                        writer.write(again)
                    await writer.drain()
                    await asyncio.sleep(pause)
            if b"upgrade: websocket" in head:
                writer.write(switching(head))
            if b"\r\nupgrade:" in head or (head.startswith(b"post") and not await is_whole(reader)):
                while read := await reader.read(1 << 18):
                    arrived.append(arrived.pop() + len(read))
                return
            body = b"%d" % arrived[0]
            lines = FIELDS.get(name, b"")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body))
    writer.close()


async def is_whole(reader: asyncio.StreamReader) -> bool:
    """Read a body to its end in chunks; return False for one that breaks off, and for one without chunks."""
    last = b""
    while last != b"0\r\n\r\n":
        read = await reader.read(1 << 18)
        if not read:
            return False
        arrived.append(arrived.pop() + len(read))
        last = (last + read)[-5:]
    return True


FIELDS = {
    "challenges": b'WWW-Authenticate: Basic realm="%b\r\n' % (b'\\"' * (LONGEST_FIELD // 2)),
    "lists": b"Connection: %b\r\n" % (b"a," * (LONGEST_FIELD // 2)),
    "cookies": (b"Set-Cookie: a=b%b\r\n" % (b";" * 4000)) * (LONGEST_FIELD // 4020),
}
"""What a notebook puts into the head of a response."""

arrived = [0]
"""The bytes of bodies and of WebSockets that have come; each ordinary response says how many."""


FLOODS: dict[str, tuple[bytes, bytes, int, float]] = {
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", SMALL_CHUNK * 5000, 1, 30_000 / RATE),
    "frames": (b"", b"\x8a\x00" * 16_000, 1, 32_000 / RATE),
    "segments": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", b"x", SEGMENTS, SEGMENT_PAUSE),
    "interim": (b"HTTP/1.1 103 E\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n" * 1600, 1, 32_000 / RATE),
}
"""What a notebook sends first, where nothing is there the switch to a WebSocket; what then, how often, and the pause."""


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
