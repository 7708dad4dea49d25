"""What is served at which host, where every notebook has a host name of its own.

At a notebook's own host there is that notebook, its session, and the few files that our pages need: nothing that a
page of another notebook could use. The launch pages are at the main host.
"""

import re

from aiohttp import web
from aiohttp.typedefs import Handler

from tmppool import jupyter_urls, keys
from tmppool.web.site import Site
from tmppool.web.user import User

_OF_KEY = re.compile(r"^/(?:user|session|api/session)/([^/?]+)")
_EVERYWHERE = re.compile(r"^/(static/|robots\.txt$)")
_SEE_OTHER = 303


class Hosting:
    def __init__(self, site: Site, user: User) -> None:
        self._site = site
        self._user = user

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer at a notebook's host what does not belong there; hand on everything else."""
        client = self._site.client(request)
        label = self._site.label(client)
        if label is None or _EVERYWHERE.match(request.path):
            return await handler(request)
        found = _OF_KEY.match(request.raw_path)
        if found is not None and keys.id_of(found[1]) == label:
            return await handler(request)
        if not self._site.pools.has(label):
            return self._user.gone(request, "", "")
        is_launch = request.path.partition("/")[2].partition("/")[0] in ("", "spawn", *jupyter_urls.DEEP_LINKS)
        if request.method in ("GET", "HEAD") and is_launch:
            location = self._site.main_origin(client) + request.raw_path
            return web.Response(status=_SEE_OTHER, headers={"Location": location, "Cache-Control": "no-store"})
        raise web.HTTPNotFound
