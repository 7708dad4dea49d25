"""The facts of one request, each worked out once: where it goes, who sent it, from which page, and what it carries.

Built of the raw head before anything is decided, and handed on: ``judge`` decides by it, and no handler derives any
of this again.
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from yarl import URL

from tmppool import keys
from tmppool.proxy import handshake
from tmppool.proxy.forwarded import Client, Network, identify, plain
from tmppool.proxy.wire import Fields, Request
from tmppool.web import addresses, authorization, hosts, links, own_cookies, robots, tokens
from tmppool.web.addresses import Address

_BELOW_USER = re.compile(rf"^/user/({keys.GRAMMAR})(?:/([^?]*))?(\?.*)?$")
_OF_SESSION = re.compile(rf"^/(?:api/)?session/({keys.GRAMMAR})(?:/|$)")
_SHOWN = (b"GET", b"HEAD", b"POST")


class Origin(Enum):
    """Whose page made a browser send this. What no browser sent counts as the service's own."""

    SAME = "same"
    FRIEND = "friend"  # a page that --allow-origin lets read the API
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """The names under which the service is reached, the proxies that it believes, and the origins that it allows.

    With a ``domain`` every notebook has a host name of its own below it, and the launch pages are elsewhere.
    ``allowed_origin`` is the settings' ``--allow-origin``: an origin, ``*`` for all, or None.
    """

    public_url: str | None = None
    domain: str | None = None
    trusted: tuple[Network, ...] = ()
    allowed_origin: str | None = None

    def client(self, peer: str, fields: Fields) -> Client:
        """Return who sent these fields, and how their browser reached the service."""
        if self.trusted:
            found = identify(peer, fields.text(), self.trusted)
        else:
            found = Client(plain(peer), "http", fields.first.get(b"host", b"").decode("latin-1"))
        if self.public_url is None:
            return found
        scheme, _, host = self.public_url.partition("://")
        is_main = self.domain is None or hosts.label_of(found.host, self.domain) is None
        return Client(found.address, scheme, host if is_main else found.host)


class Visit:
    """One ``request`` of ``peer``, an IP address, to a service that is reached at ``public``."""

    def __init__(self, request: Request, peer: str, public: PublicAddress) -> None:
        self.request = request
        self._public = public
        self._peer = peer
        self._below_user = _BELOW_USER.match(request.target) if self.is_for_notebook else None

    # Where it goes

    @property
    def method(self) -> bytes:
        return self.request.method

    @property
    def target(self) -> str:
        """The raw request target: path and query, nothing decoded."""
        return self.request.target

    @property
    def is_for_notebook(self) -> bool:
        """True if the path is below ``/user/``, where notebooks are."""
        return self.request.target.startswith("/user/")

    @cached_property
    def address(self) -> Address:
        """The rules of the service's own address that the path names."""
        return addresses.find(self.routed_path, self.key)

    @cached_property
    def routed_path(self) -> str:
        """The path as aiohttp's router reads it, percent-decoded but for ``%2F`` and ``%25``."""
        return URL.build(path=self.target.partition("?")[0], encoded=True).path_safe

    @cached_property
    def key(self) -> str | None:
        """The key of the notebook that the path names, below ``/user/``, ``/session/`` or ``/api/session/``."""
        if self._below_user is not None:
            return self._below_user[1]
        found = _OF_SESSION.match(self.routed_path)
        return None if found is None else found[1]

    @property
    def path(self) -> str | None:
        """The raw path below ``/user/<key>/``; None where the slash behind the key is missing, or the key."""
        return None if self._below_user is None else self._below_user[2]

    @property
    def query(self) -> str:
        """The raw query with its question mark; empty without one."""
        if self._below_user is not None:
            return self._below_user[3] or ""
        return "".join(self.target.partition("?")[1:])

    @cached_property
    def open_path(self) -> str:
        """The path and query below the notebook that the browser has open, or asks for; without any token.

        The session's page and API are told it in their own query, as ``path``.
        """
        if self._below_user is not None:
            return tokens.without_token((self.path or "") + self.query)
        return links.path_of(self.target)

    @cached_property
    def label(self) -> str | None:
        """The notebook's id that the host names; None where it is the main one."""
        domain = self._public.domain
        return None if domain is None else hosts.label_of(self.client.host, domain)

    @property
    def main_origin(self) -> str:
        """The part before a launch link's path that leads to the main host; empty where a path is enough."""
        return "" if self.label is None else self._public.public_url or f"{self.client.scheme}://{self._public.domain}"

    def origin_of(self, notebook_id: str) -> str:
        """Return the scheme and host at which a notebook is reached."""
        domain = self._public.domain
        host = self.client.host if domain is None else hosts.host_of(notebook_id, domain)
        return f"{self.client.scheme}://{host}"

    @property
    def is_at_main_host(self) -> bool:
        """True if notebooks have host names of their own and this is none of them."""
        return self._public.domain is not None and self.label is None

    def is_at_host_of(self, notebook_id: str) -> bool:
        """Return True if this host serves that notebook: its own, or any where notebooks have none."""
        return self._public.domain is None or self.label == notebook_id

    def spawn_origin(self, notebook_id: str) -> str:
        """Return what a program puts before a notebook's base path: nothing where this host serves it."""
        return "" if self._public.domain is None else self.origin_of(notebook_id)

    @cached_property
    def is_websocket(self) -> bool:
        """True if it opens a WebSocket (RFC 6455 section 4.1)."""
        return handshake.is_handshake(self.request.fields)

    # Who sent it

    @cached_property
    def client(self) -> Client:
        return self._public.client(self._peer, self.request.fields)

    @property
    def is_secure(self) -> bool:
        """True if the visitor's browser came by https."""
        return self.client.scheme == "https"

    @cached_property
    def visitor(self) -> str | None:
        """The digest of the visitor's cookie, which is a random secret; None without one."""
        values = (value.decode("utf-8", "surrogateescape") for value in self.cookies)
        return own_cookies.visitor_in(values, is_secure=self.is_secure)

    @cached_property
    def is_prefetch(self) -> bool:
        """True if a browser asks before its person does (Fetch, ``Sec-Purpose``)."""
        return robots.is_prefetch(self.request.fields.text())

    @cached_property
    def is_crawler(self) -> bool:
        """True if a crawler that says its name asks."""
        return robots.is_crawler(self.request.fields.text())

    # From which page, and for whom

    @cached_property
    def wants_page(self) -> bool:
        """True if a person's browser is to show the answer; a program, or a script in a page, gets JSON.

        Fetch Metadata says so, else Accept. What asks for an upgrade shows nothing.
        """
        first = self.request.fields.first
        if b"upgrade" in first:
            return False
        mode = first.get(b"sec-fetch-mode")
        if mode is not None:
            return mode == b"navigate"
        return self.method in _SHOWN and b"text/html" in first.get(b"accept", b"")

    @property
    def is_safe(self) -> bool:
        """True if the method changes nothing (RFC 9110 section 9.2.1)."""
        return self.request.is_safe

    @cached_property
    def origin(self) -> Origin:
        """Fetch Metadata tells it, else the Origin field (RFC 6454 section 7), compared by host alone.

        Behind a proxy that ends TLS without saying so, the schemes differ.
        """
        site = self.request.fields.first.get(b"sec-fetch-site")
        if site in (b"same-origin", b"none") if site is not None else not self.names_other_origin:
            return Origin.SAME
        allowed, sender = self._public.allowed_origin, self.request.fields.first.get(b"origin")
        is_friend = allowed == "*" or (allowed is not None and sender == allowed.encode())
        return Origin.FRIEND if is_friend else Origin.FOREIGN

    @property
    def names_other_origin(self) -> bool:
        """True if the Origin field names another host than the one that is asked."""
        sender = self.request.fields.first.get(b"origin")
        return sender is not None and sender.decode("latin-1").partition("://")[2].lower() != self.client.host.lower()

    @property
    def is_cross_site(self) -> bool:
        """True if a page of another origin made the browser send this, other than as a link that its reader follows.

        Without Fetch Metadata a safe request tells nothing of its page, which cannot read the answer either.
        """
        first = self.request.fields.first
        if self.is_safe and not self.is_websocket:
            if b"sec-fetch-site" not in first or self.origin is Origin.SAME:
                return False
            return (first.get(b"sec-fetch-mode"), first.get(b"sec-fetch-dest", b"document")) != (
                b"navigate",
                b"document",
            )
        return self.origin is not Origin.SAME

    @cached_property
    def names_this_machine(self) -> bool:
        """True if the Host is one of this machine's own names."""
        return hosts.is_this_machine(self.request.fields.first.get(b"host", b"").decode("latin-1"))

    # What it carries

    @cached_property
    def cookies(self) -> list[bytes]:
        """The values of its Cookie fields, unread."""
        return self.request.fields.values(b"cookie")

    @property
    def authorization(self) -> bytes:
        return self.request.fields.first.get(b"authorization", b"")

    @cached_property
    def tokens(self) -> list[str]:
        """The first few values of ``token`` in its query."""
        return tokens.tokens_in(self.query)

    @property
    def bearer_token(self) -> bytes:
        """The token in ``Authorization: token …`` or ``Bearer …``; empty without one."""
        field = self.authorization
        return authorization.bearer_token(field) if field else b""
