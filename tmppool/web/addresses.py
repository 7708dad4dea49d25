"""The access rules of the service's own addresses on the public listener. Pure data; ``routes`` has the handlers.

An address without a row is locked, closed to other origins and not for programs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tmppool import jupyter_urls
from tmppool.web.tokens import Role


@dataclass(frozen=True, slots=True)
class Address:
    """The rules of one address.

    ``is_launch``: a launch page. ``is_api``: for programs, and for pages of the origins that the settings allow.
    ``is_open``: served without the lock's secret, because it reveals nothing or needs a notebook's own token.
    ``is_everywhere``: also served at the notebooks' own hosts. ``needs_no_name``: served under any Host.
    ``starts``: programs start notebooks here. ``is_main_only``: with host names for notebooks, at the main host only.
    ``needs_click``: posted by our own page only, even with a token. ``rights``: the least role by method, for addresses
    of one session.
    """

    is_launch: bool = False
    is_api: bool = False
    is_open: bool = False
    is_everywhere: bool = False
    needs_no_name: bool = False
    starts: bool = False
    is_main_only: bool = False
    needs_click: bool = False
    rights: Mapping[bytes, Role] = field(default_factory=dict)


_LAUNCH = Address(is_launch=True)
_SPAWN = Address(is_api=True, starts=True)
_STATS = Address(is_api=True)
_VERSION = Address(is_api=True)
_FOR_AUTHORS = Address()
_HOME = Address(is_main_only=True)
_OWNER_POSTS = Address(is_open=True, is_main_only=True, rights={b"POST": Role.OWNER})
_GUEST_POSTS = Address(is_open=True, rights={b"POST": Role.GUEST})

PEER_LINKS = ("v2", "repo", "github", "hub/user-redirect", "user-redirect")
"""The first path segments of links in the forms of Binder, JupyterHub and Colab."""

BELOW_HUB = ("binder", "services/binder")
"""The prefixes that BinderHub's addresses have where it is a service of a JupyterHub."""

ADDRESSES: dict[str, Address] = {
    "/": _LAUNCH,
    "/spawn": _LAUNCH,
    "/spawn/{rest}": _LAUNCH,
    **{f"/{prefix}{rest}": _LAUNCH for prefix in jupyter_urls.DEEP_LINKS for rest in ("", "/{rest}")},
    **{f"/{form}{rest}": _LAUNCH for form in PEER_LINKS for rest in ("", "/{rest}")},
    "/build/{rest}": Address(is_api=True),
    **{f"/{prefix}{rest}": Address(is_api=True) for prefix in BELOW_HUB for rest in ("", "/{rest}")},
    "/versions": _VERSION,
    "/hub/api": _VERSION,
    "/hub/api/": _VERSION,
    "/hub/home": _HOME,
    "/hub": _HOME,
    "/hub/": _HOME,
    "/embed": Address(),
    "/oembed": Address(is_api=True),
    "/picture/{rest}": Address(),
    "/hub/spawn": _LAUNCH,
    "/hub/spawn/{rest}": _LAUNCH,
    "/hub/login": _LAUNCH,
    "/hub/lti/launch": _LAUNCH,
    "/badge.svg": _FOR_AUTHORS,
    "/badge_logo.svg": _FOR_AUTHORS,
    "/live-cells.js": _FOR_AUTHORS,
    "/api/spawn": _SPAWN,
    "/api/spawn/": _SPAWN,
    "/api/stats": _STATS,
    "/api/documents": _STATS,
    "/stats": _STATS,
    "/api/openapi.json": Address(is_api=True),
    "/api/session/{key}": Address(is_open=True, rights={b"GET": Role.GUEST, b"DELETE": Role.OWNER}),
    "/api/session/{key}/extend": _GUEST_POSTS,
    "/api/session/{key}/touch": _GUEST_POSTS,
    "/api/session/{key}/share": Address(is_open=True, rights={b"POST": Role.OWNER, b"DELETE": Role.OWNER}),
    "/session/{key}": Address(is_open=True, is_main_only=True, rights={b"GET": Role.OWNER}),
    "/session/{key}/claim": Address(
        is_open=True, is_main_only=True, needs_click=True, rights={b"GET": Role.OWNER, b"POST": Role.OWNER}
    ),
    "/session/{key}/share": _OWNER_POSTS,
    "/session/{key}/unshare": _OWNER_POSTS,
    "/session/{key}/end": _OWNER_POSTS,
    "/health": Address(is_open=True, is_api=True),
    "/robots.txt": Address(is_open=True, is_everywhere=True),
    "/static/{name}": Address(is_open=True, is_everywhere=True, needs_no_name=True),
}
"""The rules by route, as in ``/session/{key}``."""

_UNKNOWN = Address()
_LONGEST = 3  # segments of a route before ``{rest}``, the empty one before the first slash included


def find(path: str, key: str | None = None) -> Address:
    """Return the rules for a path as the router reads it; ``key`` is the notebook's key in it, if any."""
    if key is not None:
        return ADDRESSES.get(path.replace(key, "{key}", 1), _UNKNOWN)
    known = ADDRESSES.get(path)
    if known is not None:
        return known
    parts = path.split("/", _LONGEST)
    rest = "name" if path.startswith("/static/") else "rest"
    routes = ("/".join([*parts[:known], f"{{{rest}}}"]) for known in range(2, len(parts)))
    return next((ADDRESSES[route] for route in routes if route in ADDRESSES), _UNKNOWN)
