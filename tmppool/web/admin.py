"""The operator's listener: drain, list and end notebooks, metrics. Never on the public one."""

import time

from aiohttp import web

from tmppool.metrics import CONTENT_TYPE, Metrics
from tmppool.notebook import Notebook, Reason
from tmppool.pool import Pool
from tmppool.pools import Pools


class Admin:
    def __init__(self, pools: Pools, metrics: Metrics) -> None:
        self._pools = pools
        self._metrics = metrics

    async def drain(self, request: web.Request) -> web.Response:
        """DELETE /api/pool: replace every notebook that nobody holds."""
        del request
        return web.json_response({"drained": sum(pool.drain() for pool in self._pools)})

    async def notebooks(self, request: web.Request) -> web.Response:
        """GET /api/notebooks: all of them, without their keys."""
        del request
        return web.json_response({"notebooks": [_facts(pool, notebook) for pool in self._pools for notebook in pool]})

    async def end(self, request: web.Request) -> web.Response:
        """DELETE /api/notebooks/<key or id>: end one."""
        wanted = request.match_info["key"]
        for pool in self._pools:
            for notebook in pool:
                if wanted in (notebook.key, notebook.id):
                    pool.reap(notebook, Reason.DRAINED)
                    return web.json_response(_facts(pool, notebook))
        raise web.HTTPNotFound(text="There is no notebook of that key or id.")

    async def metrics(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _facts(pool: Pool, notebook: Notebook) -> dict[str, object]:
    now = pool.clock()
    return {
        "id": notebook.id,
        "pool": pool.name,
        "state": notebook.state,
        "since": round(time.time() - (now - notebook.moved_at), 1),
        "idle_for": round(now - notebook.active_at, 1) if notebook.is_live else None,
    }
