"""The admin API, on the admin listener only: drains pools, lists and ends notebooks, exposes health and metrics."""

from aiohttp import web

from tmppool.clocks import wall_of
from tmppool.ledger import Ledger
from tmppool.metrics import CONTENT_TYPE, Metrics
from tmppool.notebook import Notebook, Place, Reason
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.sessions import Sessions
from tmppool.web import health, models
from tmppool.web.models import to_response


class Admin:
    """Handlers of the admin listener, called after ``judge_admin`` has checked the operator's token."""

    def __init__(self, pools: Pools, ledger: Ledger, sessions: Sessions, metrics: Metrics) -> None:
        self._pools = pools
        self._ledger = ledger
        self._sessions = sessions
        self._metrics = metrics

    async def drain(self, request: web.Request) -> web.Response:
        """DELETE /api/pool: replace every notebook that is not assigned. It ends no session."""
        del request
        return to_response(models.Drained(drained=sum(pool.drain() for pool in self._pools)))

    async def notebooks(self, request: web.Request) -> web.Response:
        """GET /api/notebooks: list all notebooks, without their keys, which are secrets."""
        del request
        found = [_described(pool, notebook) for pool in self._pools for notebook in pool.places]
        return to_response(models.Notebooks(notebooks=found))

    async def end(self, request: web.Request) -> web.Response:
        """DELETE /api/notebooks/<key or id>: end a notebook. Raises HTTPNotFound."""
        pool, notebook = self._find(request.match_info["key"])
        await self._sessions.end(pool, notebook, Reason.DRAINED)
        return to_response(_described(pool, notebook))

    async def health(self, request: web.Request) -> web.Response:
        """GET /health: the checks of the public one, with the reasons of those that fail."""
        del request
        body = health.for_operator(self._pools, is_durable=self._ledger.is_durable)
        return to_response(body, 200 if body.ok else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics: the metrics in Prometheus' text format."""
        del request
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def _find(self, key_or_id: str) -> tuple[Pool, Place]:
        for pool in self._pools:
            for notebook in pool.places:
                if key_or_id in (notebook.key, notebook.id):
                    return pool, notebook
        raise web.HTTPNotFound(text="There is no notebook with this key or id.")


def _described(pool: Pool, notebook: Place) -> models.Notebook:
    now = pool.clock()
    return models.Notebook(
        id=notebook.id,
        pool=pool.name,
        state=notebook.state,
        since=round(wall_of(notebook.moved_at, now), 1),
        idle_for=round(now - notebook.active_at, 1) if isinstance(notebook, Notebook) and notebook.is_live else None,
    )
