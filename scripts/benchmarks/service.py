"""Run the service as an operator does: ``python -m tmppool`` with its own name and state directory."""

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

from benchmarks import containers
from benchmarks.procs import BenchError, free_port, started, tail
from tmppool.web.own_cookies import notebook_name

_POLL = 0.05  # seconds between two polls of the counts
_SECRET = re.compile(r"^http://\S+\?token=(\S+)$", re.MULTILINE)
_NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
_STOPPING = 120  # seconds for a service to end its notebooks


@dataclass(frozen=True, slots=True)
class Service:
    """A running service. ``born`` is the monotonic time at which its process was started."""

    name: str
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
        """The headers that authorize a program: with the process backend, the token that the service printed."""
        printed = _SECRET.search(self.log.read_text(errors="replace"))
        return {"Authorization": f"token {printed[1]}"} if printed else {}

    async def until(self, *, warm: int, within: float) -> float:
        """Wait until ``warm`` notebooks are warm and none is starting; return the seconds since the service's start.

        Raises BenchError if that takes longer than ``within`` seconds from the start.
        """
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
        """POST /api/spawn; return the notebook's base path, and the cookie that its owner's browser has for it."""
        async with aiohttp.ClientSession(headers=self.headers) as session:
            async with session.post(f"{self.url}/api/spawn") as reply:
                if reply.status != 200:
                    raise BenchError(f"no notebook was given: {await reply.text()}")
                given = await reply.json()
            base, key = str(given["url"]), str(given["url"]).rstrip("/").rpartition("/")[2]
            cookie = f"{notebook_name(key, is_secure=False)}={given['token']}"
            async with session.get(f"{self.url}{base}api", headers={"Cookie": cookie}) as reply:
                if reply.status == 403:
                    raise BenchError("the cookie of a notebook does not open it")
        return base, cookie

    async def end_sessions(self) -> None:
        """End every assigned notebook; the pool starts others in their place."""
        file = self.log.with_suffix("") / "admin-token"  # in the state directory; with processes there is none
        headers = {"Authorization": f"token {file.read_text().strip()}"} if file.exists() else self.headers
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.admin_port}", headers=headers) as session:
            async with session.get("/api/notebooks") as reply:
                found = (await reply.json())["notebooks"]
            for notebook in found:
                if notebook["state"] == "assigned":
                    await session.delete(f"/api/notebooks/{notebook['id']}")


@contextlib.asynccontextmanager
async def service(home: Path, backend: str, *options: str) -> AsyncIterator[Service]:
    """Run the service during the block; it stops its notebooks when it exits."""
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
            yield Service(name, process.pid, port, admin_port, born, log, process)
    finally:
        if backend == "docker":
            await containers.remove_all(name)
