"""Notebooks as small HTTP servers in this process, for tests and for work on the pages.

They speak HTTP and WebSocket over loopback, answer the service's own requests and echo the rest. ``fail_next``,
``delay``, ``unlisted`` and ``kill`` make them misbehave; without ``is_jupyter`` they echo all requests, as an app does.
"""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field, replace
from typing import Self

from aiohttp import WSMsgType, web

from tmppool.backends.base import Edition, Paths, Spec, Traits, digest
from tmppool.errors import BackendError, StartError, TakenError
from tmppool.running import Death, Dial, Given, Paused, Running
from tmppool.tasks import completed

_PAUSED = 0.01  # seconds between two looks whether a paused notebook goes on


@dataclass(slots=True)
class FakeNotebook:
    """``kernels`` and ``terminals`` answer ``GET api/…``; ``requests`` are the requests so far, oldest first."""

    running: Running
    runner: web.AppRunner
    is_jupyter: bool = True
    kernels: list[dict[str, object]] = field(default_factory=list)
    terminals: list[dict[str, object]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


class FakeBackend:
    """One pool's notebooks in this process; ``notebooks`` holds the running ones by key.

    What a ``predecessor`` started is found as a later service finds what an earlier one left.
    """

    def __init__(self, spec: Spec, predecessor: "FakeBackend | None" = None) -> None:
        self.spec = spec
        self.edition = Edition(digest(self.spec), "fake", self.spec)
        self.notebooks: dict[str, FakeNotebook] = {} if predecessor is None else predecessor.notebooks
        self.delay = 0.0
        self.stop_delay = 0.0
        self.fail_next = 0
        self.is_ill = False
        self.is_jupyter = True
        self.started = 0
        self.stopped: list[str] = []
        self.given: set[str] = set() if predecessor is None else predecessor.given
        self._gave: set[str] = set()  # those of ``given`` that were given through this object
        self.unlisted = 0
        self._dead: asyncio.Queue[str | Paused | None] = asyncio.Queue()
        self.ended: dict[str, Death] = {} if predecessor is None else predecessor.ended

    @classmethod
    def from_spec(cls, spec: Spec, paths: Paths) -> Self:
        del paths  # it stores nothing on disk
        return cls(spec)

    async def open(self) -> Traits:
        return Traits(isolated=False, edition=self.edition, notes=("the fake backend: notebooks do not run any code",))

    async def prepare(self, spec: Spec) -> Edition:
        await self.ping()
        spec = replace(spec, service=self.spec.service, pool=self.spec.pool)
        return Edition(digest(spec), "fake", spec)

    async def start(self, key: str, edition: Edition | None = None) -> Running:
        """Start a notebook; ``edition`` defaults to the backend's own."""
        edition = edition or self.edition
        self.started += 1
        await asyncio.sleep(self.delay)
        await self.ping()
        if self.fail_next:
            self.fail_next -= 1
            raise StartError("the fake was told to fail", log_tail="last words")
        app = web.Application(client_max_size=1 << 30)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        app.router.add_route("*", "/{path:(?s:.*)}", functools.partial(self._answer, key))
        try:
            await completed(_open(runner), "open a fake notebook")
        except asyncio.CancelledError:
            await runner.cleanup()
            raise
        port = runner.addresses[0][1]
        dial = Dial("127.0.0.1", port)
        running = Running(key, dial, f"token-of-{key}", time.time(), f"secret-of-{key}", edition=edition.id)
        self.notebooks[key] = FakeNotebook(running, runner, is_jupyter=self.is_jupyter)
        return replace(running, is_jupyter=self.is_jupyter)

    async def give(self, key: str) -> None:
        await self.ping()
        if key not in self.notebooks:
            raise BackendError("the fake has no such notebook")
        if key in self.given and key not in self._gave:
            raise TakenError("another service has assigned this notebook")
        self.given.add(key)
        self._gave.add(key)

    async def stop(self, key: str) -> None:
        await asyncio.sleep(self.stop_delay)
        await self.ping()
        self.stopped.append(key)
        self.ended.pop(key, None)
        await self._end(key)

    async def list(self, known: Collection[str] = ()) -> list[Running]:
        """Return the running notebooks, but an empty list the next ``unlisted`` times, like a faulty engine."""
        del known  # not looked up, so that tests can simulate a faulty listing
        await self.ping()
        if self.unlisted:
            self.unlisted -= 1
            return []
        return [
            replace(made.running, given=Given.YES) if key in self.given else made.running
            for key, made in self.notebooks.items()
        ]

    async def deaths(self) -> AsyncIterator[str | Paused | None]:
        while True:
            yield await self._dead.get()

    async def death(self, key: str) -> Death:
        return self.ended.get(key, Death.UNKNOWN)

    async def ping(self) -> None:
        if self.is_ill:
            raise BackendError("the fake was told to be ill")

    async def close(self) -> None:
        """Keep the notebooks running, as an engine does; tests end with ``end_all``."""

    async def kill(self, key: str, death: Death = Death.EXITED) -> None:
        """Make a notebook end in this way."""
        self.ended[key] = death
        await self._end(key)
        self._dead.put_nowait(key)

    def pause(self, key: str, *, is_paused: bool = True) -> None:
        """Pause a notebook, or let it go on."""
        self.notebooks[key].running = replace(self.notebooks[key].running, is_paused=is_paused)
        self._dead.put_nowait(Paused(key, is_paused))

    async def end_all(self) -> None:
        """End all notebooks, at the end of a test."""
        for key in list(self.notebooks):
            await self._end(key)

    async def _end(self, key: str) -> None:
        notebook = self.notebooks.pop(key, None)
        if notebook is not None:
            await notebook.runner.cleanup()

    async def _answer(self, key: str, request: web.Request) -> web.StreamResponse:
        notebook = self.notebooks[key]
        while notebook.running.is_paused:
            await asyncio.sleep(_PAUSED)
        base = notebook.running.base_path
        notebook.requests.append(f"{request.method} {request.raw_path}")
        notebook.headers.append(dict(request.headers))
        path = request.path.removeprefix(base)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _echo_websocket(request)
        if notebook.is_jupyter and (said := _as_jupyter(notebook, path)) is not None:
            return web.json_response(said)
        if path == "api/sessions" and request.method == "POST":
            return web.json_response(await request.json(), status=201)
        if path == "events":
            return await _send_events(request)
        if request.method in ("POST", "PUT"):
            return web.Response(body=await request.read())
        page = (
            f"<!doctype html><html><head><title>Fake</title></head><body>{request.method} fake notebook</body></html>"
        )
        return web.Response(text=page, content_type="text/html")


def _as_jupyter(notebook: FakeNotebook, path: str) -> object:
    """Return what a Jupyter server says at ``path``; None where it is nothing that the service asks for."""
    return {
        "api": {"version": "fake"},
        "api/status": {"last_activity": "1970-01-01T00:00:00Z"},
        "api/kernels": notebook.kernels,
        "api/terminals": notebook.terminals,
    }.get(path)


async def _open(runner: web.AppRunner) -> None:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()


async def _send_events(request: web.Request) -> web.StreamResponse:
    """Send three events and go on for ever, as an app does; ``?buffering=`` is its word to a proxy in front."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    if "buffering" in request.query:
        response.headers["X-Accel-Buffering"] = request.query["buffering"]
    await response.prepare(request)
    for number in range(3):
        await response.write(b"data: %d\n\n" % number)
        await asyncio.sleep(0.1)
    await asyncio.Event().wait()
    return response


async def _echo_websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("v1.kernel.websocket.jupyter.org",), max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket
