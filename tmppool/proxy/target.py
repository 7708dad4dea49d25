"""The target of a request, in one spelling only, and its Host (RFC 9112 section 3.2). Pure.

A server that decodes, normalises or splits a path decides differently from one that does not. So a path for which that
makes a difference is refused, and every other is passed on byte for byte: ``%2F`` inside a file name is among those.
"""

import re

MAX_TARGET = 8000  # bytes: what RFC 9112 section 3 asks every server to take

_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_TWO_WAYS = re.compile(
    rb"""^//                                             # a host, to who resolves it as a reference
    | \\ | %5c                                           # a slash, to browsers and to Windows
    | %00                                                # the end, to C
    | %(?![0-9A-Fa-f]{2})                                # a character or two, or an error
    | (?:/|%2f) (?:\.|%2e){1,2} (?: / | %2f | ; | \Z )   # gone after RFC 3986 section 5.2.4
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_host(value: bytes) -> bool:
    """Return True if this is a name or an address, with or without a port, and nothing else (RFC 9110 section 7.2)."""
    return _HOST.fullmatch(value) is not None


def origin_form(target: bytes, host: bytes | None) -> bytes | None:
    """Return path and query; None for a target that names another place than ``host``, or its place ambiguously."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        if host is None or absolute[1].lower() != host.lower():
            return None
        target = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    if not target.startswith(b"/") or _TWO_WAYS.search(target.partition(b"?")[0]):
        return None
    return target
