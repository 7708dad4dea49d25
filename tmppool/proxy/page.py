"""HTML pages of a notebook that a browser shows, and the place in them where the service's own scripts go. Pure.

The scripts go to the beginning of a page's head (HTML, sections 13.2.6.4.1 to 13.2.6.4.4: what may come before it). So
only the beginning of a page is held back, however long the page is. Notebooks are asked for pages that are not
compressed; one that compresses them anyway has its short pages unpacked. Its long ones, and those that it streams, pass
as they are.
"""

import re
import zlib
from dataclasses import dataclass

from tmppool.proxy.wire import Fields, Response

_MOST_START = 16 * 1024  # bytes before a page's head: comments, perhaps a licence
_MOST_LOOKS = 8  # at a part that is still open: each reads it again
_MOST_PARTS = 256  # before a page's head: each is read on its own
_MOST_PACKED = 32 * 1024  # bytes of a compressed page: two milliseconds of the loop, if it is made to take long
_MOST_UNPACKED = 512 * 1024  # bytes; a millisecond of the loop

_HTML = b"text/html"
_XHTML = b"application/xhtml+xml"
_UNTYPED = (b"", b"*/*", b"unknown/unknown", b"application/unknown")
_MEDIA_TYPE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+/[!#$%&'*+\-.^_`|~0-9a-z]+")
# What a browser takes for HTML where no type is given (MIME Sniffing, section 7.1).
_LIKE_HTML = re.compile(
    rb"[\t\n\f\r ]*<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[ >]",
    re.IGNORECASE,
)
_MOST_SNIFFED = 64  # bytes of the content
_PACKINGS = (b"gzip", b"x-gzip", b"deflate")
_WITHOUT_PAGE = frozenset({204, 205, 206, 304})
_FLUSHED = b"\0\0\xff\xff"  # the end of what was packed so far: an empty block (RFC 1951 section 3.2.4)
_GZIP = b"\x1f\x8b"
_MOST_MEMBERS = 16  # of gzip, one behind the other (RFC 1952 section 2.2)
_AUTO = 32 + zlib.MAX_WBITS  # gzip's format or zlib's

_BOM = b"\xef\xbb\xbf"
_WIDE = b"\0\0\0<"  # the longest character before the first part
_SPACE = rb"[\t\n\f\r ]"
_PART = re.compile(
    _SPACE + rb"+"
    rb"|<!--(?:-?>|.*?--!?>)"
    rb"|<!doctype[^>]*>"
    rb"|<\?[^>]*>"
    # A quote opens a value only behind "=": elsewhere it is a letter (HTML, section 13.2.5.37).
    rb"|<(html|head)(?=[\t\n\f\r />])"
    rb"(?:[^>=]|=[\t\n\f\r ]*(?:\"[^\"]*\"|'[^']*')|=(?![\t\n\f\r ]*[\"']))*+>",
    re.IGNORECASE | re.DOTALL,
)
_BEGINNINGS = (b"<!--", b"<!doctype", b"<?", b"<html", b"<head")
_OTHER_TAG = re.compile(rb"<(?:html|head)[^\t\n\f\r />]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notice:
    """Script ``elements`` for a notebook's page, well-formed in XML too; the service's ``host`` as the browser knows
    it, and the path below it to which the scripts send their requests.
    """

    elements: bytes
    host: bytes = b""
    session_path: bytes = b""


def is_html(fields: Fields, *, is_sniffed: bool = False) -> bool:
    """Return True if the response is an HTML page, in either syntax; ``is_sniffed``: or may be taken for one."""
    kind = _type(fields)
    return kind in (_HTML, _XHTML) or (is_sniffed and kind in _UNTYPED)


def takes_notice(response: Response, *, is_sniffed: bool = False) -> bool:
    """Return True for a response that a browser shows as a page, in an encoding that can be edited.

    ``is_sniffed``: the browser looks at the content where the response has no type.
    """
    fields = response.fields
    is_shown = response.status not in _WITHOUT_PAGE and not 300 <= response.status < 400  # noqa: PLR2004 - redirects
    is_download = fields.first.get(b"content-disposition", b"").lower().startswith(b"attachment")
    coding = _coding(fields)
    is_page = is_shown and is_html(fields, is_sniffed=is_sniffed) and not is_download
    return is_page and (not coding or coding in _PACKINGS)


class Page:
    """A page whose beginning is held back until it is known where ``elements`` go.

    ``is_decided``: ``content`` may be sent, and whatever follows it. ``has_notice``: the elements are in it.
    """

    def __init__(self, elements: bytes, fields: Fields) -> None:
        self.is_decided = False
        self.has_notice = False
        self.content = b""
        self._is_xml = _type(fields) == _XHTML
        self._is_untyped = _type(fields) in _UNTYPED
        self._elements = elements
        self._is_packed = bool(_coding(fields))
        self._size = 0
        self._looks = 0  # at a part that is still open
        self._looked = 0  # bytes of the content that are known to come before its head
        self._parts = 0  # in these bytes

    @property
    def growth(self) -> int:
        """The bytes by which ``content`` is longer than what was added; negative if it was unpacked from more."""
        return len(self.content) - self._size

    def add(self, content: bytes, *, is_whole: bool) -> None:
        """Take the next piece of the page; ``is_whole`` with the last one."""
        self._size += len(content)
        self.content += content
        if self._is_packed:
            self._try_packed(is_whole=is_whole)
        elif self.content and self._is_untyped and not _LIKE_HTML.match(self.content):
            begin = self.content.lstrip(b"\t\n\f\r ")
            self.is_decided = len(self.content) >= _MOST_SNIFFED or not b"<".startswith(begin[:1])
        elif self.content and (is_whole or self._is_worth_a_look(content)):
            self._try(is_whole=is_whole)
        self.is_decided = self.is_decided or is_whole

    def _is_worth_a_look(self, content: bytes) -> bool:
        """Return True unless the part that is still open goes on: it would be read again for each piece."""
        is_open = self._looked < len(self.content) - len(content)
        self._looks += is_open
        may_close = b">" in content and self._looks <= _MOST_LOOKS
        return not is_open or may_close or len(self.content) > _MOST_START

    def _try_packed(self, *, is_whole: bool) -> None:
        if len(self.content) > _MOST_PACKED or (self.content.endswith(_FLUSHED) and not is_whole):
            self.is_decided = True  # too long, or streamed: its visitor waits for what has come
        elif is_whole:
            packed, unpacked = self.content, _unpack(self.content)
            if unpacked and (not self._is_untyped or _LIKE_HTML.match(unpacked)):
                self.content = unpacked
                self._try(is_whole=True)
            if not self.has_notice:
                self.content = packed

    def _try(self, *, is_whole: bool) -> None:
        data = self.content
        if len(data) < len(_WIDE) and not is_whole:
            return
        if _is_wide(data):
            self.is_decided = True
            return
        self._looked, self._parts, is_found, is_in_head = _find(data, self._looked, self._parts)
        if is_found or is_whole or len(data) > _MOST_START:
            self.is_decided = True
            if is_in_head or not self._is_xml:  # XML has no head but the one that is written
                self.has_notice = True
                self.content = data[: self._looked] + self._elements + data[self._looked :]


def _find(data: bytes, position: int, parts: int) -> tuple[int, int, bool, bool]:
    """Return how far the parts before the head's content go, and how many they are, if what follows is known, and if
    a head has begun.

    Parts are looked for in the first ``_MOST_START`` bytes only, also of a page that was unpacked to many more.
    """
    if position == 0 and data.startswith(_BOM):
        position = len(_BOM)
    while parts < _MOST_PARTS and (part := _PART.match(data, position, _MOST_START)) is not None:
        position, parts = part.end(), parts + 1
        if (part[1] or b"").lower() == b"head":
            return position, parts, True, True
    is_known = parts == _MOST_PARTS or not _may_begin_part(data[position : position + 16])
    return position, parts, is_known, False


def _may_begin_part(rest: bytes) -> bool:
    """Return True if a part that comes before the head may begin here, and is not all here yet."""
    start = rest.lower()
    begins = any(start.startswith(each) or each.startswith(start) for each in _BEGINNINGS)
    return begins and _OTHER_TAG.match(rest) is None


def _is_wide(data: bytes) -> bool:
    """Return True if its characters have two bytes or four, as in UTF-16: there, what we write would be noise."""
    return data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[: len(_WIDE)]


def _unpack(packed: bytes) -> bytes:
    """Return the content; empty if it is not whole and short, in one of the known formats."""
    # Some servers send deflate without zlib's wrapping.
    return _unpack_as(_AUTO, packed) or _unpack_as(-zlib.MAX_WBITS, packed)


def _unpack_as(bits: int, packed: bytes) -> bytes:
    content = b""
    for _ in range(_MOST_MEMBERS):
        room = _MOST_UNPACKED - len(content)
        unpacker = zlib.decompressobj(bits)
        try:
            content += unpacker.decompress(packed, room) if room else b""
        except zlib.error:
            return b""
        packed = unpacker.unused_data
        if not (unpacker.eof and packed.startswith(_GZIP)):
            return content if unpacker.eof and not packed else b""
    return b""


def _type(fields: Fields) -> bytes:
    """Return the media type, of several the last valid one (Fetch, "extract a MIME type"); empty without one."""
    value = fields.first.get(b"content-type", b"")
    if b"," in value or b"content-type" in fields.more:
        kinds = [each.partition(b";")[0].strip() for each in fields.elements(b"content-type")]
        return next((each for each in reversed(kinds) if _MEDIA_TYPE.fullmatch(each) and each != b"*/*"), b"")
    return value.partition(b";")[0].strip().lower()


def _coding(fields: Fields) -> bytes:
    """Return the content's coding; empty without one."""
    return b",".join(each for each in fields.elements(b"content-encoding") if each not in (b"", b"identity"))
