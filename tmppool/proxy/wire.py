"""HTTP/1 heads on the wire, parsed strictly: a head that could be understood in two ways is refused. Pure.

A head is accepted by one grammar (RFC 9112 sections 2 to 6, RFC 9110 section 5).
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import formatdate

from multidict import CIMultiDict

from tmppool.errors import TmppoolError
from tmppool.jupyter_urls import SAFE_METHODS
from tmppool.proxy import target as targets
from tmppool.proxy.faults import Fault

MAX_REQUEST_HEAD = 16 * 1024  # bytes, as Node and HAProxy
MAX_RESPONSE_HEAD = 64 * 1024  # bytes
_MOST_ELEMENTS = 100  # of a list
MAX_FIELDS = 100  # a browser sends 20 to 30, and a proxy or two in front add 10

_PROXY_PROTOCOL = (b"PROXY TCP", b"PROXY UNKNOWN", b"\0\r\nQUIT\n")
"""How a head begins before which a proxy sends the PROXY protocol, version 1 or 2 (without its two empty lines)."""

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELDS = rb"((?:" + TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
_REQUEST = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\r\n" + _FIELDS)
_MISSPELT = re.compile(
    rb"(" + TOKEN + rb") (/(?:[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?) HTTP/1\.([01])\r\n" + _FIELDS
)
_RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n" + _FIELDS)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_ONCE = (b"host", b"content-length", b"transfer-encoding", b"upgrade", b"sec-websocket-key", b"sec-websocket-version",
         b"sec-websocket-accept", b"authorization", b"origin", b"expect")  # fmt: skip

_SAFE = frozenset(method.encode() for method in SAFE_METHODS)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = -1
UNTIL_CLOSE = -2


class BadMessageError(TmppoolError):
    """A message is not valid, or not unambiguous; ``fault`` says which kind of refusal its sender gets."""

    def __init__(self, why: str, fault: Fault = Fault.MALFORMED_HEAD) -> None:
        super().__init__(why)
        self.fault = fault


@dataclass(slots=True)
class Fields:
    """Header fields. ``lines`` hold each as (name in lower case, its line without CRLF).

    ``first`` holds the first value of each name, and ``more`` the others, both without the blanks around them.
    """

    lines: list[tuple[bytes, bytes]]
    first: dict[bytes, bytes]
    more: dict[bytes, list[bytes]] = field(default_factory=dict)

    def text(self) -> CIMultiDict[str]:
        """Return them as aiohttp would have read them."""
        found: CIMultiDict[str] = CIMultiDict()
        for _, line in self.lines:
            name, _, value = line.partition(b":")
            found.add(name.decode("ascii"), value.strip(b" \t").decode("utf-8", "surrogateescape"))
        return found

    def values(self, name: bytes) -> list[bytes]:
        """Return the value of each field ``name`` (lower case)."""
        if name not in self.first:
            return []
        first = self.first[name]
        return [first, *self.more[name]] if name in self.more else [first]

    def elements(self, name: bytes) -> list[bytes]:
        """Return the elements of the comma-separated field ``name`` (RFC 9110 section 5.6.1), in lower case.

        Several fields are one list, and behind its first hundred elements all that follows is one.
        """
        values = self.values(name)
        return [part.strip().lower() for part in b",".join(values).split(b",", _MOST_ELEMENTS)] if values else []


@dataclass(slots=True)
class Request:
    """A parsed request head. ``length``: bytes of the body, CHUNKED, or 0. ``keeps_alive``: the visitor asked for it.

    ``target`` is path and query, or ``*``. ``correction`` is None, unless the target is refused as it was sent: then
    it is the spelling that it can only have meant, or empty, and ``target`` is ``/``. No more is read after it.
    """

    method: bytes
    target: str
    minor: int
    fields: Fields
    length: int
    keeps_alive: bool
    correction: str | None = None

    @property
    def is_safe(self) -> bool:
        """True if the method changes nothing (RFC 9110 section 9.2.1)."""
        return self.method in _SAFE

    @property
    def expects_continue(self) -> bool:
        """True if the client waits for CONTINUE before it sends the body (RFC 9110 section 10.1.1).

        Without a body, and from HTTP/1.0, the expectation is ignored; one that is not 100-continue is no request.
        """
        return b"expect" in self.fields.first and self.length != 0 and self.minor == 1


@dataclass(slots=True)
class Response:
    """A parsed response head. ``length``: bytes of the body as framed, CHUNKED or UNTIL_CLOSE.

    The response to HEAD has no body whatever its length says (RFC 9112 section 6.3).
    """

    status: int
    reason: bytes
    fields: Fields
    length: int
    keeps_alive: bool


def parse_request(head: bytes) -> Request:
    """Parse a whole request head, its empty line included (RFC 9112 section 3). Raises BadMessageError."""
    method, target, minor, block = _split_request(head)
    if len(target) > targets.MAX_TARGET:
        raise BadMessageError("target too long", Fault.TARGET_TOO_LONG)
    fields = _parse_fields(block)
    first = fields.first
    if len(head) > MAX_REQUEST_HEAD and len(head) - _size_of_cookies(fields) > MAX_REQUEST_HEAD:
        raise BadMessageError("head too long", Fault.HEAD_TOO_LONG)
    host = first.get(b"host")
    if not targets.is_host(host or b"") and (minor, host) != (b"0", None):
        raise BadMessageError("Host is missing or invalid")
    asked, correction = _read_target(method, target, host)
    if b"expect" in first and first[b"expect"].lower() != b"100-continue":
        raise BadMessageError("unknown expectation", Fault.UNKNOWN_EXPECTATION)
    length = _length(fields, minor, 0)
    keeps_alive = correction is None and _keeps_alive(fields, minor)
    return Request(method, asked.decode("ascii"), int(minor), fields, length, keeps_alive, correction)


def _split_request(head: bytes) -> Sequence[bytes]:
    """Return method, target, version and fields, where it is sure which is which. Raises BadMessageError."""
    found = _REQUEST.fullmatch(head) or _MISSPELT.fullmatch(head)
    if found is None or b" HTTP/" in found[2]:
        is_proxys = head.startswith(_PROXY_PROTOCOL)
        raise BadMessageError("not a request head", Fault.PROXY_PROTOCOL if is_proxys else Fault.MALFORMED_HEAD)
    return found.groups()


def _read_target(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, str | None]:
    """Return path and query, and the correction of a target that is refused. Raises BadMessageError for no path."""
    if (method, target) == (b"OPTIONS", b"*"):
        return target, None
    asked = targets.origin_form(target, host) if targets.is_sendable(target) else None
    if method == b"CONNECT" or (asked is None and not target.startswith(b"/")):
        raise BadMessageError("the target is not a path")
    if asked is not None:
        return asked, None
    meant = targets.correct(target) if method in (b"GET", b"HEAD") else None
    return b"/", (meant or b"").decode("ascii")


def _size_of_cookies(fields: Fields) -> int:
    """Return the bytes of Cookie fields. They count for no limit: any page of the domain can set them."""
    return sum(len(line) for name, line in fields.lines if name == b"cookie")


def parse_response(head: bytes) -> Response:
    """Parse a whole response head, its empty line included (RFC 9112 section 4). Raises BadMessageError."""
    found = _RESPONSE.fullmatch(head)
    if found is None:
        raise BadMessageError("not a response head")
    if len(head) > MAX_RESPONSE_HEAD:
        raise BadMessageError("head too long")
    minor, status, reason, block = found.groups()
    fields = _parse_fields(block)
    length = _length(fields, minor, UNTIL_CLOSE)
    keeps_alive = length != UNTIL_CLOSE and _keeps_alive(fields, minor)
    return Response(int(status), reason or b"", fields, length, keeps_alive)


def _parse_fields(block: bytes) -> Fields:
    found = block.split(b"\r\n")[:-1]
    if len(found) > MAX_FIELDS:
        raise BadMessageError("too many fields", Fault.HEAD_TOO_LONG)
    lines: list[tuple[bytes, bytes]] = []
    first: dict[bytes, bytes] = {}
    more: dict[bytes, list[bytes]] = {}
    for line in found:
        name, _, value = line.partition(b":")
        key = name.lower()
        lines.append((key, line))
        if key not in first:
            first[key] = value.strip(b" \t")
        elif key in _ONCE:
            raise BadMessageError(f"more than one {key.decode()}")
        else:
            more.setdefault(key, []).append(value.strip(b" \t"))
    return Fields(lines, first, more)


def _length(fields: Fields, minor: bytes, otherwise: int) -> int:
    first = fields.first
    coding, length = first.get(b"transfer-encoding"), first.get(b"content-length")
    if coding is not None:
        if length is not None or minor == b"0" or coding.lower() != b"chunked":
            raise BadMessageError("ambiguous framing")
        return CHUNKED
    if length is None:
        return otherwise
    if not _LENGTH.fullmatch(length):
        raise BadMessageError("Content-Length is not a number")
    return int(length)


def _keeps_alive(fields: Fields, minor: bytes) -> bool:
    if b"connection" not in fields.first:
        return minor == b"1"
    if minor == b"1":
        return b"close" not in fields.elements(b"connection")
    return b"keep-alive" in fields.elements(b"connection")


_dated: tuple[int, bytes] = (0, b"")


def date_line() -> bytes:
    """Return the Date field (RFC 9110 section 6.6.1), made once a second."""
    global _dated  # noqa: PLW0603 - a cache of one
    now = int(time.time())
    if _dated[0] != now:
        _dated = (now, b"Date: " + formatdate(now, usegmt=True).encode())
    return _dated[1]
