"""The URL shapes of Jupyter's servers and pages: what a path below a notebook means. Pure, on raw paths.

Sources: Jupyter Server 2 (REST API; ``terminals/websocket``), JupyterLab 4 (documentation, "JupyterLab URLs";
``lab/api``), Notebook 7 and nbclassic 1 (their handlers). A path is what follows the notebook's base path, as it stands
in the request: percent-encoded, without a leading slash or a query unless said otherwise.
"""

import re
from urllib.parse import unquote

DEEP_LINKS = (
    "notebooks", "tree", "files", "lab", "doc", "edit", "nbclassic", "consoles", "terminals", "git-pull",
)  # fmt: skip
"""The first parts of paths that people pass on as links, so that a launch link may begin with them."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing (RFC 9110 section 9.2.1), without TRACE, which no Jupyter server has."""

_PAGE = re.compile(r"(lab|doc|tree|notebooks|edit|consoles|terminals|nbclassic)(/|$)")
_DOCUMENT = re.compile(
    r"/?(?:notebooks|tree|doc/tree|edit|nbclassic/notebooks|lab(?:/workspaces/[^/]+)?/tree)/(.+\.ipynb)"
)
_WORKSPACE = re.compile(r"lab/workspaces/[^/?]+")
# An open tab polls, autosaves and stores its window layout for as long as it is open; none of that is a person.
_CHATTER = re.compile(r"lab/api/workspaces(/|$)|api/security/csp-report|api/events|api/contents/(?!.*/checkpoints$)")
_TALKING = re.compile(r"api/kernels/[^/]+/channels|terminals/websocket/[^/]+|lsp/ws/[^/]+")


def is_page(path: str) -> bool:
    """Return True if ``GET path`` is a page of Jupyter's own, in which a person works."""
    return _PAGE.match(path) is not None


def is_interaction(method: str, path: str) -> bool:
    """Return True if a request is something that a person did, rather than what an open tab does by itself.

    JupyterLab's autosave is a PUT of the contents alone; a save by hand also makes a checkpoint.
    """
    if method in SAFE_METHODS:
        return False
    if _CHATTER.match(path):
        return method in ("POST", "DELETE") and path.startswith("api/contents")
    return True


def talks_to_visitor(path: str) -> bool:
    """Return True if data frames that a visitor's page sends on the WebSocket at ``path`` are interactions."""
    return _TALKING.fullmatch(path) is not None


def document_of(path: str) -> str | None:
    """Return the decoded path of the ``.ipynb`` document that a page at ``path`` opens, None when it opens none.

    A leading slash and a query are passed over.
    """
    found = _DOCUMENT.fullmatch(path.partition("?")[0])
    return unquote(found[1]) if found else None


def deep_link(path: str) -> str | None:
    """Return ``path``, query included, as a link to the same thing in another notebook; None if it is no deep link.

    A JupyterLab workspace belongs to the notebook that made it, so it is left out.
    """
    if re.split("[/?]", path, maxsplit=1)[0] not in DEEP_LINKS:
        return None
    return "/" + _WORKSPACE.sub("lab", path, count=1) if _WORKSPACE.match(path) else f"/{path}"
