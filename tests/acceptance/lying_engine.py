"""An engine that says what a test wants about what runs; everything else is passed to the real one."""

import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

SOCKET = "/var/run/docker.sock"
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class LyingEngine:
    """``lists`` are answered to the next questions of what runs, oldest first; ``lied`` counts them."""

    def __init__(self) -> None:
        self.lists: list[list[object]] = []
        self.lied = 0
        self.url = ""
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
        self.url = f"tcp://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def close(self) -> None:
        await self._session.close()

    def break_streams(self) -> None:
        """Whoever listens to events may have missed some, and has to look at what runs."""
        while self._streams:
            request = self._streams.pop()
            if request.transport is not None:
                request.transport.abort()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        # Not those about UIDs: these ask by another label.
        if (
            request.path.endswith("/containers/json")
            and self.lists
            and "tmppool.pool=" in request.query.get("filters", "")
        ):
            self.lied += 1
            return web.json_response(self.lists.pop(0))
        async with self._session.request(
            request.method,
            f"http://engine{request.raw_path}",
            data=await request.read(),
            headers={"Content-Type": request.headers.get("Content-Type", "application/json")},
        ) as reply:
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=reply.status, headers=kept)
            await response.prepare(request)
            if request.path.endswith("/events"):
                self._streams.append(request)
            async for piece in reply.content.iter_any():
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
