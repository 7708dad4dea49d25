"""Let a browser in: the cookie in place of a token, and on to an address without any.

With a host name for each notebook, the owner is handed from the main host to the notebook's by a ticket good once.
"""

import math

from aiohttp import web

from tmppool.notebook import Notebook
from tmppool.pool import Pool
from tmppool.running import base_path
from tmppool.sessions import Sessions
from tmppool.web import links, own_cookies, tokens
from tmppool.web.answers import Answers
from tmppool.web.lock import Lock
from tmppool.web.tickets import Tickets
from tmppool.web.tokens import Role
from tmppool.web.verdict import Enter, Move, Unlock, Way
from tmppool.web.visit import Visit

HANDOFF_LIFETIME = 60  # seconds from the main host to the notebook's own

_MOVED_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


class Entrance:
    """``handoffs`` are the tickets that lead from the main host to a notebook's own, each for one key."""

    def __init__(self, sessions: Sessions, answers: Answers, handoffs: Tickets, lock: Lock | None = None) -> None:
        self._sessions = sessions
        self._answers = answers
        self._handoffs = handoffs
        self._lock = lock

    async def enter(self, visit: Visit, verdict: Enter) -> web.Response:
        """Do what the verdict says. Of a token that is good once, only the first to act is let in."""
        notebook = verdict.notebook
        location = base_path(notebook.key) + verdict.path.lstrip("/")
        response = moved(location)
        match verdict.way:
            case Way.OWN_HOST:
                ticket = self._handoffs.issue(notebook.key)
                return moved(visit.origin_of(notebook.id) + links.with_query(location, f"token={ticket}"))
            case Way.HANDOFF:
                is_in = any(self._handoffs.redeem(ticket, notebook.key) for ticket in verdict.tickets)
            case Way.FIRST:
                is_in = await self._bind(visit, response, notebook)
            case Way.KNOWN:
                is_in = True
        if not is_in and verdict.otherwise is not None:
            return self._answers.render(verdict.otherwise, visit)
        name = own_cookies.notebook_name(notebook.key, is_secure=visit.is_secure)
        age = None if notebook.expires_at is None else math.ceil(notebook.expires_at - verdict.pool.clock())
        token = tokens.role_token(notebook, verdict.role)
        own_cookies.put(response, name, token, age, is_secure=visit.is_secure)
        return response

    async def _bind(self, visit: Visit, response: web.Response, notebook: Notebook) -> bool:
        if visit.visitor is not None:
            return await self._sessions.bind(notebook, visit.visitor)
        cookie, visitor = own_cookies.new_visitor()
        own_cookies.put_visitor(response, cookie, is_secure=visit.is_secure)
        return await self._sessions.bind(notebook, visitor)

    def unlock(self, visit: Visit, verdict: Unlock) -> web.Response:
        assert self._lock is not None, "without a lock nothing is judged to be locked"
        response = moved(verdict.location)
        own_cookies.put(response, self._lock.cookie, self._lock.value, None, is_secure=visit.is_secure)
        return response


def as_owner(visit: Visit, pool: Pool, notebook: Notebook, path: str) -> Enter:
    """Return how the notebook's owner comes to ``path`` below it from any page of ours."""
    is_there = visit.names.domain is None or visit.label == notebook.id
    return Enter(pool, notebook, Role.OWNER, path, Way.KNOWN if is_there else Way.OWN_HOST)


def move(verdict: Move) -> web.Response:
    return moved(verdict.location, verdict.code)


def moved(location: str, code: int = 303) -> web.Response:
    """Return a redirect that nothing keeps and that tells no other site where it came from."""
    return web.Response(status=code, headers={"Location": location, **_MOVED_HEADERS})
