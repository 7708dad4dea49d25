"""Launch links: which document one asks for, and where a visitor of it is sent. Pure, on raw paths."""

import re
from urllib.parse import quote, unquote, unquote_plus

from tmppool import jupyter_urls
from tmppool.proxy import target

_SPAWN = re.compile(r"^/spawn(?=/|$)")
_POOL = re.compile(r"(^|&)pool=([^&]*)")
_PATH = re.compile(r"(^|&)path=([^&]*)")
_LONGEST_PATH = 2000  # characters
_KEPT_IN_PATHS = "/%:@!$&'()*+,;=~"
_CODE = re.compile(r"(^|&)code=([^&]*)")


def target_of(raw: str, landing: str) -> str:
    """Return the path and query below the notebook for a launch link's raw path and query.

    ``/spawn/lab/tree/a.ipynb?x=1`` and ``/lab/tree/a.ipynb?x=1`` both mean ``/lab/tree/a.ipynb?x=1``; ``/`` and
    ``/spawn`` mean ``landing``. The query is kept byte for byte, except our own ``pool``. One slash begins it:
    with another one, or a backslash, behind it that would name a host (WHATWG URL, relative slash state).
    """
    path, mark, query = raw.partition("?")
    path = "/" + _SPAWN.sub("", path, count=1).lstrip("/\\")
    query = _POOL.sub("", query).lstrip("&")
    if path == "/":
        path = landing
    return with_query(path, query) if mark and query else path


def pool_of(raw: str) -> str | None:
    """Return the pool that the link names in its query."""
    found = _POOL.search(raw.partition("?")[2])
    return unquote(found[2]) if found else None


def path_of(raw: str) -> str:
    """Return the path below a notebook that the link names in its query; empty without one, and for one too long.

    Also for one that would lead out of there, or be refused there.
    """
    found = _PATH.search(raw.partition("?")[2])
    path = quote(unquote_plus(found[2]).lstrip("/"), safe=_KEPT_IN_PATHS) if found else ""
    return path if len(path) <= _LONGEST_PATH and target.origin_form(f"/{path}".encode(), None) is not None else ""


def code_of(raw: str) -> str:
    """Return the workshop code that the link names in its query; empty without one."""
    found = _CODE.search(raw.partition("?")[2])
    return unquote_plus(found[2]) if found else ""


def without_code(raw: str) -> str:
    """Return the link without its workshop code, which is the service's and no notebook's."""
    path, _, query = raw.partition("?")
    query = _CODE.sub("", query).lstrip("&")
    return f"{path}?{query}" if query else path


def fresh(path: str, pool: str | None) -> str:
    """Return the launch link that opens what was open at ``path`` below another notebook of that pool."""
    link = jupyter_urls.deep_link(path) or "/"
    return link if pool is None else with_query(link, f"pool={pool}")


def with_query(link: str, more: str) -> str:
    """Return the link with ``more`` in its query, behind what is there."""
    return f"{link}{'&' if '?' in link else '?'}{more}"


def action_of(raw: str) -> str:
    """Return where the form of a launch page posts to: the same link below ``/spawn``."""
    if _SPAWN.match(raw.partition("?")[0]):
        return raw
    return "/spawn" + ("" if raw == "/" else raw.replace("/?", "?", 1) if raw.startswith("/?") else raw)
