"""``/user/<key>/…`` when no notebook answers there: a page for a person, JSON for a program, with the reason."""

from datetime import UTC, datetime

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.notebook import EXPLANATIONS
from tmppool.web.entry import MOVED_HEADERS, Entry
from tmppool.web.gate import TARGET
from tmppool.web.pages import Pages, wants_page
from tmppool.web.site import NO_STORE, Site

_ENDED = 424  # what JupyterLab and thebe understand as "no server there" (JupyterHub documentation)
_GONE = 410
_NOT_FOUND = 404
_BAD_GATEWAY = 502
_FOUND = 302
_UNKNOWN = "There is no notebook at this address: it ended some time ago, or never was."


class User:
    def __init__(self, site: Site, pages: Pages, entry: Entry) -> None:
        self._site = site
        self._pages = pages
        self._entry = entry

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer what the gate did not let through to a notebook."""
        found = TARGET.match(request.raw_path)
        if found is None:
            raise web.HTTPNotFound
        key, path = found[1], found[2]
        held = self._site.pools.find(key)
        if held is None:
            return self.gone(request, key, (path or "") + (found[3] or ""))
        refusal = await self._entry.receive(request, *held, (path or "") + (found[3] or ""))
        if refusal is not None:
            return refusal
        if path is None:
            location = f"/user/{key}/{found[3] or ''}"
            return web.Response(status=_FOUND, headers={"Location": location, **MOVED_HEADERS})
        if request.get_extra_info("verdict") == "unreachable":
            return self._unreachable(request)
        if request.method in ("CONNECT", "TRACE"):
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
        raise web.HTTPForbidden(text="A page of another origin may not talk to this notebook.")

    def gone(self, request: web.BaseRequest, key: str, path: str) -> web.Response:
        """Answer for a notebook that is no more; a WebSocket is refused at once, without an upgrade."""
        ended = self._site.pools.ended(key)
        explanation = EXPLANATIONS.get(ended.reason, _UNKNOWN) if ended else _UNKNOWN
        reason = ended.reason.value if ended else "unknown"
        fresh = self._entry.fresh_url(request, path, ended.pool if ended else None)
        if wants_page(request) and "Upgrade" not in request.headers:
            response = self._pages.render(
                "gone",
                _GONE if ended else _NOT_FOUND,
                reason=reason if ended else "",
                explanation=explanation,
                fresh_url=fresh,
                document=jupyter_urls.document_of(f"/{path}") or "",
                ended_at=datetime.fromtimestamp(ended.at, UTC).isoformat(timespec="seconds") if ended else "",
            )
            self._entry.forget(request, response, key)
            return response
        facts = {"message": explanation, "state": "gone", "reason": reason, "explanation": explanation}
        headers = {"Access-Control-Allow-Origin": "*", **NO_STORE}
        return web.json_response({**facts, "fresh_url": fresh}, status=_ENDED, headers=headers)

    def _unreachable(self, request: web.Request) -> web.Response:
        message = "The notebook does not answer. It may be starting again; try once more in a moment."
        if wants_page(request):
            return self._pages.error(_BAD_GATEWAY, "No answer", message)
        return web.json_response({"message": message}, status=_BAD_GATEWAY, headers=NO_STORE)
