"""Where notebooks are processes: this machine's own user only. Nobody else is shown or started anything.

A secret that is printed at the start stands for that user, as Jupyter's own token does, since other users of the
machine reach loopback too. The Host has to be this machine's: a foreign name that leads to loopback would make a
foreign page one of ours (DNS rebinding).
"""

import hashlib

from aiohttp import web
from aiohttp.typedefs import Handler

from tmppool.proxy import cookies
from tmppool.web import access, hosts
from tmppool.web.admission import is_same
from tmppool.web.api import says_token
from tmppool.web.entry import MOVED_HEADERS
from tmppool.web.pages import Pages, wants_page
from tmppool.web.site import NO_STORE, Site

_SEE_OTHER, _FORBIDDEN, _MISDIRECTED = 303, 403, 421
_LOOKS = "/static/{name}"  # the same files in every service; the refusal's page needs them
_OPEN = frozenset({"/health", "/robots.txt", _LOOKS, "/user/{rest}"})
_WITH_KEY = ("/session/{key}", "/api/session/{key}")
_LOCKED = "This service is for whoever started it: open the URL that ./start-tmpnb printed, which ends in a token."
_ELSEWHERE = "Notebooks here are processes of this machine, served at its own names only: localhost and 127.0.0.1."


class Local:
    """``port`` is the public listener's: cookies go to all services of a host."""

    def __init__(self, site: Site, pages: Pages, port: int) -> None:
        self._secret = site.local_token
        self._site = site
        self._pages = pages
        self._cookie = f"{cookies.NAME}-{port}"

    @property
    def is_asking(self) -> bool:
        """Whether the secret is asked for: only where notebooks are processes."""
        return self._secret is not None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Hand on what this machine's own user asks; all that it asks where notebooks are containers."""
        if self._secret is None:
            return await handler(request)
        address = _address_of(request)
        if address != _LOOKS and not hosts.is_here(request.headers.get("Host", "")):
            return self._refuse(request, _MISDIRECTED, "Not at this address", _ELSEWHERE)
        if is_open(address):
            return await handler(request)
        is_right = any(is_same(token, self._secret) for token in access.tokens_in(request.raw_path))
        if is_right and request.method in ("GET", "HEAD") and not _is_for_programs(address):
            return self._enter(request)
        if is_right or says_token(request, self._secret) or self._holds(request):
            return await handler(request)
        return self._refuse(request, _FORBIDDEN, "Open the printed URL", _LOCKED)

    def _enter(self, request: web.Request) -> web.Response:
        """Give the cookie, and send on to the same address without the secret, so that it leaves the address bar."""
        location = access.without_token(request.raw_path)
        response = web.Response(status=_SEE_OTHER, headers={"Location": location, **MOVED_HEADERS})
        assert self._secret is not None
        self._site.put_cookie(request, response, self._cookie, cookie_value(self._secret), None)
        return response

    def _holds(self, request: web.Request) -> bool:
        """Of several cookies of the name any that is right counts: a notebook's page may have set the others."""
        assert self._secret is not None
        wanted = cookie_value(self._secret)
        values = cookies.own_values(request.headers.getall("Cookie", ()), self._cookie)
        return any(is_same(value, wanted) for value in values)

    def _refuse(self, request: web.Request, status: int, title: str, message: str) -> web.Response:
        if wants_page(request) and "Upgrade" not in request.headers:
            return self._pages.error(status, title, message, home_url="")  # the start would say the same
        return web.json_response({"message": message}, status=status, headers=NO_STORE)


def is_open(address: str) -> bool:
    """Whether a route's address, as in ``/session/{key}``, is answered without the secret.

    Either it tells nothing, or it asks for a notebook's own secret, which only who had this one was given.
    """
    return address in _OPEN or any(address == each or address.startswith(f"{each}/") for each in _WITH_KEY)


def cookie_value(secret: str) -> str:
    """Return what stands for the secret in a browser, whose cookies go to this host's other ports too."""
    return hashlib.blake2b(secret.encode(), digest_size=16, person=b"tmppool.local").hexdigest()


def _is_for_programs(address: str) -> bool:
    return address.startswith("/api/") or address == "/stats"


def _address_of(request: web.Request) -> str:
    """Return the route's address, which says what would answer, however the path is spelled; empty for none."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
