"""Bytes that cost their sender little and the service much: the neighbours of one who sends them do not notice.

Attackers and notebooks are processes of their own, so that they share neither the service's loop nor the neighbours'.
An attacker sends up to 4 MiB a second and sleeps between, so that on a machine of two cores it takes no core from the
service; what it is compared with are quiet seconds just before and after.
"""

import asyncio
import contextlib
import itertools
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.acceptance.costly import ATTACKS
from tests.acceptance.harness import Service, Taken, running
from tests.acceptance.neighbours import ask, p95
from tests.conftest import Figure

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).with_name("costly.py")
NOTEBOOK = f"--command={sys.executable} {SCRIPT} notebook {{base_path}} {{port}}"
ROUNDS = 5  # the middle one counts: what else the machine does falls into one or two
ENOUGH = 3  # of them are at most twice as slow: the middle one is, however the others go
BAR = 2  # times as long as quiet
SECONDS = 0.8  # of each round's quiet and of its attacked part
PAUSE = 0.005  # seconds between two requests of a neighbour


class Neighbour:
    """Asks a notebook and the service in turn; ``times`` are seconds of every answer."""

    def __init__(self, service: Service, taken: Taken) -> None:
        self._targets = itertools.cycle([taken.at("api"), f"{service.url}/api/stats"])
        self._headers = service.headers  # the notebook goes by its own token, in the address
        self.times: list[float] = []
        self.failures: list[str] = []

    async def ask(self, seconds: float) -> float:
        """Return the 95th percentile of what requests take, for as long."""
        self.times = []
        end = time.monotonic() + seconds
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10), headers=self._headers) as session:
            while time.monotonic() < end:
                self.times.append(await ask(session, next(self._targets), self.failures))
                await asyncio.sleep(PAUSE)
        return p95([*self.times, self.times[-1]])


@contextlib.asynccontextmanager
async def attacked(service: Service, taken: Taken, name: str) -> AsyncIterator[None]:
    words = (
        "attack",
        name,
        str(service.port),
        str(service.admin_port),
        urlsplit(taken.url).path,
        taken.token,
        service.secret,
    )
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), *words)
    try:
        await asyncio.sleep(0.5)
        yield
        assert process.returncode is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path, "process", "--pool-size=2", NOTEBOOK, "--starts-per-hour=0", warm=2) as made:
        yield made


async def test_costly_bytes_cost_the_neighbours_nothing_that_they_notice(service: Service, figure: Figure) -> None:
    neighbour, victim = Neighbour(service, await service.spawn()), await service.spawn()
    await neighbour.ask(SECONDS)
    slower: dict[str, float] = {}
    for name in ATTACKS:
        ratios: list[float] = []
        while len(ratios) < ROUNDS and sum(ratio <= BAR for ratio in ratios) < ENOUGH:
            quiet = await neighbour.ask(SECONDS)
            async with attacked(service, victim, name):
                ratios.append(await neighbour.ask(SECONDS) / quiet)
        slower[name] = statistics.median(ratios)
    assert neighbour.failures == []
    assert "Traceback" not in service.log
    for name, ratio in slower.items():
        figure(f"{name} beside them: neighbours' p95", ratio, "x quiet", at_most=BAR)
