"""The two halves of a WebSocket's handshake (RFC 6455 section 4). Pure."""

import base64
import binascii
import hashlib

from tmppool.proxy.wire import BadMessageError, Fields, Request, Response

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_KEY_SIZE = 16  # bytes
_CHOICES = (b"sec-websocket-protocol", b"sec-websocket-extensions")


def is_handshake(fields: Fields) -> bool:
    """Return True if these fields ask for or accept a WebSocket; other upgrades are ignored (RFC 9110 section 7.8)."""
    return (
        b"upgrade" in fields.first
        and fields.first[b"upgrade"].lower() == b"websocket"
        and b"upgrade" in fields.elements(b"connection")
    )


def is_without_upgrade(request: Request) -> bool:
    """Return True for a handshake whose fields Upgrade and Connection were removed, as proxies do unless told not to.

    They are for the next hop only (RFC 9110 section 7.6.1), unlike the key, which nothing but a handshake has.
    """
    fields = request.fields
    return request.method == b"GET" and b"sec-websocket-key" in fields.first and not is_handshake(fields)


def check(request: Request) -> None:
    """Check the visitor's half (RFC 6455 section 4.2.1). Raises BadMessageError."""
    first = request.fields.first
    if request.method != b"GET" or request.minor != 1 or request.length:
        raise BadMessageError("a WebSocket handshake is a GET of HTTP/1.1")
    if first.get(b"sec-websocket-version") != b"13":
        raise BadMessageError("Sec-WebSocket-Version must be 13")
    try:
        size = len(base64.b64decode(first.get(b"sec-websocket-key", b""), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != _KEY_SIZE:
        raise BadMessageError("Sec-WebSocket-Key must be 16 bytes in base64")


def is_accepted(request: Request, response: Response) -> bool:
    """Return True if the notebook's 101 fits this request: its upgrade, its digest, and choices that were offered."""
    key = request.fields.first.get(b"sec-websocket-key", b"")
    digest = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        is_handshake(response.fields)
        and response.fields.first.get(b"sec-websocket-accept") == digest
        and len(_names(response.fields, b"sec-websocket-protocol")) <= 1
        and all(_names(response.fields, field) <= _names(request.fields, field) for field in _CHOICES)
    )


def _names(fields: Fields, field: bytes) -> set[bytes]:
    """Return a list's names, without parameters: a quoted one is a token too, so it holds no comma (section 9.1)."""
    return {element.partition(b";")[0].strip() for element in fields.elements(field)}


def switching(lines: list[bytes]) -> bytes:
    """Return the head of the 101 for the visitor."""
    return b"HTTP/1.1 101 Switching Protocols\r\n%b%b\r\n" % (UPGRADE, b"".join(line + b"\r\n" for line in lines))
