"""The public API: spawn, stats, documents and health, and their CORS preflight."""

import contextlib
from collections.abc import Mapping

from aiohttp import web

from tmppool import __version__
from tmppool.document_index import DocumentIndex
from tmppool.errors import NoNotebookError
from tmppool.ledger import Ledger
from tmppool.notebook import State
from tmppool.pools import Pools
from tmppool.running import base_path
from tmppool.sessions import Sessions
from tmppool.web import health, models
from tmppool.web.answers import Answers
from tmppool.web.context import visit_of
from tmppool.web.session_ends import ends
from tmppool.web.spawn_request import pool_of, read_form, refused, workshop_code
from tmppool.web.start_limits import StartLimits, StartRefusedError
from tmppool.web.tokens import session_token
from tmppool.web.visit import Origin


class Api:
    """``images`` maps pools to image names, ``documents`` to what is in the images.

    ``is_trusted``: all clients have the API token, so none is limited.
    """

    def __init__(
        self,
        pools: Pools,
        ledger: Ledger,
        sessions: Sessions,
        answers: Answers,
        limits: StartLimits,
        images: Mapping[str, str],
        documents: Mapping[str, DocumentIndex],
        *,
        is_trusted: bool,
    ) -> None:
        self._pools = pools
        self._ledger = ledger
        self._sessions = sessions
        self._answers = answers
        self._limits = limits
        self._images = images
        self._documents = documents
        self._listed = {
            pool: [models.Listed(path=each.path, title=each.title) for each in known.documents]
            for pool, known in documents.items()
        }
        self._is_trusted = is_trusted

    async def spawn(self, request: web.Request) -> web.Response:
        """POST /api/spawn, as in tmpnb: the URL of a notebook, 429 when full, 503 while notebooks are starting."""
        visit = visit_of(request)
        pool, code = pool_of(visit, self._pools), workshop_code(visit, await read_form(request))
        try:
            with (
                contextlib.nullcontext()
                if self._is_trusted
                else self._limits.count_start(pool, visit.client.address, code=code)
            ) as network:
                notebook = await self._sessions.assign(pool, visitor=None, network=network)
        except (StartRefusedError, NoNotebookError) as error:
            return self._answers.refusal(refused(error))
        body = models.Spawned(
            url=visit.spawn_origin(notebook.id) + base_path(notebook.key),
            token=session_token(notebook),
            pool=pool.name,
            **ends(pool, notebook)._asdict(),
        )
        return self._answers.json(body)

    async def stats(self, request: web.Request) -> web.Response:
        """GET /api/stats: the number of notebooks by state, and the capacity."""
        pool = pool_of(visit_of(request), self._pools)
        warm = pool.count(State.WARM)
        body = models.Stats(
            available=warm,
            capacity=pool.limits.capacity,
            version=__version__,
            container_image=self._images[pool.name],
            starting=pool.count(State.STARTING),
            warm=warm,
            assigned=pool.count(State.ASSIGNED),
        )
        return self._answers.json(body)

    async def documents(self, request: web.Request) -> web.Response:
        """GET /api/documents: the documents in the home of the pool's image, by path."""
        pool = pool_of(visit_of(request), self._pools)
        known = self._documents[pool.name]
        names = [each.name for each in self._pools]
        return self._answers.json(
            models.Documents(
                pool=pool.name, pools=names, is_complete=known.is_complete, documents=self._listed[pool.name]
            )
        )

    async def health(self, request: web.Request) -> web.Response:
        """GET /health: 200 if visitors can be served, else 503; both with all checks, without reasons."""
        del request
        body = health.for_public(self._pools, is_durable=self._ledger.is_durable)
        return self._answers.json(body, 200 if body.ok else 503)

    async def preflight(self, request: web.Request) -> web.Response:
        """OPTIONS: let pages of friendly origins ask, or answer with what ``--allow-origin`` and its siblings set."""
        visit = visit_of(request)
        if visit.origin is Origin.FRIEND and not self._answers.sets_cors:
            return self._answers.preflight_with_token(is_private=visit.asks_for_private_network)
        return self._answers.preflight()
