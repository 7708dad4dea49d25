"""A thousand attackers who take their time cost a healthy visitor nothing that they would notice, and leave nothing.

The attackers are slowhttptest's; the notebook is one that only takes and gives bytes.
"""

import asyncio
import contextlib
import itertools
import signal
import socket
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.acceptance.harness import Service, Taken, running
from tests.acceptance.neighbours import ask
from tests.conftest import Figure

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ATTACKERS = 1000
PER_STREAM = 256 * 1024
SLACK = 5.0  # seconds that this machine may add to a deadline
SINK = f"--command={sys.executable} {Path(__file__).with_name('sink.py')} {{base_path}} {{port}}"


@dataclass
class Watched:
    """The service from outside while this is open: (seconds, descriptors, resident bytes), ten times a second."""

    service: Service
    seen: list[tuple[float, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.service.process is not None
        self.process = psutil.Process(self.service.process.pid)
        self.descriptors = self.process.num_fds()
        self.memory = self.process.memory_info().rss

    async def watch(self) -> None:
        while True:
            self.seen.append((time.monotonic(), self.process.num_fds(), self.process.memory_info().rss))
            await asyncio.sleep(0.1)

    @property
    def most(self) -> int:
        return max((count for _, count, _ in self.seen), default=self.descriptors) - self.descriptors

    @property
    def growth(self) -> int:
        return max(memory for _, _, memory in self.seen) - self.memory

    def closed_after(self, left: int) -> float:
        """Return the seconds from the last attacker's coming until no more than ``left`` descriptors were more."""
        fullest = max(self.seen, key=lambda look: look[1])[0]
        return next(at for at, count, _ in self.seen if at > fullest and count <= self.descriptors + left) - fullest

    async def is_as_before(self, within: float) -> None:
        async with asyncio.timeout(within):
            while abs(self.process.num_fds() - self.descriptors) > 5:
                await asyncio.sleep(0.1)


class Healthy:
    """A visitor who asks ten times a second, on a new connection each time; ``times`` are seconds per answer."""

    def __init__(self, service: Service, taken: Taken, source: str = "127.0.0.1") -> None:
        self._targets = itertools.cycle([taken.at("api"), f"{service.url}/"])
        self._source = source
        self._headers = service.headers
        self.times: list[float] = []
        self.failures: list[str] = []

    async def visit(self) -> None:
        connector = aiohttp.TCPConnector(local_addr=(self._source, 0), force_close=True)
        patience = aiohttp.ClientTimeout(10)
        async with aiohttp.ClientSession(connector=connector, timeout=patience, headers=self._headers) as session:
            while True:
                self.times.append(await ask(session, next(self._targets), self.failures))
                await asyncio.sleep(0.1)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.times, n=20)[-1]


@contextlib.asynccontextmanager
async def beside(*works: Any) -> AsyncIterator[None]:
    tasks = [asyncio.get_running_loop().create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def attack(url: str, *options: str, seconds: int = 22, count: int = ATTACKERS) -> None:
    """Return when the attackers have left: after ``seconds``, or when the last of them was thrown out."""
    process = await asyncio.create_subprocess_exec(
        "slowhttptest", *options, "-u", url, "-c", str(count), "-r", "400", "-l", str(seconds), "-p", "20", "-v", "0",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()


async def baseline(service: Service, taken: Taken) -> float:
    healthy = Healthy(service, taken)
    async with beside(healthy.visit()):
        await asyncio.sleep(5)
    assert healthy.failures == []
    return healthy.p95


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """No cap: the timeouts alone must do."""
    async with running(tmp_path, "process", "--pool-size=1", SINK, "--connections-per-address=0") as made:
        yield made


ATTACKS = {
    "slow heads": ("api", ["-H", "-i", "3"], 10.0),
    "slow bodies": ("take", ["-B", "-i", "3", "-s", "100000", "-x", "10"], 10.0),
    "slow readers": (f"give?size={1 << 30}", ["-X", "-w", "256", "-y", "1024", "-n", "5", "-z", "32"], None),
}


@pytest.mark.parametrize(("path", "options", "deadline"), ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_thousand_slow_attackers_disturb_nobody_and_leave_nothing(
    service: Service,
    path: str,
    options: list[str],
    deadline: float | None,
    request: pytest.FixtureRequest,
    figure: Figure,
) -> None:
    taken = await service.spawn()
    usual = await baseline(service, taken)
    await asyncio.sleep(1)
    watched, healthy = Watched(service), Healthy(service, taken)
    async with beside(watched.watch(), healthy.visit()):
        await attack(taken.at(path), *options)
        await watched.is_as_before(SLACK)
        await asyncio.sleep(1)
        closed = watched.closed_after(left=20) if deadline is not None else 0.0
        once = watched.growth
        await attack(taken.at(path), *options, seconds=9)
        await watched.is_as_before(SLACK)
    assert watched.most > ATTACKERS * 0.9
    assert healthy.failures == []
    who = f"a thousand {request.node.callspec.id}"
    figure(f"{who}: p95 of a healthy visitor, more than without them", (healthy.p95 - usual) * 1000, "ms", at_most=100)
    figure(f"{who}: memory of each", watched.growth / ATTACKERS / 1024, "KiB", at_most=PER_STREAM / 1024)
    assert watched.growth <= max(1.3 * once, once + 16 * 2**20)  # what was freed serves those who come next
    if deadline is not None:
        figure(f"{who}: the last is closed after", closed, "s", at_most=deadline + SLACK)


async def test_who_comes_from_another_address_gets_in_while_one_has_too_many(tmp_path: Path) -> None:
    async with running(tmp_path, "process", "--pool-size=1", SINK) as service:
        taken = await service.spawn()
        watched, healthy = Watched(service), Healthy(service, taken, "127.0.0.2")
        crowded = Healthy(service, taken)
        async with beside(watched.watch(), healthy.visit()):
            attacking = asyncio.get_running_loop().create_task(attack(taken.at("api"), "-H", "-i", "3"))
            async with asyncio.timeout(20):
                while watched.most < 512:
                    await asyncio.sleep(0.1)
            async with asyncio.timeout(20), beside(crowded.visit()):
                while "429" not in crowded.failures:
                    await asyncio.sleep(0.1)
            await attacking
            await watched.is_as_before(20)
        assert watched.most < 512 + 64 + 30  # those inside, those who hear why not, the healthy one
        assert healthy.failures == []


async def websocket(service: Service, path: str, way: int) -> None:
    """Open one and leave: in order, by a reset, or with the other half still open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = [
        f"GET {path} HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 22 + "==", "", "",
    ]  # fmt: skip
    writer.write("\r\n".join(head).encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    if way == 0:
        writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
        await reader.readexactly(4)
    elif way == 1:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    else:
        writer.write_eof()
        await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_ten_thousand_websockets_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, "fake", "--pool-size=1") as service:
        path = (await service.spawn()).at("api/kernels/1/channels").removeprefix(service.url)
        for way in range(3):
            await websocket(service, path, way)
        await asyncio.sleep(1)
        watched, count, until = Watched(service), 0, time.monotonic() + 40
        while count < 10_000 and time.monotonic() < until:
            await asyncio.gather(*(websocket(service, path, (count + number) % 3) for number in range(50)))
            count += 50
        await watched.is_as_before(SLACK)
        assert count >= 1000


async def test_a_thousand_downloads_that_are_broken_off_leave_nothing(service: Service) -> None:
    taken = await service.spawn()
    path = taken.at(f"give?size={1 << 30}").removeprefix(service.url)

    async def download() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert (await reader.readexactly(1000)).startswith(b"HTTP/1.1 200 ")
        writer.transport.abort()

    await asyncio.gather(*(download() for _ in range(20)))
    await asyncio.sleep(1)
    watched = Watched(service)
    for _ in range(50):
        await asyncio.gather(*(download() for _ in range(20)))
    await watched.is_as_before(SLACK)
    last = watched.process.memory_info().rss
    assert last - watched.memory <= 16 * 2**20
