"""The launch page and its form: a look takes nothing, a POST with a ticket gives a notebook."""

from urllib.parse import parse_qs

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.errors import PoolEmptyError, PoolFullError
from tmppool.notebook import State
from tmppool.pool import Pool
from tmppool.web import links, robots
from tmppool.web.admission import Admission, RefusedError
from tmppool.web.entry import Entry
from tmppool.web.pages import Pages
from tmppool.web.site import Site
from tmppool.web.tickets import Tickets

_MAX_FIELDS = 1000
_FORBIDDEN = 403
_TOO_MANY = 429
_UNAVAILABLE = 503


class Front:
    def __init__(self, site: Site, pages: Pages, tickets: Tickets, entry: Entry, admission: Admission) -> None:
        self._site = site
        self._pages = pages
        self._tickets = tickets
        self._entry = entry
        self._admission = admission

    async def launch(self, request: web.Request) -> web.Response:
        """GET: the launch page; a visitor who holds a notebook is sent on to it."""
        pool = self._site.pool_of(request)
        visitor = self._site.visitor(request)
        held = self._site.pools.held_by(visitor, pool)
        if held is not None:
            return self._entry.send_on(request, pool, held, self._target(request, pool))
        return self._page(request, "launch", 200, pool, why="")

    async def spawn(self, request: web.Request) -> web.Response:
        """POST: assign, and 303 to the notebook."""
        refuse_ahead(request)
        self._site.refuse_cross_site(request)
        pool = self._site.pool_of(request)
        form, visitor = await form_in(request), self._site.visitor(request)
        ticket, target = form.get("ticket", ""), self._target(request, pool)
        held = self._site.pools.held_by(visitor, pool)
        if held is not None:
            return self._entry.send_on(request, pool, held, target)
        if robots.is_crawler(request.headers):
            return self._page(request, "launch", _FORBIDDEN, pool, why="robot")
        if not self._tickets.redeem(ticket, visitor):
            return self._page(request, "launch", _FORBIDDEN, pool, why="ticket")
        try:
            with self._admission.start(self._site.client(request).address, visitor, code_in(request, form)):
                notebook = await self._site.assign(pool, visitor, jupyter_urls.document_of(target))
        except RefusedError as error:
            self._tickets.give_back(ticket, visitor)
            return self._refusal_page(request, pool, error)
        except PoolEmptyError as error:
            self._tickets.give_back(ticket, visitor)
            return self._wait_page(request, pool, error)
        return self._entry.send_on(request, pool, notebook, target)

    def _target(self, request: web.Request, pool: Pool) -> str:
        return links.target_of(self._link(request), self._site.landing[pool.name])

    def _link(self, request: web.Request) -> str:
        """Return the raw link without the workshop code; where there is none, ``code`` is the document's own."""
        return links.without_code(request.raw_path) if self._admission.has_code else request.raw_path

    def _refusal_page(self, request: web.Request, pool: Pool, error: RefusedError) -> web.Response:
        again = error.retry_after or None
        status = _FORBIDDEN if again is None else _TOO_MANY
        response = self._page(
            request, "limited", status, pool, cause=error.cause, retry_after=again, has_code=self._admission.has_code
        )
        if again is not None:
            response.headers["Retry-After"] = str(again)
        return response

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
            # The link's code goes on with the look's form; after that it is known, or was wrong.
            action=links.action_of(self._link(request) if request.method == "POST" else request.raw_path),
            ticket=self._tickets.issue(visitor),
            document=jupyter_urls.document_of(self._target(request, pool)) or "",
            idle_minutes=round(pool.limits.idle / 60),
            lifetime_minutes=round(pool.limits.lifetime / 60),
            **values,
        )
        if cookie is not None:
            self._site.set_cookie(request, response, cookie)
        return response


async def form_in(request: web.Request) -> dict[str, str]:
    """Return the form's fields, empty for a body that is no such form. Raises HTTPRequestEntityTooLarge."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    try:
        body = (await request.read()).decode("utf-8", "replace")
        return {name: values[0] for name, values in parse_qs(body, max_num_fields=_MAX_FIELDS).items()}
    except (ValueError, web.RequestPayloadError):  # too many fields, or packed in a way that is none
        return {}


def code_in(request: web.Request, form: dict[str, str]) -> str:
    """Return the workshop code that was given: typed, or in the link."""
    return form.get("code") or links.code_of(request.raw_path)


def refuse_ahead(request: web.Request) -> None:
    """Raise HTTPServiceUnavailable for what a browser asks ahead: it asks again when its person does."""
    if robots.is_ahead(request.headers):
        raise web.HTTPServiceUnavailable(text="A notebook is started only when somebody comes for it.")
