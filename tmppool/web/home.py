"""The page of a visitor's own notebooks, at the address at which JupyterHub has it."""

from aiohttp import web

from tmppool.clocks import seconds_until
from tmppool.notebook import Notebook
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.running import base_path
from tmppool.web import links, own_cookies
from tmppool.web.context import visit_of
from tmppool.web.enter import redirect
from tmppool.web.pages import Pages
from tmppool.web.session_ends import ends
from tmppool.web.visit import Visit


class Home:
    def __init__(self, pools: Pools, pages: Pages) -> None:
        self._pools = pools
        self._pages = pages

    async def page(self, request: web.Request) -> web.Response:
        """GET /hub/home: the notebooks that this browser holds, and where it can start another."""
        visit = visit_of(request)
        ids = own_cookies.notebook_ids(visit.cookies)  # one reading of the cookies for all notebooks
        held = [(pool, notebook) for pool in self._pools for notebook in pool if _is_theirs(visit, notebook, ids)]
        busy = {pool.name for pool, notebook in held if notebook.visitor == visit.visitor}
        others = [pool for pool in self._pools if pool.name not in busy]
        names = len(list(self._pools)) > 1
        return self._pages.render(
            "home",
            200,
            notebooks=[_row(visit, pool, notebook) | {"name": pool.name if names else ""} for pool, notebook in held],
            starts=[{"url": self._launch_link(pool), "name": pool.name if names else ""} for pool in others],
        )

    async def lead(self, request: web.Request) -> web.Response:
        """GET /hub: redirect to the page, as JupyterHub does."""
        del request
        return redirect("/hub/home")

    def _launch_link(self, pool: Pool) -> str:
        return "/" if pool is self._pools.default else links.with_query("/", f"pool={pool.name}")


def _is_theirs(visit: Visit, notebook: Notebook, ids: set[str]) -> bool:
    """Return True for a notebook of this browser; ``ids`` are of those that its cookies are named for."""
    is_visitors = visit.visitor is not None and notebook.visitor == visit.visitor
    return notebook.is_live and (is_visitors or (notebook.id in ids and visit.has_owners_cookie(notebook)))


def _row(visit: Visit, pool: Pool, notebook: Notebook) -> dict[str, object]:
    left = {name: None if at is None else seconds_until(at) / 60 for name, at in ends(pool, notebook)._asdict().items()}
    return {
        "url": visit.spawn_origin(notebook.id) + base_path(notebook.key),
        "session_url": f"/session/{notebook.key}",
        "idle_minutes": left["idle_expires_at"],
        "lifetime_minutes": left["expires_at"],
    }
