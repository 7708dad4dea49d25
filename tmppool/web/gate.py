"""Which requests are for a notebook, and may reach it. Decided on the raw target by a grammar.

No engine and no database stand on this path: an old tab may ask for ever.
"""

import re

from tmppool import __version__, jupyter_urls, keys
from tmppool.notebook import Closers, Notebook
from tmppool.pool import Pool
from tmppool.proxy import handshake, headers, wire
from tmppool.proxy.cookies import Jar
from tmppool.proxy.forwarded import Client
from tmppool.proxy.route import Route, ToApplication, ToNotebook
from tmppool.proxy.upstream import Upstream
from tmppool.web import access, hosts
from tmppool.web.pages import is_navigation
from tmppool.web.site import Site

TARGET = re.compile(rf"^/user/({keys.GRAMMAR})(?:/([^?]*))?(\?.*)?$")
_SAFE = (b"GET", b"HEAD", b"OPTIONS")


class Gate:
    """``decide`` is asked once for every request on the public listener."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lines: dict[str, Upstream] = {}
        self._jars: dict[str, Jar] = {}
        self._said: dict[tuple[str, str, str], bytes] = {}

    def decide(self, request: wire.Request, peer: str) -> Route:
        """Return where the request goes. Raises BadMessageError."""
        return self._to_notebook(request, peer) or ToApplication()

    def _to_notebook(self, request: wire.Request, peer: str) -> ToNotebook | None:
        """Return the way to the notebook; None when the request is to be answered here. Raises BadMessageError."""
        if not request.target.startswith("/user/"):
            return None
        found = TARGET.match(request.target)
        if found is None or found[2] is None or request.method in (b"CONNECT", b"TRACE"):
            return None
        held = self._site.pools.find(found[1])
        if held is None or not self._is_at_home(request):
            return None
        pool, notebook = held
        may = access.admits(notebook, access.sent_on_wire(request.fields, found[3] or ""))
        if may is None or (self._site.domain is not None and self._label(request, peer) != notebook.id):
            return None
        is_websocket = handshake.is_handshake(request.fields)
        if is_websocket:
            handshake.check(request)
        if not may.is_explicit and self._is_elsewheres(request, peer, is_websocket=is_websocket):
            return None
        if found[3] and access.tokens_in(found[3]):
            if request.method == b"GET" and not is_websocket and _is_navigation(request.fields):
                return None  # answered here, so that the token leaves the address bar
            request.target = access.without_token(request.target)
        closers = notebook.on_close if may.is_owner else notebook.on_unshare
        return self._passage(request, peer, pool, notebook, found[2], closers, is_websocket=is_websocket)

    def _is_elsewheres(self, request: wire.Request, peer: str, *, is_websocket: bool) -> bool:
        """Whether a page of another origin makes the browser ask this; to follow a link is its reader's own doing."""
        if is_websocket or request.method not in _SAFE:
            return self._site.is_cross_site(peer, request.fields.text())
        first = request.fields.first
        if first.get(b"sec-fetch-site", b"none") in (b"same-origin", b"none"):
            return False
        return (first.get(b"sec-fetch-mode"), first.get(b"sec-fetch-dest", b"document")) != (b"navigate", b"document")

    def _is_at_home(self, request: wire.Request) -> bool:
        """Whether the request is for a name under which notebooks are served: where they are processes, our own."""
        host = request.fields.first.get(b"host", b"")
        return self._site.local_token is None or hosts.is_here(host.decode("latin-1"))

    def _label(self, request: wire.Request, peer: str) -> str | None:
        return self._site.label(self._site.client_of(peer, request.fields.text()))

    def _passage(
        self,
        request: wire.Request,
        peer: str,
        pool: Pool,
        notebook: Notebook,
        path: str,
        closers: Closers,
        *,
        is_websocket: bool,
    ) -> ToNotebook:
        def touch() -> None:
            pool.touch(notebook)

        if not is_websocket and jupyter_urls.is_interaction(request.method.decode(), path):
            touch()
        assert notebook.upstream is not None
        is_page = request.method == b"GET" and not is_websocket and jupyter_urls.is_page(path)
        return ToNotebook(
            base_path=notebook.upstream.running.base_path,
            upstream=self._lines_of(notebook),
            jar=self._jars[notebook.key],
            identity=self._said_of(notebook, self._client(request, peer)),
            notice=_notice(notebook.key) if is_page else None,
            is_websocket=is_websocket,
            touch=touch if is_websocket and jupyter_urls.talks_to_visitor(path) else None,
            on_close=closers,
            unreachable=_UNREACHABLE,
        )

    def _client(self, request: wire.Request, peer: str) -> Client:
        if not self._site.trusted and self._site.public_url is None:
            return Client(peer, "http", "")
        return self._site.client_of(peer, request.fields.text())

    def _lines_of(self, notebook: Notebook) -> Upstream:
        lines = self._lines.get(notebook.key)
        if lines is None:
            assert notebook.upstream is not None
            lines = self._lines[notebook.key] = Upstream(notebook.upstream.running.dial)
            self._jars[notebook.key] = Jar()
            notebook.on_close.add(lambda: self._forget(notebook.key))
        return lines

    def _forget(self, key: str) -> None:
        lines = self._lines.pop(key, None)
        if lines is not None:
            lines.close()
            del self._jars[key]
        for known in [known for known in self._said if known[0] == key]:
            del self._said[known]

    def _said_of(self, notebook: Notebook, client: Client) -> bytes:
        known = (notebook.key, client.address, client.scheme)
        said = self._said.get(known)
        if said is None:
            assert notebook.upstream is not None
            said = headers.identity(client, notebook.upstream.running.token)
            if len(self._said) < _MAX_SAID:
                self._said[known] = said
        return said


_MAX_SAID = 10_000
_UNREACHABLE = ToApplication({"verdict": "unreachable"})


def _is_navigation(fields: wire.Fields) -> bool:
    mode = fields.first.get(b"sec-fetch-mode")
    return is_navigation(
        None if mode is None else mode.decode("latin-1"), fields.first.get(b"accept", b"").decode("latin-1")
    )


def _notice(key: str) -> bytes:
    """Return the script that tells a notebook's page when and why it ends."""
    return (
        f'<script src="/static/session.js?v={__version__}" data-session="/api/session/{key}" defer></script>'
    ).encode()
