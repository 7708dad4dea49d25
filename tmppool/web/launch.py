"""The launch page and its form: GET assigns nothing, POST with a ticket assigns a notebook."""

import asyncio
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from aiohttp import web
from cachetools import TTLCache

from tmppool import jupyter_urls, keys
from tmppool.document_index import DocumentIndex
from tmppool.errors import NoNotebookError
from tmppool.notebook import Notebook, State
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.proxy import target
from tmppool.running import base_path
from tmppool.sessions import Sessions
from tmppool.web import links, own_cookies
from tmppool.web.answers import AnswerError, Answers
from tmppool.web.context import visit_of
from tmppool.web.enter import Entrance, as_owner, redirect
from tmppool.web.kinds import Kind
from tmppool.web.pages import words
from tmppool.web.preview import Preview
from tmppool.web.spawn_request import pool_of, read_form, refused, visitors_code
from tmppool.web.start_limits import StartLimits, StartRefusedError
from tmppool.web.tickets import Tickets
from tmppool.web.verdict import Answer
from tmppool.web.visit import Visit

_MOST_PATH = target.MAX_TARGET - len(base_path("k" * keys.LONGEST))  # bytes
_MOST_RETURNS = 8  # as many as launch.js keeps
_MOST_TRIES = 6  # of a page whose ticket is for another cookie than the browser sends
_TURN = 10.0  # seconds in which a start is done, on a slow engine too, and its browser has taken the new cookie
_NEXT_LOOK = 0.3  # seconds after which a frame that comes second looks again
_MOST_TURNS = 10_000


class Launch:
    """``landing`` is the path that ``/`` opens, by pool; ``documents`` are the image's."""

    def __init__(
        self,
        pools: Pools,
        sessions: Sessions,
        answers: Answers,
        entrance: Entrance,
        limits: StartLimits,
        tickets: Tickets,
        landing: Mapping[str, links.Landing],
        documents: Mapping[str, DocumentIndex],
        preview: Preview,
    ) -> None:
        self._preview = preview
        self._documents = documents
        self._pools = pools
        self._sessions = sessions
        self._answers = answers
        self._entrance = entrance
        self._limits = limits
        self._tickets = tickets
        self._landing = landing
        self._in_turn: TTLCache[str, Literal[True]] = TTLCache(_MOST_TURNS, _TURN)

    async def show(self, request: web.Request) -> web.Response:
        """GET: the launch page; a visitor who has a notebook is redirected to it.

        From a link with the workshop code it redirects to the one without, and leaves the code in a cookie.
        """
        visit = visit_of(request)
        code = links.code_of(visit.target) if self._limits.has_code else ""
        if code:
            response = redirect(self._link(visit))
            own_cookies.put_secret(response, "code", code, visit.cookie_scope)
            return response
        pool = pool_of(visit, self._pools)
        self._refuse_long(visit, pool)
        own = await self._theirs(visit, pool, {})
        missing = self._missing(visit, pool)
        return own or self._page(visit, pool, Kind.NO_DOCUMENT if missing else Kind.LAUNCH, missing)

    async def start(self, request: web.Request) -> web.Response:
        """POST: assign a notebook and redirect to it (303).

        Frames of one page send their forms at the same moment: where browsers block cookies, frames cannot take turns
        by themselves, as no lock is to be had. The one that comes second looks again, with the cookie of the first.
        """
        visit = visit_of(request)
        pool, form = pool_of(visit, self._pools), await read_form(request)
        self._refuse_long(visit, pool)
        ticket = form.get("ticket", "")
        own = await self._theirs(visit, pool, form)
        if own is not None:
            return own
        if visit.is_crawler:
            return self._page(visit, pool, Kind.CRAWLER, {})
        is_framed = visit.is_embedded or "framed" in form
        if visit.visitor is None and is_framed:
            return self._outside(visit, pool)
        if visit.visitor is None or not self._tickets.redeem(ticket, visit.visitor):
            return self._once_more(visit, pool, form)
        if is_framed and visit.visitor in self._in_turn:
            await asyncio.sleep(_NEXT_LOOK)
            return redirect(self._link(visit))
        self._in_turn[visit.visitor] = True
        document = jupyter_urls.document_of(self._path(visit, pool))
        visitor = own_cookies.visitor_id(self._tickets.successor(ticket))
        try:
            code = visitors_code(visit, form)
            with self._limits.count_start(pool, visit.client.address, visit.visitor, code) as network:
                notebook = await self._sessions.assign(pool, visitor, document, network)
        except (StartRefusedError, NoNotebookError) as error:
            self._tickets.give_back(ticket, visit.visitor)
            self._in_turn.pop(visit.visitor, None)
            refusal = refused(error)
            held = _owned(visit, pool) if refusal.kind is Kind.HELD else []
            page = self._page(visit, pool, refusal.kind, {**refusal.facts, "held": held})
            if refusal.kind is Kind.WRONG_CODE:
                own_cookies.forget_secret(page, "code", visit.cookie_scope)
            return page
        return await self._succeed(visit, pool, notebook, ticket)

    def _refuse_long(self, visit: Visit, pool: Pool) -> None:
        """Raise AnswerError for a link that no redirect to a notebook can hold: none is assigned in vain."""
        if len(self._path(visit, pool)) > _MOST_PATH:
            raise AnswerError(Kind.LONG_LINK)

    def _outside(self, visit: Visit, pool: Pool) -> web.Response:
        """Return the page that leads from a frame, in which the browser keeps no cookies, to a tab of its own."""
        document = jupyter_urls.document_of(self._path(visit, pool)) or ""
        return self._answers.page(Answer(Kind.FRAMED, {"url": self._link(visit), "document": document}), visit)

    def _once_more(self, visit: Visit, pool: Pool, form: Mapping[str, str]) -> web.Response:
        """Return the page with another ticket. It has no field for a code: one that was typed is kept in a cookie.

        It submits itself once. With a ticket of ours for another cookie it does so a few times: frames of one page that
        load at the same moment, and the first time, each bring the browser another one.
        """
        tries = len(form.get("again", "")[:_MOST_TRIES])
        ticket = form.get("ticket", "")
        is_anothers = visit.visitor is not None and not self._tickets.is_ours(ticket, visit.visitor)
        gives_up = tries >= (_MOST_TRIES if is_anothers and self._tickets.is_genuine(ticket) else 1)
        page = self._page(visit, pool, Kind.TICKET, {"gives_up": gives_up, "again": "1" * (tries + 1)})
        is_typed = "code" in form and self._limits.has_code
        if is_typed and visit.visitor is not None and self._tickets.is_ours(form.get("ticket", ""), visit.visitor):
            own_cookies.put_secret(page, "code", form["code"], visit.cookie_scope)
        return page

    async def _theirs(self, visit: Visit, pool: Pool, form: Mapping[str, str]) -> web.Response | None:
        """Redirect a visitor to their notebook of this pool, if any, whether or not they have its cookie yet."""
        return await self._held(visit, pool) or await self._given(visit, pool, form)

    async def _held(self, visit: Visit, pool: Pool) -> web.Response | None:
        """Redirect a visitor to their notebook of this pool, if any."""
        notebook: Notebook | None = self._pools.held_by(visit.visitor, pool)
        if notebook is None:
            return None
        return await self._entrance.enter(visit, as_owner(visit, pool, notebook, self._path(visit, pool, notebook)))

    async def _given(self, visit: Visit, pool: Pool, form: Mapping[str, str]) -> web.Response | None:
        """Redirect to the notebook that a ticket of this visitor was used for, if any, as when they press twice.

        The last launch page has left its ticket in a cookie: who loads it anew while a start is under way never gets
        the answer with their new cookie. No start takes a ticket from there, where somebody else may have planted it.
        Where notebooks have their own host names, a browser that has lost its cookies proves by the tickets that it
        used before who it is.
        """
        left = own_cookies.tickets_in(visit.cookies, "ticket", visit.cookie_scope)
        known = [form.get("ticket", ""), *left] if visit.visitor is not None else []
        theirs = [ticket for ticket in known if self._tickets.is_ours(ticket, visit.visitor or "")]
        returns = form.get("returns", "").split()[:_MOST_RETURNS] if visit.is_at_main_host else []
        for used in [*theirs, *returns]:
            visitor = own_cookies.visitor_id(self._tickets.successor(used))
            notebook = self._pools.held_by(visitor, pool)
            if notebook is not None:
                return await self._succeed(visit, pool, notebook, used)
        return None

    async def _succeed(self, visit: Visit, pool: Pool, notebook: Notebook, ticket: str) -> web.Response:
        """Redirect to the notebook, as the visitor to whom the ticket gave it, and who has all that this one had.

        A start whose browser has left meanwhile ends before this: it is done when they come once more.
        """
        cookie = self._tickets.successor(ticket)
        visitor = own_cookies.visitor_id(cookie)
        self._tickets.note_successor(visit.visitor, visitor)
        self._limits.renew(visit.visitor, visitor)
        await self._sessions.renew(self._pools.all_of(visit.visitor), visitor)
        response = await self._entrance.enter(visit, as_owner(visit, pool, notebook, self._path(visit, pool, notebook)))
        own_cookies.put_visitor(response, cookie, visit.cookie_scope)
        return response

    def _path(self, visit: Visit, pool: Pool, notebook: Notebook | None = None) -> str:
        """Return the path that the visit opens in this notebook, else in one like the pool's newest."""
        known = [*pool][-1:] if notebook is None else [notebook]
        is_jupyter = all(each.is_jupyter for each in known)
        path = links.target_of(self._link(visit), self._landing[pool.name].in_a(is_jupyter=is_jupyter))
        return links.with_tree(path) if is_jupyter else path

    def _missing(self, visit: Visit, pool: Pool) -> dict[str, object]:
        """Return the document that the link names, if the pool's notebooks are known to have none of that name."""
        name = jupyter_urls.file_of(self._path(visit, pool))
        return {} if name is None or not self._documents[pool.name].lacks(name) else {"document": name}

    def _instead(self, visit: Visit, pool: Pool) -> str:
        """Return the link to open instead of one to a document that is missing: the nearest folder, else the landing.

        Folders without documents are not known. A landing that is itself missing is replaced by the home.
        """
        path = self._path(visit, pool)
        folder = self._documents[pool.name].nearest_folder(jupyter_urls.file_of(path) or "")
        page = "lab/tree" if path.startswith("/lab") else "tree"
        is_landing = self._link(visit).partition("?")[0] in ("/", "/spawn", "/spawn/")
        link = f"{page}/{quote(folder)}" if folder else "tree" if is_landing else ""
        return links.fresh(link, None if pool is self._pools.default else pool.name)

    def _near(self, visit: Visit, pool: Pool, document: str) -> list[dict[str, object]]:
        """Return the names of documents that the link may mean, each with its link."""
        named = None if pool is self._pools.default else pool.name
        page = "lab/tree" if self._path(visit, pool).startswith("/lab") else "notebooks"
        return [
            {"parts": words(path), "url": links.fresh(f"{page}/{quote(path)}", named)}
            for path in self._documents[pool.name].near(document)
        ]

    def _link(self, visit: Visit) -> str:
        """Return the link as routes match it, without the workshop code; if none is set, that is the document's."""
        link = links.plain(visit.target)
        return links.without_code(link) if self._limits.has_code else link

    def _page(self, visit: Visit, pool: Pool, kind: Kind, facts: Mapping[str, object]) -> web.Response:
        """Return a page with the form that starts a notebook, to programs too."""
        cookie, visitor = (None, visit.visitor) if visit.visitor is not None else own_cookies.new_visitor()
        ticket = self._tickets.issue(visitor)
        form = {
            "action": links.action_of(self._link(visit)),
            "ticket": ticket,
            "document": jupyter_urls.document_of(self._path(visit, pool)) or "",
            "preview": {},
            "gives_up": False,
            "again": "",
            "anyway": "",
            "near": [],
            "has_code": self._limits.has_code,
            "idle_minutes": round(pool.limits.idle / 60),
            "lifetime_minutes": round(pool.limits.lifetime / 60),
            "capacity": pool.limits.capacity,
            "warm": pool.count(State.WARM),
            "warm_target": pool.limits.warm,
        }
        if kind is Kind.LAUNCH:
            file = jupyter_urls.file_of(self._path(visit, pool)) or ""
            facts = {**facts, "preview": self._preview.facts(visit, pool.name, file)}
        if kind is Kind.NO_DOCUMENT:
            form["anyway"] = form["action"]  # the image does not say what its server makes, or where its root is
            form["action"] = links.action_of(self._instead(visit, pool))
            facts = {**facts, "near": self._near(visit, pool, str(facts["document"]))}
        response = self._answers.page(Answer(kind, {"kind": kind.name, **form, **facts}), visit)
        if cookie is not None:
            own_cookies.put_visitor(response, cookie, visit.cookie_scope)
        own_cookies.put_secret(response, "ticket", ticket, visit.cookie_scope)
        return response


def _owned(visit: Visit, pool: Pool) -> list[str]:
    """Return the paths of the notebooks whose owner's cookie the browser has, whichever visitor it is now."""
    ids = own_cookies.notebook_ids(visit.cookies)
    return [
        base_path(notebook.key)
        for notebook in pool
        if notebook.is_live and notebook.id in ids and visit.has_owners_cookie(notebook)
    ]
