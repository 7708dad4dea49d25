"""The target of a request, in one spelling only, and its Host (RFC 9112 section 3.2). Pure.

A server that decodes, normalises or splits a path decides differently from one that does not. So a path for which that
makes a difference is refused, and every other is passed on byte for byte: ``%2F`` and ``%5C`` in a file's name are
among those.
"""

import re

MAX_TARGET = 8000  # bytes: what RFC 9112 section 3 asks every server to take

_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_SENT = re.compile(rb"[\x21\x22\x24-\x7e]+")  # all of ASCII that can be in a target, with what browsers leave as it is
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_TWO_WAYS = re.compile(
    rb"""^//                                             # a host, to who resolves it as a reference
    | \\                                                 # a slash, to browsers (URL Standard, path state)
    | %00                                                # the end, to C
    | %(?![0-9A-Fa-f]{2})                                # a character or two, or an error
    | (?:/|%2f|%5c) (?:\.|%2e){1,2} (?:/|%2f|%5c|;|\Z)   # gone after RFC 3986 section 5.2.4, and %5c is / to Windows
    """,
    re.IGNORECASE | re.VERBOSE,
)
_STRAY_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_WIDE_ESCAPE = re.compile(rb"%u[0-9A-Fa-f]{4}", re.IGNORECASE)  # one character, to ECMAScript's unescape() and to IIS
_NEVER_SENT = re.compile(rb"[^\x21-\x7e]")


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


def correct(target: bytes) -> bytes | None:
    """Return what a path and query that is refused, or may not be sent, was meant to be; None if that is not certain.

    Certain are more than one slash at the start, a percent sign that begins no escape, and blanks and UTF-8 as they
    are (RFC 9112 section 3.2: a recipient may redirect to the target in its proper encoding, not guess and go on).
    """
    path, mark, query = target.partition(b"?")
    if not path.startswith(b"/") or _WIDE_ESCAPE.search(path) or not _is_utf8(target):
        return None
    path = b"/" + _STRAY_PERCENT.sub(b"%25", path).lstrip(b"/")
    found = _NEVER_SENT.sub(lambda char: b"%%%02X" % ord(char[0]), path + mark + query)
    return found if is_accepted(found) else None


def is_accepted(target: bytes) -> bool:
    """Return True if this path and query is taken as it is in a request."""
    return len(target) <= MAX_TARGET and is_sendable(target) and origin_form(target, None) == target


def is_sendable(target: bytes) -> bool:
    """Return True if it has only characters of a target, and those that browsers send as they are."""
    return _SENT.fullmatch(target) is not None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
