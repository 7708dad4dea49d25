"""The handlers of one session, for clients with access to it: they tell its end, extend, end and share it."""

import time
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.clocks import seconds_until
from tmppool.notebook import EXPLANATIONS, Reason
from tmppool.running import base_path
from tmppool.sessions import Sessions
from tmppool.web import links, models, tokens
from tmppool.web.answers import Answers
from tmppool.web.context import admitted_of, visit_of
from tmppool.web.enter import redirect
from tmppool.web.pages import Pages
from tmppool.web.refusals import Refusals
from tmppool.web.session_ends import ends
from tmppool.web.verdict import Admitted
from tmppool.web.visit import Visit


class Session:
    """``landing`` is the path that ``/`` opens, by pool. ``has_launch_pages``: there are pages for page authors too."""

    def __init__(
        self,
        sessions: Sessions,
        answers: Answers,
        pages: Pages,
        landing: Mapping[str, links.Landing],
        refusals: Refusals,
        *,
        has_launch_pages: bool = True,
    ) -> None:
        self._has_launch_pages = has_launch_pages
        self._sessions = sessions
        self._refusals = refusals
        self._answers = answers
        self._pages = pages
        self._landing = landing

    # For programs, and for the script in a notebook's pages

    async def tell(self, request: web.Request) -> web.Response:
        """GET /api/session/<key>: tell when it ends."""
        return self._live(admitted_of(request))

    async def extend(self, request: web.Request) -> web.Response:
        """POST /api/session/<key>/extend or …/touch: note activity."""
        held = admitted_of(request)
        self._sessions.extend(held.pool, held.notebook)
        return self._live(held)

    async def end(self, request: web.Request) -> web.Response:
        """DELETE /api/session/<key>: end it now."""
        held = admitted_of(request)
        await self._sessions.end(held.pool, held.notebook)
        return self._answers.json(models.Ended(explanation=EXPLANATIONS[Reason.ENDED]))

    async def share(self, request: web.Request) -> web.Response:
        """POST …/share: return the share link. DELETE: lock out all guests, and revoke that link for good."""
        held = admitted_of(request)
        await self._sessions.share(held.notebook, is_shared=request.method == "POST")
        return self._answers.json(models.Shared(url=self._share_url(visit_of(request), held)))

    # The owner's page

    async def page(self, request: web.Request) -> web.Response:
        """GET /session/<key>: the owner's page."""
        visit, held = visit_of(request), admitted_of(request)
        left = {
            name: None if at is None else seconds_until(at) / 60
            for name, at in ends(held.pool, held.notebook)._asdict().items()
        }
        document = jupyter_urls.document_of(f"/{visit.open_path}") or ""
        return self._pages.render(
            "session",
            200,
            base=f"/session/{held.notebook.key}",
            path=visit.open_path,
            notebook_url=_url(visit, held, self._open_path(visit, held)),
            share_url=self._share_url(visit, held) or "",
            document=document,
            embed_url=_embed_url(visit, held, document) if self._has_launch_pages else "",
            idle_minutes=left["idle_expires_at"],
            lifetime_minutes=left["expires_at"],
        )

    async def press(self, request: web.Request) -> web.Response:
        """POST /session/<key>/…: the buttons of the owner's page; that of /hub/home leads back there."""
        visit, held = visit_of(request), admitted_of(request)
        if request.match_info["verb"] == "end":
            await self._sessions.end(held.pool, held.notebook)
            is_from_home = request.query.get("then") == "home"
            return redirect("/hub/home" if is_from_home else _url(visit, held, visit.open_path))
        await self._sessions.share(held.notebook, is_shared=request.match_info["verb"] == "share")
        query = f"?path={quote(visit.open_path, safe='/')}" if visit.open_path else ""
        return redirect(f"/session/{held.notebook.key}{query}")

    # Inside

    def _live(self, held: Admitted) -> web.Response:
        model = models.CutOffSession if self._refusals.cuts_off(held.notebook.key) else models.Session
        live = model(now=time.time(), role=held.role, **ends(held.pool, held.notebook)._asdict())
        return self._answers.json(live)

    def _open_path(self, visit: Visit, held: Admitted) -> str:
        landing = self._landing[held.pool.name].in_a(is_jupyter=held.notebook.is_jupyter)
        return visit.open_path or landing.lstrip("/")

    def _share_url(self, visit: Visit, held: Admitted) -> str | None:
        token = tokens.share_token(held.notebook)
        if token is None:
            return None
        below = base_path(held.notebook.key) + self._open_path(visit, held)
        return visit.origin_of(held.notebook.id) + links.with_query(below, f"token={token}")


def _url(visit: Visit, held: Admitted, path: str) -> str:
    """Return the URL of a path below the notebook, at its own host."""
    return visit.spawn_origin(held.notebook.id) + base_path(held.notebook.key) + path


def _embed_url(visit: Visit, held: Admitted, document: str) -> str:
    """Return the link to the page for page authors, with what is open in the notebook."""
    way = "lab" if visit.open_path.startswith("lab") else "notebook"
    wish = {"document": document or links.fresh(visit.open_path, None), "as": way, "pool": held.pool.name}
    return f"/embed?{urlencode(wish)}"
