"""The service as an operator runs it: one ``python -m tmppool``, with its own name and state directory."""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.procs import BenchError, free_port, started, tail
from tmppool.backends import engine
from tmppool.backends.container import SERVICE_LABEL
from tmppool.errors import BackendError
from tmppool.web.own_cookies import notebook_name

_POLL = 0.05  # seconds between two looks at the counts
_SECRET = re.compile(r"^http://\S+\?token=(\S+)$", re.MULTILINE)
_STOPPING = 120  # seconds for a service to end its notebooks


@dataclass(frozen=True, slots=True)
class Service:
    """A running service. ``born`` is when its process was started (monotonic)."""

    pid: int
    port: int
    admin_port: int
    born: float
    log: Path
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers that open the service to a program: with the process backend, the secret that it printed."""
        printed = _SECRET.search(self.log.read_text(errors="replace"))
        return {"Authorization": f"token {printed[1]}"} if printed else {}

    async def until(self, *, warm: int, within: float) -> float:
        """Return the seconds since the service's start when so many notebooks are warm and none is starting."""
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < self.born + within:
                if self.process.returncode is not None:
                    break
                with contextlib.suppress(aiohttp.ClientError):
                    counts = await self._stats(session)
                    if counts["warm"] >= warm and not counts["starting"]:
                        return time.monotonic() - self.born
                await asyncio.sleep(_POLL)
        raise BenchError(f"{warm} warm notebooks were not reached: {tail(self.log)}")

    async def _stats(self, session: aiohttp.ClientSession) -> dict[str, int]:
        async with session.get(f"{self.url}/api/stats", headers=self.headers, raise_for_status=True) as reply:
            found: dict[str, int] = await reply.json()
            return found

    async def spawn(self) -> tuple[str, str]:
        """POST /api/spawn; returns the notebook's base path, and the cookie that a browser would have for it."""
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
            session.post(f"{self.url}/api/spawn") as reply,
        ):
            if reply.status != 200:
                raise BenchError(f"no notebook was given: {await reply.text()}")
            given = await reply.json()
            name = notebook_name(given["url"].split("/")[2], is_secure=False)
            return str(given["url"]), f"{name}={given['token']}"

    async def end_sessions(self) -> None:
        """End every notebook that was given away; the pool starts others in their place."""
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.admin_port}") as session:
            async with session.get("/api/notebooks") as reply:
                found = (await reply.json())["notebooks"]
            for notebook in found:
                if notebook["state"] == "assigned":
                    await session.delete(f"/api/notebooks/{notebook['id']}")


@contextlib.asynccontextmanager
async def service(home: Path, backend: str, *options: str) -> AsyncIterator[Service]:
    """Run the service for the length of the block; it ends its notebooks when it ends."""
    port, admin_port = free_port(), free_port()
    name = f"bench-{os.getpid()}-{port}"
    log = home / f"{name}.log"
    command = [
        sys.executable,
        "-m",
        "tmppool",
        f"--backend={backend}",
        f"--port={port}",
        "--ip=127.0.0.1",
        f"--admin-port={admin_port}",
        "--starts-per-hour=0",
        f"--pool-name={name}",
        f"--state-dir={home / name}",
        "--on-exit=stop",
        "--allow-root",
        *options,
    ]
    born = time.monotonic()
    try:
        async with started(command, log, patience=_STOPPING) as process:
            yield Service(process.pid, port, admin_port, born, log, process)
    finally:
        if backend == "docker":
            await _remove_containers(name)


async def _remove_containers(name: str) -> None:
    """Remove the containers that a killed service would have left."""
    docker = await engine.connect()
    try:
        for container in await engine.containers(docker, [f"{SERVICE_LABEL}={name}"]):
            with contextlib.suppress(BackendError):
                await engine.remove(docker, container.id)
    finally:
        await docker.close()


async def need_engine(image: str) -> None:
    """Raise BenchError unless an engine answers and has the image."""
    if not await engine.answers():
        raise BenchError("no Docker Engine answers (scripts/engine starts one)")
    if not await engine.has_image(image):
        raise BenchError(f"image {image} is not on the engine (tmppool build-image debian makes it)")
