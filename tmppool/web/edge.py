"""The public edge: each request's visit and verdict, and from there the route to a notebook or to our own application.

Here is kept what belongs to a notebook's passage for as long as it lives: its connections, its cookies, and the lines
that tell it who asks.
"""

from dataclasses import dataclass, field

from tmppool import __version__, jupyter_urls
from tmppool.notebook import Notebook
from tmppool.pools import Pools
from tmppool.proxy import headers, wire
from tmppool.proxy.cookies import Jar
from tmppool.proxy.route import Decide, Route, ToApplication, ToNotebook
from tmppool.proxy.upstream import Upstream
from tmppool.web.judge import Rules, judge, judge_admin
from tmppool.web.kinds import Kind
from tmppool.web.tokens import Role
from tmppool.web.verdict import Answer, Pass, Verdict
from tmppool.web.visit import PublicAddress, Visit

_MOST_CLIENTS = 1000  # whose lines are kept for one notebook


@dataclass(slots=True)
class _Passage:
    """The state that all requests to one notebook share.

    ``notice`` is the script that tells its pages when and why it ends.
    """

    base_path: str
    token: str = field(repr=False)
    upstream: Upstream
    notice: bytes
    jar: Jar = field(default_factory=Jar)
    identities: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def identity(self, visit: Visit) -> bytes:
        """Return the lines that tell the notebook who asks."""
        client = visit.client
        known = self.identities.get((client.address, client.scheme))
        if known is None:
            known = headers.identity(client, self.token)
            if len(self.identities) < _MOST_CLIENTS:
                self.identities[client.address, client.scheme] = known
        return known


class Edge:
    def __init__(self, pools: Pools, names: PublicAddress, rules: Rules) -> None:
        self._pools = pools
        self._names = names
        self._rules = rules
        self._passages: dict[str, _Passage] = {}

    def decide(self, request: wire.Request, peer: str) -> Route:
        """Return where the request goes. Raises BadMessageError."""
        visit = Visit(request, peer, self._names)
        verdict = judge(visit, self._pools, self._rules)
        return self._to_notebook(visit, verdict) if isinstance(verdict, Pass) else _to_application(visit, verdict)

    def _to_notebook(self, visit: Visit, verdict: Pass) -> ToNotebook:
        pool, notebook = verdict.held.pool, verdict.held.notebook
        passage = self._passages.get(notebook.key) or self._open(notebook)
        request, path, is_websocket = visit.request, verdict.path, verdict.is_websocket
        request.target = verdict.target

        def touch() -> None:
            pool.touch(notebook)

        if not is_websocket and jupyter_urls.is_interaction(request.method.decode(), path):
            touch()
        is_page = request.method == b"GET" and not is_websocket and jupyter_urls.is_page(path)
        return ToNotebook(
            base_path=passage.base_path,
            upstream=passage.upstream,
            jar=passage.jar,
            identity=passage.identity(visit),
            notice=passage.notice if is_page else None,
            is_websocket=is_websocket,
            touch=touch if is_websocket and jupyter_urls.talks_to_visitor(path) else None,
            on_close=notebook.on_close if verdict.held.role is Role.OWNER else notebook.on_unshare,
            unreachable=lambda: _to_application(visit, _UNREACHABLE),
        )

    def _open(self, notebook: Notebook) -> _Passage:
        running = notebook.running
        passage = self._passages[notebook.key] = _Passage(
            running.base_path, running.token, Upstream(running.dial), _notice(notebook.key)
        )

        def close() -> None:
            del self._passages[notebook.key]
            passage.upstream.close()

        notebook.on_close.add(close)
        return passage


def admin_decide(token: str | None, ip: str) -> Decide:
    """Return what decides on the admin listener at ``ip``: all is answered here, and to the operator only."""

    def decide(request: wire.Request, peer: str) -> Route:
        visit = Visit(request, peer, PublicAddress())
        return _to_application(visit, judge_admin(visit, token, ip))

    return decide


_UNREACHABLE = Answer(Kind.UNREACHABLE)


def _to_application(visit: Visit, verdict: Verdict) -> ToApplication:
    return ToApplication({"visit": visit, "verdict": verdict})


def _notice(key: str) -> bytes:
    return (
        f'<script src="/static/session.js?v={__version__}" data-session="/api/session/{key}" defer></script>'
    ).encode()
