"""Meanings of Jupyter's URL paths below a notebook's base path. Pure functions.

Sources: Jupyter Server 2 (REST API; ``terminals/websocket``), JupyterLab 4 (documentation, "JupyterLab URLs";
``lab/api``), Notebook 7 and nbclassic 1 (their handlers). A path is relative to the notebook's base path and raw, as
in the request: percent-encoded, without a leading slash or a query unless stated otherwise.
"""

import re
from urllib.parse import unquote

DEEP_LINKS = (
    "notebooks", "tree", "files", "lab", "doc", "edit", "nbclassic", "consoles", "terminals", "git-pull",
)  # fmt: skip
"""The first path segments of links that people share, with which a launch link may begin."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing (RFC 9110 section 9.2.1), without TRACE, which no Jupyter server has."""

_PAGE = re.compile(r"(lab|doc|tree|notebooks|edit|consoles|terminals|nbclassic)(/|$)")
_OWN = re.compile(
    r"(api|lab|doc|tree|notebooks|edit|consoles|terminals|nbclassic|files|view|nbconvert|static|custom|kernelspecs|lsp"
    r"|nbextensions|metrics|login|logout)(/|$)"
)
_DOCUMENT = re.compile(
    r"/?(?:notebooks|tree|doc/tree|edit|nbclassic/notebooks|lab(?:/workspaces/[^/]+)?/tree)/(.+\.ipynb)"
)
_WORKSPACE = re.compile(r"lab/workspaces/[^/?]+")
_ON_FILE = re.compile(
    r"((?:lab|doc)(?:/workspaces/[^/]+)?/tree|(?:nbclassic|retro)/(?:notebooks|tree|edit)"
    r"|voila/(?:render|tree)|notebooks|tree|edit|files|view)(?:/|$|(?=\?))"
)
# JupyterLab sends these by itself, also where it comes with a token, as its desktop application does.
_CHATTER = re.compile(r"lab/api/workspaces(/|$)|api/security/csp-report|api/events|api/contents/(?!.*/checkpoints$)")
_QUIET = re.compile(r"api/events/|api/collaboration/")


def is_page(path: str) -> bool:
    """Return True if ``path`` is one of Jupyter's pages, in which a person works."""
    return _PAGE.match(path) is not None


def is_own(path: str) -> bool:
    """Return True if ``path`` is one of Jupyter Server's own, False if it may be that of an app beside or behind it."""
    return _OWN.match(path) is not None


def may_hold_worker(path: str) -> bool:
    """Return True if the script at ``path`` may be a service worker, which rules what is below its directory.

    Only below an app's own first segment: a worker of Jupyter's pages would outlive a guest, and the notebook.
    """
    return "/" in path and not is_own(path)


def is_work(method: str, path: str) -> bool:
    """Return True if a program's request changes something; looking, however often, does not.

    JupyterLab's autosave is only a PUT of the contents; a manual save also creates a checkpoint.
    """
    if method in SAFE_METHODS:
        return False
    if _CHATTER.match(path):
        return method in ("POST", "DELETE") and path.startswith("api/contents")
    return True


def carries_work(path: str) -> bool:
    """Return True if data frames that a program sends on the WebSocket at ``path`` are its work."""
    return _QUIET.match(path) is None


def document_of(path: str) -> str | None:
    """Return the decoded path of the ``.ipynb`` document that the page at ``path`` opens, or None.

    A leading slash and a query are ignored.
    """
    found = _DOCUMENT.fullmatch(path.partition("?")[0])
    return unquote(found[1]) if found else None


def file_of(path: str) -> str | None:
    """Return the decoded path of the file or directory that the page at ``path`` opens; None if it opens neither.

    A leading slash and a query are ignored, and the page may be written in escapes too.
    """
    page = split_page(unquote(path.partition("?")[0]).lstrip("/"))
    return None if page is None else "/".join(filter(None, page[1].split("/")))


def deep_link(path: str) -> str | None:
    """Return ``path`` with its query as a link that works in any notebook; None if it is not a deep link.

    The name of a JupyterLab workspace is removed, since the workspace exists only in its own notebook.
    """
    if re.split("[/?]", path, maxsplit=1)[0] not in DEEP_LINKS:
        return None
    return "/" + _WORKSPACE.sub("lab", path, count=1) if _WORKSPACE.match(path) else f"/{path}"


def split_page(path: str) -> tuple[str, str] | None:
    """Return the page, as in ``lab/tree``, and the raw path of the file or directory that it opens, with the query.

    None for a page that opens neither.
    """
    found = _ON_FILE.match(path)
    return None if found is None else (found[1], path[found.end() :])
