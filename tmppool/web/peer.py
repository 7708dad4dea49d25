"""Leads links in the forms of Binder, JupyterHub and Colab to launch links of ours, and nothing is assigned for it.

By two addresses more, pages find out which of these forms a service takes (MyST's launch button asks both).
"""

import re

from aiohttp import web

from tmppool import __version__, keys
from tmppool.pools import Pools
from tmppool.proxy import target
from tmppool.proxy.headers import READABLE
from tmppool.web import hosts, links, models, peer_links, repositories
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.enter import redirect
from tmppool.web.kinds import Kind
from tmppool.web.peer_links import PeerLink, PeerLinkError
from tmppool.web.repositories import Repositories, UnknownRepositoryError
from tmppool.web.visit import Visit

_ANY = PeerLink(None)
_OPEN = re.compile(rf"(https?://[^/?#]+)/user/({keys.GRAMMAR})/([^#]*)")
_LIKE_BINDERHUB, _LIKE_JUPYTERHUB = "1.0.0", "5.4.0"  # whose links and addresses these are


class Peer:
    def __init__(self, pools: Pools, table: Repositories) -> None:
        self._pools = pools
        self._table = table

    async def follow(self, request: web.Request) -> web.Response:
        """GET: redirect to the launch link (303). The browser keeps the fragment (Fetch, "HTTP-redirect fetch")."""
        visit = visit_of(request)
        try:
            link = peer_links.parse(links.plain(visit.target))
            assert link is not None, "routed by its form"
            location = self._afresh(visit) if link == _ANY else self._launch_link(link)
        except PeerLinkError as error:
            raise AnswerError(Kind.PEER_LINK, message=f"{error}."[:1].upper() + f"{error}."[1:]) from error
        except UnknownRepositoryError as error:
            raise AnswerError(Kind.REPOSITORY, message=str(error)) from error
        return redirect(links.with_code(location, links.code_of(visit.target)))

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

    def _launch_link(self, link: PeerLink) -> str:
        """Return the launch link of ours: the table alone names the pool of a repository."""
        place = self._table.place(link)
        path = place.path if link.repository is None else links.without_pool(place.path)
        return repositories.launch_link(place._replace(path=path))

    def _afresh(self, visit: Visit) -> str:
        """Return the launch link to the document on the notebook's page from which the browser comes.

        JupyterLab offers to restart a server that is gone, and opens ``/hub/spawn`` without naming a document. Only a
        page at the same host tells its path (Referrer-Policy), and what a program says is read no better than a target.
        """
        found = _OPEN.fullmatch(visit.request.fields.first.get(b"referer", b"").decode("latin-1"))
        path = "" if found is None else found[3]
        if (
            found is None
            or not target.is_accepted(f"/{path}".encode())
            or not hosts.is_same_origin(found[1], visit.client.scheme, visit.client.host)
        ):
            return "/"
        ended = self._pools.ended(found[2])
        return links.fresh(path, None if ended is None or ended.pool == self._pools.default.name else ended.pool)
