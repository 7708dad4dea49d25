"""The public edge: routes each request to a notebook or to our own application, by the verdict on its visit.

For each live notebook it keeps the connections, the cookies, and the header lines that identify clients.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tmppool import __version__, jupyter_urls
from tmppool.notebook import Notebook
from tmppool.pools import Pools
from tmppool.proxy import headers, wire
from tmppool.proxy.cookies import Jar
from tmppool.proxy.page import Notice
from tmppool.proxy.route import Decide, Route, ToApplication, ToNotebook
from tmppool.proxy.upstream import Upstream
from tmppool.web.judge import PAUSED, Rules, judge, judge_admin
from tmppool.web.kinds import Kind
from tmppool.web.login import Login
from tmppool.web.refusals import Refusals
from tmppool.web.tokens import Role
from tmppool.web.verdict import Answer, Pass, Verdict
from tmppool.web.visit import PublicAddress, Visit

# Where a browser shows a page, and "empty": so a service worker sends a navigation that it passes on, and a browser one
# to what it saves to a file, which does not ask for HTML.
_SHOWN = (b"document", b"iframe", b"frame", b"object", b"embed")
_FROM_WORKER = b"empty"
_MOST_CLIENTS = 1000  # whose header lines are kept, per notebook
_MOST_HOSTS = 16  # whose logins are kept, per notebook; one notebook has one or two


@dataclass(slots=True)
class _Relay:
    """The connections, cookies and header lines kept for one live notebook."""

    notebook: Notebook
    notebook_id: str
    base_path: str
    upstream: Upstream
    jar: Jar = field(default_factory=Jar)
    identities: dict[tuple[str, str], bytes] = field(default_factory=dict)
    logins: dict[str, Login] = field(default_factory=dict)

    def login(self, visit: Visit) -> Login:
        """Return the login for the visit's Host, which the notebook is sent too."""
        host = visit.request.fields.first.get(b"host", b"localhost").decode("latin-1")
        if host not in self.logins:
            if len(self.logins) >= _MOST_HOSTS:
                self.logins.clear()
            self.logins[host] = Login(self.notebook.jupyter, host)
        return self.logins[host]

    def identity(self, visit: Visit, authorization: bytes | None) -> bytes:
        """Return the header lines that identify the client, with their own Authorization or Jupyter's token."""
        client = visit.client
        if authorization is not None:
            return headers.identity(client, authorization)
        known = self.identities.get((client.address, client.scheme))
        if known is None:
            known = headers.identity(client, f"token {self.notebook.running.token}".encode())
            if len(self.identities) < _MOST_CLIENTS:
                self.identities[client.address, client.scheme] = known
        return known


class Edge:
    """``note_opened`` is called with each notebook before its first request in this run of the service."""

    def __init__(
        self,
        pools: Pools,
        public: PublicAddress,
        rules: Rules,
        note_opened: Callable[[Notebook], None],
        refusals: Refusals,
    ) -> None:
        self._note_opened = note_opened
        self._pools = pools
        self._refusals = refusals
        self._public = public
        self._rules = rules
        self._frame_policy = f"Content-Security-Policy: frame-ancestors {public.embedding.ancestors}".encode()
        self._relays: dict[str, _Relay] = {}

    def decide(self, request: wire.Request, peer: str) -> Route:
        """Return the route of a request. Raises BadMessageError."""
        visit = Visit(request, peer, self._public)
        verdict = judge(visit, self._pools, self._rules)
        if isinstance(verdict, Pass):
            return self._to_notebook(visit, verdict)
        if isinstance(verdict, Answer):
            self._refusals.note(visit, verdict.kind)
        return _to_application(visit, verdict)

    def _to_notebook(self, visit: Visit, verdict: Pass) -> ToNotebook:
        notebook = verdict.held.notebook
        relay = self._relays.get(notebook.key) or self._open(notebook)
        needs_login = verdict.is_app and notebook.is_jupyter and _hides_jupyters_token(verdict, visit)
        touch = partial(verdict.held.pool.touch, notebook) if _is_work(visit, verdict) else None
        return ToNotebook(
            target=verdict.target,
            base_path=relay.base_path,
            upstream=relay.upstream,
            jar=relay.jar,
            identity=relay.identity(visit, verdict.authorization),
            notice=_notice(visit, verdict),
            is_websocket=visit.is_websocket,
            on_taken=None if visit.is_websocket else touch,
            touch=touch if visit.is_websocket else None,
            on_close=notebook.on_close if verdict.held.role is Role.OWNER else notebook.on_unshare,
            unreachable=lambda: _to_application(visit, PAUSED if notebook.is_paused else _UNREACHABLE),
            is_paused=lambda: notebook.is_paused,
            login=relay.login(visit) if needs_login else None,
            is_app=verdict.is_app,
            is_explicit=verdict.held.is_explicit,
            is_judged=not (visit.is_safe or verdict.is_app) and verdict.authorization is None,
            frame_policy=self._frame_policy,
            notebook_id=relay.notebook_id,
        )

    def _open(self, notebook: Notebook) -> _Relay:
        self._note_opened(notebook)
        running = notebook.running
        relay = self._relays[notebook.key] = _Relay(notebook, notebook.id, running.base_path, Upstream(running.dial))

        def close() -> None:
            del self._relays[notebook.key]
            relay.upstream.close()

        notebook.on_close.add(close)
        return relay


def admin_decide(token: str, local_ip: str | None) -> Decide:
    """Return the router of the admin listener: the application answers all, to the operator only.

    ``local_ip``: its address, if its Host must name this machine.
    """
    refusals = Refusals()

    def decide(request: wire.Request, peer: str) -> Route:
        visit = Visit(request, peer, PublicAddress())
        verdict = judge_admin(visit, token, local_ip)
        if isinstance(verdict, Answer):
            refusals.note(visit, verdict.kind)
        return _to_application(visit, verdict)

    return decide


_UNREACHABLE = Answer(Kind.UNREACHABLE)


def _hides_jupyters_token(verdict: Pass, visit: Visit) -> bool:
    """Return True if Jupyter may not find its own token, since it would read the app's ``token`` in its place."""
    return verdict.authorization is not None or "token=" in verdict.target or visit.is_form


def _to_application(visit: Visit, verdict: Verdict) -> ToApplication:
    return ToApplication({"visit": visit, "verdict": verdict})


def _is_work(visit: Visit, verdict: Pass) -> bool:
    """Return True if the request is itself activity: a program's, that changes something or opens a WebSocket.

    What a browser sends says nothing of its visitor, who may be asleep: the scripts in its pages report what they do.
    """
    if not verdict.held.is_explicit:
        return False
    if visit.is_websocket:
        return verdict.is_app or jupyter_urls.carries_work(verdict.path)
    if verdict.is_app:
        return not visit.is_safe
    return jupyter_urls.is_work(visit.method.decode(), verdict.path)


def _notice(visit: Visit, verdict: Pass) -> Notice | None:
    """Return what goes into the page that a browser wants to show, if this is a request for one.

    Every page reports its visitor's activity; one that is not in a frame also shows when and why the notebook ends, and
    Jupyter's own have the owner's button. ``Sec-Fetch-Dest`` is not sent over plain HTTP, tells nothing from a service
    worker, and does not say whose page is around a frame: there, if pages may embed notebooks, the script itself finds
    if it is in a frame of a page that has it too.

    The script that reports runs before the page's own, which could keep it from its work: by a script that never comes,
    by taking events or functions for itself, or by having no end. Neither may wait for that end, so none is deferred.
    """
    first = visit.request.fields.first
    if verdict.held.is_explicit or not visit.wants_page or b"range" in first:
        return None
    place = first.get(b"sec-fetch-dest", _SHOWN[0])
    is_passed_on = place == _FROM_WORKER and b"text/html" in first.get(b"accept", b"")
    if place not in _SHOWN and not is_passed_on:
        return None
    session = f"/api/session/{verdict.held.notebook.key}"
    elements = f'<script src="/static/activity.js?v={__version__}" data-touch="{session}"></script>'
    if place == _SHOWN[0] or is_passed_on or visit.is_embedded:
        is_app = ' data-app=""' if verdict.is_app or not jupyter_urls.is_page(verdict.path) else ""
        # Before the other, which takes both out of the page.
        elements = (
            f'<script src="/static/session.js?v={__version__}" data-session="{session}"{is_app} async=""></script>'
            + elements
        )
    return Notice(elements.encode(), visit.client.host.encode("latin-1", "replace"), session.encode())
