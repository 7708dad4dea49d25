"""A gigabyte each way moves the service's memory by little, whatever the visitor does."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.acceptance.harness import Service, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

GIGABYTE = 2**30
ALLOWED = 64 * 2**20
PIECE = bytes(range(256)) * 256


class Peak:
    """The largest resident memory of a process while this is open, beyond what it was."""

    def __init__(self, service: Service) -> None:
        assert service.process is not None
        self._process = psutil.Process(service.process.pid)
        self._before = self._process.memory_info().rss
        self.growth = 0

    async def watch(self) -> None:
        while True:
            self.growth = max(self.growth, self._process.memory_info().rss - self._before)
            await asyncio.sleep(0.05)


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(GIGABYTE // len(PIECE)):
        yield PIECE


async def test_a_gigabyte_each_way_and_a_reader_who_stops_leave_the_memory_alone(tmp_path: Path) -> None:
    sink = Path(__file__).with_name("sink.py")
    command = f"--command={sys.executable} {sink} {{base_path}} {{port}}"
    async with running(tmp_path, "process", "--pool-size=1", command) as service:
        taken = await service.spawn()
        url, session = taken.url, taken.client()
        peak = Peak(service)
        watching = asyncio.get_running_loop().create_task(peak.watch())
        wanted = hashlib.sha256()
        for _ in range(GIGABYTE // len(PIECE)):
            wanted.update(PIECE)

        async with session.post(f"{url}take", data=pieces()) as reply:
            assert await reply.json() == {"size": GIGABYTE, "sha256": wanted.hexdigest()}
        up = peak.growth
        received = hashlib.sha256()
        async with session.get(f"{url}give?size={GIGABYTE}") as reply:
            async for piece in reply.content.iter_any():
                received.update(piece)
        assert received.hexdigest() == wanted.hexdigest()
        assert max(up, peak.growth) <= ALLOWED

        before = await _given(session, url)
        async with session.get(f"{url}give?size={GIGABYTE}") as reply:
            await reply.content.readexactly(1)
            await asyncio.sleep(3)  # a reader who has stopped
            assert await _given(session, url) - before < 64 * 2**20
        watching.cancel()
        await session.close()
        assert peak.growth <= ALLOWED


async def _given(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(f"{url}given") as reply:
        return int((await reply.json())["bytes"])
