"""The launch page and its form: a look takes nothing, a POST with a ticket gives a notebook."""

from urllib.parse import parse_qs

from aiohttp import web

from tmppool.errors import PoolEmptyError, PoolFullError
from tmppool.notebook import State
from tmppool.pool import Pool
from tmppool.web import links
from tmppool.web.entry import Entry
from tmppool.web.pages import Pages
from tmppool.web.site import Site
from tmppool.web.tickets import Tickets

_MAX_FIELDS = 1000
_FORBIDDEN = 403
_TOO_MANY = 429
_UNAVAILABLE = 503


class Front:
    def __init__(self, site: Site, pages: Pages, tickets: Tickets, entry: Entry) -> None:
        self._site = site
        self._pages = pages
        self._tickets = tickets
        self._entry = entry

    async def launch(self, request: web.Request) -> web.Response:
        """GET: the launch page; a visitor who holds a notebook is sent on to it."""
        pool = self._site.pool_of(request)
        visitor = self._site.visitor(request)
        held = self._site.pools.held_by(visitor, pool)
        if held is not None:
            return self._entry.send_on(request, pool, held, self._target(request, pool))
        return self._page(request, "launch", 200, pool, auto=True)

    async def spawn(self, request: web.Request) -> web.Response:
        """POST: assign, and 303 to the notebook."""
        self._site.refuse_cross_site(request)
        pool = self._site.pool_of(request)
        ticket, visitor = await _ticket_in(request), self._site.visitor(request)
        target = self._target(request, pool)
        held = self._site.pools.held_by(visitor, pool)
        if held is not None:
            return self._entry.send_on(request, pool, held, target)
        if not self._tickets.redeem(ticket, visitor):
            return self._page(request, "launch", _FORBIDDEN, pool, auto=False)
        try:
            notebook = await self._site.assign(pool, visitor, links.document_of(target))
        except PoolEmptyError as error:
            self._tickets.give_back(ticket, visitor)
            return self._wait_page(request, pool, error)
        return self._entry.send_on(request, pool, notebook, target)

    def _target(self, request: web.Request, pool: Pool) -> str:
        return links.target_of(request.raw_path, self._site.landing[pool.name])

    def _wait_page(self, request: web.Request, pool: Pool, error: PoolEmptyError) -> web.Response:
        if isinstance(error, PoolFullError):
            response = self._page(
                request, "full", _TOO_MANY, pool, retry_after=error.retry_after, capacity=pool.limits.capacity
            )
        else:
            response = self._page(
                request,
                "warming",
                _UNAVAILABLE,
                pool,
                retry_after=error.retry_after,
                warm=pool.count(State.WARM),
                target=pool.limits.warm,
            )
        response.headers["Retry-After"] = str(error.retry_after)
        return response

    def _page(self, request: web.Request, name: str, status: int, pool: Pool, **values: object) -> web.Response:
        visitor = self._site.visitor(request)
        cookie, visitor = (None, visitor) if visitor is not None else self._site.new_visitor()
        response = self._pages.render(
            name,
            status,
            action=links.action_of(request.raw_path),
            ticket=self._tickets.issue(visitor),
            document=links.document_of(self._target(request, pool)) or "",
            idle_minutes=round(pool.limits.idle / 60),
            lifetime_minutes=round(pool.limits.lifetime / 60),
            **values,
        )
        if cookie is not None:
            self._site.set_cookie(request, response, cookie)
        return response


async def _ticket_in(request: web.Request) -> str:
    """Return the form's ticket; a body that is no such form has none. Raises HTTPRequestEntityTooLarge."""
    if request.content_type != "application/x-www-form-urlencoded":
        return ""
    try:
        body = (await request.read()).decode("utf-8", "replace")
        return parse_qs(body, max_num_fields=_MAX_FIELDS).get("ticket", [""])[0]
    except (ValueError, web.RequestPayloadError):  # too many fields, or packed in a way that is none
        return ""
