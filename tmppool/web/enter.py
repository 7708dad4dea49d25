"""Lets a browser in: sets a cookie and redirects to the URL without its token.

With a host name per notebook, a ticket that is valid once hands the owner over from the main host to the notebook's.
"""

import math
import re

from aiohttp import web

from tmppool.notebook import Notebook
from tmppool.pool import Pool
from tmppool.proxy import target
from tmppool.running import base_path
from tmppool.web import links, own_cookies, tokens
from tmppool.web.answers import AnswerError, Answers
from tmppool.web.kinds import Kind
from tmppool.web.lock import Lock
from tmppool.web.tickets import Tickets
from tmppool.web.verdict import Enter, Entry, HandOff, Redeem, Unlock
from tmppool.web.visit import Visit

HANDOFF_LIFETIME = 60  # seconds that a handoff's ticket is valid

_OWN_ORIGIN = re.compile(r"\Ahttps?://[^/]*")
_REDIRECT_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


class Entrance:
    """``handoffs`` issues the tickets that take an owner from the main host to a notebook's own, one per key."""

    def __init__(self, answers: Answers, handoffs: Tickets, lock: Lock | None = None) -> None:
        self._answers = answers
        self._handoffs = handoffs
        self._lock = lock

    async def enter(self, visit: Visit, entry: Entry) -> web.Response:
        """Carry out the verdict. A ticket lets in only the first."""
        match entry:
            case Enter():
                return _let_in(visit, entry, _redirect_to(entry))
            case HandOff(notebook, path):
                ticket = self._handoffs.issue(notebook.key)
                return redirect(visit.origin_of(notebook.id) + links.to_enter(notebook.key, ticket, path))
            case Redeem(inner, tickets, refusal):
                is_good = any(self._handoffs.redeem(ticket, inner.notebook.key) for ticket in tickets)
                return _let_in(visit, inner, _redirect_to(inner)) if is_good else self._answers.render(refusal, visit)

    def unlock(self, visit: Visit, verdict: Unlock) -> web.Response:
        assert self._lock is not None, "without a lock nothing is judged to be locked"
        response = redirect(verdict.location)
        own_cookies.put(response, self._lock.cookie, self._lock.value, None, visit.cookie_scope)
        return response


def as_owner(visit: Visit, pool: Pool, notebook: Notebook, path: str) -> Enter | HandOff:
    """Return the verdict that takes a notebook's owner from our pages to ``path`` below it."""
    if visit.is_at_host_of(notebook.id):
        return Enter(pool, notebook, tokens.session_token(notebook), path)
    return HandOff(notebook, path)


def redirect(location: str, code: int = 303, *, fragment: str = "") -> web.Response:
    """Return a redirect that is not cached and sends no referrer; ``fragment`` is raw, with its ``#``.

    Nothing of a request is sent on that would be refused as a request: raises AnswerError for such a path.
    """
    path = _OWN_ORIGIN.sub("", location, count=1)
    if not target.is_accepted(path.encode(errors="replace")):
        raise AnswerError(Kind.MISSPELT)
    return web.Response(status=code, headers={"Location": location + fragment, **_REDIRECT_HEADERS})


def _location(notebook: Notebook, path: str) -> str:
    return base_path(notebook.key) + path.lstrip("/")


def _redirect_to(entry: Enter) -> web.Response:
    return redirect(_location(entry.notebook, entry.path))


def _let_in(visit: Visit, entry: Enter, response: web.Response) -> web.Response:
    put_cookie(visit, response, entry.pool, entry.notebook, entry.token)
    return response


def put_cookie(visit: Visit, response: web.Response, pool: Pool, notebook: Notebook, token: str) -> None:
    """Set the notebook's cookie, which lasts at most as long as the session."""
    name = own_cookies.notebook_name(notebook.key, is_secure=visit.is_secure)
    max_age = None if notebook.expires_at is None else math.ceil(notebook.expires_at - pool.clock())
    own_cookies.put(response, name, token, max_age, visit.cookie_scope)
