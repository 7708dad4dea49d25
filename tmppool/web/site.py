"""What every handler may use: the pools, the visitor behind a request, and the settings of the public listener."""

import asyncio
import hashlib
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from aiohttp import web
from multidict import MultiMapping

from tmppool.errors import BackendError, PoolEmptyError, TakenError
from tmppool.ledger import Ledger
from tmppool.notebook import Notebook, Reason
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.proxy import cookies
from tmppool.proxy.forwarded import Client, Network, identify
from tmppool.tasks import spawn
from tmppool.web import hosts, links, models

T = TypeVar("T")

_log = structlog.get_logger("tmppool.site")

NO_STORE = {"Cache-Control": "no-store"}
_COOKIE_AGE = 7 * 86400  # seconds
_UNMARKED = "no notebook can be given away now"
_UNMARKED_RETRY = 10  # seconds that a visitor is asked to wait while the backend is ill


@dataclass(frozen=True, slots=True)
class Site:
    """``landing`` is where a click on ``/`` leads, by pool; ``cors`` the headers of the API, from the settings.

    With a ``domain`` every notebook has a host name of its own below it, and the launch pages are elsewhere.
    ``local_token``: where notebooks are processes, the secret of this machine's user, and the Host must be its own.
    """

    pools: Pools
    ledger: Ledger
    landing: dict[str, str]
    images: dict[str, str]
    public_url: str | None = None
    trusted: tuple[Network, ...] = ()
    api_token: str | None = None
    domain: str | None = None
    local_token: str | None = None
    cors: dict[str, str] = field(default_factory=dict)

    def pool_of(self, request: web.BaseRequest) -> Pool:
        """Return the pool that the request's link names. Raises HTTPNotFound."""
        pool = self.pools.get(links.pool_of(request.raw_path))
        if pool is None:
            raise web.HTTPNotFound(text="This service has no pool of that name.")
        return pool

    def client(self, request: web.BaseRequest) -> Client:
        return self.client_of(request.remote or "", request.headers)

    def client_of(self, peer: str, found: MultiMapping[str]) -> Client:
        """Return who a request comes from, and how the visitor's browser reached the service."""
        client = identify(peer, found, self.trusted)
        if self.public_url is not None:
            scheme, _, host = self.public_url.partition("://")
            return Client(client.address, scheme, host if self.label(client) is None else client.host)
        return client

    def label(self, client: Client) -> str | None:
        """Return the notebook's id that the host names; None where it is the main one."""
        return None if self.domain is None else hosts.label_of(client.host, self.domain)

    def main_origin(self, client: Client) -> str:
        """Return what to put before a launch link for this client; nothing where a path is enough."""
        if self.label(client) is None:
            return ""
        return self.public_url or f"{client.scheme}://{self.domain}"

    def origin_of(self, notebook: Notebook, client: Client) -> str:
        """Return what to put before a notebook's base path to have a whole URL."""
        host = client.host if self.domain is None else hosts.host_of(notebook.id, self.domain)
        return f"{client.scheme}://{host}"

    def is_cross_site(self, peer: str, found: MultiMapping[str]) -> bool:
        """Whether a page of another origin sent this.

        The proxy holds the notebook's token, which switches Jupyter's own checks off, so they are made here. A
        request with neither header comes from no browser (Fetch Metadata; RFC 6454 section 7).
        """
        fetch_site = found.get("Sec-Fetch-Site")
        if fetch_site is not None:
            return fetch_site not in ("same-origin", "none")
        origin = found.get("Origin")
        # Host against host: behind a proxy that ends TLS without saying so, the schemes differ.
        return origin is not None and origin.partition("://")[2].lower() != self.client_of(peer, found).host.lower()

    def refuse_cross_site(self, request: web.BaseRequest) -> None:
        """Raise HTTPForbidden for a request that a page of another origin sent."""
        if self.is_cross_site(request.remote or "", request.headers):
            raise web.HTTPForbidden(text="This is asked for from this service's own pages only.")

    def cookie_name(self, client: Client) -> str:
        return f"__Host-{cookies.NAME}" if client.scheme == "https" else cookies.NAME

    def visitor(self, request: web.BaseRequest) -> str | None:
        """Return a digest of the visitor's cookie, which is a random secret; None without one."""
        lines = request.headers.getall("Cookie", ())
        value = cookies.own_value(lines, self.cookie_name(self.client(request)))
        return visitor_id(value) if len(value) >= 16 else None  # noqa: PLR2004 - ours has 22

    def new_visitor(self) -> tuple[str, str]:
        """Return a new visitor's cookie and the visitor."""
        value = secrets.token_urlsafe(16)
        return value, visitor_id(value)

    def set_cookie(self, request: web.BaseRequest, response: web.StreamResponse, value: str) -> None:
        self.put_cookie(request, response, self.cookie_name(self.client(request)), value, _COOKIE_AGE)

    def put_cookie(
        self, request: web.BaseRequest, response: web.StreamResponse, name: str, value: str, age: int | None
    ) -> None:
        """Set a cookie out of reach of scripts and other sites. ``age`` is seconds; None: until the browser ends."""
        client = self.client(request)
        response.set_cookie(
            name,
            value,
            max_age=age,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=client.scheme == "https",
        )

    def json(self, body: models.Body, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
        """Return an answer for programs, under ``cors``."""
        return models.answer(body, status, {**self.cors, **(headers or {})})

    async def assign(self, pool: Pool, visitor: str | None, document: str | None) -> Notebook:
        """Give a notebook away, write that down, and start the document's kernel beside it.

        Raises PoolEmptyError, of which PoolFullError is one.
        """
        if pool.illness:
            raise PoolEmptyError(_UNMARKED, retry_after=_UNMARKED_RETRY)
        notebook = pool.assign(visitor)
        if not await finished(self._is_marked(pool, notebook)):
            raise PoolEmptyError(_UNMARKED, retry_after=_UNMARKED_RETRY)
        if document is not None and notebook.upstream is not None:
            spawn(_start_kernel(notebook, document), f"kernel of {notebook.id}")
        return notebook

    async def _is_marked(self, pool: Pool, notebook: Notebook) -> bool:
        """Whether the backend knows that this one is given away, for no ledger may be what that rests on."""
        await self.ledger.flush()
        try:
            is_marked = await pool.marks.is_set(notebook)
        except TakenError as error:
            _log.error("notebook.taken", pool=pool.name, notebook=notebook.id, error=str(error))
            pool.leave(notebook)
            return False
        if not is_marked:
            pool.reap(notebook, Reason.FAILED)
        return is_marked

    async def bind(self, notebook: Notebook, visitor: str) -> None:
        """Make this visitor the notebook's owner, and write that down."""
        notebook.visitor = visitor
        await finished(self.ledger.note_people(notebook))

    async def share(self, notebook: Notebook, *, is_shared: bool) -> None:
        """Begin to share under a token that never was, or end it; and write that down."""
        if (notebook.shared is not None) != is_shared:
            notebook.share(secrets.token_urlsafe(9) if is_shared else None)
        await finished(self.ledger.note_people(notebook))


def visitor_id(cookie: str) -> str:
    return hashlib.blake2s(cookie.encode(errors="surrogateescape"), digest_size=16).hexdigest()


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Do this also when the visitor leaves in the middle of it; returns what it returns."""
    return await asyncio.shield(spawn(work, "finish"))


async def _start_kernel(notebook: Notebook, document: str) -> None:
    assert notebook.upstream is not None
    try:
        await notebook.upstream.start_kernel(document)
    except BackendError as error:  # a head start only: the page starts its kernel itself
        _log.info("kernel.not_started", notebook=notebook.id, error=str(error))
