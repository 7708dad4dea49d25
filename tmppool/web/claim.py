"""The page on which the first browser with a program's link becomes the owner of its notebook.

Somebody has to press a button there. A link alone would let a page elsewhere put a notebook into a browser that its
sender can read. And the visitor of the launch pages stays who they are: the owner of a claimed notebook is known by the
notebook's own cookie, so no launch link leads to it.
"""

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.notebook import Notebook
from tmppool.sessions import Sessions
from tmppool.web import links, own_cookies, tokens
from tmppool.web.answers import AnswerError
from tmppool.web.context import admitted_of, visit_of
from tmppool.web.enter import Entrance, as_owner, put_cookie, redirect
from tmppool.web.kinds import Kind
from tmppool.web.pages import Pages
from tmppool.web.spawn_request import read_form
from tmppool.web.tickets import Tickets
from tmppool.web.verdict import Admitted
from tmppool.web.visit import Visit


class Claim:
    def __init__(self, sessions: Sessions, entrance: Entrance, pages: Pages, tickets: Tickets) -> None:
        self._sessions = sessions
        self._entrance = entrance
        self._pages = pages
        self._tickets = tickets

    async def ask(self, request: web.Request) -> web.Response:
        """GET: the page with the button; the owner is redirected to the notebook.

        From a URL with the token it redirects to the one without, and leaves the token in a cookie.
        """
        visit, held = visit_of(request), admitted_of(request)
        if visit.tokens:
            response = redirect(links.to_claim(held.notebook.key, links.claimed_path(visit.target)))
            token = tokens.session_token(held.notebook)
            own_cookies.put_secret(response, f"claim-{held.notebook.id}", token, visit.cookie_scope)
            return response
        if visit.has_owners_cookie(held.notebook):
            return await self._enter(visit, held)
        if held.notebook.visitor is not None:
            raise _foreign(visit, held)
        return self._page(visit, held.notebook)

    async def confirm(self, request: web.Request) -> web.Response:
        """POST: make this browser the owner's, unless another was first, and redirect to the notebook."""
        visit, held = visit_of(request), admitted_of(request)
        notebook, ticket = held.notebook, (await read_form(request)).get("ticket", "")
        if visit.has_owners_cookie(notebook):  # in another tab, meanwhile
            return await self._enter(visit, held)
        if not self._tickets.is_ours(ticket, notebook.key):
            return self._page(visit, notebook)
        visitor = own_cookies.visitor_id(self._tickets.successor(ticket))  # the same if the button is pressed twice
        if notebook.visitor != visitor and not await self._sessions.bind(notebook, visitor):
            raise _foreign(visit, held)
        return await self._enter(visit, held)

    async def _enter(self, visit: Visit, held: Admitted) -> web.Response:
        verdict = as_owner(visit, held.pool, held.notebook, links.claimed_path(visit.target))
        response = await self._entrance.enter(visit, verdict)
        # At the main host too, whose pages share and end the notebook.
        put_cookie(visit, response, held.pool, held.notebook, tokens.session_token(held.notebook))
        for kind in (f"claim-{held.notebook.id}", f"ticket-{held.notebook.id}"):
            own_cookies.forget_secret(response, kind, visit.cookie_scope)
        return response

    def _page(self, visit: Visit, notebook: Notebook) -> web.Response:
        path, ticket = links.claimed_path(visit.target), self._ticket(visit, notebook)
        response = self._pages.render(
            "claim",
            200,
            action=links.to_claim(notebook.key, path),
            ticket=ticket,
            document=jupyter_urls.document_of(f"/{path}") or "",
        )
        own_cookies.put_secret(response, f"ticket-{notebook.id}", ticket, visit.cookie_scope)
        return response

    def _ticket(self, visit: Visit, notebook: Notebook) -> str:
        """Return the ticket that another tab of this browser has, or a new one: their presses are one browser's.

        One that somebody has planted gives them nothing: with it alone nobody gets as far as the button.
        """
        left = own_cookies.tickets_in(visit.cookies, f"ticket-{notebook.id}", visit.cookie_scope)
        known = (ticket for ticket in left if self._tickets.is_ours(ticket, notebook.key))
        return next(known, "") or self._tickets.issue(notebook.key)


def _foreign(visit: Visit, held: Admitted) -> AnswerError:
    path = links.claimed_path(visit.target)
    fresh_url = visit.main_origin + links.fresh(path, held.pool.name)
    return AnswerError(Kind.FOREIGN, fresh_url=fresh_url, document=jupyter_urls.document_of(f"/{path}") or "")
