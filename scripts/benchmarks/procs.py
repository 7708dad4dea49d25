"""Start and end processes, and measure their CPU and memory."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Self

import psutil

_MIB = 2**20
_SAMPLING = 0.02  # seconds between two samples of the memory
_PAUSE = 0.05  # seconds between two probes of a port


class BenchError(Exception):
    """A measure cannot be finished; the message is one sentence."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.asynccontextmanager
async def started(
    command: list[str], log: Path, *, env: Mapping[str, str] | None = None, patience: float = 15
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``command`` during the block, with its output in ``log``."""
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=log.parent,
            env={**os.environ, **(env or {})},
        )
    try:
        yield process
    finally:
        await _end(process, patience)


async def _end(process: asyncio.subprocess.Process, patience: float) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)


async def listening(process: asyncio.subprocess.Process, port: int, log: Path, within: float = 15) -> None:
    """Wait until a process has opened a port. Raises BenchError if it ends or takes longer than ``within`` seconds."""
    end = time.monotonic() + within
    while time.monotonic() < end and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_PAUSE)
        else:
            writer.close()
            return
    raise BenchError(f"port {port} was not opened: {tail(log)}")


def tail(log: Path, lines: int = 3) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-lines:])


def cpu(pid: int | None) -> float:
    """Return the CPU seconds of all threads of a process so far; 0 without a process."""
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    return float(psutil.Process(pid).memory_info().rss) / _MIB


class Peak:
    """Samples the growth of a process's resident memory, in MiB, during the block."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self.growth = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        if self._pid is None:
            return
        before = resident(self._pid)
        while True:
            self.growth = max(self.growth, resident(self._pid) - before)
            await asyncio.sleep(_SAMPLING)


async def rate(count: Callable[[], float], pid: int | None, seconds: float) -> tuple[float, float]:
    """Return the growth of ``count()`` per second, and per CPU second of the process (0 without one)."""
    before, used, since = count(), cpu(pid), time.monotonic()
    await asyncio.sleep(seconds)
    done, used, elapsed = count() - before, cpu(pid) - used, time.monotonic() - since
    return done / elapsed, done / used if used > 0 else 0.0
