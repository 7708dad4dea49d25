"""What programs ask: spawn, stats, health."""

import contextlib

from aiohttp import web

from tmppool import __version__
from tmppool.errors import PoolEmptyError, PoolFullError
from tmppool.notebook import State
from tmppool.pool import Pool
from tmppool.running import base_path
from tmppool.web import models
from tmppool.web.access import session_token
from tmppool.web.admission import Admission, RefusedError, is_same
from tmppool.web.front import code_in, form_in, refuse_ahead
from tmppool.web.site import Site
from tmppool.web.wall_clock import ends


class Api:
    def __init__(self, site: Site, admission: Admission) -> None:
        self._site = site
        self._admission = admission

    async def spawn(self, request: web.Request) -> web.Response:
        """POST /api/spawn, as tmpnb's: the URL of a notebook, 429 when full, 503 while notebooks are starting."""
        require_token(request, self._site.api_token)
        refuse_ahead(request)
        if not self._may_read(request):
            self._site.refuse_cross_site(request)
        pool, address = self._site.pool_of(request), self._site.client(request).address
        code = code_in(request, await form_in(request))
        try:
            # Who has the operator's token has the operator's word.
            with contextlib.nullcontext() if self._site.api_token else self._admission.start(address, code=code):
                notebook = await self._site.assign(pool, None, None)
        except RefusedError as error:
            return self._refused(error)
        except PoolEmptyError as error:
            return self._none_warm(error)
        origin = "" if self._site.domain is None else self._site.origin_of(notebook, self._site.client(request))
        body = models.Spawned(
            url=origin + base_path(notebook.key),
            token=session_token(notebook),
            pool=pool.name,
            **ends(pool, notebook)._asdict(),
        )
        return self._site.json(body)

    def _refused(self, error: RefusedError) -> web.Response:
        if not error.retry_after:
            return self._site.json(models.WrongCode(message=str(error)), 403)
        return self._site.json(models.Limited(message=str(error)), 429, {"Retry-After": str(error.retry_after)})

    def _none_warm(self, error: PoolEmptyError) -> web.Response:
        headers = {"Retry-After": str(error.retry_after)}
        if isinstance(error, PoolFullError):
            return self._site.json(models.Full(message=str(error)), 429, headers)
        return self._site.json(models.Warming(message=str(error)), 503, headers)

    def _may_read(self, request: web.Request) -> bool:
        """Whether ``--allow-origin`` lets the page that asks see the answer."""
        allowed = self._site.cors.get("Access-Control-Allow-Origin")
        return allowed is not None and allowed in ("*", request.headers.get("Origin"))

    async def stats(self, request: web.Request) -> web.Response:
        """GET /api/stats: ``available`` notebooks are warm; ``capacity`` counts all places."""
        pool = self._site.pool_of(request)
        warm = pool.count(State.WARM)
        body = models.Stats(
            available=warm,
            capacity=pool.limits.capacity,
            version=__version__,
            container_image=self._site.images[pool.name],
            starting=pool.count(State.STARTING),
            warm=warm,
            assigned=pool.count(State.ASSIGNED),
        )
        return self._site.json(body)

    async def health(self, request: web.Request) -> web.Response:
        """GET /health: 200 when a visitor can be served, 503 with the reasons when not."""
        del request
        checks = [check for pool in self._site.pools for check in _checks(pool)]
        ledger = models.Advisory(service="ledger", ok=self._site.ledger.is_durable)
        is_healthy = all(check.ok for check in checks)
        return self._site.json(models.Health(ok=is_healthy, checks=[*checks, ledger]), 200 if is_healthy else 503)

    async def preflight(self, request: web.Request) -> web.Response:
        """OPTIONS: what ``--allow-origin`` and its siblings permit."""
        del request
        return web.Response(status=204, headers=self._site.cors)


def _checks(pool: Pool) -> list[models.Check]:
    is_able = not pool.last_failure or pool.count(State.WARM) > 0
    return [
        models.Check(service=f"pool {pool.name}", ok=is_able, message=pool.last_failure),
        models.Check(service=f"backend of {pool.name}", ok=not pool.illness, message=pool.illness),
    ]


def require_token(request: web.BaseRequest, token: str | None) -> None:
    """Raise HTTPForbidden unless the request says the token; no token asks for none."""
    if token is not None and not says_token(request, token):
        raise web.HTTPForbidden(text="This needs a token that you did not send.")


def says_token(request: web.BaseRequest, token: str) -> bool:
    """Whether the one ``Authorization: token …`` holds the token."""
    fields = request.headers.getall("Authorization", [])
    scheme, _, given = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
    return scheme.lower() in ("token", "bearer") and is_same(given.strip(), token)
