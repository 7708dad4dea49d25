"""Decides what answers a request. Pure.

Called for each request on the public listener, and again when the body of a request to the service itself is complete.

``judge`` reads the visit and the table of notebooks. It changes nothing, and asks neither engine nor database: a
forgotten tab may poll for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from tmppool import jupyter_urls
from tmppool.keys import id_of
from tmppool.notebook import EXPLANATIONS, Notebook
from tmppool.pool import Pool
from tmppool.pools import Ended
from tmppool.proxy import handshake
from tmppool.running import base_path
from tmppool.web import links, tokens
from tmppool.web.authorization import is_same
from tmppool.web.kinds import Kind
from tmppool.web.lock import Lock
from tmppool.web.tokens import Access, Role
from tmppool.web.verdict import (
    Admitted,
    Answer,
    Claim,
    Enter,
    Entry,
    HandOff,
    Pass,
    Redeem,
    Redirect,
    Serve,
    Unlock,
    Verdict,
)  # fmt: skip
from tmppool.web.visit import Origin, Visit

_UNKNOWN = "There is no notebook at this URL: it ended some time ago, or never existed."
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_NOT_PASSED = (b"CONNECT", b"TRACE")  # optional for a server (RFC 9110 sections 9.3.6 and 9.3.8)


class Table(Protocol):
    """The live notebooks and those that have ended; ``Pools`` implements it."""

    @property
    def default(self) -> Pool: ...
    def find(self, key: str) -> tuple[Pool, Notebook] | None: ...
    def ended(self, key: str) -> Ended | None: ...
    def has(self, notebook_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """``api_token`` is required of programs that start notebooks; ``lock`` is set if notebooks are processes."""

    api_token: str | None = None
    lock: Lock | None = None


def judge(visit: Visit, table: Table, rules: Rules) -> Verdict:
    """Return the verdict on a request to the public listener. Raises BadMessageError for an invalid handshake."""
    verdict = None
    if visit.label is not None:
        verdict = _at_notebooks_host(visit, visit.label, table)
    if verdict is None and rules.lock is not None:
        verdict = _locked(visit, rules.lock)
    if verdict is not None:
        return verdict
    if visit.is_for_notebook:
        return _to_notebook(visit, table)
    return _to_own_address(visit, table, rules)


# The host, and the lock


def _at_notebooks_host(visit: Visit, label: str, table: Table) -> Verdict | None:
    """Return the verdict on a request that does not belong at this notebook's host, else None.

    Only the notebook, its session and our static files are served there, so that its page is same-origin with nothing
    else. The launch pages are at the main host.
    """
    if visit.key is not None and id_of(visit.key) == label:
        return None
    if visit.address.is_everywhere:
        return None
    if not table.has(label):
        return _gone(visit, table, "")
    if visit.method in (b"GET", b"HEAD") and visit.address.is_launch:
        return Redirect(visit.main_origin + visit.target)
    return Answer(Kind.NOTHING)


def _locked(visit: Visit, lock: Lock) -> Verdict | None:
    """Refuse all but this machine's own user, or ``Unlock`` them; None if the lock permits the request.

    The Host must name this machine: a page whose own name resolves to loopback would be same-origin (DNS rebinding).
    Static files are exempt: they are the same in every service, and the refusal's page needs them.
    """
    if not visit.names_this_machine() and not visit.address.needs_no_name:
        return Answer(Kind.NOT_THIS_MACHINE)
    if visit.is_for_notebook or visit.address.is_open:
        return None
    has_secret = any(lock.matches_secret(token) for token in visit.tokens)
    if has_secret and visit.method in (b"GET", b"HEAD") and not visit.address.is_api:
        return Unlock(tokens.without_token(visit.target))
    if has_secret or lock.matches_secret(visit.bearer_token) or lock.has_cookie(visit.cookies):
        return None
    return Answer(Kind.LOCKED)


# A notebook's address


def _to_notebook(visit: Visit, table: Table) -> Verdict:
    if visit.key is None:
        return Answer(Kind.NOTHING)
    found = table.find(visit.key)
    if found is None:
        return _gone(visit, table, visit.key)
    pool, notebook = found
    is_browser = visit.method == b"GET" and visit.wants_page
    if visit.is_at_main_host:
        if is_browser and _is_owner(visit, notebook):
            return HandOff(notebook, visit.open_path)
        return Answer(Kind.WRONG_HOST)
    access = _access(visit, notebook)
    if is_browser and (access.role is None or visit.tokens):
        return _entering(visit, table, pool, notebook, access)
    if access.role is None:
        return _foreign(visit, table, pool)
    return _passing(visit, Admitted(pool, notebook, access.role, access.is_explicit))


def _access(visit: Visit, notebook: Notebook) -> Access:
    return tokens.access(notebook, visit.cookies, visit.bearer_token, visit.tokens)


def _passing(visit: Visit, held: Admitted) -> Pass | Redirect | Answer:
    """Judge a request with access to the notebook. Raises BadMessageError for an invalid handshake."""
    if visit.path is None:
        return Redirect(f"{base_path(held.notebook.key)}{visit.query}", 302)
    if visit.method in _NOT_PASSED:
        return Answer(Kind.METHOD, {"allow": _METHODS})
    if visit.is_websocket:
        handshake.check(visit.request)
    if not held.is_explicit and visit.is_cross_site:
        return Answer(Kind.CROSS_SITE)
    target = tokens.without_token(visit.target) if visit.tokens else visit.target
    return Pass(held, visit.path, target)


def _entering(visit: Visit, table: Table, pool: Pool, notebook: Notebook, access: Access) -> Entry | Answer:
    """Judge a browser's navigation to a notebook without its cookie, or with a token in the URL.

    A session token makes the first browser that opens it the owner, and no other; a share token makes every browser a
    guest. A browser that has access by a cookie keeps its role.
    """
    known = Role.OWNER if _is_owner(visit, notebook) else access.by_cookie
    if known is not None:
        return _enter(visit, pool, notebook, known)
    if visit.is_prefetch or visit.is_crawler:
        return Answer(Kind.PREFETCH)
    if access.by_token is Role.GUEST:
        return _enter(visit, pool, notebook, Role.GUEST)
    foreign = _foreign(visit, table, pool)
    if access.by_token is Role.OWNER and notebook.visitor is None:
        return Claim(_enter(visit, pool, notebook, Role.OWNER), foreign)
    if access.by_token is None and visit.label is not None and visit.tokens:
        return Redeem(_enter(visit, pool, notebook, Role.OWNER), tuple(visit.tokens), foreign)
    return foreign


def _enter(visit: Visit, pool: Pool, notebook: Notebook, role: Role) -> Enter:
    return Enter(pool, notebook, tokens.role_token(notebook, role), visit.open_path)


def _is_owner(visit: Visit, notebook: Notebook) -> bool:
    return visit.visitor is not None and visit.visitor == notebook.visitor


# Our own addresses


def _to_own_address(visit: Visit, table: Table, rules: Rules) -> Verdict:
    if visit.key is not None:
        return _of_session(visit, table, visit.key)
    if visit.method == b"POST":
        if visit.address.starts and rules.api_token is not None and not is_same(visit.bearer_token, rules.api_token):
            return Answer(Kind.TOKEN)
        if visit.is_prefetch:
            return Answer(Kind.PREFETCH)
    return Answer(Kind.CROSS_SITE_OWN) if _is_forbidden_cross_site(visit) else Serve()


def _is_forbidden_cross_site(visit: Visit) -> bool:
    """Return True if another origin sent an unsafe method that it is not allowed to send."""
    if visit.is_safe or visit.origin is Origin.SAME:
        return False
    return not (visit.origin is Origin.FRIEND and visit.address.is_api)


def _of_session(visit: Visit, table: Table, key: str) -> Answer | Serve:
    """Judge a request about a session by the role that it needs; the router answers an unknown path or method."""
    method = b"GET" if visit.method == b"HEAD" else visit.method
    needed = visit.address.rights.get(method)
    if needed is None:
        return Serve()
    found = table.find(key)
    if found is None:
        return _gone(visit, table, key)
    pool, notebook = found
    access = _access(visit, notebook)
    if access.role is None:
        return _foreign(visit, table, pool)
    if needed is Role.OWNER and not access.is_owner:
        return Answer(Kind.NOT_OWNER)
    if not access.is_explicit and visit.is_cross_site:
        return Answer(Kind.CROSS_SITE_OWN)
    return Serve(Admitted(pool, notebook, access.role, access.is_explicit))


# The facts of an answer


def _gone(visit: Visit, table: Table, key: str) -> Answer:
    ended = table.ended(key)
    explanation = EXPLANATIONS.get(ended.reason, _UNKNOWN) if ended else _UNKNOWN
    facts = {
        "message": explanation,
        "explanation": explanation,
        "reason": ended.reason.value if ended else "unknown",
        "ended_at": datetime.fromtimestamp(ended.at, UTC).isoformat(timespec="seconds") if ended else "",
        **_fresh(visit, table, ended.pool if ended else None),
    }
    return Answer(Kind.GONE if ended else Kind.UNKNOWN, facts)


def _foreign(visit: Visit, table: Table, pool: Pool) -> Answer:
    return Answer(Kind.FOREIGN, _fresh(visit, table, pool.name))


def _fresh(visit: Visit, table: Table, pool: str | None) -> Mapping[str, str]:
    """Return the launch link that opens the same path in a new notebook of that pool, and the path's document."""
    named = None if pool == table.default.name else pool
    return {
        "fresh_url": visit.main_origin + links.fresh(visit.open_path, named),
        "document": jupyter_urls.document_of(f"/{visit.open_path}") or "",
    }


# The operator's listener


def judge_admin(visit: Visit, token: str, local_ip: str | None) -> Answer | Serve:
    """Return the verdict on a request to the admin listener; every request needs ``token``.

    A browser on the operator's machine lets any page send requests to loopback, so cross-origin requests are refused,
    safe methods included (Fetch Metadata). If the operator chose no token, the Host must name this machine too, which
    is at ``local_ip``: a page whose own name resolves to loopback would be same-origin (DNS rebinding).
    """
    if local_ip is not None and not visit.names_this_machine(local_ip):
        return Answer(Kind.OPERATOR_HOST)
    if visit.origin is not Origin.SAME or visit.names_other_origin:
        return Answer(Kind.OPERATOR_ORIGIN)
    return Serve() if is_same(visit.bearer_token, token) else Answer(Kind.TOKEN)
