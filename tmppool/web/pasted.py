"""Reads what a page author typed or pasted: the path of a document, or a link in one of many forms. Pure.

The forms are those of ``peer_links``, launch links, addresses of running notebooks of any Jupyter server, and pages on
files at GitHub, GitLab and nbviewer.
"""

import contextlib
import html
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit

from tmppool import jupyter_urls
from tmppool.errors import TmppoolError, sentence
from tmppool.image_documents import SUFFIXES
from tmppool.proxy import target
from tmppool.web import links, peer_links
from tmppool.web.peer_links import PeerLink, PeerLinkError

MOST = 2000  # characters of what is read
_MOST_RAW = target.MAX_TARGET - 500  # bytes, so that page, pool and workshop code can be added
_NEVER_IN_NAMES = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})  # controls, halves of characters, none, breaks of lines
_SITES = (
    "github.com", "raw.githubusercontent.com", "gist.github.com", "gitlab.com", "mybinder.org", "nbviewer.org",
    "nbviewer.jupyter.org", "colab.research.google.com",
)  # fmt: skip
_URL = re.compile(rf"https?://|(?:www\.)?(?:{'|'.join(map(re.escape, _SITES))})/", re.IGNORECASE)
_IN_MARKUP = re.compile(
    r"\]\(\s*<?([^\s<>()]+)>?(?:\s+[\"'][^\"']*[\"'])?\s*\)"  # Markdown
    r"|\b(?:href|src)\s*=\s*[\"']?([^\s\"'<>]+)"
    r"|:target:\s*(\S+)|`[^`<]*<([^\s<>]+)>`_"  # reStructuredText
    r"|^\s*<(https?://[^\s<>]+)>\s*$"
)
_PICTURE = re.compile(r"\.(?:svg|png|gif|jpe?g|css)$", re.IGNORECASE)
_FILE = r"(?:blob|tree|raw|edit|blame)/(?P<ref>[^/]+)(?:/(?P<file>.+))?"
_PAGES = (
    ("gh", re.compile(rf"github\.com/(?P<name>[^/]+/[^/]+)(?:/{_FILE})?")),
    (
        "gh",
        re.compile(r"raw\.githubusercontent\.com/(?P<name>[^/]+/[^/]+)/(?:refs/heads/)?(?P<ref>[^/]+)/(?P<file>.+)"),
    ),
    ("gl", re.compile(rf"gitlab\.com/(?P<name>.+?)/-/{_FILE}")),
    ("gl", re.compile(r"gitlab\.com/(?P<name>[^/]+/.+?)(?:/-/.*)?$")),
    ("gist", re.compile(r"gist\.github\.com/(?P<name>[^/]+/[^/]+)")),
)
"""The provider of repositories, by its short name, and the addresses of its pages."""
_FRAGMENT = re.compile(rf"(.+(?:{'|'.join(map(re.escape, SUFFIXES))}))#(.+)")
_RUNNING = re.compile(r"(?:^|/)user/[^/]+(?:/+(.*))?$", re.DOTALL)
_PEERS = re.compile(
    r"/(?:v2/|hub/(?:user-redirect|spawn|login|lti/launch)(?=[/?]|$)|user-redirect/).*|^/(?:github|repo)/.*", re.DOTALL
)
_WILD = re.compile(rb"[^A-Za-z0-9_.~/?&=:+,%-]|%(?![0-9A-Fa-f]{2})")
_OURS = re.compile(r"(?:pool|token)=")

_TOO_LONG = "This is longer than a link may be."
_UNKNOWN = (
    "This link has none of the forms known here. Paste the path of a document, a launch link, a link of Binder or"
    " JupyterHub, or the address of a file at GitHub or GitLab."
)


class PastedError(TmppoolError):
    """Nothing can be linked to; the message is a sentence for the page author."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """``path``: the raw path and query below a notebook, without a slash at its start; empty for the landing.

    It is tame. ``is_name``: it is the path of a file in the home, and names no page. ``fragment`` is tame too. ``pool``
    is what a launch link names. ``peer``: the link names a repository, in which its path is.
    """

    path: str = ""
    fragment: str = ""
    pool: str | None = None
    peer: PeerLink | None = None
    is_name: bool = False


def read(text: str, known: Collection[str] = (), own_host: str = "") -> Pasted:
    """Return what the text means, or the link in it if it is a link or badge in a page's markup. Raises PastedError.

    ``known`` are the paths of the documents that are there, ``own_host`` is the service's own host with its port.
    """
    if len(text) > MOST:
        raise PastedError(_TOO_LONG)
    linked = [] if text in known else _links_in(text)
    for link in linked[:-1]:  # such as the address of a library's script
        with contextlib.suppress(PastedError):
            return _printable(_read(link, known, own_host))
    return _printable(_read(linked[-1] if linked else text, known, own_host))


def _links_in(text: str) -> list[str]:
    """Return the targets of the links in a piece of Markdown, HTML or reStructuredText, without pictures."""
    found = (next(filter(None, each)) for each in _IN_MARKUP.findall(text))
    return [link for link in map(html.unescape, found) if not _PICTURE.search(link.partition("?")[0])]


def _read(text: str, known: Collection[str], own_host: str) -> Pasted:
    _require_printable(text)
    if text in known:
        return _name(text)
    text = text.strip(" ")
    try:
        if _URL.match(text) or (own_host and text.lower().startswith(f"{own_host.lower()}/")):
            return _of_url(text if "://" in text else f"https://{text}", own_host)
        link, _, fragment = text.partition("#")
        found = _of_path(link, is_own=True) if text.startswith("/") else None
    except PeerLinkError as error:
        raise PastedError(sentence(error)) from error
    return _of_words(text, known) if found is None else _with_fragment(found, fragment)


def _printable(found: Pasted) -> Pasted:
    """Return what was found, unless a name in it has a control character, which was encoded. Raises PastedError."""
    for path in (found.path, found.peer.path if found.peer is not None else ""):
        _require_printable(unquote(path))
    return found


def _require_printable(text: str) -> None:
    if any(unicodedata.category(char) in _NEVER_IN_NAMES for char in text):
        raise PastedError("A name with a line break, or another control character, cannot be linked to.")


def tame(raw: str) -> str:
    """Return a part of a URL that means the same, without characters that HTML, Markdown and the like read as theirs.

    In ASCII; what is percent-encoded stays so.
    """
    return _WILD.sub(lambda found: b"%%%02X" % found[0][0], raw.encode()).decode()


# Paths


def _of_words(text: str, known: Collection[str]) -> Pasted:
    """Return what a path of a file means, of which a part may be encoded, or its page and fragment named too."""
    name = re.sub(r"/{2,}", "/", text).strip("/").removeprefix("./")
    document, mark, query = name.partition("?")
    if mark and document.endswith(SUFFIXES) and name not in known:
        return _of_end(unquote(document), query, known)
    for each in (name, unquote(name)):
        if each in known:
            return _name(each)
    found = _FRAGMENT.fullmatch(name)
    name, fragment = (name, "") if found is None else (found[1], found[2])
    page = jupyter_urls.split_page(name)
    if page is not None and unquote(page[1]) in known:
        return Pasted(_checked(name), tame(fragment))
    return replace(_name(unquote(name) if unquote(name) in known else name), fragment=tame(fragment))


def _of_end(document: str, query: str, known: Collection[str]) -> Pasted:
    """Return what the end of a launch link means, which may begin at its page or at its document."""
    query, _, fragment = query.partition("#")
    is_name = document in known or jupyter_urls.split_page(document) is None
    found = _launch_link(f"{quote(document, safe='/')}?{query}", links.pool_of(f"?{query}"))
    return replace(found, fragment=tame(fragment), is_name=is_name)


def _name(path: str) -> Pasted:
    return Pasted(_checked(quote(path, safe="/")), is_name=bool(path))


def _checked(raw: str) -> str:
    """Return the path, tame. Raises PastedError for one that the proxy would refuse."""
    raw = tame(raw)
    if len(raw) > _MOST_RAW:
        raise PastedError(_TOO_LONG)
    if not target.is_accepted(f"/{raw}".encode()):
        raise PastedError("This path leads out of the notebook's home, or can be read in two ways.")
    return raw


# Links


def _of_url(url: str, own_host: str) -> Pasted:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError as error:
        raise PastedError("This link cannot be read.") from error
    path = re.sub(r"(?<!:)/{2,}", "/", parts.path) or "/"  # a path may name a repository by its URL
    peer = _of_site(f"{host}{path}".rstrip("/"))
    raw, is_own = f"{path}?{parts.query}" if parts.query else path, parts.netloc.lower() == own_host.lower()
    found = _of_path(raw, is_own=is_own) if peer is None else Pasted(peer=peer)
    if found is None:
        raise PastedError(_UNKNOWN)
    return _with_fragment(found, parts.fragment)


def _with_fragment(found: Pasted, fragment: str) -> Pasted:
    """Return what was found with a link's fragment, unless it names another, which counts in a redirect too."""
    named = "" if found.peer is None else found.peer.fragment.removeprefix("#")
    return replace(found, fragment=tame(named or fragment))


def _of_site(address: str) -> PeerLink | None:
    """Return the repository and the file that a page of one of the sites of repositories shows."""
    for provider, pattern in _PAGES:
        found = pattern.match(address)
        if found is not None:
            name, ref, file = (found.groupdict().get(part) or "" for part in ("name", "ref", "file"))
            repository = peer_links.repository_of(provider, f"{name.replace('/', '%2F')}/{ref}")
            return PeerLink(repository, _checked(f"tree/{file}") if file else "")
    return None


def _of_path(raw: str, *, is_own: bool) -> Pasted | None:
    """Return what a link's path and query mean; None for none of the known forms.

    The service's own launch links, and the addresses of its notebooks, may open any path.
    """
    raw = peer_links.without_hub(raw)
    path, _, query = raw.partition("?")
    running, peer = _RUNNING.search(path), _PEERS.search(raw)
    if _opened(raw[1:]) is not None or (path == "/" and is_own):
        return _launch_link(raw[1:], links.pool_of(raw))
    if is_own and path.split("/")[1] == "spawn":
        return _launch_link(raw.removeprefix("/spawn").lstrip("/"), links.pool_of(raw))
    if running is not None and ((is_own and path.startswith("/user/")) or _opened(running[1] or "") is not None):
        return _launch_link(f"{running[1] or ''}?{query}", None)
    link = None if peer is None else peer_links.parse(peer[0])
    return None if link is None else Pasted(peer=link)


def _opened(below: str) -> str | None:
    link = jupyter_urls.deep_link(below)
    return None if link is None else link.lstrip("/")


def _launch_link(below: str, pool: str | None) -> Pasted:
    """Return what a path and query below a notebook mean; without a token, which is that notebook's own."""
    path, _, query = (_opened(below) or below).partition("?")
    kept = "&".join(pair for pair in query.split("&") if pair and not _OURS.match(pair))
    return Pasted(_checked(f"{path}?{kept}" if kept else path), pool=pool)
