"""Three independent readings of what reached a notebook: ours for the tests, h11's, and llhttp's through aiohttp.

Each returns the whole requests and what is left. A request means one thing when all three agree.
"""

import asyncio
import re
from dataclasses import dataclass

import h11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser


@dataclass(frozen=True)
class Seen:
    """``fields`` are (name in lower case, value), in order."""

    method: str
    target: str
    body: bytes
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


class UnclearError(Exception):
    """What came is no request, and the beginning of none."""


def strict(data: bytes) -> tuple[list[Seen], bytes]:
    """Read by the letter of RFC 9112, and of that the narrowest. Raises UnclearError."""
    found = []
    while b"\r\n\r\n" in data:
        head, _, rest = data.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        words = start.split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or re.search(rb"[\x00-\x20\x7f-\xff]", words[0] + words[1]):
            raise UnclearError(start)
        fields = [_field(line) for line in lines]
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value for name, value in fields if name == "transfer-encoding"]
        if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]) or not all(map(str.isascii, lengths)):
            raise UnclearError(head)
        body: bytes | None = b""
        if lengths:
            size = int(lengths[0])
            body, rest = (rest[:size], rest[size:]) if len(rest) >= size else (None, rest)
        elif codings:
            body, rest = _chunks(rest)
        if body is None:
            break
        found.append(Seen(words[0].decode(), words[1].decode(), body, tuple(fields)))
        data = rest
    return found, data


def _field(line: bytes) -> tuple[str, str]:
    match = re.fullmatch(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[\t ]*((?:[^\x00-\x08\x0a-\x1f\x7f])*?)[\t ]*", line)
    if match is None:
        raise UnclearError(line)
    return match[1].decode().lower(), match[2].decode("latin-1")


def _chunks(data: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while match := re.match(rb"([0-9a-f]{1,8})\r\n", data):
        size, start = int(match[1], 16), match.end()
        end = start + size
        if len(data) < end + 2:
            return None, data
        if data[end : end + 2] != b"\r\n":
            raise UnclearError(data[end : end + 2])
        body += data[start:end]
        data = data[end + 2 :]
        if size == 0:
            return body, data
    if re.fullmatch(rb"[0-9a-f]{0,8}\r?", data):
        return None, data
    raise UnclearError(data[:40])


def by_h11(data: bytes) -> tuple[list[Seen], bytes]:
    """Raises h11.RemoteProtocolError."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    reader.receive_data(data)
    found = []
    request, body = None, b""
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            assert not event.headers, "a trailer"
            fields = tuple((name.decode(), value.decode("latin-1")) for name, value in request.headers)
            found.append(Seen(request.method.decode(), request.target.decode(), body, fields))
            request = None
            reader.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            reader.send(h11.EndOfMessage())
            reader.start_next_cycle()
        else:
            break
    return found, reader.trailing_data[0] if request is None else b"a request without end"


def by_llhttp(data: bytes) -> tuple[list[Seen], bytes]:
    """Raises aiohttp.http_exceptions.BadHttpMessage."""
    loop = asyncio.get_running_loop()
    reader = HttpRequestParser(BaseProtocol(loop), loop, 1 << 20, max_line_size=1 << 16, max_field_size=1 << 16)
    messages, _, tail = reader.feed_data(data)
    found = []
    for request, payload in messages:
        if not payload.is_eof():
            return found, b"a request without end"
        fields = tuple(
            (name.decode().lower(), value.decode("latin-1").strip("\t ")) for name, value in request.raw_headers
        )
        found.append(Seen(request.method, request.path, payload.read_nowait(), fields))
    return found, tail


def agreed(data: bytes) -> list[Seen]:
    """Return the requests that all three see, and that nothing is left behind them."""
    (ours, left), (h11s, _), (llhttps, _) = strict(data), by_h11(data), by_llhttp(data)
    assert ours == h11s, "h11 reads something else"
    assert ours == llhttps, "llhttp reads something else"
    assert left == b"", "more than whole requests"
    return ours


def whole(data: bytes) -> list[list[Seen]]:
    """Return the whole requests that each sees in what may have been broken off."""
    return [reading(data)[0] for reading in (strict, by_h11, by_llhttp)]
