"""``/user/<key>/…``: to the notebook, or, when there is none any more, a page or a JSON that says why.

Decided on the raw target by a grammar. No engine and no database stand on this path: an old tab may ask for ever.
"""

import re
from datetime import UTC, datetime

import structlog
from aiohttp import web

from tmppool import __version__
from tmppool.notebook import EXPLANATIONS, Notebook
from tmppool.pool import Pool
from tmppool.proxy import activity, http, websocket
from tmppool.web import links
from tmppool.web.pages import Pages, wants_page
from tmppool.web.site import Site

_TARGET = re.compile(r"^/user/([A-Za-z0-9_-]{16,128})(?:/([^?#]*)(\?[^#]*)?)?$")
_ENDED = 424  # what JupyterLab and thebe understand as "no server there" (JupyterHub documentation)
_GONE = 410
_BAD_GATEWAY = 502
_UNKNOWN = "There is no notebook at this address: it ended some time ago, or never was."

_log = structlog.get_logger("tmppool.proxy")


class User:
    def __init__(self, site: Site, pages: Pages) -> None:
        self._site = site
        self._pages = pages

    async def handle(self, request: web.Request) -> web.StreamResponse:
        target = request.raw_path
        found = _TARGET.match(target)
        if found is None:
            raise web.HTTPNotFound
        key, path = found[1], found[2]
        held = self._site.pools.find(key)
        if held is None:
            return self.gone(request, key, path or "")
        if path is None:
            return web.Response(status=302, headers={"Location": f"/user/{key}/"})
        return await self._proxy(request, *held, target, path)

    async def _proxy(
        self, request: web.Request, pool: Pool, notebook: Notebook, target: str, path: str
    ) -> web.StreamResponse:
        is_socket = websocket.is_handshake(request.headers)
        if (is_socket or request.method not in ("GET", "HEAD", "OPTIONS")) and self._site.is_cross_site(request):
            raise web.HTTPForbidden(text="This page may not talk to that notebook.")
        client = self._site.client(request)
        upstream = notebook.upstream
        assert upstream is not None
        try:
            if is_socket:
                talks = activity.talks_to_visitor(path)
                touch = (lambda: pool.touch(notebook)) if talks else None
                return await websocket.bridge(request, notebook, client, target, touch)
            if activity.is_interaction(request.method, path):
                pool.touch(notebook)
            notice = _notice(notebook.key)
            return await http.forward(request, upstream, client, target, path, notice)
        except http.UpstreamError as error:
            if not notebook.is_live:
                return self.gone(request, notebook.key, path)
            _log.warning("upstream.failed", notebook=notebook.id, error=str(error))
            return self._unreachable(request)

    def gone(self, request: web.BaseRequest, key: str, path: str) -> web.Response:
        """Answer for a notebook that is no more; a WebSocket is refused at once, without an upgrade."""
        ended = self._site.pools.ended(key)
        explanation = EXPLANATIONS.get(ended.reason, _UNKNOWN) if ended else _UNKNOWN
        fresh = fresh_url(path)
        if wants_page(request) and not websocket.is_handshake(request.headers):
            return self._pages.render(
                "gone",
                _GONE if ended else 404,
                reason=ended.reason.value if ended else "",
                explanation=explanation,
                fresh_url=fresh,
                document=links.document_of(fresh) or "",
                ended_at=datetime.fromtimestamp(ended.at, UTC).isoformat(timespec="seconds") if ended else "",
            )
        return web.json_response(
            {
                "message": explanation,
                "state": "gone",
                "reason": ended.reason.value if ended else "unknown",
                "explanation": explanation,
                "fresh_url": fresh,
            },
            status=_ENDED,
            headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"},
        )

    def _unreachable(self, request: web.Request) -> web.Response:
        message = "The notebook does not answer. It may be busy starting again; try once more in a moment."
        if wants_page(request):
            return self._pages.error(_BAD_GATEWAY, "No answer", message)
        return web.json_response({"message": message}, status=_BAD_GATEWAY, headers={"Cache-Control": "no-store"})


def fresh_url(path: str) -> str:
    """Return the launch link that opens what was open at ``path`` below the old notebook."""
    return f"/{path}" if path.partition("/")[0] in links.PREFIXES else "/"


def _notice(key: str) -> bytes:
    """Return the script that tells a notebook's page when and why it ends."""
    return (
        f'<script src="/static/session.js?v={__version__}" data-session="/api/session/{key}" defer></script>'
    ).encode()
