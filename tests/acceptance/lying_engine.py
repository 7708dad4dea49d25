"""An engine that says what a test wants about what runs, or is ill; everything else is passed to the real one."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from aiohttp import web

SOCKET = "/var/run/docker.sock"
_INSPECT = re.compile(r"/containers/[^/]+/json$")
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Hang:
    """The time in which the engine says nothing. Then it answers what it was asked, unless that is ``lost``."""

    def __init__(self, *, lost: bool) -> None:
        self._lost = lost
        self._over = asyncio.Event()

    def end(self) -> None:
        self._over.set()

    async def over(self) -> None:
        await self._over.wait()
        if self._lost:
            await asyncio.Event().wait()


class LyingEngine:
    """``lists`` are answered to the next questions of what runs, oldest first; ``lied`` counts them.

    ``describe`` changes the answer to each ContainerInspect of a notebook, while it is set.
    ``status``, if it is not 0, is the answer to everything; ``tells_events``: False to tell none that happens.
    """

    def __init__(self) -> None:
        self.lists: list[list[object]] = []
        self.lied = 0
        self.describe: Callable[[dict[str, Any]], object] | None = None
        self.url = ""
        self.status = 0
        self.tells_events = True
        self._hang: Hang | None = None
        self._runner: web.AppRunner
        self._port = 0
        self._streams: list[web.Request] = []
        self._session: aiohttp.ClientSession

    async def open(self) -> web.AppRunner:
        connector = aiohttp.UnixConnector(SOCKET, limit=0)
        # What the engine has compressed, as archives, passes as it is.
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(None), auto_decompress=False
        )
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._runner, self._port = runner, runner.addresses[0][1]
        self.url = f"tcp://127.0.0.1:{self._port}"
        return runner

    async def close(self) -> None:
        await self._session.close()

    def break_streams(self) -> None:
        """Whoever listens to events may have missed some, and has to look at what runs."""
        while self._streams:
            request = self._streams.pop()
            if request.transport is not None:
                request.transport.abort()

    @contextlib.asynccontextmanager
    async def hanging(self, *, lost: bool) -> AsyncIterator[None]:
        self._hang = Hang(lost=lost)
        try:
            yield
        finally:
            self._hang.end()
            self._hang = None

    @contextlib.asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Accept no connection, and break those there are, as when the engine's process has ended."""
        (site,) = self._runner.sites
        await site.stop()
        server = self._runner.server
        assert server is not None
        for connection in server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        try:
            yield
        finally:
            await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()

    @contextlib.asynccontextmanager
    async def answering(self, status: int) -> AsyncIterator[None]:
        self.status = status
        try:
            yield
        finally:
            self.status = 0

    def _lie(self, request: web.Request) -> web.Response | None:
        """Return what is answered without the engine."""
        if self.status:
            return web.json_response({"message": "told to be ill"}, status=self.status)
        # Not those about UIDs: these ask by another label.
        is_list = request.path.endswith("/containers/json") and "tmppool.pool=" in request.query.get("filters", "")
        if is_list and self.lists:
            self.lied += 1
            return web.json_response(self.lists.pop(0))
        return None

    async def _described(self, reply: aiohttp.ClientResponse) -> web.Response:
        shown = await reply.json()
        if self.describe is not None and "tmppool.key" in (shown["Config"].get("Labels") or {}):
            self.describe(shown)
        return web.json_response(shown)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._hang is not None:
            await self._hang.over()
        if (lie := self._lie(request)) is not None:
            return lie
        async with self._session.request(
            request.method,
            f"http://engine{request.raw_path}",
            data=await request.read(),
            headers={"Content-Type": request.headers.get("Content-Type", "application/json")},
        ) as reply:
            if self.describe is not None and _INSPECT.search(request.path) and reply.status == 200:
                return await self._described(reply)
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=reply.status, headers=kept)
            await response.prepare(request)
            if request.path.endswith("/events"):
                self._streams.append(request)
            async for piece in reply.content.iter_any():
                if self._hang is not None:
                    await self._hang.over()
                if self.tells_events or not request.path.endswith("/events"):
                    await response.write(piece)
            await response.write_eof()
            return response


@contextlib.asynccontextmanager
async def lying() -> AsyncIterator[LyingEngine]:
    engine = LyingEngine()
    runner = await engine.open()
    try:
        yield engine
    finally:
        await runner.cleanup()
        await engine.close()
