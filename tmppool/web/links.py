"""Launch links: parses the document, pool and code that one names, and makes new ones. Pure, on raw paths."""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus

from tmppool import jupyter_urls
from tmppool.image_documents import SUFFIXES
from tmppool.proxy import target

_SPAWN = re.compile(r"^/spawn(?=/|$)")
_POOL = re.compile(r"(^|&)(?:amp;)?pool=([^&]*)")  # amp;, as some tools write & twice in HTML
_PATH = re.compile(r"(^|&)path=([^&]*)")
_TO = re.compile(r"(^|&)to=([^&]*)")
_MOST_LINK = target.MAX_TARGET  # bytes of a link that has a path in it; a longer one reaches nobody
_KEPT_IN_PATHS = "/%:@!$&'()*+,;=~"
_UNRESERVED = re.compile(r"%(2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")
_CODE = re.compile(r"(^|&)(?:amp;)?code=([^&]*)")
_TREELESS = re.compile(rf"/(lab|doc|nbclassic)/(.+(?:{'|'.join(map(re.escape, SUFFIXES))}))")


class Landing(NamedTuple):
    """The ``path`` that ``/`` opens; ``is_chosen``: by the operator's setting, not by the image."""

    path: str
    is_chosen: bool = False

    def in_a(self, *, is_jupyter: bool) -> str:
        """Return the path for a Jupyter server, or for another web application.

        An image has the labels of the one that it is built on, so one of Jupyter's pages may be named for a server that
        is no longer the image's.
        """
        is_jupyters = not self.is_chosen and jupyter_urls.is_page(self.path.lstrip("/").partition("?")[0])
        return "/" if is_jupyters and not is_jupyter else self.path


def plain(raw: str) -> str:
    """Return a raw path and query with the letters, digits and ``-._~`` of its path decoded, which changes nothing.

    So routes match it that the router finds, which decodes (RFC 3986 section 6.2.2.2).
    """
    path, mark, query = raw.partition("?")
    return _UNRESERVED.sub(lambda escape: chr(int(escape[1], 16)), path) + mark + query


def target_of(raw: str, landing: str) -> str:
    """Return the path and query below the notebook for a launch link's raw path and query.

    ``/spawn/lab/tree/a.ipynb?x=1`` and ``/lab/tree/a.ipynb?x=1`` both mean ``/lab/tree/a.ipynb?x=1``; ``/`` and
    ``/spawn`` mean ``landing``. The query is kept byte for byte, except our own ``pool``. The result starts with
    exactly one slash: another one, or a backslash, after it would start a host (WHATWG URL, relative slash state).
    """
    path, mark, query = raw.partition("?")
    path = "/" + _SPAWN.sub("", path, count=1).lstrip("/\\")
    query = _POOL.sub("", query).lstrip("&")
    if path == "/":
        path = landing
    return with_query(path, query) if mark and query else path


def with_tree(path: str) -> str:
    """Return ``path`` with ``tree``, if it names a document behind one of Jupyter's applications without it.

    As ``/lab/a.ipynb``, where JupyterLab has no page. Any other path is returned as it is.
    """
    place, mark, query = path.partition("?")
    found = _TREELESS.fullmatch(place)
    if found is None or jupyter_urls.file_of(place) is not None:
        return path
    return f"/{found[1]}/tree/{found[2]}{mark}{query}"


def pool_of(raw: str) -> str | None:
    """Return the pool that the link's query names."""
    value = _value_of(_POOL, raw)
    return None if value is None else unquote(value)


def path_of(raw: str) -> str:
    """Return the path below a notebook that the link's query names; empty if it has none.

    It is empty too if the path is too long, or is one that the proxy would refuse.
    """
    path = quote(unquote_plus(_value_of(_PATH, raw) or "").lstrip("/"), safe=_KEPT_IN_PATHS)
    return path if len(path) < _MOST_LINK and target.origin_form(f"/{path}".encode(), None) is not None else ""


def to_claim(key: str, path: str, token: str = "") -> str:
    """Return the link to the page on which a browser claims a notebook, and opens ``path`` with its query there.

    With a ``token`` it leads to the page without, which keeps the token in a cookie.
    """
    return _leading_to(f"/session/{key}/claim?{token and f'token={token}&'}", path)


def to_enter(key: str, ticket: str, path: str) -> str:
    """Return the link by which a handoff's ticket lets a browser in at the notebook's own host, to open ``path`` there.

    Without a slash behind the key: a service worker that was planted in the notebook never sees it, as none is for
    more than what is below ``/user/<key>/`` (Service Workers, section "Path restriction").
    """
    return _leading_to(f"/user/{key}?token={ticket}&", path.lstrip("/"))


def _leading_to(link: str, path: str) -> str:
    """Return the link with ``path`` in its query, unless that is too long to be kept."""
    whole = f"{link}to={quote(path, safe='')}"
    return whole if len(whole) <= _MOST_LINK else f"{link}to="


def names_path(raw: str) -> bool:
    """Return True if this is a link to claim or to enter, which names the path to open."""
    return _value_of(_TO, raw) is not None


def claimed_path(raw: str) -> str:
    """Return the path and query that a link to claim or to enter names; empty if the proxy would refuse them."""
    path = unquote(_value_of(_TO, raw) or "").lstrip("/")
    return path if target.is_accepted(f"/{path}".encode()) else ""


def code_of(raw: str) -> str:
    """Return the workshop code in the link's query; empty without one."""
    return unquote_plus(_value_of(_CODE, raw) or "")


def _value_of(pair: re.Pattern[str], raw: str) -> str | None:
    found = pair.search(raw.partition("?")[2])
    return None if found is None else found[2]


def without_code(raw: str) -> str:
    """Return the link without its workshop code, which no notebook may see."""
    path, _, query = raw.partition("?")
    query = _CODE.sub("", query).lstrip("&")
    return f"{path}?{query}" if query else path


def fresh(path: str, pool: str | None) -> str:
    """Return the launch link that opens ``path`` in another notebook of that pool."""
    link = jupyter_urls.deep_link(path) or "/"
    return link if pool is None else with_query(link, f"pool={pool}")


def with_code(link: str, code: str) -> str:
    """Return the link with this workshop code, and no other, in its query; the same link without one."""
    return with_query(without_code(link), f"code={quote(code, safe='')}") if code else link


def without_pool(raw: str) -> str:
    """Return the link without the pool that its query names."""
    path, _, query = raw.partition("?")
    query = _POOL.sub("", query).lstrip("&")
    return f"{path}?{query}" if query else path


def with_query(link: str, more: str) -> str:
    """Return the link with ``more`` appended to its query."""
    return f"{link}{'&' if '?' in link else '?'}{more}"


def action_of(raw: str) -> str:
    """Return the action of a launch page's form: the same link below ``/spawn``."""
    if _SPAWN.match(raw.partition("?")[0]):
        return raw
    return "/spawn" + ("" if raw == "/" else raw.replace("/?", "?", 1) if raw.startswith("/?") else raw)
