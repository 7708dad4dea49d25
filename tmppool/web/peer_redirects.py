"""Leads links in the forms of Binder, JupyterHub and Colab to launch links of ours, and nothing is assigned for it.

By two addresses more, pages find out which of these forms a service takes (MyST's launch button asks both).
"""

from aiohttp import web

from tmppool import __version__
from tmppool.errors import sentence
from tmppool.pools import Pools
from tmppool.proxy.headers import READABLE
from tmppool.web import links, models, peer_links, repositories
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.enter import redirect
from tmppool.web.judge import afresh
from tmppool.web.kinds import Kind
from tmppool.web.peer_links import PeerLink, PeerLinkError
from tmppool.web.repositories import Repositories, UnknownRepositoryError
from tmppool.web.visit import Visit

_ANY = PeerLink(None)
_HOME = ("/hub/home", "/hub/", "/hub")
_LIKE_BINDERHUB, _LIKE_JUPYTERHUB = "1.0.0", "5.4.0"  # whose links and addresses these are


class PeerRedirects:
    def __init__(self, pools: Pools, table: Repositories) -> None:
        self._pools = pools
        self._table = table

    async def follow(self, request: web.Request) -> web.Response:
        """GET: redirect to the launch link (303).

        The browser keeps the fragment of its own URL if the link names none (Fetch, "HTTP-redirect fetch").
        """
        visit = visit_of(request)
        if _logs_in_to_look(visit):
            return redirect("/hub/home")
        try:
            link = peer_links.parse(links.plain(visit.target), visit.own_origin)
            assert link is not None, "routed by its form"
            location = (afresh(visit, self._pools) or "/") if link == _ANY else self._launch_link(link)
        except PeerLinkError as error:
            raise AnswerError(Kind.PEER_LINK, message=sentence(error)) from error
        except UnknownRepositoryError as error:
            raise AnswerError(Kind.REPOSITORY, message=str(error)) from error
        return redirect(links.with_code(location, links.code_of(visit.target)), fragment=link.fragment)

    async def leave_hub(self, request: web.Request) -> web.Response:
        """GET where a JupyterHub has its BinderHub: redirect to the same address without that (303).

        Any page may follow it, as it may ask at that address.
        """
        raw = links.plain(visit_of(request).target)
        below = peer_links.without_hub(raw)
        if below == raw:
            raise AnswerError(Kind.NOTHING)
        response = redirect(below)
        response.headers.update(READABLE)
        return response

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


def _logs_in_to_look(visit: Visit) -> bool:
    """Return True for a link to the login that leads to JupyterHub's home, as people keep it: that starts nothing.

    A link to a start that leads there, as of JupyterLab's "Restart", does start one.
    """
    path, _, query = links.plain(visit.target).partition("?")
    return path == "/hub/login" and peer_links.next_page(query, visit.own_origin) in _HOME
