"""The life of one session, for those who hold it: when it ends, to end it, and to share it; for programs and people."""

import time
from urllib.parse import quote

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.notebook import EXPLANATIONS, Notebook, Reason
from tmppool.pool import Pool
from tmppool.running import base_path
from tmppool.web import access, links, models
from tmppool.web.access import Access
from tmppool.web.entry import Entry
from tmppool.web.pages import Pages
from tmppool.web.site import NO_STORE, Site
from tmppool.web.user import User
from tmppool.web.wall_clock import ends

_MAX_PATH = 2000  # characters
_SEE_OTHER = 303
_AS_IN_PATHS = "/%:@!$&'()*+,;=~"


class Session:
    def __init__(self, site: Site, pages: Pages, user: User, entry: Entry) -> None:
        self._site = site
        self._pages = pages
        self._user = user
        self._entry = entry

    async def api(self, request: web.Request) -> web.Response:
        """GET, POST …/extend or …/touch, DELETE: for whoever may use the notebook; only the owner may end it."""
        found = self._find(request, needs_owner=request.method == "DELETE")
        if isinstance(found, web.Response):
            return found
        pool, notebook, may = found
        if request.method == "DELETE":
            pool.reap(notebook, Reason.ENDED)
            return self._site.json(models.Ended(explanation=EXPLANATIONS[Reason.ENDED]))
        if request.method == "POST":
            pool.touch(notebook)
        return self._site.json(models.Session(now=time.time(), role=may.role, **ends(pool, notebook)._asdict()))

    async def share(self, request: web.Request) -> web.Response:
        """POST …/share: the link that lets others in. DELETE: they are out, and that link never works again."""
        found = self._find(request, needs_owner=True)
        if isinstance(found, web.Response):
            return found
        pool, notebook, _ = found
        await self._site.share(notebook, is_shared=request.method == "POST")
        return self._site.json(models.Shared(url=self._share_url(request, pool, notebook)))

    async def page(self, request: web.Request) -> web.Response:
        """GET /session/<key>: the owner's page."""
        found = self._find(request, needs_owner=True)
        if isinstance(found, web.Response):
            return found
        pool, notebook, _ = found
        path = _path(request)
        now = time.time()
        left = {name: None if at is None else (at - now) / 60 for name, at in ends(pool, notebook)._asdict().items()}
        return self._pages.render(
            "session",
            200,
            base=f"/session/{notebook.key}",
            path=path or "",
            notebook_url=base_path(notebook.key) + (path or self._site.landing[pool.name].lstrip("/")),
            share_url=self._share_url(request, pool, notebook) or "",
            document=jupyter_urls.document_of(f"/{path}") or "",
            idle_minutes=left["idle_expires_at"],
            lifetime_minutes=left["expires_at"],
        )

    async def act(self, request: web.Request) -> web.Response:
        """POST /session/<key>/…: the owner's page's buttons."""
        found = self._find(request, needs_owner=True)
        if isinstance(found, web.Response):
            return found
        pool, notebook, _ = found
        path = _path(request)
        match request.match_info["verb"]:
            case "end":
                pool.reap(notebook, Reason.ENDED)
                return _moved(base_path(notebook.key) + (path or ""))
            case verb:
                await self._site.share(notebook, is_shared=verb == "share")
        query = f"?path={quote(path, safe='/')}" if path else ""
        return _moved(f"/session/{notebook.key}{query}")

    def _find(self, request: web.Request, *, needs_owner: bool) -> web.Response | tuple[Pool, Notebook, Access]:
        """Return the notebook for who may do this, else the answer. Raises HTTPForbidden for a page elsewhere."""
        key = request.match_info["key"]
        held = self._site.pools.find(key)
        if held is None:
            return self._user.gone(request, key, _path(request) or "")
        pool, notebook = held
        may = self._entry.access(request, notebook)
        if may is None:
            return self._entry.refuse(request, pool, _path(request) or "")
        if needs_owner and not may.is_owner:
            raise web.HTTPForbidden(text="Only the owner of this notebook may do that.")
        if request.method not in ("GET", "HEAD") and not may.is_explicit:
            self._site.refuse_cross_site(request)
        return pool, notebook, may

    def _share_url(self, request: web.Request, pool: Pool, notebook: Notebook) -> str | None:
        token = access.share_token(notebook)
        if token is None:
            return None
        origin = self._site.origin_of(notebook, self._site.client(request))
        path = _path(request) or self._site.landing[pool.name].lstrip("/")
        return origin + links.with_query(base_path(notebook.key) + path, f"token={token}")


def _path(request: web.Request) -> str | None:
    """Return what the owner has open, as the query's ``path`` says it: a path below the notebook, without query."""
    path = quote(request.query.get("path", "").lstrip("/"), safe=_AS_IN_PATHS)
    return path if 0 < len(path) <= _MAX_PATH else None


def _moved(location: str) -> web.Response:
    return web.Response(status=_SEE_OTHER, headers={"Location": location, **NO_STORE})
