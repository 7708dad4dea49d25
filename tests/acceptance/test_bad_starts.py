"""Images whose notebooks do not start, or do not last: known within seconds, without a storm, and what works stays."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Service, running
from tests.acceptance.test_beliefs import answers
from tmppool.backends.base import DEFAULT_COMMAND

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


async def health(service: Service) -> dict[str, Any]:
    """What the operator is told, by service, of each check that fails; ``status`` is that of the public answer."""
    async with service.operator() as session:
        async with session.get(f"{service.url}/health") as reply:
            status = reply.status
        async with session.get(f"{service.admin_url}/health") as reply:
            failed = {each["service"]: each.get("message") for each in (await reply.json())["checks"] if not each["ok"]}
        return {**failed, "status": status}


async def illness(service: Service, *, seconds: float) -> str:
    """Wait until the pool is said to be ill; return the reason."""
    async with asyncio.timeout(seconds):
        while not (said := (await health(service)).get(f"pool {service.name}")):
            await asyncio.sleep(0.2)
        return str(said)


async def test_an_image_whose_notebooks_end_young_is_said_to_be_ill_and_causes_no_storm(tmp_path: Path) -> None:
    options = ("--pool-size=3", "--warm=2", f"--command=timeout 5 {DEFAULT_COMMAND}")
    async with running(tmp_path, "docker", *options) as service:
        assert "s after it was warm" in await illness(service, seconds=30)
        await asyncio.sleep(30)
        lived = [event for event in service.events if event["event"] == "notebook.warm"]
        assert len(lived) <= 10  # without backoff there would be two every six seconds, and more the quicker they end
        assert (await health(service))["status"] == 503


async def test_a_restart_with_an_image_that_does_not_start_keeps_and_gives_what_works(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=3", "--warm=3", warm=3) as service:
        await service.kill()
        service.options.append("--command=false {base_path}")
        await service.start(warm=2)
        assert "exited with code 1" in await illness(service, seconds=60)
        for left in (1, 0):
            assert await answers(await service.spawn()) == 200
            assert (await service.stats())["warm"] == left
        service.options.pop()
        await service.kill()
        began = time.monotonic()
        await service.start(warm=1)
        assert (await health(service))["status"] == 200, time.monotonic() - began


async def test_a_start_that_is_made_to_see_whether_one_succeeds_costs_no_place(tmp_path: Path) -> None:
    """The time until then is long, so this shortens it, and nothing else."""
    env = {"PYTHONPATH": str(tmp_path)}
    (tmp_path / "sitecustomize.py").write_text("import tmppool.starts\ntmppool.starts.PROOF = 3.0\n")
    options = ("--pool-size=3", "--warm=1", "--cull-period=1")
    async with running(tmp_path, "docker", *options, env=env) as service:
        async with asyncio.timeout(60):
            while len([event for event in service.events if event["event"] == "notebook.gone"]) < 2:
                assert (await service.stats())["warm"] >= 1
                await asyncio.sleep(0.1)
        reasons = {event["reason"] for event in service.events if event["event"] == "notebook.gone"}
        assert reasons == {"surplus"}
