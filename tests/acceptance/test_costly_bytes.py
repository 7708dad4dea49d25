"""Bytes that cost their sender little and the service much: the neighbours of one who sends them do not notice.

Attackers and notebooks are processes of their own, so that they share neither the service's loop nor the neighbours'.
An attacker sends up to 4 MiB a second and sleeps between, so that on a machine of two cores it takes no core from the
service; what it is compared with are quiet seconds just before. The neighbour asks from the attack's first byte on, and
each attack says how much went over meanwhile: one that was refused and gave up would disturb nobody.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.acceptance.costly import ATTACKS
from tests.acceptance.harness import Service, Taken, running
from tests.acceptance.neighbours import ask, p95
from tests.conftest import Figure

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).with_name("costly.py")
NOTEBOOK = f"--command={sys.executable} {SCRIPT} notebook {{base_path}} {{port}}"
ROUNDS = 5  # the middle one counts: what else the machine does falls into one or two
ENOUGH = 3  # of them are within both bars: the middle one is, however the others go
BAR = 2  # times as long as quiet
LONGEST = 100  # milliseconds that any one request takes
SECONDS = 0.8  # of each round's quiet and of its attacked part
PAUSE = 0.005  # seconds between two requests of a neighbour


@dataclass(frozen=True)
class Waits:
    """What requests took, in seconds: the 95th percentile, and the longest."""

    p95: float
    longest: float


class Neighbour:
    """Asks a notebook and the service in turn; ``failures`` says what went wrong."""

    def __init__(self, service: Service, taken: Taken) -> None:
        self._targets = itertools.cycle([taken.at("api"), f"{service.url}/api/stats"])
        self._headers = service.headers  # the notebook goes by its own token, in the address
        self.failures: list[str] = []

    async def ask(self, seconds: float) -> Waits:
        """Ask for so long; a request that has begun by then counts, however long it takes."""
        times: list[float] = []
        end = time.monotonic() + seconds
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10), headers=self._headers) as session:
            while time.monotonic() < end:
                times.append(await ask(session, next(self._targets), self.failures))
                await asyncio.sleep(PAUSE)
        return Waits(p95([*times, times[-1]]), max(times))


class Attacker:
    """An attack in a process of its own, which goes on from ``begin``; ``amount`` is what went over in a second."""

    def __init__(self, process: asyncio.subprocess.Process, taken: Taken, counts: str) -> None:
        self._process = process
        self._taken = taken
        self._counts = counts
        self._began = 0.0
        self._before = 0

    async def begin(self) -> None:
        self._before = await self._done() if self._counts == "arrived" else 0
        self._began = time.monotonic()
        say(self._process)

    async def amount(self) -> float:
        return (await self._done() - self._before) / (time.monotonic() - self._began)

    async def _done(self) -> int:
        if self._counts != "arrived":
            say(self._process)
            return (await told(self._process))[self._counts]
        async with aiohttp.ClientSession() as session, session.get(self._taken.at("arrived")) as reply:
            return int(await reply.read())


def say(process: asyncio.subprocess.Process) -> None:
    """Let an attacker begin, or tell."""
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def told(process: asyncio.subprocess.Process) -> dict[str, int]:
    assert process.stdout is not None
    async with asyncio.timeout(10):
        return dict(json.loads(await process.stdout.readline()))


@contextlib.asynccontextmanager
async def attacked(service: Service, taken: Taken, name: str) -> AsyncIterator[Attacker]:
    words = (
        "attack",
        name,
        str(service.port),
        str(service.admin_port),
        urlsplit(taken.url).path,
        taken.token,
        service.secret,
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), *words, stdin=pipe, stdout=pipe)
    try:
        assert await told(process) == {}
        attacker = Attacker(process, taken, ATTACKS[name].counts)
        await attacker.begin()
        yield attacker
        assert process.returncode is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path, "process", "--pool-size=2", NOTEBOOK, "--starts-per-hour=0", warm=2) as made:
        yield made


@dataclass
class Seen:
    """What one attack did, by round: how many times as slow a neighbour was, their longest wait, what went over."""

    slower: list[float]
    longest: list[float]
    amounts: list[float]

    @property
    def is_decided(self) -> bool:
        well = sum(
            slower <= BAR and longest <= LONGEST for slower, longest in zip(self.slower, self.longest, strict=True)
        )
        return len(self.slower) == ROUNDS or well == ENOUGH


async def watch(service: Service, neighbour: Neighbour, victim: Taken, name: str) -> Seen:
    seen = Seen([], [], [])
    while not seen.is_decided:
        quiet = await neighbour.ask(SECONDS)
        async with attacked(service, victim, name) as attacker:
            waits = await neighbour.ask(SECONDS)
            seen.amounts.append(await attacker.amount())
        seen.slower.append(waits.p95 / quiet.p95)
        seen.longest.append(waits.longest * 1000)
    return seen


async def test_costly_bytes_cost_the_neighbours_nothing_that_they_notice(service: Service, figure: Figure) -> None:
    neighbour, victim = Neighbour(service, await service.spawn()), await service.spawn()
    await neighbour.ask(SECONDS)  # connections are open, caches are full
    found = {name: await watch(service, neighbour, victim, name) for name in ATTACKS}
    assert neighbour.failures == []
    assert "Traceback" not in service.log
    for name, seen in found.items():
        unit = {"answers": "answers/s", "connections": "connections/s"}.get(ATTACKS[name].counts, "bytes/s")
        figure(f"{name}: went over", min(seen.amounts), unit, at_least=ATTACKS[name].least)
        figure(f"{name} beside them: neighbours' p95", statistics.median(seen.slower), "x quiet", at_most=BAR)
        longest = statistics.median(seen.longest)
        figure(f"{name} beside them: neighbours' longest wait", longest, "ms", at_most=LONGEST)
