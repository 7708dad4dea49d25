"""Leads links in the forms of Binder, JupyterHub and Colab to launch links of ours, and nothing is assigned for it.

By two addresses more, pages find out which of these forms a service takes (MyST's launch button asks both).
"""

from aiohttp import web

from tmppool import __version__
from tmppool.proxy.headers import READABLE
from tmppool.web import links, models, peer_links, repositories
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.enter import redirect
from tmppool.web.kinds import Kind
from tmppool.web.peer_links import PeerLinkError
from tmppool.web.repositories import Repositories, UnknownRepositoryError

_LIKE_BINDERHUB, _LIKE_JUPYTERHUB = "1.0.0", "5.4.0"  # whose links and addresses these are


class Peer:
    def __init__(self, table: Repositories) -> None:
        self._table = table

    async def follow(self, request: web.Request) -> web.Response:
        """GET: redirect to the launch link (303). The browser keeps the fragment (Fetch, "HTTP-redirect fetch")."""
        raw = visit_of(request).target
        try:
            link = peer_links.parse(raw)
            assert link is not None, "routed by its form"
            location = repositories.launch_link(self._table.place(link))
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
