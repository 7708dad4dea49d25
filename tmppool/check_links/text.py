"""Finds the links to services in a text of any format, as a browser would follow them. Pure; no text is trusted.

A text is not parsed: a link is where the name of a service stands behind ``//``, so it is found in pages, sources,
configurations and programs alike, comments included. All that is read for one link is bounded, so that the time is
linear in the length of the text.

Sources: URL Standard; CommonMark 0.31, sections 2.4, 2.5 and 6.3; GitHub Flavored Markdown, "Extended autolinks";
JSON (RFC 8259 section 7); HTML, section 13.2.5.72 (character references).
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from tmppool.web import peer_links

_MOST = 8192  # characters of one link: a little more than a service takes
_MOST_INSIDE = 3  # links in the text of another
_BEFORE = 2000  # characters before a link that tell its use: a frame's attributes
_NEAR = 500  # of them: a script

_COLON, _SLASHES = "(?::|%3A)", r"(?:\\?/|\\u002F|%2F){2}"
_LEAD = rf"(?P<lead>https?{_COLON}{_SLASHES}|(?<![\w:/\\%]){_SLASHES}|(?<=[\"'(<]))"
_USER = r"(?:(?<=[/F])(?P<user>[^\s/?#\"'`<>(){}\[\]|\\]{1,200}@))?"  # and a password, which may have an @ in it
_NO_END = r"(?!(?!%2F|%3F|%23)[A-Za-z0-9_@%-]|[.:][A-Za-z0-9_])"  # behind a host that goes on

_SPACED = re.compile(r"=\s?\\?([\"'])\Z|\]\((<)\Z")  # an attribute, and a destination in pointed brackets
_UNTIL = {
    '"': re.compile(r'([^"<>\r\n]*)"'),
    "'": re.compile(r"([^'<>\r\n]*)'"),
    "<": re.compile(r"([^<>\r\n]*)>"),
}
_QUOTED = {mark: re.compile(rf"(?:[^\s<>\\{mark}]+|\\(?![nrt]))*") for mark in "\"'`"}
_BARE = re.compile(r"(?:[^\s\"`<>|^{}\[\]\\]+|\\(?![nrt]))*")  # a line ends in JSON by \\n
_TARGET = re.compile(r"(?:href|src|data|action)\s?=\s?\\?[\"']\Z|\]\(<?\Z", re.IGNORECASE)  # what only a link is in
_IN_QUERY = re.compile(r"[?&;][\w.-]{1,40}=\Z")  # of another link

_ESCAPE = re.compile(r"\\{1,2}(?:u00([0-9a-fA-F]{2})|([!#$%&()*+,./:;=?@_~-]))")
_END = re.compile(r"&(?:quot|lt|gt|apos|nbsp|#34|#39|#x22|#x27);")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_DROPPED = dict.fromkeys(map(ord, "\t\r\n"))  # by browsers, anywhere in a link
_PUNCTUATION = "?!.,:;*_~'"

_MADE = re.compile(
    r"[{}…]|[/=]&lt;|\$[({A-Za-z_]|%\(|%[sd](?![0-9A-Fa-f])"
)  # by a template, or left for the reader to fill
_GOES_ON = re.compile(r"[{…]|<[%?$]|\\?[\"'`]\s{0,20}(?:[+~]|%(?!\})|\.(?:format|concat)\b|\.\s?\$)")
_GOES_ON_BEHIND_SLASH = re.compile(r"<[A-Za-z]|&lt;|[\[|]")

_S, _Q = r"\s{0,40}", r"(?:\\?[\"'`]|&quot;)"
_FRAMES = re.compile(
    r"""<(?:iframe|frame|embed|object)\b  # HTML, where a quote counts behind = only
      (?:[^<>=]|=\s*\\?"[^"<]*"|=\s*\\?'[^'<]*'|=(?!\s*\\?["']))*(?:=\s*\\?["']\s*)?\Z
    | \b(?:iframe|include_url)\([^()]*\Z              # IPython, htmltools, knitr
    | \{iframe\}\s{1,4}\Z                              # MyST
    | \{\{[<%]\s?iframe[^{}<>%]*\Z                     # Hugo, Quarto""",
    re.IGNORECASE | re.VERBOSE,
)
_SCRIPTS = re.compile(
    rf"""\b(?:EventSource|fetchEventSource)\({_S}{_Q}\Z
    | \b(?:binderUrl|baseUrl){_Q}?\s?[:=]\s?{_Q}?\Z    # thebe
    | \bJuniper\(\s?\{{[^{{}}]*\burl\s?:\s?{_Q}\Z
    | \b(?:binder|server){_Q}?\s?:\s{{0,9}}\{{?\s{{0,9}}(?:{_Q}?\w+{_Q}?\s?:[^\n,{{}}]*[\n,]\s{{0,20}}){{0,4}}
      {_Q}?url{_Q}?\s?:\s?{_Q}?\Z                      # MyST's jupyter: {{binder: {{url: …}}}}""",
    re.IGNORECASE | re.VERBOSE,
)
_ASKS_API = re.compile(
    rf"""\b(?:fetch|axios(?:\.\w+)?|sendBeacon|Request|URL)\({_S}{_Q}\Z
    | \$\.\w+\({_S}{_Q}\Z | \.open\({_S}{_Q}\w+{_Q},{_S}{_Q}\Z  # jQuery, XMLHttpRequest
    | \b(?:const|let|var)\s\w+\s?={_S}{_Q}\Z""",
    re.VERBOSE,
)
_SETS_SRC = re.compile(rf"\.src\s?={_S}{_Q}\Z|\.(?:setAttribute|attr|prop)\({_S}{_Q}src{_Q},{_S}{_Q}\Z")
_PICTURES = ("/badge", "/picture/", "/static/")

_AS_IT_IS = "".join(chr(each) for each in range(0x21, 0x7F) if chr(each) not in '"<>`{}')
_DOTS = {".": 0, "%2e": 0, "..": 1, ".%2e": 1, "%2e.": 1, "%2e%2e": 1}  # how many segments each takes away


class Use(StrEnum):
    """The use that a page makes of a link."""

    LINK = "link"
    FRAME = "frame"
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class Link:
    """A link to ``service``, an origin, at line and column of a file, both from 1.

    ``written``: the link as it is meant, without the escapes of its text. ``target``: path and query as a browser sends
    them. ``is_made``: a template makes the rest of it. ``has_scheme``: False for what only looks like a link to the
    service, and is one into the site itself. ``has_user``: a name or password is in it, which ``written`` leaves out.
    """

    file: str
    line: int
    column: int
    written: str
    service: str
    target: str
    fragment: str = ""
    use: Use = Use.LINK
    is_made: bool = False
    has_scheme: bool = True
    has_user: bool = False


class Finder:
    """Finds the links to ``services``, which are origins; each is found by http and https alike."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = services
        self._names = [name for service in services for name in _names(service)]
        hosts = "|".join(f"(?P<s{index}>{_authority(service)})" for index, service in enumerate(services))
        self._start = re.compile(f"{_LEAD}{_USER}(?:{hosts}){_NO_END}", re.IGNORECASE)

    def may_be_in(self, content: bytes) -> bool:
        """Return False if no link is in the text with this content, in an encoding that has ASCII in it."""
        lower = content.lower()
        return any(name.encode() in lower for name in self._names)

    def links(self, file: str, text: str, *, is_markup: bool) -> Iterator[Link]:
        """Yield the links in a text; ``is_markup``: its ``&amp;`` is an ``&``."""
        line, line_start, seen = 1, 0, 0
        outer_end, inside = 0, 0
        for found in self._start.finditer(text):
            line += text.count("\n", seen, found.start())
            line_start = max(line_start, text.rfind("\n", seen, found.start()) + 1)
            seen = found.start()
            before = text[max(0, seen - _BEFORE) : seen]
            inside = inside + 1 if seen < outer_end else 0
            if inside > _MOST_INSIDE or not (_is_sure(found) or _TARGET.search(before)):
                continue
            raw, after = _read(text, found.end(), before)
            outer_end = outer_end if inside else found.end() + len(raw)
            rest = _rest(raw, before, is_markup=is_markup, is_encoded="%" in found["lead"])
            place, _, fragment = rest.partition("#")
            service = str(found.lastgroup)
            yield Link(
                file,
                line,
                seen - line_start + 1,
                unquote(_unescaped(found["lead"] + ("…@" if found["user"] else "") + found[service])) + rest,
                self._services[int(service[1:])],
                _sent(place),
                fragment,
                _use(before, place),
                is_made=_is_made(raw, after),
                has_scheme=bool(found["lead"]),
                has_user=found["user"] is not None,
            )


def _is_sure(found: re.Match[str]) -> bool:
    """Return True if this is a link wherever it stands: no mere host name, and no address of mail behind ``//``."""
    return found["lead"][:1].isalpha() or (found["lead"] != "" and found["user"] is None)


def _names(service: str) -> list[str]:
    """Return the host's name in both of its spellings (IDNA)."""
    host = urlsplit(service).hostname or ""
    try:
        return list(dict.fromkeys([host, host.encode().decode("idna")]))
    except UnicodeError:
        return [host]


def _authority(service: str) -> str:
    """Return a pattern for host and port."""
    port = urlsplit(service).port
    hosts = "|".join(re.escape(f"[{name}]" if ":" in name else name) for name in _names(service))
    is_usual = port in (None, 80, 443)
    return f"(?:{hosts})" + (f"(?:{_COLON}(?:80|443))?" if is_usual else f"{_COLON}{port}")


def _read(text: str, start: int, before: str) -> tuple[str, str]:
    """Return what stands between a host and the end of the link, and the text behind that."""
    spaced = _SPACED.search(before[-4:])
    found = _UNTIL[spaced[1] or spaced[2]].match(text, start, start + _MOST) if spaced else None
    if found is not None:
        return found[1], text[found.end(1) : found.end(1) + 40]
    mark = before[-1:]
    read = _QUOTED.get(mark, _BARE).match(text, start, start + _MOST)
    assert read is not None, "the patterns match nothing, too"
    is_whole = mark in _QUOTED and text[read.end() : read.end() + 1] == mark
    raw = read[0] if is_whole else _trimmed(read[0])
    return raw, text[start + len(raw) : start + len(raw) + 40]


def _trimmed(raw: str) -> str:
    """Return a link that stands in prose, without what belongs to the prose."""
    raw = _ended(raw)
    depth = 0
    for index, char in enumerate(raw):
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return raw[:index]
    return raw.rstrip(_PUNCTUATION)


def _ended(raw: str) -> str:
    """Return a link without what its text has behind it: an escaped quote or bracket and all that follows, blanks."""
    link = _END.split(raw, maxsplit=1)[0]
    end = len(link)
    while end and _BLANK.match(link, end - 1):  # not r"\s+\Z", which is tried anew at each blank of a run
        end -= 1
    return link[:end]


def _rest(raw: str, before: str, *, is_markup: bool, is_encoded: bool) -> str:
    """Return path, query and fragment without the escapes of the text; empty if there is none of them."""
    rest = _ended(_unescaped(raw).partition("\\")[0])
    if is_markup:
        rest = _ENTITY.sub(lambda found: html.unescape(found[0]), rest)
    if is_encoded or _IN_QUERY.search(before):
        rest = rest.partition("&")[0]
    rest = (unquote(rest) if is_encoded else rest).translate(_DROPPED).strip()
    return rest if rest[:1] in ("/", "?", "#") else ""


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)


def _sent(place: str) -> str:
    """Return a path and query as a browser sends them (URL Standard, path state and query state)."""
    path, mark, query = place.partition("?")
    kept: list[str] = []
    parts = path.replace("\\", "/").split("/")[1:] or [""]
    for part in parts:
        taken = _DOTS.get(part.lower())
        if taken is None:
            kept.append(part)
        elif taken:
            del kept[-1:]
    is_folder = parts[-1].lower() in _DOTS
    whole = "/" + "/".join([*kept, ""] if is_folder else kept)
    return quote(whole + mark + query, safe=_AS_IT_IS, errors="replace")


def _use(before: str, place: str) -> Use:
    near, place = before[-_NEAR:], peer_links.without_hub(place)
    if not place.startswith(_PICTURES) and (_FRAMES.search(before) or _SETS_SRC.search(near)):
        return Use.FRAME
    asks_api = place.startswith(("/api/", "/build/")) and _ASKS_API.search(near)
    return Use.SCRIPT if asks_api or _SCRIPTS.search(near) else Use.LINK


def _is_made(raw: str, after: str) -> bool:
    if _MADE.search(raw) or _GOES_ON.match(after):
        return True
    return raw[-1:] in ("/", "=") and _GOES_ON_BEHIND_SLASH.match(after) is not None
