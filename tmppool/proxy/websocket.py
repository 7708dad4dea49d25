"""One WebSocket to a notebook: the notebook is reached and its 101 checked before the visitor hears anything.

Then both connections become one raw tunnel (``tunnel.py``): whatever extension, fragment or size the two ends agreed
on passes unread. h11 writes and reads the handshake (RFC 6455 section 4, RFC 9112).
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping

import h11
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from tmppool.notebook import Notebook
from tmppool.proxy import headers, tunnel
from tmppool.proxy.forwarded import Client
from tmppool.proxy.http import UpstreamError

_TIMEOUT = 30.0  # seconds for the notebook to answer the handshake
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY_SIZE = 16  # bytes
_ALL = 2**20  # bytes, more than the reader ever buffers: nothing may be left behind in it
_MAX_BODY = 64 * 1024  # bytes of a refusal that are passed on


def is_handshake(found: Mapping[str, str]) -> bool:
    """Whether these headers ask for or accept a WebSocket; other upgrades are ignored (RFC 9110 section 7.8)."""
    return headers.has_token(found, "Connection", "upgrade") and headers.has_token(found, "Upgrade", "websocket")


async def bridge(
    request: web.Request, notebook: Notebook, client: Client, target: str, touch: Callable[[], None] | None
) -> web.StreamResponse:
    """Tunnel one WebSocket until either end stops or the notebook is reaped.

    ``touch`` is called for data frames from the visitor, None where these are no interactions. Raises
    UpstreamError, and HTTPBadRequest for a handshake that is none.
    """
    key = _checked_key(request)
    assert notebook.upstream is not None
    running = notebook.upstream.running
    try:
        async with asyncio.timeout(_TIMEOUT):
            sock = await running.dial.connect()
            reader, writer = await asyncio.open_connection(sock=sock)
    except (OSError, TimeoutError) as error:
        raise UpstreamError(type(error).__name__) from error
    try:
        async with asyncio.timeout(_TIMEOUT):
            outgoing = _outgoing(request, client, running.token)
            answer, body, early = await _handshake(reader, writer, target, outgoing)
    except (OSError, TimeoutError, h11.ProtocolError) as error:
        writer.close()
        raise UpstreamError(type(error).__name__) from error
    except BaseException:
        writer.close()
        raise
    incoming = headers.to_visitor(headers.mapping(answer.headers.raw_items()), running.base_path)
    if not isinstance(answer, h11.InformationalResponse):
        writer.close()
        return web.Response(status=answer.status_code, headers=_without_framing(incoming), body=body)
    if not _is_accepted(answer, key):
        writer.close()
        raise UpstreamError("the notebook's 101 does not fit the handshake")
    await tunnel.run(request, writer, _switching(incoming, answer), early, notebook.on_close, touch)
    return web.Response()  # never written: the connection is closed


def _checked_key(request: web.Request) -> bytes:
    key = request.headers.getall("Sec-WebSocket-Key", ())
    try:
        size = len(base64.b64decode(key[0], validate=True)) if len(key) == 1 else 0
    except (binascii.Error, ValueError):
        size = 0
    if request.method != "GET" or request.version < HttpVersion11 or size != _KEY_SIZE:
        raise web.HTTPBadRequest(text="This is not a WebSocket handshake.\n")
    if request.headers.get("Sec-WebSocket-Version") != "13":
        text = "Only version 13 of the WebSocket protocol is spoken here.\n"
        raise web.HTTPBadRequest(text=text, headers={"Sec-WebSocket-Version": "13"})
    return key[0].encode()


def _outgoing(request: web.Request, client: Client, token: str) -> list[tuple[str, str]]:
    passed = headers.to_notebook(request.headers, client, token)
    passed.popall("Content-Length", None)
    passed["Connection"] = "Upgrade"
    passed["Upgrade"] = "websocket"
    return list(passed.items())


async def _handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, outgoing: list[tuple[str, str]]
) -> tuple[h11.Response | h11.InformationalResponse, bytes, bytes]:
    """Return the notebook's answer, its body when it refuses, and what already came through when it accepts."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=64 * 1024)
    request = h11.Request(method="GET", target=target, headers=outgoing)
    writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
    answer: h11.Response | h11.InformationalResponse | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_ALL))
        elif isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:  # noqa: PLR2004 - Switching Protocols
                return event, b"", http.trailing_data[0]
        elif isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data) and len(body) < _MAX_BODY:
            body += event.data
        elif isinstance(event, h11.EndOfMessage) or len(body) >= _MAX_BODY:
            assert answer is not None
            return answer, bytes(body), b""
        else:
            raise h11.RemoteProtocolError("the notebook closed before it answered")


def _is_accepted(answer: h11.InformationalResponse, key: bytes) -> bool:
    found = headers.mapping(answer.headers.raw_items())
    wanted = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    return is_handshake(found) and found.getall("Sec-WebSocket-Accept", ()) == [wanted]


def _without_framing(incoming: CIMultiDict[str]) -> CIMultiDict[str]:
    incoming.popall("Content-Length", None)
    return incoming


def _switching(incoming: CIMultiDict[str], answer: h11.InformationalResponse) -> bytes:
    """Return the head of the 101 for the visitor."""
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"{name}: {value}" for name, value in _without_framing(incoming).items()]
    return "\r\n".join([*lines, "", ""]).encode()
