"""Our own pages: renders templates, under a Content-Security-Policy without foreign sources."""

import re
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from tmppool import __version__

STATIC = Path(__file__).with_name("static")

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_BREAK = re.compile(r"(?<=[/_.-])(?=[^/_.-])")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers would send "Origin: null" with a form (Fetch, section 3.2).
    # Not "strict-origin": a notebook's page could read our URLs in the tab's history, which "origin" hides (HTML,
    # section 7.2.6.6, the URL of a NavigationHistoryEntry).
    "Referrer-Policy": "origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_FRAMED = frozenset({"launch", "framed", "full", "limited", "warming", "gone", "error"})
"""The pages that may be embedded: what is pressed there starts a notebook, at most."""

_FOREIGN_HEADERS = {
    "Cache-Control": "public, max-age=86400",
    "Cross-Origin-Resource-Policy": "cross-origin",  # to pages under Cross-Origin-Embedder-Policy too
}
FOR_AUTHORS = ("badge.svg", "badge_logo.svg", "live-cells.js")
"""The files that stand on pages of authors, at the root: two pictures, as Binder's, and a script beside thebe."""


class Pages:
    """``isolated`` is False if every page has to warn that notebooks are not isolated.

    ``domain`` is the parent of the notebooks' host names: forms may redirect there (Chromium applies form-action to
    redirects too). ``ancestors``: whose pages may show those in frames by which nothing can be given away.
    """

    def __init__(self, *, isolated: bool, domain: str | None = None, ancestors: str = "'none'") -> None:
        policy = _POLICY if domain is None else _POLICY.replace("form-action 'self'", f"form-action 'self' *.{domain}")
        framed = policy.replace("frame-ancestors 'none'", f"frame-ancestors {ancestors}")
        self._headers = HEADERS | {"Content-Security-Policy": policy}
        self._framed_headers = HEADERS | {"Content-Security-Policy": framed}
        self._environment = Environment(
            loader=PackageLoader("tmppool.web"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,  # it would stat the template for every page
        )
        known = {"static": "/static", "version": __version__, "isolated": isolated, "apart": domain is not None}
        known["has_frames"] = ancestors != "'none'"
        self._environment.globals.update(known)
        self._environment.filters["words"] = words
        for name in self._environment.list_templates():
            self._environment.get_template(name)  # compiled now, not for the first click

    def render(self, name: str, status: int, **values: Any) -> web.Response:
        """Return ``name``.html with these values."""
        text = self._environment.get_template(f"{name}.html").render(values, status=status)
        headers = self._framed_headers if name in _FRAMED else self._headers
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)


def words(name: str) -> list[str]:
    """Return the parts of a file's path between which a narrow page may break it."""
    return _BREAK.split(name)


class Static:
    """The pages' static files, served from memory."""

    def __init__(self) -> None:
        files = STATIC.iterdir()
        self._files = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in files if path.suffix in _TYPES}

    async def serve(self, request: web.Request) -> web.Response:
        """GET /static/<name>; with the version in its query it is immutable for caches."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        body, kind = found
        age = "public, max-age=31536000, immutable" if request.query.get("v") == __version__ else "no-cache"
        headers = {"Content-Type": kind, "Cache-Control": age}
        return web.Response(body=body, headers=headers)

    async def show_elsewhere(self, request: web.Request) -> web.Response:
        """GET of one of ``FOR_AUTHORS``."""
        body, kind = self._files[request.path.lstrip("/")]
        return web.Response(body=body, headers={"Content-Type": kind, **_FOREIGN_HEADERS})
