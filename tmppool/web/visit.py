"""The facts of one request, each computed once: its target, its client, the page that sent it, its credentials.

A visit is built from the raw head. ``judge`` decides by it, and handlers use it instead of parsing the request again.
"""

import re
from dataclasses import dataclass, field, replace
from enum import Enum

from propcache.api import cached_property
from yarl import URL

from tmppool import keys
from tmppool.notebook import Notebook
from tmppool.proxy import handshake, target
from tmppool.proxy.forwarded import Client, Habits, Network, identify, plain
from tmppool.proxy.wire import Fields, Request
from tmppool.web import addresses, authorization, hosts, links, own_cookies, robots, tokens
from tmppool.web.addresses import Address
from tmppool.web.embedding import Embedding

_BELOW_USER = re.compile(rf"^/user/({keys.GRAMMAR})(?:/([^?]*))?(\?.*)?$")
_OF_SESSION = re.compile(rf"^/(?:api/)?session/({keys.GRAMMAR})(?:/|$)")
_NOTEBOOKS_PAGE = re.compile(rf"(https?://[^/?#]+)/user/({keys.GRAMMAR})/([^#]*)")
_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data")
_SHOWN = (b"GET", b"HEAD", b"POST")
_FRAMES = (b"iframe", b"frame", b"embed", b"object")


class Origin(Enum):
    """The origin of the page that sent a request. A request that no page sent counts as SAME."""

    SAME = "same"
    FRIEND = "friend"  # allowed by --embed-origins to embed notebooks and to use the API
    CALLER = "caller"  # allowed by --allow-origin to use the API, and no more
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """The public URL and domain of the service, the proxies that it trusts, and the origins that may embed notebooks.

    ``callers``: origins whose pages may use the API, and no more.
    With a ``domain`` every notebook has its own host name below it, and the launch pages are on the main host.
    ``port`` is the service's own, which makes the names of its cookies unique on its host.
    """

    public_url: str | None = None
    domain: str | None = None
    trusted: tuple[Network, ...] = ()
    embedding: Embedding = field(default_factory=Embedding)
    callers: Embedding = field(default_factory=Embedding)
    port: int | None = None
    habits: Habits = field(default_factory=Habits, compare=False)

    def client(self, peer: str, fields: Fields) -> Client:
        """Return the client's address, and the scheme and host that it used."""
        if self.trusted:
            found = _with_pages_host(identify(peer, fields.text(), self.trusted, habits=self.habits), fields)
        else:
            found = Client(plain(peer), "http", fields.first.get(b"host", b"").decode("latin-1"))
        if self.domain is not None:
            host = _notebooks_host(fields, self.domain) or found.host
            found = replace(found, host=hosts.with_port_of(host, self.domain))
        if self.public_url is None:
            return found
        scheme, _, host = self.public_url.partition("://")
        is_main = self.domain is None or hosts.label_of(found.host, self.domain) is None
        return Client(found.address, scheme, host if is_main else found.host)


def _with_pages_host(client: Client, fields: Fields) -> Client:
    """Return the client with the host that a page's Origin confirms, if a proxy told of a port that the page lacks."""
    origin = fields.first.get(b"origin", b"").decode("latin-1")
    if not client.bare_host or hosts.is_same_origin(origin, client.scheme, client.host):
        return client
    is_bare = hosts.is_same_origin(origin, client.scheme, client.bare_host)
    return replace(client, host=client.bare_host) if is_bare else client


def _notebooks_host(fields: Fields, domain: str) -> str:
    """Return the first host of a notebook that the request names as its own; empty if it names none.

    A page at a notebook's host may add fields by which a proxy tells the host, and must not seem to be at the main one.
    """
    said = [fields.first.get(b"host", b""), *fields.values(b"x-forwarded-host"), *fields.values(b"forwarded")]
    words = re.split(r"[,;= \t\"]+", b",".join(said).decode("latin-1"))
    return next((word for word in words if hosts.label_of(word, domain) is not None), "")


class Visit:
    """One ``request`` from ``peer``, an IP address, to a service reachable at ``public``.

    ``path`` is the raw path below ``/user/<key>/``: None without a key, or without the slash after it. ``query`` is the
    raw query with its question mark, empty without one; ``tokens`` are the first few values of ``token`` in it.
    """

    def __init__(self, request: Request, peer: str, public: PublicAddress) -> None:
        self.request = request
        self.method = request.method
        self.target = raw = request.target  # path and query, nothing decoded
        self._peer = peer
        self._public = public
        # The facts that every request to a notebook is judged by are worked out here, which is cheaper than on demand.
        self.is_for_notebook = raw.startswith("/user/")
        found = _BELOW_USER.match(raw) if self.is_for_notebook else None
        if found is None:
            self._notebook_key, self.path, self.query = None, None, "".join(raw.partition("?")[1:])
        else:
            self._notebook_key, self.path, query = found.groups()
            self.query = query or ""
        self.tokens = tokens.tokens_in(self.query) if self.query else []
        self.is_websocket = handshake.is_handshake(request.fields)

    # Target

    @cached_property
    def address(self) -> Address:
        """The rules for the path, one of the service's own addresses."""
        return addresses.find(self.routed_path, self.key)

    @cached_property
    def routed_path(self) -> str:
        """The path as aiohttp's router reads it, percent-decoded except for ``%2F`` and ``%25``."""
        return URL.build(path=self.target.partition("?")[0], encoded=True).path_safe

    @cached_property
    def key(self) -> str | None:
        """The key of a notebook in the path, below ``/user/``, ``/session/`` or ``/api/session/``."""
        if self.is_for_notebook:
            return self._notebook_key
        found = _OF_SESSION.match(self.routed_path)
        return None if found is None else found[1]

    @cached_property
    def open_path(self) -> str:
        """The path and query below the notebook that the browser requests or has open, without tokens.

        Requests to the session's page and API have it in their query as ``path``, links to claim or to enter as ``to``.
        """
        if self.named_path is not None:
            return self.named_path
        if self._notebook_key is not None:
            return tokens.without_token((self.path or "") + self.query)
        return links.path_of(self.target)

    @cached_property
    def named_path(self) -> str | None:
        """The path and query that a link to claim or to enter names; None if this is none."""
        may_name = self.address.needs_click if self._notebook_key is None else self.path is None
        return links.claimed_path(self.target) if may_name and links.names_path(self.target) else None

    @cached_property
    def label(self) -> str | None:
        """The notebook's id in the host name; None at the main host."""
        domain = self._public.domain
        return None if domain is None else hosts.label_of(self.client.host, domain)

    @property
    def main_origin(self) -> str:
        """The origin to prefix to a launch link's path; empty at the main host, where a path is enough."""
        return "" if self.label is None else self._public.public_url or f"{self.client.scheme}://{self._public.domain}"

    @property
    def own_origin(self) -> str:
        """The scheme and host of this request, of which a launch link is made whole."""
        return f"{self.client.scheme}://{self.client.host}"

    def origin_of(self, notebook_id: str) -> str:
        """Return the scheme and host at which a notebook is served."""
        domain = self._public.domain
        host = self.client.host if domain is None else hosts.host_of(notebook_id, domain)
        return f"{self.client.scheme}://{host}"

    @property
    def is_at_main_host(self) -> bool:
        """True if notebooks have their own host names and this is the main host."""
        return self._public.domain is not None and self.label is None

    def is_at_host_of(self, notebook_id: str) -> bool:
        """Return True if this host serves that notebook: its own host, or any without a ``domain``."""
        return self._public.domain is None or self.label == notebook_id

    def spawn_origin(self, notebook_id: str) -> str:
        """Return the origin that programs need before a notebook's base path; empty without a ``domain``."""
        return "" if self._public.domain is None else self.origin_of(notebook_id)

    # Client

    @cached_property
    def client(self) -> Client:
        return self._public.client(self._peer, self.request.fields)

    @property
    def is_secure(self) -> bool:
        """True if the client used https."""
        return self.client.scheme == "https"

    @cached_property
    def visitor(self) -> str | None:
        """The digest of the visitor's cookie, which is a random secret; None without one."""
        values = (value.decode("utf-8", "surrogateescape") for value in self.cookies)
        return own_cookies.visitor_in(values, self.cookie_scope)

    @cached_property
    def is_prefetch(self) -> bool:
        """True for a prefetch or prerender (Fetch, ``Sec-Purpose``)."""
        return robots.is_prefetch(self.request.fields.text())

    @cached_property
    def is_crawler(self) -> bool:
        """True if its user agent is a known crawler."""
        return robots.is_crawler(self.request.fields.text())

    @property
    def is_form(self) -> bool:
        """True if the body is a form's."""
        return self.request.fields.first.get(b"content-type", b"").lower().startswith(_FORMS)

    # Sending page

    @cached_property
    def wants_page(self) -> bool:
        """True for a navigation, which is answered with a page; programs and scripts get JSON.

        Decided by Fetch Metadata, else by Accept. A request to upgrade is not a navigation.
        """
        first = self.request.fields.first
        if b"upgrade" in first:
            return False
        mode = first.get(b"sec-fetch-mode")
        if mode is not None:
            return mode == b"navigate"
        is_by_script = b"x-requested-with" in first
        return self.method in _SHOWN and not is_by_script and b"text/html" in first.get(b"accept", b"")

    @property
    def is_safe(self) -> bool:
        """True if the method is safe (RFC 9110 section 9.2.1)."""
        return self.request.is_safe

    @cached_property
    def origin(self) -> Origin:
        """The sender's origin, by Fetch Metadata, else by the Origin field (RFC 6454 section 7)."""
        site = self.request.fields.first.get(b"sec-fetch-site")
        if site in (b"same-origin", b"none") if site is not None else not self.names_other_origin:
            return Origin.SAME
        sender = self.request.fields.first.get(b"origin", b"").decode("latin-1")
        if self._public.embedding.allows(sender):
            return Origin.FRIEND
        return Origin.CALLER if self._public.callers.allows(sender) else Origin.FOREIGN

    @property
    def may_use_api(self) -> bool:
        """True if a page of another origin sent it that the settings allow to use the API."""
        return self.origin in (Origin.FRIEND, Origin.CALLER)

    @property
    def is_judged_by_origin(self) -> bool:
        """True if its origin is known by the Origin field only: a proxy that changes the host makes that another."""
        first = self.request.fields.first
        return b"sec-fetch-site" not in first and b"origin" in first

    @property
    def names_other_origin(self) -> bool:
        """True if the Origin field names another origin than the one at which the request arrived."""
        sender = self.request.fields.first.get(b"origin")
        if sender is None:
            return False
        client, is_certain = self.client, self._public.public_url is not None
        return not hosts.is_same_origin(sender.decode("latin-1"), client.scheme, client.host, is_certain=is_certain)

    @property
    def page_before(self) -> tuple[str, str] | None:
        """The notebook's page at this host from which the browser comes: the key, and the raw path and query below it.

        Only to the same host a page tells its path (Referrer-Policy), and what a program says is read no better than a
        target. Tokens are left out: a token is for one notebook.
        """
        found = _NOTEBOOKS_PAGE.fullmatch(self.request.fields.first.get(b"referer", b"").decode("latin-1"))
        if found is None or not target.is_accepted(f"/{found[3]}".encode()):
            return None
        page = (found[2], tokens.without_token(found[3]))
        return page if hosts.is_same_origin(found[1], self.client.scheme, self.client.host) else None

    @property
    def is_cross_site(self) -> bool:
        """True if a page of another origin sent this, except for a navigation with a safe method.

        It must be the tab's, or a frame's where pages may embed notebooks.
        Without Fetch Metadata a safe request counts as same-origin: a foreign page cannot read the answer.
        """
        first = self.request.fields.first
        if self.is_safe and not self.is_websocket:
            if b"sec-fetch-site" not in first or self.origin is Origin.SAME:
                return False
            if first.get(b"sec-fetch-mode") != b"navigate":
                return True
            return first.get(b"sec-fetch-dest", b"document") != b"document" and not self.is_embedded
        return self.origin is not Origin.SAME

    @property
    def is_navigation(self) -> bool:
        """True if a browser shows the answer as a page; a program that accepts HTML sends neither of these fields."""
        first = self.request.fields.first
        return self.wants_page and (b"sec-fetch-mode" in first or b"origin" in first)

    @property
    def is_preflight(self) -> bool:
        """True if a browser asks, before a page of another origin sends its request, whether it may (Fetch 4.9)."""
        first = self.request.fields.first
        return self.method == b"OPTIONS" and b"origin" in first and b"access-control-request-method" in first

    @property
    def asks_for_private_network(self) -> bool:
        """True if a preflight comes from a public page to a private address (Private Network Access)."""
        return self.request.fields.first.get(b"access-control-request-private-network") == b"true"

    def names_this_machine(self, ip: str = "localhost") -> bool:
        """Return True if the Host, as sent, names this machine's loopback or ``ip``."""
        return hosts.is_this_machine(self.request.fields.first.get(b"host", b"").decode("latin-1"), ip)

    # Credentials

    @property
    def cookie_scope(self) -> own_cookies.Scope:
        """Where the service's own cookies are valid, which is in their names."""
        return own_cookies.Scope(self.is_secure, self._public.port, self.is_embedded)

    @property
    def is_embedded(self) -> bool:
        """True for what a frame shows, which may be on another site's page, where any page may embed notebooks.

        The request does not name the page around the frame: to the frame of one that is not allowed, the browser shows
        nothing (frame-ancestors).
        """
        return self.request.fields.first.get(b"sec-fetch-dest") in _FRAMES and bool(self._public.embedding)

    @property
    def is_sandboxed(self) -> bool:
        """True if a frame that has no origin sent its launch page's form, as of ``sandbox`` without allow-same-origin.

        Its requests are another site's, and its scripts may not read their own notebook (HTML, "sandboxing").
        """
        has_no_origin = self.request.fields.first.get(b"origin") == b"null"
        return has_no_origin and self.is_embedded and self.address.is_launch

    @cached_property
    def cookies(self) -> list[bytes]:
        """The raw values of the Cookie fields."""
        return self.request.fields.values(b"cookie")

    def has_owners_cookie(self, notebook: Notebook) -> bool:
        return tokens.access(notebook, self.cookies, is_secure=self.is_secure).is_owner

    @property
    def bearer_token(self) -> bytes:
        """The token in ``Authorization: token …`` or ``Bearer …``; empty without one."""
        field = self.request.fields.first.get(b"authorization")
        return authorization.bearer_token(field) if field else b""
