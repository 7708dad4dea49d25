"""Names, sets and deletes the service's own cookies: the visitor's, one per notebook, the lock's, a link's secret, and
the launch page's ticket.

Over TLS each has the prefix ``__Host-Http-``: no other host of the domain can set it (RFC 6265bis section 4.1.3.2),
nor, in browsers that know the longer prefix, any script (draft-ietf-httpbis-layered-cookies).
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from tmppool.keys import id_of
from tmppool.proxy import cookies

PREFIX = "__Host-Http-"
_VISITOR_AGE = 7 * 86400  # seconds
_LINK_AGE = 86400  # seconds
_MOST_TICKETS = 8
_SHORTEST = 16  # characters of a visitor's cookie; ours has 22
_OF_NOTEBOOK = re.compile(rb"%b-([0-9a-z]{1,10})=" % cookies.NAME.encode())


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a cookie is valid: with a client that uses https or not, for the service that listens at ``port``.

    Cookies are not isolated by port (RFC 6265 section 8.5), so two services of one host need names of their own.
    ``is_embedded``: in a frame of another page, and only there: browsers keep them apart by that page's site (CHIPS,
    draft-cutler-httpbis-partitioned-cookies), also where they block others. A page of the service's own site has the
    partition of the service's own pages, which are sent what is in it beside their own: so these have other names.
    """

    is_secure: bool
    port: int | None = None
    is_embedded: bool = False

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of all cookies of ours."""
        # http.cookies knows Partitioned from Python 3.14 on.
        same_site = "None; Partitioned" if self.is_embedded and self.is_secure else "Lax"
        return {"path": "/", "httponly": True, "samesite": same_site, "secure": self.is_secure}

    @property
    def visitor(self) -> str:
        """The name of the cookie that identifies a visitor."""
        port = "" if self.port is None else f"_{self.port}"
        return f"{PREFIX if self.is_secure else ''}{cookies.NAME}{port}{cookies.FRAMED if self.is_embedded else ''}"

    def secret(self, kind: str) -> str:
        """The name of the cookie with a secret.

        ``kind``: ``code``, ``ticket``, or ``claim-`` or ``ticket-`` and the id of a notebook that a program started.
        """
        return f"{self.visitor}_{kind}"


def notebook_name(key: str, *, is_secure: bool) -> str:
    """The name of the cookie for the notebook of ``key``; it reveals only the notebook's id."""
    return f"{PREFIX if is_secure else ''}{cookies.NAME}-{id_of(key)}"


def notebook_ids(values: Iterable[bytes]) -> set[str]:
    """Return the ids of the notebooks that cookies are named for, whether or not a cookie is worth anything."""
    return {found.decode() for value in values for found in _OF_NOTEBOOK.findall(value)}


def lock_name(port: int) -> str:
    """The name of the lock's cookie, for a service at ``port``."""
    return f"{cookies.NAME}-{port}"


def put_secret(response: web.StreamResponse, kind: str, secret: str, scope: Scope) -> None:
    """Keep the secret of a link, or a page's ticket, for a day.

    No page of ours is shown at a URL with a secret: at one host, a page in a notebook can read the URLs of others, by
    the tab's history (HTML, Navigation API) or a service worker's clients.
    """
    put(response, scope.secret(kind), quote(secret, safe=""), _LINK_AGE, scope)


def secrets_in(values: Iterable[bytes], kind: str, scope: Scope) -> set[str]:
    """Return the secrets that a link may have left; over plain HTTP a page of another host can add some."""
    lines = (value.decode("latin-1") for value in values)
    return {unquote(found) for found in cookies.own_values(lines, scope.secret(kind))}


def tickets_in(values: Iterable[bytes], kind: str, scope: Scope) -> list[str]:
    """Return the first few tickets that our pages may have left; few, because each costs the check of a signature."""
    return list(islice(secrets_in(values, kind, scope), _MOST_TICKETS))


def forget_secret(response: web.StreamResponse, kind: str, scope: Scope) -> None:
    forget(response, scope.secret(kind), scope)


def new_visitor() -> tuple[str, str]:
    """Return a new visitor's cookie and id."""
    value = secrets.token_urlsafe(16)
    return value, visitor_id(value)


def visitor_id(cookie: str) -> str:
    """Return a visitor's id, a digest of their secret cookie: 32 hexadecimal digits."""
    return hashlib.blake2s(cookie.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def visitor_in(values: Iterable[str], scope: Scope) -> str | None:
    """Return the visitor's id from the values of Cookie fields; None without a cookie, or if several differ."""
    value = cookies.own_value(values, scope.visitor)
    return visitor_id(value) if len(value) >= _SHORTEST else None


def put(response: web.StreamResponse, name: str, value: str, max_age: int | None, scope: Scope) -> None:
    """Set a cookie that no script can read. ``max_age`` is in seconds; None makes a session cookie."""
    response.set_cookie(name, value, max_age=max_age, **scope.attributes)


def put_visitor(response: web.StreamResponse, value: str, scope: Scope) -> None:
    """Set the visitor's cookie, for a week from now."""
    put(response, scope.visitor, value, _VISITOR_AGE, scope)


def forget(response: web.StreamResponse, name: str, scope: Scope) -> None:
    """Delete a cookie in the browser."""
    response.del_cookie(name, **scope.attributes)
