"""Request heads parsed per CPU-second: this proxy's reader and the HTTP/1.1 parsers of three libraries."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import h11
import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser

from benchmarks.options import Options
from benchmarks.procs import BenchError
from benchmarks.table import OURS, Row
from tmppool.proxy import wire
from tmppool.proxy.head_readers import RequestHeadReader

KEY = "Q2hyb21lIHNlbnQgdGhpcyBrZXk"
BROWSER_HEAD = (
    f"GET /user/{KEY}/api/contents/welcome.ipynb?type=notebook&content=1&hash=1&1764374400000 HTTP/1.1\r\n"
    "Host: notebooks.example.org\r\n"
    "Connection: keep-alive\r\n"
    'sec-ch-ua: "Chromium";v="142", "Not_A Brand";v="99"\r\n'
    "sec-ch-ua-mobile: ?0\r\n"
    'sec-ch-ua-platform: "Linux"\r\n'
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36\r\n"
    "Content-Type: application/json\r\n"
    "X-XSRFToken: 2|5b1f0a52|3f6ff3b31b64b9d7c2d8a9ec93d1b6ae|1764374400\r\n"
    "Accept: */*\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    f"Referer: https://notebooks.example.org/user/{KEY}/notebooks/welcome.ipynb\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: _xsrf=2|5b1f0a52|3f6ff3b31b64b9d7c2d8a9ec93d1b6ae|1764374400; theme=dark; "
    "__Host-tmppool-0123456789abcdef=aGVyZSBpcyBhIHRva2Vu\r\n"
    "\r\n"
).encode()
"""The head of a request of Jupyter's page in Chromium."""

Read = Callable[[bytes], int]
"""Reads one head; returns the number of its header fields."""


async def request_heads(options: Options) -> AsyncIterator[Row]:
    """Measure each parser on one browser's request head, read repeatedly into method, target and all fields.

    Each is used as by a server on a keep-alive connection, except for h11, which gets a new Connection each time since
    its next cycle would need a response.
    """
    row = Row(f"request head of {len(BROWSER_HEAD)} bytes", "heads/CPU-s")
    readers = {OURS: _ours(), "aiohttp": _aiohttp(), "httptools": _httptools(), "h11": _h11}
    wanted = BROWSER_HEAD.count(b"\r\n") - 2  # without the request line and the empty line
    for number in range(options.rounds):
        for name, read in readers.items():
            if read(BROWSER_HEAD) != wanted:
                raise BenchError(f"{name} did not find {wanted} fields")
            took = await asyncio.to_thread(_time, read, options.counts.heads)
            row.add(name, options.counts.heads / took)
            options.say(f"http-parsers: round {number + 1} of {options.rounds}, {name}: {row.samples[name][-1]:,.0f}")
    yield row


def _time(read: Read, times: int) -> float:
    """Return this thread's CPU-seconds for reading the head ``times`` times."""
    since = time.thread_time()
    for _ in range(times):
        read(BROWSER_HEAD)
    return time.thread_time() - since


def _ours() -> Read:
    heads = RequestHeadReader()

    def read(data: bytes) -> int:
        head, _ = heads.feed(data)
        assert head is not None
        return len(wire.parse_request(head).fields.lines)

    return read


def _aiohttp() -> Read:
    """Return a reader with aiohttp's C parser, which its server uses unless AIOHTTP_NO_EXTENSIONS is set."""
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)

    def read(data: bytes) -> int:
        messages, _, _ = parser.feed_data(data)
        return len(messages[0][0].raw_headers)

    return read


class _Collector:
    """Collects httptools' callbacks, as uvicorn's protocol does."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_message_begin(self) -> None:
        self.fields = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))


def _httptools() -> Read:
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)

    def read(data: bytes) -> int:
        parser.feed_data(data)
        return len(collector.fields)

    return read


def _h11(data: bytes) -> int:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return len(event.headers)
