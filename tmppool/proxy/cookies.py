"""Cookies: the service's own, those that a notebook set, and all others, which do not concern it. Pure.

A browser sends a notebook whatever its host or the domain above has set: the session of another site of the same
domain, which scripts there cannot read, would be a gift to a stranger's program. And any page of that domain can
fill the jar until no request fits. So a notebook is sent only what it has set itself, and what others have set does
not count.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable

NAME = "tmppool"
FRAMED = "_framed"  # at the end of the name of a visitor's cookie in a frame

_RESERVED = re.compile(rb"__host-|(?:__secure-|__http-)?%b" % NAME.encode())
# More than a token (RFC 6265 section 4.1.1), as browsers take more and some frameworks use it: brackets and the like.
_COOKIE_NAME = re.compile(rb"[!#$%&'()*+\-./:<>?@\[\]^_`{|}~0-9A-Za-z]+")
# As long as ours are, which have 22 or 32 characters, a workshop code and a ticket more: what a page can set that looks
# like them stays small.
_OWN = re.compile(
    rb"(?:^|;)[ \t]{0,8}((?:__Host-(?:Http-)?|__Secure-)?%b(?:_[0-9]{1,5})?(?:%b)?"
    rb"(?:_(?:code|ticket(?:-[0-9a-z]{1,10})?)=[A-Za-z0-9_.~%%-]{1,112}|(?:_claim)?(?:-[0-9a-z]{1,10})?=[A-Za-z0-9_.~%%-]{1,32}))"
    rb"[ \t]{0,8}(?=;|$)" % (NAME.encode(), FRAMED.encode())
)
OWN_SIZE = 184  # bytes; a pair that is longer, with the blanks around it, is none of ours
_NOT_TEXT = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_MAX_COOKIE = 4096  # bytes
_MAX_ATTRIBUTES = 20  # with the pair itself; browsers know nine
_MAX_PATH = 1024  # bytes; browsers take no notice of a longer attribute (RFC 6265bis section 5.6)
_MAX_KNOWN = 64 * 1024  # bytes of one notebook's pairs: four times what fits into a request
_EACH = 100  # bytes that are counted for a pair beside its own


class Jar:
    """The cookies that one notebook has set, so that it is sent no others; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._size = 0

    def note(self, cookie: bytes) -> None:
        """Remember the pair of a Set-Cookie, in the form in which browsers send it back (RFC 6265 section 5.2)."""
        name, equals, value = cookie.partition(b";")[0].partition(b"=")
        pair = name.strip(b" \t") + equals + value.strip(b" \t")
        if pair not in self._known:
            self._size += len(pair) + _EACH
        self._known[pair] = None
        self._known.move_to_end(pair)
        while self._size > _MAX_KNOWN:
            oldest, _ = self._known.popitem(last=False)
            self._size -= len(oldest) + _EACH

    def of(self, values: Iterable[bytes]) -> bytes:
        """Return the pairs in these values of Cookie fields that the notebook has set, as one value."""
        if not self._known:
            return b""
        known = self._known
        return b"; ".join(
            [pair for value in values for part in value.split(b";") if (pair := part.strip(b" \t")) in known]
        )


def confine(cookie: bytes, base_path: bytes) -> bytes | None:
    """Return a notebook's Set-Cookie confined to its own path and host; None when it may not be set at all.

    A name must be of visible ASCII characters, without quotes, commas and backslashes: some servers take a name with a
    blank of Unicode's before it, or in quotes, for the name without, which would get around what is reserved. Names of
    ours are, and names that browsers accept for the whole host alone (``__Host-``).
    """
    if len(cookie) > _MAX_COOKIE:
        return None
    pair, *attributes = cookie.strip().split(b";", _MAX_ATTRIBUTES)[:_MAX_ATTRIBUTES]
    name = pair.partition(b"=")[0].strip()
    if not _COOKIE_NAME.fullmatch(name) or _RESERVED.match(name.lower()):
        return None
    path = base_path
    kept = [pair.strip()]
    for attribute in attributes:
        key, _, value = (part.strip() for part in attribute.partition(b"="))
        match key.lower():
            case b"domain" | b"":
                continue
            case b"path":
                path = value if value.startswith(base_path) and len(value) <= _MAX_PATH else base_path
            case _:
                kept.append(attribute.strip())
    return b"; ".join([*kept, b"Path=" + path])


def joined(pairs: bytes, more: bytes) -> bytes:
    """Return ``pairs`` and those of ``more`` whose names are not among them, as one value of a Cookie field."""
    names = {pair.partition(b"=")[0].strip() for pair in pairs.split(b";")}
    added = [pair.strip() for pair in more.split(b";") if pair.partition(b"=")[0].strip() not in names]
    return b"; ".join([pairs, *added] if pairs else added)


def value_of(pairs: bytes, name: bytes) -> bytes:
    """Return the value of the first of these pairs with this name; empty if there is none."""
    split = (pair.strip().partition(b"=") for pair in pairs.split(b";"))
    return next((value for key, _, value in split if key == name), b"")


def own(pairs: bytes) -> list[bytes] | None:
    """Return the pairs of a Cookie field's value that may be the service's own; None where it is no field's value."""
    return None if _NOT_TEXT.search(pairs) else _OWN.findall(pairs)


def own_values(lines: Iterable[str], name: str) -> set[str]:
    """Return the values of our cookie in a visitor's Cookie fields; of several, a page has set all but one.

    Read as browsers write them, and not more leniently: a name with a blank of Unicode's around it and a pair inside
    another's quotes, which aiohttp's reader takes for ours or hides, are what a page in a notebook can set.
    """
    pairs = (pair.partition("=") for line in lines for pair in line.split(";"))
    return {value.strip(" \t") for key, _, value in pairs if key.strip(" \t") == name}


def own_value(lines: Iterable[str], name: str) -> str:
    """Return the value of our cookie in a visitor's Cookie fields, empty when there is none or several that differ."""
    values = own_values(lines, name)
    return values.pop() if len(values) == 1 else ""  # of several, one was tossed in by a page of another host
