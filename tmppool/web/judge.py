"""Decides what answers a request. Pure.

Called for each request on the public listener, and again when the body of a request to the service itself is complete.

``judge`` reads the visit and the table of notebooks. It changes nothing, and asks neither engine nor database: a
forgotten tab may poll for ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from tmppool import jupyter_urls
from tmppool.keys import id_of
from tmppool.notebook import EXPLANATIONS, Notebook
from tmppool.pool import Pool
from tmppool.pools import Ended
from tmppool.proxy import handshake, headers
from tmppool.running import base_path
from tmppool.web import links, own_cookies, peer_links, tokens
from tmppool.web.authorization import is_same, secrets_in
from tmppool.web.kinds import Kind
from tmppool.web.lock import Lock
from tmppool.web.tokens import Access, Role
from tmppool.web.verdict import (
    Admitted,
    Answer,
    Enter,
    Entry,
    HandOff,
    Pass,
    Preflight,
    Redeem,
    Redirect,
    Serve,
    Unlock,
    Verdict,
)  # fmt: skip
from tmppool.web.visit import Origin, Visit

_UNKNOWN = "There is no notebook at this URL: it ended some time ago, or never existed."
PAUSED = Answer(Kind.PAUSED, {"retry_after": 10})  # seconds
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
    """``api_token`` is required of programs that start notebooks; ``lock`` is set if notebooks are processes.

    ``secrets`` are the service's own, which no notebook may see. ``is_ticket`` tells whether the first argument is a
    handoff's ticket for the notebook whose key is the second.
    """

    api_token: str | None = None
    lock: Lock | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    is_ticket: Callable[[str, str], bool] = lambda _ticket, _key: False

    def are_for(self, notebook: Notebook) -> Callable[[str], bool]:
        """Return the test for what is ours in a request to this notebook; any other value is for an app inside."""

        def is_ours(value: str) -> bool:
            return (
                tokens.is_of(notebook, value)
                or any(is_same(value, secret) for secret in self.secrets)
                or self.is_ticket(value, notebook.key)
            )

        return is_ours


def judge(visit: Visit, table: Table, rules: Rules) -> Verdict:
    """Return the verdict on a request to the public listener. Raises BadMessageError for an invalid handshake."""
    verdict: Verdict | None = _misspelt(visit)
    if verdict is not None:
        return verdict
    if visit.label is not None:
        verdict = _at_notebooks_host(visit, visit.label, table)
    if verdict is None and rules.lock is not None:
        verdict = _locked(visit, rules.lock)
    if verdict is not None:
        return verdict
    if visit.is_preflight and visit.key is not None:
        return Preflight(visit.asks_for_private_network)  # it carries no token, so it is no matter whose notebook it is
    if visit.is_for_notebook:
        return _to_notebook(visit, table, rules)
    return _to_own_address(visit, table, rules)


def _misspelt(visit: Visit) -> Redirect | Answer | None:
    """Lead a navigation whose target is refused as it is spelled to the only one that it can mean, if there is one."""
    correction = visit.request.correction
    if correction is None:
        return None
    return Redirect(correction, 308) if correction and visit.wants_page else Answer(Kind.MISSPELT)


# The host, and the lock


def _at_notebooks_host(visit: Visit, label: str, table: Table) -> Verdict | None:
    """Return the verdict on a request that does not belong at this notebook's host, else None.

    Only the notebook, its session and our static files are served there, so that its page is same-origin with nothing
    else. The launch pages and that of the visitor's own notebooks are at the main host, to which their links lead also
    from the host of a notebook that has ended.
    """
    if visit.key is not None and id_of(visit.key) == label:
        return None
    if visit.address.is_everywhere:
        return None
    is_at_main_host = visit.address.is_launch or (visit.address.is_main_only and visit.key is None)
    if is_at_main_host and visit.method in (b"GET", b"HEAD"):
        return Redirect(visit.main_origin + (_restart(visit, table) or visit.target))
    return Answer(Kind.NOTHING) if table.has(label) else _gone(visit, table, "")


def _restart(visit: Visit, table: Table) -> str | None:
    """Return the launch link that "Restart" in a notebook's page means; None for any other link.

    It is made here because a page's path is told to its own host only (Referrer-Policy), not to the main one.
    """
    is_restart = peer_links.is_restart(links.plain(visit.target), visit.main_origin)
    link = afresh(visit, table) if is_restart else None
    return None if link is None else links.with_code(link, links.code_of(visit.target))


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
        return Unlock(tokens.without_token(visit.target, lock.matches_secret))
    if has_secret or lock.matches_secret(visit.bearer_token) or lock.has_cookie(visit.cookies):
        return None
    return Answer(Kind.LOCKED)


# A notebook's address


class _Asked(NamedTuple):
    """The notebook that a visit asks for, and the access that it has; ``is_ours`` finds our own values among others."""

    pool: Pool
    notebook: Notebook
    access: Access
    is_ours: Callable[[str], bool]


def _to_notebook(visit: Visit, table: Table, rules: Rules) -> Verdict:
    if visit.key is None:
        return _without_secrets(visit) or Answer(Kind.NOTHING)
    found = table.find(visit.key)
    if found is None:
        return _gone(visit, table, visit.key)
    pool, notebook = found
    is_browser = visit.method == b"GET" and visit.wants_page
    is_ours = rules.are_for(notebook)
    if visit.is_at_main_host:
        # With a ticket the browser was sent to the notebook's host, of which a proxy has made this one.
        if any(rules.is_ticket(token, notebook.key) for token in visit.tokens):
            return Answer(Kind.LOST_HOST)
        is_handed_off = is_browser and _owns(visit, notebook)
        return HandOff(notebook, _path(visit, is_ours)) if is_handed_off else Answer(Kind.WRONG_HOST)
    if visit.is_navigation and not visit.is_safe and any(is_ours(token) for token in visit.tokens):
        return Answer(Kind.EXPOSED)
    asked = _Asked(pool, notebook, _access(visit, notebook), is_ours)
    if is_browser and (asked.access.role is None or any(is_ours(token) for token in visit.tokens)):
        return _entering(visit, table, asked)
    if asked.access.role is None:
        return _foreign(visit, table, pool)
    verdict = _passing(visit, Admitted(pool, notebook, asked.access.role, asked.access.is_explicit), is_ours)
    is_in_vain = notebook.is_paused and isinstance(verdict, Pass)
    return PAUSED if is_in_vain else verdict


def _access(visit: Visit, notebook: Notebook) -> Access:
    return tokens.access(notebook, visit.cookies, visit.bearer_token, visit.tokens, is_secure=visit.is_secure)


def _path(visit: Visit, is_ours: Callable[[str], bool]) -> str:
    """Return the path and query below the notebook, without what is ours."""
    if visit.named_path is not None:
        return visit.named_path
    return tokens.without_token((visit.path or "") + visit.query, is_ours)


def _passing(visit: Visit, held: Admitted, is_ours: Callable[[str], bool]) -> Pass | Redirect | Answer:
    """Judge a request with access to the notebook.

    Raises BadMessageError for an invalid handshake, or a service worker that would rule more than an app.
    """
    if visit.path is None:
        return Redirect(f"{base_path(held.notebook.key)}{visit.query}", 302)
    if visit.method in _NOT_PASSED:
        return Answer(Kind.METHOD, {"allow": _METHODS})
    if visit.is_websocket:
        handshake.check(visit.request)
    elif handshake.is_without_upgrade(visit.request):
        return Answer(Kind.NO_UPGRADE)
    if not jupyter_urls.may_hold_worker(visit.path):
        headers.refuse_worker(visit.request.fields)
    if not held.is_explicit and visit.is_cross_site:
        return _cross_site(visit, Kind.CROSS_SITE)
    if held.notebook.is_jupyter and jupyter_urls.is_own(visit.path):
        # There ``token`` is Jupyter's, which prefers a wrong one to the one that it is sent.
        bare = tokens.without_token(visit.target) if visit.tokens else visit.target
        return Pass(held, visit.path, bare, is_app=False)
    target = tokens.without_token(visit.target, is_ours) if visit.tokens else visit.target
    return Pass(held, visit.path, target, is_app=True, authorization=_meant_for_an_app(visit, is_ours))


def _meant_for_an_app(visit: Visit, is_ours: Callable[[str], bool]) -> bytes | None:
    """Return the visitor's Authorization, unless a secret of ours is in it or it is for the proxy alone to read."""
    fields = visit.request.fields
    said = fields.first.get(b"authorization")
    if said is None or b"authorization" in fields.elements(b"connection"):
        return None
    return None if any(is_ours(secret.decode("latin-1")) for secret in secrets_in(said)) else said


def _entering(visit: Visit, table: Table, asked: _Asked) -> Entry | Redirect | Answer:
    """Judge a browser's navigation to a notebook without its cookie, or with a token of ours in the URL.

    A session token lets the first browser that opens it claim the notebook, and no other; a share token makes every
    browser a guest. A browser that has access by a cookie keeps its role, unless it is a guest's and may claim.
    """
    notebook, access = asked.notebook, asked.access
    may_claim = access.by_token is Role.OWNER and notebook.visitor is None
    known = Role.OWNER if _is_owner(visit, notebook) else access.by_cookie
    if known is Role.OWNER or (known is not None and not may_claim):
        return _enter(visit, asked, known)
    if visit.is_prefetch or visit.is_crawler:
        return Answer(Kind.PREFETCH)
    if access.by_token is Role.GUEST:
        return _enter(visit, asked, Role.GUEST)
    foreign = _foreign(visit, table, asked.pool)
    if may_claim:
        token = tokens.session_token(notebook)
        return Redirect(visit.main_origin + links.to_claim(notebook.key, _path(visit, asked.is_ours), token))
    tickets = tuple(token for token in visit.tokens if asked.is_ours(token))
    if access.by_token is None and visit.label is not None and tickets:
        return Redeem(_enter(visit, asked, Role.OWNER), tickets, foreign)
    return Redirect(tokens.without_token(visit.target, asked.is_ours)) if tickets else foreign


def _enter(visit: Visit, asked: _Asked, role: Role) -> Enter:
    token = tokens.role_token(asked.notebook, role)
    return Enter(asked.pool, asked.notebook, token, _path(visit, asked.is_ours))


def _is_owner(visit: Visit, notebook: Notebook) -> bool:
    return visit.visitor is not None and visit.visitor == notebook.visitor


def _owns(visit: Visit, notebook: Notebook) -> bool:
    """Return True if a cookie of this host says that the browser is the owner's."""
    return _is_owner(visit, notebook) or visit.has_owners_cookie(notebook)


# Our own addresses


def _to_own_address(visit: Visit, table: Table, rules: Rules) -> Verdict:
    if visit.key is not None:
        return _of_session(visit, table, visit.key)
    if visit.method == b"POST":
        if visit.address.starts and rules.api_token is not None and not is_same(visit.bearer_token, rules.api_token):
            return Answer(Kind.TOKEN)
        if visit.is_prefetch:
            return Answer(Kind.PREFETCH)
    is_page = not (visit.address.is_launch or visit.address.is_api or visit.address.needs_no_name)
    if is_page and (verdict := _without_secrets(visit)) is not None:
        return verdict
    if _is_forbidden_cross_site(visit):
        return Answer(Kind.SANDBOXED) if visit.is_sandboxed else _cross_site(visit, Kind.CROSS_SITE_OWN)
    return Serve()


def _without_secrets(visit: Visit) -> Redirect | None:
    """Lead a browser from a URL with a secret, at which no page of ours is shown, to the same without it."""
    bare = links.without_code(tokens.without_token(visit.target))
    return Redirect(bare) if bare != visit.target and visit.is_safe and visit.wants_page else None


def _is_forbidden_cross_site(visit: Visit) -> bool:
    """Return True if another origin sent an unsafe method that it is not allowed to send."""
    if visit.is_safe or visit.origin is Origin.SAME:
        return False
    return not (visit.may_use_api and visit.address.is_api)


def _of_session(visit: Visit, table: Table, key: str) -> Answer | Redirect | Serve:
    """Judge a request about a session by the role that it needs; the router answers an unknown path or method."""
    method = b"GET" if visit.method == b"HEAD" else visit.method
    needed = visit.address.rights.get(method)
    if needed is None:
        return Serve()
    found = table.find(key)
    if found is None:
        return _gone(visit, table, key)
    pool, notebook = found
    if visit.label is not None and visit.address.is_main_only and method == b"GET":
        return Redirect(visit.main_origin + visit.target)
    access = _access_to_claim(visit, notebook) if visit.address.needs_click else _access(visit, notebook)
    is_page = visit.address.is_main_only and not visit.address.needs_click
    if is_page and (verdict := _without_secrets(visit)) is not None:
        return verdict
    # A token counts before the cookies: who knows a guest's must not send it along with the owner's cookie.
    role = Role.OWNER if not access.is_explicit and _is_owner(visit, notebook) else access.role
    if role is None:
        is_unclaimed = visit.address.needs_click and notebook.visitor is None
        return Answer(Kind.LINK_LOST) if is_unclaimed else _foreign(visit, table, pool)
    if needed is Role.OWNER and role is not Role.OWNER:
        return Answer(Kind.NOT_OWNER)
    refusal = _misplaced(visit, needed, is_explicit=access.is_explicit)
    return refusal or Serve(Admitted(pool, notebook, role, access.is_explicit))


def _access_to_claim(visit: Visit, notebook: Notebook) -> Access:
    """Return the access of a visit to the page that claims a notebook: its link leaves the token in a cookie."""
    access = _access(visit, notebook)
    if access.is_explicit:
        return access
    left = own_cookies.secrets_in(visit.cookies, f"claim-{notebook.id}", visit.cookie_scope)
    return tokens.access(notebook, visit.cookies, tokens=left, is_secure=visit.is_secure)


def _misplaced(visit: Visit, needed: Role, *, is_explicit: bool) -> Answer | None:
    """Refuse what a page may have sent that is none of ours; None for a page of ours, and for who knows the token.

    With a host name for each notebook, what is at the notebook's own is its visitors' to write, its guests' included.
    """
    if visit.is_cross_site and (visit.address.needs_click or not is_explicit):
        return _cross_site(visit, Kind.CROSS_SITE_OWN)
    if visit.label is not None and needed is Role.OWNER and (visit.address.is_main_only or not is_explicit):
        return Answer(Kind.NOT_INSIDE)
    return None


# The facts of an answer


def _cross_site(visit: Visit, kind: Kind) -> Answer:
    """Return ``kind`` if the browser says that a page of another site sent this; else a proxy may be the cause."""
    return Answer(Kind.OTHER_ORIGIN if visit.is_judged_by_origin else kind)


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


def afresh(visit: Visit, table: Table) -> str | None:
    """Return the launch link to the document on the notebook's page from which the browser comes; None without one.

    JupyterLab offers to restart a server that is gone, and opens ``/hub/spawn`` without naming a document.
    """
    if visit.page_before is None:
        return None
    key, path = visit.page_before
    ended = table.ended(key)
    return links.fresh(path, None if ended is None or ended.pool == table.default.name else ended.pool)


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
    if visit.request.correction is not None:
        return Answer(Kind.MISSPELT)
    if local_ip is not None and not visit.names_this_machine(local_ip):
        return Answer(Kind.OPERATOR_HOST)
    if visit.origin is not Origin.SAME or visit.names_other_origin:
        return Answer(Kind.OPERATOR_ORIGIN)
    return Serve() if is_same(visit.bearer_token, token) else Answer(Kind.TOKEN)
