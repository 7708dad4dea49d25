"""A visitor's own server instead of Jupyter: ``python3 server.py BASE_PATH IP PORT``.

``POST attack/NAME`` runs one of attacks.py and answers what it printed; ``evil/NAME`` answers what no server should.
``POST kernels/NAME`` says what is answered to whoever asks for kernels, and answers how often that was asked so far.
"""

import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BASE = sys.argv[1]
ATTACKS = Path(__file__).with_name("attacks.py")
LIMIT = 20.0  # seconds
asked = []
kernels = [""]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        name = self.path.removeprefix(f"{BASE}evil/")
        if self.path.startswith(f"{BASE}api/kernels"):
            asked.append(time.monotonic())
            name = kernels[-1]
        if name not in EVIL:
            self._answer({})
            return
        self.close_connection = True
        try:
            for piece in EVIL[name]():
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.path.removeprefix(f"{BASE}kernels/")
        if name != self.path:
            kernels.append(name)
            self._answer({"asked": len(asked)})
            return
        name = self.path.removeprefix(f"{BASE}attack/")
        command = [sys.executable, str(ATTACKS), name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
            try:
                said, _ = child.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                child.kill()
                said, _ = child.communicate()
        self._answer({"exit": child.returncode, **json.loads(said or b"{}")})

    def _answer(self, facts: dict) -> None:
        body = json.dumps(facts).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def forever(head: bytes, piece: bytes):
    yield head
    while True:
        yield piece


def after(head: bytes, pieces):
    """The head alone, and what follows once it has arrived for certain."""
    yield head
    time.sleep(0.5)
    yield from pieces


LISTS = 8 * 2**20 // 3
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)
EVIL = {
    "garbage": lambda: [b"\x00\xff\x00\xff not HTTP at all\r\n" * 100],
    "nothing": list,
    "endless-headers": lambda: forever(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"y" * 1000 + b"\r\n"),
    "endless-header": lambda: forever(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65_536),
    "endless-interim": lambda: forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "endless-body": lambda: forever(b"HTTP/1.1 200 OK\r\n\r\n", b"z" * 65_536),
    "endless-chunk-size": lambda: forever(CHUNKED + b"0" * 65_536, b"0" * 65_536),
    "late-endless-chunk-size": lambda: after(CHUNKED, forever(b"", b"0" * 65_536)),
    "unasked-101": lambda: [SWITCH % b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
    "split-answer": lambda: [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: tmppool=stolen; Path=/\r\nContent-Length: 6\r\n\r\nsecond",
    ],
    "eight-megabytes": lambda: [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n[" % (3 * LISTS + 3),
        b"[]," * LISTS,
        b"0]",
    ],
    "deepest": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n", b"[" * 65_536],
    "one-byte-chunks": lambda: forever(CHUNKED, b"1\r\n[\r\n" * 10_000),
    "interim": lambda: forever(b"", b"HTTP/1.1 103 E\r\n\r\n" * 1000),
    "behind-it": lambda: forever(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"HTTP/1.1 103 E\r\n\r\n" * 1000),
    "longest-number": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n[", b"9" * 65_534 + b"]"],
    "busy": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n", b'[{"execution_state": "busy"}]'],
    "two-lengths": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 30\r\n\r\nok"],
}


def main() -> None:
    server = ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler)
    server.daemon_threads = True
    server.serve_forever()


main()
