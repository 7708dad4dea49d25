"""How a browser gets into a notebook, and how one that may not is refused.

A browser that may enter is given the notebook's cookie and sent on to an address without any token. A session token
in a link makes the first browser that opens it the owner, and no other; a share token lets everyone in as a guest.
With a host name for each notebook, the owner is handed from the main host to the notebook's by a ticket good once.
"""

import math

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.notebook import Notebook
from tmppool.pool import Pool
from tmppool.running import base_path
from tmppool.web import access, links, robots
from tmppool.web.access import Access, Role, Sent
from tmppool.web.pages import Pages, wants_page
from tmppool.web.site import Site
from tmppool.web.tickets import Tickets

HANDOFF_LIFETIME = 60  # seconds from the main host to the notebook's own

_SEE_OTHER = 303
_FORBIDDEN = 403
MOVED_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_FOREIGN = "This notebook belongs to another browser. Its owner can share it; a program has to send its token."


class Entry:
    """``handoffs`` are the tickets that lead from the main host to a notebook's own, each for one key."""

    def __init__(self, site: Site, pages: Pages, handoffs: Tickets) -> None:
        self._site = site
        self._pages = pages
        self._handoffs = handoffs

    def access(self, request: web.BaseRequest, notebook: Notebook) -> Access | None:
        return access.admits(notebook, access.sent_to_us(request.headers, request.raw_path))

    def send_on(self, request: web.BaseRequest, pool: Pool, notebook: Notebook, target: str) -> web.Response:
        """Send the notebook's owner to ``target`` below it."""
        location = base_path(notebook.key) + target.lstrip("/")
        client = self._site.client(request)
        if self._site.domain is None or self._site.label(client) == notebook.id:
            response = _moved(location)
            self._set_cookie(request, response, pool, notebook, Role.OWNER)
            return response
        ticket = self._handoffs.issue(notebook.key)
        return _moved(self._site.origin_of(notebook, client) + links.with_query(location, f"token={ticket}"))

    async def receive(
        self, request: web.BaseRequest, pool: Pool, notebook: Notebook, path: str
    ) -> web.StreamResponse | None:
        """Answer a browser that comes in, and who may not; None for a request that may go on to the notebook.

        ``path`` is what follows the notebook's base path, with its query. Raises HTTPMisdirectedRequest.
        """
        is_browser = request.method == "GET" and "Upgrade" not in request.headers and wants_page(request)
        label = self._site.label(self._site.client(request))
        if self._site.domain is not None and label != notebook.id:
            if label is None and is_browser and self._holds(request, notebook):
                return self.send_on(request, pool, notebook, access.without_token(path))
            raise web.HTTPMisdirectedRequest(text="A notebook is served at a host name of its own here.")
        may = self.access(request, notebook)
        if is_browser and (may is None or access.tokens_in(request.raw_path)):
            return await self._enter(request, pool, notebook, path, may)
        return None if may is not None else self.refuse(request, pool, path)

    async def _enter(
        self, request: web.BaseRequest, pool: Pool, notebook: Notebook, path: str, may: Access | None
    ) -> web.Response:
        known = access.admits(notebook, Sent(access.sent_to_us(request.headers, "").cookies, b"", ""))
        role = known.role if known is not None else None
        if role is not Role.OWNER and self._holds(request, notebook):
            role = Role.OWNER
        response = _moved(base_path(notebook.key) + access.without_token(path))
        if role is None and (robots.is_ahead(request.headers) or robots.is_crawler(request.headers)):
            raise web.HTTPServiceUnavailable(text="This link is not opened before somebody looks at it.")
        if role is None and may is None:
            tickets = [] if self._site.domain is None else access.tokens_in(request.raw_path)
            if not any(self._handoffs.redeem(ticket, notebook.key) for ticket in tickets):
                return self.refuse(request, pool, path)
            role = Role.OWNER
        elif role is None and may is not None:
            if may.is_owner and not await self._bind(request, response, notebook):
                return self.refuse(request, pool, path)
            role = may.role
        assert role is not None
        self._set_cookie(request, response, pool, notebook, role)
        return response

    async def _bind(self, request: web.BaseRequest, response: web.Response, notebook: Notebook) -> bool:
        """Make this browser the owner where there is none; returns whether it is."""
        if notebook.visitor is not None:
            return False
        visitor = self._site.visitor(request)
        if visitor is None:
            cookie, visitor = self._site.new_visitor()
            self._site.set_cookie(request, response, cookie)
        await self._site.bind(notebook, visitor)
        return True

    def refuse(self, request: web.BaseRequest, pool: Pool, path: str) -> web.Response:
        """Answer who may not use a notebook that lives; ``path`` is what was asked for below it."""
        fresh = self.fresh_url(request, path, pool.name)
        if wants_page(request) and "Upgrade" not in request.headers:
            document = jupyter_urls.document_of(f"/{path}") or ""
            return self._pages.render("foreign", _FORBIDDEN, fresh_url=fresh, document=document)
        facts = {"message": _FOREIGN, "state": "foreign", "fresh_url": fresh}
        return web.json_response(facts, status=_FORBIDDEN, headers={"Cache-Control": "no-store"})

    def fresh_url(self, request: web.BaseRequest, path: str, pool: str | None) -> str:
        """Return the launch link for another notebook of that pool with the same thing open."""
        named = None if pool == self._site.pools.default.name else pool
        return self._site.main_origin(self._site.client(request)) + links.fresh(access.without_token(path), named)

    def forget(self, request: web.BaseRequest, response: web.StreamResponse, key: str) -> None:
        """Take the cookie of a notebook that is no more from a browser that sent it."""
        is_secure = self._site.client(request).scheme == "https"
        name = access.cookie_name(key, is_secure=is_secure)
        lines = request.headers.getall("Cookie", ())
        if any(f"{name}=" in line for line in lines):  # no parsing: it may be all a jar holds
            response.del_cookie(name, path="/", secure=is_secure, httponly=True, samesite="Lax")

    def _holds(self, request: web.BaseRequest, notebook: Notebook) -> bool:
        visitor = self._site.visitor(request)
        return visitor is not None and visitor == notebook.visitor

    def _set_cookie(
        self, request: web.BaseRequest, response: web.StreamResponse, pool: Pool, notebook: Notebook, role: Role
    ) -> None:
        name = access.cookie_name(notebook.key, is_secure=self._site.client(request).scheme == "https")
        age = None if notebook.expires_at is None else math.ceil(notebook.expires_at - pool.clock())
        self._site.put_cookie(request, response, name, access.token_of(notebook, role), age)


def _moved(location: str) -> web.Response:
    return web.Response(status=_SEE_OTHER, headers={"Location": location, **MOVED_HEADERS})
