"""An engine that hangs, refuses or answers errors is known within seconds, and forgotten within seconds of its end.

Sessions are served throughout, and nobody gets a notebook that has died meanwhile.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.harness import Service, running
from tests.acceptance.lying_engine import LyingEngine, lying
from tests.acceptance.test_beliefs import answers, containers, docker
from tests.conftest import Figure

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

KNOWN, WARM = 5000.0, 15_000.0  # promised, in milliseconds
HANG = 25.0  # seconds: longer than the timeout of any call that a notebook needs
REFUSAL = 8.0  # seconds: such calls fail at once

Fault = contextlib.AbstractAsyncContextManager[None]
FAULTS: dict[str, Callable[[LyingEngine], Fault]] = {
    "hangs": lambda engine: engine.hanging(lost=False),
    "hangs and forgets": lambda engine: engine.hanging(lost=True),
    "refuses": lambda engine: engine.refusing(),
    "answers 500": lambda engine: engine.answering(500),
}


async def health(service: Service) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/health") as reply:
        return reply.status


async def click(service: Service) -> int:
    async with aiohttp.ClientSession() as session, session.post(f"{service.url}/api/spawn") as reply:
        return reply.status


async def ms_until(service: Service, status: int) -> float:
    """Return the milliseconds until the health has this status."""
    began = time.monotonic()
    async with asyncio.timeout(60):
        while await health(service) != status:
            await asyncio.sleep(0.05)
    return (time.monotonic() - began) * 1000


async def states(service: Service) -> list[str]:
    """Return the state of each notebook's container."""
    known = await containers(service)
    return (await docker("inspect", "--format", "{{.State.Status}}", *known)).split() if known else []


async def kill_warm(service: Service, number: int) -> None:
    """Kill the first processes of this many warm containers; return when all of their processes have ended."""
    shown = await docker("inspect", "--format", "{{.State.Pid}} {{.Name}}", *await containers(service))
    warm = [line for line in shown.splitlines() if not line.endswith("-given")]
    assert len(warm) >= number
    for line in warm[:number]:
        pid = int(line.split()[0])
        assert pid > 1
        os.kill(pid, signal.SIGKILL)
    for line in warm[:number]:  # the first process ends last (pid_namespaces(7)); until then the server may accept
        while Path("/proc", line.split()[0]).exists():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_ill_engine_is_known_and_the_pool_is_warm_again_within_seconds(
    tmp_path: Path, fault: str, figure: Figure
) -> None:
    options = ("--pool-size=4", "--warm=2")
    async with (
        lying() as engine,
        running(tmp_path, "docker", *options, env={"DOCKER_HOST": engine.url}, warm=2) as service,
    ):
        kept, ended = await service.spawn(), await service.spawn()
        await service.until(lambda stats: stats["warm"] == 2)
        ended_at = time.monotonic() + (HANG if "hangs" in fault else REFUSAL)
        async with FAULTS[fault](engine):
            figure(f"{fault}: known after", await ms_until(service, 503), "ms", at_most=KNOWN)
            await kill_warm(service, 1)
            assert await click(service) == 503
            async with ended.client() as owner, owner.delete(f"{service.url}/api/session/{ended.key}") as reply:
                assert reply.status == 200
            while time.monotonic() < ended_at:
                assert (await answers(kept), await health(service)) == (200, 503)
                await asyncio.sleep(0.5)
        began = time.monotonic()
        figure(f"{fault}: well after", await ms_until(service, 200), "ms", at_most=WARM)
        await service.until(lambda stats: (stats["warm"], stats["assigned"]) == (2, 1))
        async with asyncio.timeout(60):
            while await states(service) != ["running"] * 3:
                await asyncio.sleep(0.05)
        await service.until(lambda stats: (stats["warm"], stats["assigned"]) == (2, 1))
        figure(f"{fault}: warm again after", (time.monotonic() - began) * 1000, "ms", at_most=WARM)
        assert await answers(kept) == 200
        assert await answers(await service.spawn()) == 200
        await asyncio.sleep(3)  # calls that were lost have been given up, which is no new illness
        told = [event["event"] for event in service.events if event["event"].startswith("backend.")]
        assert told.count("backend.recovered") == 1
        assert told.count("backend.failed") <= 3


async def test_a_click_gets_a_notebook_that_works_though_nobody_has_said_that_others_died(tmp_path: Path) -> None:
    async with (
        lying() as engine,
        running(tmp_path, "docker", "--pool-size=3", "--warm=3", env={"DOCKER_HOST": engine.url}, warm=3) as service,
    ):
        engine.tells_events = False
        await kill_warm(service, 3)
        assert await click(service) in (429, 503)
        assert await health(service) == 503  # they ended young: whoever hears of that by an event says so too
        await service.until(lambda stats: stats["warm"] == 3)
        await kill_warm(service, 2)
        assert await answers(await service.spawn()) == 200
