"""Visitors with a variable in a kernel and an open WebSocket, and one who keeps clicking."""

import asyncio
import contextlib
import json
import socket
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import aiohttp
import psutil
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.acceptance.harness import Service, Taken
from tests.chaos.own_engine import OwnEngine
from tmppool.backends.container import KEY_LABEL

CLICK_EVERY = 2.0  # seconds
_HELD = 2  # notebooks that the clicker keeps
_PATIENCE = aiohttp.ClientTimeout(10)
_ANSWER = 20  # seconds that a kernel may take to answer
PAUSES = {429, 503}  # statuses that tell a visitor to come back later


class _Here(AbstractResolver):
    """Every name is this machine: what a browser does with names below ``localhost``."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def client(token: str = "") -> aiohttp.ClientSession:
    headers = {"Authorization": f"token {token}"} if token else {}
    connector = aiohttp.TCPConnector(resolver=_Here())
    return aiohttp.ClientSession(headers=headers, connector=connector, timeout=_PATIENCE)


async def status_of(taken: Taken) -> int:
    """Return what the notebook answers; 0 if nothing."""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with client(taken.token) as session, session.get(f"{taken.url}api/status") as reply:
            return reply.status
    return 0


@dataclass(frozen=True)
class Process:
    """The first process of a container, seen from the host. ``born`` tells it from another with its PID."""

    pid: int
    born: float

    @property
    def lives(self) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            return found.create_time() == self.born and found.status() != psutil.STATUS_ZOMBIE
        return False

    @classmethod
    async def of(cls, engine: OwnEngine, container: str) -> "Process":
        pid = int(await engine.docker("inspect", "--format={{.State.Pid}}", container))
        return cls(pid, psutil.Process(pid).create_time())


class Visitor:
    """A visitor who has a variable in a kernel and keeps its WebSocket open."""

    def __init__(self, taken: Taken, about: str, container: str, process: Process) -> None:
        self.taken, self.about, self.container, self.process = taken, about, container, process
        self.was_cut_off = False  # since this was last set to False
        self._value = uuid.uuid4().hex
        self._kernel = ""
        self._session = client(taken.token)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None
        self._printed: dict[str, str] = {}
        self._idle: dict[str, asyncio.Event] = {}

    @classmethod
    async def arrive(cls, taken: Taken, service: Service, engine: OwnEngine) -> "Visitor":
        container = await engine.docker("ps", "-q", "--no-trunc", f"--filter=label={KEY_LABEL}={taken.key}")
        assert container, "a notebook was given of which the engine has no running container"
        about = f"{service.url}/api/session/{taken.key}"
        visitor = cls(taken, about, container, await Process.of(engine, container))
        try:
            await visitor._begin()
        except BaseException:
            await visitor.go()
            raise
        return visitor

    async def has_kept(self) -> bool:
        """Return True if the variable is still there, by the WebSocket that is open, or by another."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError, KeyError):
            if self._socket is None or self._socket.closed:
                await self._connect()
            return await self._run("print(mine)") == f"{self._value}\n"
        return False

    async def told(self) -> str:
        """Return what the service says of the end of the session; empty if it goes on."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self._session.get(self.about) as reply:
                return str((await reply.json()).get("explanation", ""))
        return ""

    async def go(self) -> None:
        """Close the tab."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        if self._socket is not None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                async with asyncio.timeout(2):
                    await self._socket.close()
        await self._session.close()

    async def _begin(self) -> None:
        async with self._session.post(f"{self.taken.url}api/kernels", json={"name": "python3"}) as reply:
            self._kernel = (await reply.json())["id"]
        await self._connect()
        assert await self._run(f"mine = {self._value!r}; print(mine)") == f"{self._value}\n"

    async def _connect(self) -> None:
        address = f"{self.taken.url}api/kernels/{self._kernel}/channels"
        self._socket = await self._session.ws_connect(address, timeout=aiohttp.ClientWSTimeout(ws_close=2))
        self._reading = asyncio.ensure_future(self._read(self._socket))

    async def _read(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        async for message in opened:
            said = json.loads(message.data)
            about = said["parent_header"].get("msg_id", "")
            if said["msg_type"] == "stream" and about in self._idle:
                self._printed[about] += said["content"]["text"]
            if said["msg_type"] == "status" and said["content"]["execution_state"] == "idle" and about in self._idle:
                self._idle[about].set()
        self.was_cut_off = True

    async def _run(self, code: str) -> str:
        assert self._socket is not None
        number = uuid.uuid4().hex
        self._idle[number], self._printed[number] = asyncio.Event(), ""
        head = {"msg_id": number, "msg_type": "execute_request", "session": self._value, "username": "",
                "version": "5.3", "date": ""}  # fmt: skip
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": head, "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
                   "content": content}  # fmt: skip
        async with asyncio.timeout(_ANSWER):
            await self._socket.send_json(message)
            await self._idle[number].wait()
        return self._printed[number]


@dataclass
class Clicks:
    """What came of clicks. ``given`` has every notebook.

    ``dead`` has the status of those that did not answer at once, with the time at which each was given.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    given: list[Taken] = field(default_factory=list)
    dead: list[tuple[float, int]] = field(default_factory=list)
    without_retry: int = 0  # refusals that did not say when to come back
    longest: float = 0.0  # seconds until an answer


class Clicker:
    """Takes a notebook every two seconds, and gives back all but the latest two."""

    def __init__(self, service: Service, pools: tuple[str, ...]) -> None:
        self._service = service
        self._pools = pools
        self._held: list[tuple[float, Taken]] = []  # each with the time at which it was given
        self._is_done = asyncio.Event()

    def stop(self) -> None:
        """Click no more. A click under way goes on, as nobody else would know of what it takes."""
        self._is_done.set()

    async def click_on(self, clicks: Clicks) -> None:
        """Click until ``stop``."""
        number = 0
        while not self._is_done.is_set():
            began = time.monotonic()
            await self._click(clicks, self._pools[number % len(self._pools)])
            clicks.longest = max(clicks.longest, time.monotonic() - began)
            while len(self._held) > _HELD:
                await self._end(self._held.pop(0)[1])
            number += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0, began + CLICK_EVERY - time.monotonic())):
                    await self._is_done.wait()

    async def answers(self) -> list[tuple[float, int]]:
        """Return when each notebook that is still held was given, and what it answers."""
        return [(given_at, await status_of(taken)) for given_at, taken in self._held]

    async def leave(self) -> None:
        """End all that is still held."""
        while self._held:
            await self._end(self._held.pop()[1])

    async def _click(self, clicks: Clicks, pool: str) -> None:
        taken = None
        status = 0
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            address = f"{self._service.url}/api/spawn{f'?pool={pool}' if pool else ''}"
            async with client() as session, session.post(address) as reply:
                status = reply.status
                if status == 200:
                    given = await reply.json()
                    taken = Taken(urljoin(self._service.url, given["url"]), given["token"])
                clicks.without_retry += status in PAUSES and "Retry-After" not in reply.headers
        clicks.statuses[status] += 1
        given_at = time.monotonic()
        if taken is not None:
            clicks.given.append(taken)
            self._held.append((given_at, taken))
            if (answer := await status_of(taken)) != 200:
                clicks.dead.append((given_at, answer))

    async def _end(self, taken: Taken) -> None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            address = f"{self._service.url}/api/session/{taken.key}"
            async with client(taken.token) as session, session.delete(address):
                pass
