"""Both ends of the proxy by hand: visitors and notebooks that say, byte for byte, what a test has them say.

Between them stands the whole service on its public listener.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from blockbuster import blockbuster_ctx
from jinja2 import Environment
from jinja2.bccache import Bucket, BytecodeCache
from multidict import CIMultiDict

from tests.specs import spec_of
from tmppool.app import service
from tmppool.backends.base import Edition, Spec, Traits, digest
from tmppool.config import Settings
from tmppool.proxy.timeouts import Timeouts
from tmppool.running import Dial, Running, base_path
from tmppool.web.own_cookies import notebook_name

PATIENCE = 30.0  # seconds until what hangs is a failure
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HTML = b"<!doctype html><html><head><title>T</title></head><body></body></html>"


class CutError(Exception):
    """The other end closed or reset before what was waited for had come; holds what came."""

    def __init__(self, got: bytes, *, is_reset: bool) -> None:
        super().__init__(f"{'reset' if is_reset else 'closed'} after {got[-200:]!r}")
        self.got = got
        self.is_reset = is_reset


@dataclass
class Message:
    """A request or a response as it came: ``start`` is its first line, ``lines`` its fields as they stood."""

    start: str
    lines: list[str]
    body: bytes = b""
    framing: str = ""

    @property
    def status(self) -> int:
        return int(self.start.split()[1])

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    @property
    def fields(self) -> CIMultiDict[str]:
        pairs = (line.partition(":") for line in self.lines)
        return CIMultiDict((name, value.strip()) for name, _, value in pairs)


class Peer:
    """One end of a connection, which reads only when it is asked to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = b""
        self.loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, port: int, receive_buffer: int | None = None, source: str = "127.0.0.1") -> Self:
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((source, 0))
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        return cls(sock)

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE * 4):
            await self.loop.sock_sendall(self.sock, data)

    async def more(self) -> bytes:
        """Return what comes next, nothing at the end. Raises CutError for a reset."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.loop.sock_recv(self.sock, 1 << 18)
        except ConnectionError:
            raise CutError(self.held, is_reset=True) from None

    async def until(self, mark: bytes) -> bytes:
        start = 0
        while (end := self.held.find(mark, start)) < 0:
            start = max(0, len(self.held) - len(mark))
            self.held += await self._some()
        end += len(mark)
        found, self.held = self.held[:end], self.held[end:]
        return found

    async def exactly(self, size: int) -> bytes:
        parts, have = [self.held], len(self.held)
        while have < size:
            parts.append(await self._some())
            have += len(parts[-1])
        whole = b"".join(parts)
        found, self.held = whole[:size], whole[size:]
        return found

    async def rest(self) -> bytes:
        """Return all that comes until the other end closes in order."""
        parts, self.held = [self.held], b""
        while part := await self.more():
            parts.append(part)
        return b"".join(parts)

    async def is_closed(self) -> bool:
        """Whether the other end closes now, one way or the other, without another word."""
        try:
            return await self.more() == b""
        except CutError:
            return True

    async def head(self) -> Message:
        start, *lines = (await self.until(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
        return Message(start, lines)

    async def message(self, *, has_body: bool = True, until_close: bool = False) -> Message:
        """Return a whole message. Raises CutError when it does not come whole."""
        found = await self.head()
        fields = found.fields
        if not has_body:
            return found
        if fields.get("Transfer-Encoding") == "chunked":
            found.framing = "chunked"
            while size := int((await self.until(b"\r\n")).split(b";")[0], 16):
                found.body += await self.exactly(size)
                assert await self.exactly(2) == b"\r\n"
            assert await self.exactly(2) == b"\r\n", "a trailer"
        elif "Content-Length" in fields:
            found.framing = "length"
            found.body = await self.exactly(int(fields["Content-Length"]))
        elif until_close:
            found.framing = "close"
            found.body = await self.rest()
        return found

    async def answer(self, method: str = "GET") -> Message:
        """Return a response."""
        found = await self.message(has_body=False)
        if method == "HEAD" or found.status in (101, 204, 304) or found.status < 200:
            return found
        self.held = "\r\n".join([found.start, *found.lines, "", ""]).encode("latin-1") + self.held
        return await self.message(until_close=True)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def _some(self) -> bytes:
        data = await self.more()
        if not data:
            raise CutError(self.held, is_reset=False)
        return data


class EagerPeer(Peer):
    """A visitor who reads all the time, so that a reset takes away nothing that was sent before it."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._pump = self.loop.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self.loop.sock_recv(self.sock, 1 << 18):
                self._came.put_nowait(data)
            self._came.put_nowait(b"")
        except OSError:
            self._came.put_nowait(None)

    async def more(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            data = await self._came.get()
        if data is None:
            raise CutError(self.held, is_reset=True)
        return data

    @property
    def is_silent(self) -> bool:
        return self._came.empty() and not self.held

    async def leave(self) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        self.close()


Script = Callable[[Peer], Awaitable[None]]


class Stranger:
    """A notebook's server: each connection is handed to ``script``. ``asked`` holds (number of the connection, request).

    ``cuts`` holds how scripts ended whose visitor was not waited for: a CutError's ``got`` is what was left unread.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[int, Message]] = []
        self.connections: list[Peer] = []
        self.script: Script = self._answer_all
        self.cuts: list[Exception] = []
        self.bugs: list[BaseException] = []
        self.port = 0
        self._answers: list[bytes] = [OK]
        self._tasks: set[asyncio.Task[None]] = set()

    def says(self, *answers: bytes) -> None:
        """Answer each request with the next of these, the last one for ever."""
        self._answers = list(answers)
        self.script = self._answer_all

    async def request(self, connection: Peer) -> Message:
        """Read and record one request."""
        found = await connection.message()
        self.asked.append((self.connections.index(connection), found))
        return found

    @property
    def requests(self) -> list[Message]:
        return [request for _, request in self.asked]

    async def __aenter__(self) -> Self:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._sock.setblocking(False)
        self.port = self._sock.getsockname()[1]
        self._start(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection and take no more."""
        self._sock.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            connection.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._sock)
            sock.setblocking(False)
            connection = Peer(sock)
            self.connections.append(connection)
            self._start(self._serve(connection))

    async def _serve(self, connection: Peer) -> None:
        try:
            await self.script(connection)
        except (CutError, ConnectionError, TimeoutError) as cut:
            self.cuts.append(cut)
        except Exception as bug:
            self.bugs.append(bug)

    async def _answer_all(self, connection: Peer) -> None:
        while True:
            await self.request(connection)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            await connection.send(answer)
            if b"Content-Length:" not in answer and b"chunked" not in answer and answer[9:12] not in (b"204", b"304"):
                connection.close()
                return

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Unknocked(Dial):
    """Reaches a stranger, who counts connections, so that nobody knocks before a notebook is given away."""

    async def is_open(self, seconds: float) -> bool:
        del seconds
        return True


class StrangerBackend:
    """Every notebook of it is the one stranger."""

    def __init__(self, stranger: Stranger, dial: Dial | None) -> None:
        self._stranger = stranger
        self._dial = dial
        self._running: dict[str, Running] = {}

    async def open(self) -> Traits:
        return Traits(isolated=True, edition=await self.prepare(spec_of("stranger", "main")))

    async def prepare(self, spec: Spec) -> Edition:
        return Edition(digest(spec), "stranger", spec)

    async def start(self, key: str, edition: Edition) -> Running:
        dial = self._dial or Dial("127.0.0.1", self._stranger.port)
        dial = Unknocked(dial.host, dial.port, dial.make_socket)
        self._running[key] = Running(key, dial, f"token-of-{key}", time.time(), edition=edition.id)
        return self._running[key]

    async def stop(self, key: str) -> None:
        self._running.pop(key, None)

    async def give(self, key: str) -> None:
        pass

    async def list(self, known: Collection[str] = ()) -> list[Running]:
        del known
        return list(self._running.values())

    async def deaths(self) -> AsyncIterator[str | None]:
        await asyncio.Event().wait()
        yield ""

    async def ping(self) -> None:
        pass

    async def close(self) -> None:
        pass


_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(12_000 + _PROCESS, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
"""Below the ports that the system gives to outgoing connections, which might take one before the service does.

Two processes of one run share none: a port that is free now may be one that the other is about to use.
"""
_ports = itertools.islice(itertools.cycle(_PORTS), os.getpid() * 20 % len(_PORTS), None)


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = next(_ports)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            found.append(port)
    return found


@dataclass
class House:
    """The service, a notebook in it that is ``stranger``, and the visitors who came."""

    port: int
    stranger: Stranger
    key: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    visitors: list[Peer] = field(default_factory=list)

    @property
    def base(self) -> str:
        return base_path(self.key)

    @property
    def cookie(self) -> str:
        """The line of a browser that owns all notebooks that were given away here."""
        pairs = (f"{notebook_name(key, is_secure=False)}={token}" for key, token in self.tokens.items())
        return f"Cookie: {'; '.join(pairs)}"

    async def visitor(self, **options: Any) -> Peer:
        made = await Peer.connect(self.port, **options)
        self.visitors.append(made)
        return made

    def head(self, method: str, path: str, *lines: str, version: str = "1.1") -> bytes:
        """Return the head of its owner's request; a path without a slash in front is below the notebook."""
        target = path if path.startswith("/") else self.base + path
        host = [f"Host: 127.0.0.1:{self.port}"] if not any(line.lower().startswith("host:") for line in lines) else []
        cookie = [self.cookie] if self.tokens else []
        return "\r\n".join([f"{method} {target} HTTP/{version}", *host, *cookie, *lines, "", ""]).encode("latin-1")

    async def ask(self, method: str, path: str, *lines: str, body: bytes = b"", version: str = "1.1") -> Message:
        """Return the answer to one request on a connection of its own."""
        visitor = await self.visitor()
        await visitor.send(self.head(method, path, *lines, version=version) + body)
        return await visitor.answer(method)

    async def spawn(self) -> str:
        """Return the key of a notebook that is given away now."""
        async with asyncio.timeout(PATIENCE):
            while (found := await self.ask("POST", "/api/spawn", "Content-Length: 0")).status != 200:
                await asyncio.sleep(0.01)
        facts = json.loads(found.body)
        key = str(facts["url"]).split("/")[2]
        self.tokens[key] = facts["token"]
        return key

    async def session(self) -> dict[str, Any]:
        return dict(json.loads((await self.ask("GET", f"/api/session/{self.key}")).body))

    async def reap(self) -> None:
        assert (await self.ask("DELETE", f"/api/session/{self.key}")).status == 200


class Compiled(BytecodeCache):
    """Our pages' templates, compiled once for all tests: that is most of what opening the service takes."""

    def __init__(self) -> None:
        self._found: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._found:
            bucket.bytecode_from_string(self._found[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._found[bucket.key] = bucket.bytecode_to_string()


environment = functools.partial(Environment, bytecode_cache=Compiled())


@contextlib.asynccontextmanager
async def opened(
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    dial: Dial | None = None,
    timeouts: Timeouts | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """Open the service; its notebooks are the stranger, or what ``dial`` reaches."""
    stranger = Stranger()
    backend = StrangerBackend(stranger, dial)
    monkeypatch.setattr("tmppool.backends.fake.FakeBackend.from_spec", lambda _spec, _paths: backend)
    monkeypatch.setattr("tmppool.web.pages.Environment", environment)
    port, admin_port = free_ports(2)
    known: dict[str, Any] = {
        "pool_size": 4,
        "ip": "127.0.0.1",
        "state_dir": state,
        "cull_period": 3600,
        "notebooks_per_address": 0,
    }
    wanted = Settings(backend="fake", port=port, admin_port=admin_port, **(known | settings))
    async with stranger, service(wanted, timeouts or Timeouts()):
        house = House(port, stranger)
        house.key = await house.spawn()
        house.visitors.pop().close()
        with blockbuster_ctx("tmppool"):
            yield house
            for visitor in house.visitors:
                visitor.close()
    await quiet()
    assert [repr(bug) for bug in stranger.bugs] == []


async def quiet() -> None:
    """Let the loop hear of all that was closed."""
    for _ in range(5):
        await asyncio.sleep(0)


async def eventually(look: Callable[[], object], within: float = PATIENCE) -> None:
    """Return as soon as it is so."""
    async with asyncio.timeout(within):
        for pause in itertools.chain([0.0] * 10, itertools.repeat(0.005)):
            if look():
                return
            await asyncio.sleep(pause)


@contextlib.asynccontextmanager
async def scripted(folder: Path, script: Script) -> AsyncIterator[House]:
    """Open a house whose stranger keeps to this script, for as many tests as are to share it.

    The service does not knock meanwhile, so that all that a notebook is asked comes from visitors.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("tmppool.app._KNOCK", 3600.0)
        async with opened(folder, monkeypatch) as house:
            house.stranger.script = script
            yield house
