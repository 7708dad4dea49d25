"""Leads links in the forms of Binder, JupyterHub and Colab to launch links of ours, and nothing is assigned for it.

By two addresses more, pages find out which of these forms a service takes (MyST's launch button asks both).
"""

import re

from aiohttp import web

from tmppool import __version__, keys
from tmppool.pools import Pools
from tmppool.proxy.headers import READABLE
from tmppool.web import links, models, peer_links, repositories
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.enter import redirect
from tmppool.web.kinds import Kind
from tmppool.web.peer_links import PeerLink, PeerLinkError
from tmppool.web.repositories import Repositories, UnknownRepositoryError
from tmppool.web.visit import Visit

_ANY = PeerLink(None)
_OPEN = re.compile(rf"https?://[^/?#]+/user/({keys.GRAMMAR})/([^#]*)")
_LIKE_BINDERHUB, _LIKE_JUPYTERHUB = "1.0.0", "5.4.0"  # whose links and addresses these are


class Peer:
    def __init__(self, pools: Pools, table: Repositories) -> None:
        self._pools = pools
        self._table = table

    async def follow(self, request: web.Request) -> web.Response:
        """GET: redirect to the launch link (303). The browser keeps the fragment (Fetch, "HTTP-redirect fetch")."""
        visit = visit_of(request)
        raw = visit.target
        try:
            link = peer_links.parse(raw)
            assert link is not None, "routed by its form"
            location = self._afresh(visit) if link == _ANY else repositories.launch_link(self._table.place(link))
        except PeerLinkError as error:
            raise AnswerError(Kind.PEER_LINK, message=f"{error}."[:1].upper() + f"{error}."[1:]) from error
        except UnknownRepositoryError as error:
            raise AnswerError(Kind.REPOSITORY, message=str(error)) from error
        code = links.code_of(raw)
        return redirect(links.with_query(location, f"code={code}") if code else location)

    async def versions(self, request: web.Request) -> web.Response:
        """GET /versions, as BinderHub's: a local version (PEP 440) says whose software this is."""
        del request
        body = models.BinderVersions(binderhub=f"{_LIKE_BINDERHUB}+tmppool.{__version__}")
        return models.to_response(body, headers=READABLE)

    async def hub(self, request: web.Request) -> web.Response:
        """GET /hub/api, as JupyterHub's."""
        del request
        body = models.HubVersion(version=f"{_LIKE_JUPYTERHUB}+tmppool.{__version__}")
        return models.to_response(body, headers=READABLE)

    def _afresh(self, visit: Visit) -> str:
        """Return the launch link to the document on the notebook's page from which the browser comes.

        JupyterLab offers to restart a server that is gone, and opens ``/hub/spawn`` without naming a document. Only a
        page at the same host tells its path (Referrer-Policy).
        """
        found = _OPEN.match(visit.request.fields.first.get(b"referer", b"").decode("latin-1"))
        if found is None:
            return "/"
        ended = self._pools.ended(found[1])
        return links.fresh(found[2], None if ended is None or ended.pool == self._pools.default.name else ended.pool)
