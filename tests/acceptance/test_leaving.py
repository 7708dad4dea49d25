"""The service is ended in every phase, with an engine that hangs or is away, and stopped for a while."""

import asyncio
import contextlib
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.harness import IMAGE, Service, running
from tests.acceptance.lying_engine import LyingEngine
from tests.acceptance.test_beliefs import answers, docker

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

LEFT_OPEN = ("Unclosed", "Task was destroyed", "never awaited", "never retrieved", "Traceback")
MOMENTS = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.4, 1.8)  # seconds
_SIGTERM = 1 << signal.SIGTERM - 1  # its bit in the masks of proc(5)


async def remains(service: Service) -> str:
    """Return what the engine has of this service: containers, volumes and networks."""
    label = f"label=tmppool.service={service.name}"
    found = [await docker("ps", "-aq", "--filter", label)]
    found += [await docker(kind, "ls", "-q", "--filter", label) for kind in ("volume", "network")]
    return "".join(found)


async def handles_signals(process: asyncio.subprocess.Process) -> None:
    """Wait until the service catches SIGTERM: the interpreter, while it starts, is ended by it as any program."""
    status = Path(f"/proc/{process.pid}/status")
    async with asyncio.timeout(30):
        while not int(re.search(r"^SigCgt:\s*(\w+)$", status.read_text(), re.MULTILINE)[1], 16) & _SIGTERM:
            await asyncio.sleep(0.01)


async def ended_after(service: Service, seconds: float) -> None:
    """Start the service and end it ``seconds`` later: it ends soon, in peace, and leaves nothing open."""
    process = await service.launch()
    await handles_signals(process)
    await asyncio.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0, (seconds, service.log)
    assert [word for word in LEFT_OPEN if word in service.log] == [], (seconds, service.log)


async def test_it_can_be_ended_in_every_phase_of_its_start(tmp_path: Path) -> None:
    for seconds in MOMENTS:
        service = Service(tmp_path, "docker", f"--image={IMAGE}", "--pool-size=3", "--warm=3", "--on-exit=stop")
        try:
            await ended_after(service, seconds)
            assert await remains(service) == "", seconds
        finally:
            await remove(service)


@pytest.mark.parametrize("seconds", [0.5, 1.0])
async def test_a_start_that_is_ended_leaves_what_runs_to_the_next_one(tmp_path: Path, seconds: float) -> None:
    service = Service(tmp_path, "docker", f"--image={IMAGE}", "--pool-size=2", "--warm=1", "--on-exit=keep")
    try:
        await service.start(warm=1)
        taken = await service.spawn()
        await service.stop()
        await ended_after(service, seconds)
        await service.start(warm=1)
        assert await answers(taken) == 200
    finally:
        await service.remove()


async def remove(service: Service) -> None:
    """Remove what the service has left, without the service."""
    if service.process is not None and service.process.returncode is None:
        service.process.kill()
        await service.process.wait()
    label = f"label=tmppool.service={service.name}"
    for found in (await docker("ps", "-aq", "--filter", label)).split():
        await docker("rm", "-f", found)
    for found in (await docker("volume", "ls", "-q", "--filter", label)).split():
        await docker("volume", "rm", found)


class HangingEngine(LyingEngine):
    """An engine that takes every question and answers none, once ``hangs`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.hangs:
            await asyncio.Event().wait()
        return await super()._answer(request)


@contextlib.asynccontextmanager
async def hanging() -> AsyncIterator[tuple[HangingEngine, web.AppRunner]]:
    engine = HangingEngine()
    runner = await engine.open()
    try:
        yield engine, runner
    finally:
        await runner.cleanup()
        await engine.close()


@pytest.mark.parametrize("fault", ["hung", "dead"])
async def test_where_notebooks_cannot_be_stopped_a_second_signal_shortens_it_and_the_last_line_says_what_stays(
    tmp_path: Path, fault: str
) -> None:
    async with hanging() as (engine, runner):
        options = (f"--image={IMAGE}", "--pool-size=2", "--warm=1", "--on-exit=stop")
        service = Service(tmp_path, "docker", *options, env={"DOCKER_HOST": engine.url})
        try:
            await service.start(warm=1)
            await service.spawn()
            await service.until(lambda stats: stats["warm"] == 1)
            if fault == "hung":
                engine.hangs = True
                engine.break_streams()
            else:
                await runner.cleanup()
            process = service.process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                while not [event for event in service.events if event["event"] == "stops.awaited"]:
                    await asyncio.sleep(0.1)
            assert fault == "dead" or process.returncode is None
            began = time.monotonic()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                if fault == "hung" or process.returncode is None:  # a dead engine refuses at once
                    process.send_signal(number)
                await asyncio.sleep(0.1)
            assert await asyncio.wait_for(process.wait(), 30) == os.EX_UNAVAILABLE
            assert time.monotonic() - began < 15
            last = service.log.splitlines()[-1]
            assert last.startswith(f"tmppool: 2 notebooks of the service '{service.name}' could not be stopped"), last
            assert f"docker rm -f $(docker ps -aq --filter label=tmppool.service={service.name})" in last
            assert [word for word in LEFT_OPEN if word in service.log] == [], service.log
        finally:
            await remove(service)


async def test_a_service_that_was_stopped_for_longer_than_the_idle_time_reaps_nobody_on_waking(tmp_path: Path) -> None:
    options = ("--pool-size=2", "--warm=1", "--cull-timeout=14", "--cull-period=1")
    async with running(tmp_path, "docker", *options) as service:
        taken = await service.spawn()
        assert await answers(taken) == 200
        assert service.process is not None
        service.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(18)
        finally:
            service.process.send_signal(signal.SIGCONT)
        for _ in range(5):
            await asyncio.sleep(0.5)
            assert [each["state"] for each in await service.notebooks()].count("assigned") == 1
        reaped = [json.dumps(event) for event in service.events if event["event"] == "notebook.reaping"]
        assert reaped == []
