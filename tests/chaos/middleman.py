"""A proxy before the engine's socket that says nothing, the wrong thing, or half of it."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.acceptance.lying_engine import LyingEngine

Answer = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""The answer to one request, or None for what the engine says."""


class Middleman(LyingEngine):
    """``lie`` answers each request while it is set. What it does by chance, ``chance`` decides."""

    def __init__(self, socket: Path, chance: random.Random) -> None:
        super().__init__()
        self.lie: Answer | None = None
        self._chance = chance
        self._socket = socket
        self._goes_on = asyncio.Event()
        self._runner: web.AppRunner
        self._site: web.TCPSite
        self._port = 0

    async def open(self) -> web.AppRunner:
        connector = aiohttp.UnixConnector(str(self._socket), limit=0)
        timeout = aiohttp.ClientTimeout(None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.accept()
        return self._runner

    async def accept(self) -> None:
        """Listen, again after ``refuse`` at the same port."""
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"tcp://127.0.0.1:{self._port}"

    async def refuse(self) -> None:
        """Accept no connection, and break those that are open."""
        await self._site.stop()
        self.break_all()

    def break_all(self) -> None:
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    def be_honest(self) -> None:
        self.lie = None
        self._goes_on.set()

    # Lies

    async def hang(self, request: web.Request) -> None:
        """Answer nothing; when it is over, answer what was asked meanwhile."""
        self._goes_on.clear()
        await self._goes_on.wait()

    async def dawdle(self, request: web.Request) -> None:
        await asyncio.sleep(self._chance.uniform(0.5, 3))

    async def fail(self, request: web.Request) -> web.Response:
        return web.json_response({"message": "input/output error"}, status=500)

    async def cut(self, request: web.Request) -> web.StreamResponse | None:
        """Break off one of two answers in the middle."""
        if request.path.endswith(("/events", "/wait")) or self._chance.random() < 0.5:
            return None
        status, body = await self._ask(request)
        response = web.StreamResponse(status=status, headers={"Content-Length": str(len(body) + 1)})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.abort()
        return response

    async def list_nothing(self, request: web.Request) -> web.Response | None:
        return web.json_response([]) if request.path.endswith("/containers/json") else None

    async def list_half(self, request: web.Request) -> web.Response | None:
        if not request.path.endswith("/containers/json"):
            return None
        _, body = await self._ask(request)
        return web.json_response(json.loads(body)[:: self._chance.choice((2, 3))])

    async def list_everything(self, request: web.Request) -> web.Response | None:
        """Pass over the filter of a list."""
        if not request.path.endswith(("/containers/json", "/volumes")):
            return None
        _, body = await self._ask(request.clone(rel_url=request.rel_url.without_query_params("filters")))
        return web.json_response(json.loads(body))

    async def deny(self, request: web.Request) -> web.Response | None:
        """Know no container, neither by list nor by name."""
        if request.method == "GET" and "/containers/" in request.path and not request.path.endswith("/containers/json"):
            return web.json_response({"message": "No such container"}, status=404)
        return await self.list_nothing(request)

    async def babble(self, request: web.Request) -> web.Response | None:
        """Answer what is no JSON, as a proxy in front of an engine does."""
        return web.Response(text="<html>Bad Gateway</html>", content_type="text/html")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.lie is not None and (response := await self.lie(request)) is not None:
            return response
        try:
            return await super()._answer(request)
        except aiohttp.ClientError:  # the engine is away: as without a proxy, the connection breaks
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _ask(self, request: web.Request) -> tuple[int, bytes]:
        """Return what the engine really says."""
        kind = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        address = f"http://engine{request.raw_path}"
        async with self._session.request(request.method, address, data=await request.read(), headers=kind) as reply:
            return reply.status, await reply.read()


@contextlib.asynccontextmanager
async def between(socket: Path, chance: random.Random) -> AsyncIterator[Middleman]:
    middleman = Middleman(socket, chance)
    await middleman.open()
    try:
        yield middleman
    finally:
        middleman.be_honest()
        await middleman.close()
        await middleman._runner.cleanup()
