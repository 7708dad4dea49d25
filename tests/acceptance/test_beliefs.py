"""Nobody's notebook ends, or is given to somebody else, because the engine or the ledger was wrong once."""

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.harness import IMAGE, Service, Taken, running
from tests.acceptance.lying_engine import lying
from tests.acceptance.test_mistakes import one_sentence, start
from tests.acceptance.test_restart import Kernel

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]


async def answers(taken: Taken) -> int:
    async with taken.client() as session, session.get(f"{taken.url}api/status") as reply:
        return reply.status


async def docker(*words: str) -> str:
    child = await asyncio.create_subprocess_exec("docker", *words, stdout=asyncio.subprocess.PIPE)
    return (await child.communicate())[0].decode().strip()


async def containers(service: Service) -> set[str]:
    """The ids of the notebooks' containers, running or not."""
    words = (f"label=tmppool.service={service.name}", f"label=tmppool.pool={service.name}")
    found = await docker("ps", "-aq", "--filter", f"{words[0]}", "--filter", words[1])
    return set(found.split())


async def given(service: Service) -> str:
    """The name of the one container that was given away."""
    names = (await docker("ps", "--format", "{{.Names}}")).split()
    (found,) = [name for name in names if name.startswith(f"tmppool-{service.name}-") and name.endswith("-given")]
    return found


# The ledger


async def test_an_older_ledger_gives_no_notebook_to_a_second_visitor_and_ends_none(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=4", "--warm=2", warm=2) as service:
        state, backup = tmp_path / service.name, tmp_path / "backup"
        await service.kill()
        shutil.copytree(state, backup)
        await service.start(warm=2)
        taken = [await service.spawn(), await service.spawn()]  # these are warm in the backup
        await service.until(lambda stats: stats["warm"] == 2)
        taken.append(await service.spawn())  # and this is younger
        kernels = [Kernel(each) for each in taken]
        for number, kernel in enumerate(kernels):
            await kernel.begin()
            assert await kernel.run(f"mine = {number}; print(mine)") == f"{number}\n"
        await service.kill()
        shutil.rmtree(state)
        shutil.copytree(backup, state)

        await service.start(warm=1)
        for number, kernel in enumerate(kernels):
            assert await kernel.run("print(mine)") == f"{number}\n"
        assert (await service.spawn()).key not in {each.key for each in taken}


@contextlib.asynccontextmanager
async def small_disk(path: Path) -> AsyncIterator[Path]:
    """A file system of its own, with room for a ledger; returns a file that fills it while it is there."""
    path.mkdir(parents=True)
    mount = await asyncio.create_subprocess_exec(
        "mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(path)
    )
    assert await mount.wait() == 0
    try:
        yield path / "filler"
    finally:
        await (await asyncio.create_subprocess_exec("umount", "-l", str(path))).wait()


async def test_a_state_directory_that_was_full_for_one_run_costs_no_session(tmp_path: Path) -> None:
    service = Service(tmp_path, "docker", f"--image={IMAGE}", "--pool-size=3", "--warm=1")
    async with small_disk(tmp_path / service.name) as filler:
        try:
            await service.start()
            before = await service.spawn()
            await service.until(lambda stats: stats["warm"] == 1)
            await service.kill()
            with contextlib.suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(b"x" * 512)
                    file.flush()
            await service.start()
            assert {"ledger.open_failed", "ledger.lost"} & {event["event"] for event in service.events}
            during = await service.spawn()
            await service.kill()
            filler.unlink()

            for _ in range(2):
                await service.start(warm=0)
                assert [await answers(before), await answers(during)] == [200, 200]
                await service.until(lambda stats: (stats["assigned"], stats["warm"]) == (2, 1))
                await service.kill()
            await service.start(warm=1)
            assert (await service.spawn()).key not in {before.key, during.key}
        finally:
            await service.remove()


async def test_killed_again_and_again_under_clicks_and_without_its_ledger_none_is_lost_or_given_twice(
    tmp_path: Path,
) -> None:
    chance = random.Random(8)
    async with running(tmp_path, "docker", "--pool-size=24", "--warm=2", "--parallel-starts=2", warm=2) as service:
        taken: list[Taken] = []
        dropped = 0

        async def click() -> None:
            while True:
                with contextlib.suppress(aiohttp.ClientError, AssertionError):
                    taken.append(await service.spawn())
                await asyncio.sleep(0.05)

        for number in range(20):
            clicking = asyncio.ensure_future(click())
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            await service.kill()
            clicking.cancel()
            await asyncio.wait({clicking})
            if number % 2:
                for part in (tmp_path / service.name).glob("ledger.sqlite*"):
                    part.unlink()
            await service.start(warm=0)
            assert len({each.key for each in taken}) == len(taken), "given twice"
            assert {await answers(each) for each in taken} <= {200}, "lost"
            if (await service.stats())["assigned"] > 16:
                await drop(service)
                dropped += len(taken)
                taken.clear()
        assert dropped + len(taken) > 5


async def drop(service: Service) -> None:
    """Make room: end every session, also one whose visitor never heard of it because the service was killed first."""
    async with service.operator() as session:
        for each in await service.notebooks():
            if each["state"] == "assigned":
                async with session.delete(f"{service.admin_url}/api/notebooks/{each['id']}") as reply:
                    assert reply.status == 200, each
    await service.until(lambda stats: stats["assigned"] == 0)


# The engine


async def test_an_engine_that_lists_nothing_ends_no_session(tmp_path: Path) -> None:
    async with lying() as engine:
        options = ("--pool-size=3", "--warm=1")
        async with running(tmp_path, "docker", *options, env={"DOCKER_HOST": engine.url}) as service:
            taken = await service.spawn()
            await service.until(lambda stats: stats["warm"] == 1)
            before = await containers(service)
            engine.lists = [[]] * 2
            async with asyncio.timeout(60):
                while engine.lists:
                    engine.break_streams()
                    await asyncio.sleep(0.5)
            await asyncio.sleep(3)
            assert await answers(taken) == 200
            assert await containers(service) == before
            assert "death.disproved" in [event["event"] for event in service.events]

            await service.kill()
            engine.lists = [[]]
            await service.start(warm=1)
            assert engine.lists == []
            assert await answers(taken) == 200
            assert await containers(service) == before


async def test_who_is_said_to_have_exited_is_asked_and_one_that_has_is_known_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=2", "--warm=1") as service:
        taken = await service.spawn()
        await service.until(lambda stats: stats["warm"] == 1)
        await docker("kill", await given(service))
        async with asyncio.timeout(15):
            while await answers(taken) != 424:
                await asyncio.sleep(0.1)
        assert (await service.stats())["assigned"] == 0


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no variables": lambda shown: shown["Config"].update(Env=None),
    "no secret": lambda shown: shown["Config"]["Labels"].pop("tmppool.secret"),
    "another process": lambda shown: shown["State"].update(Pid=1),
    "paused": lambda shown: shown["State"].update(Paused=True, Status="paused"),
}


async def test_a_session_that_is_described_wrongly_at_a_start_is_back_seconds_after_that(tmp_path: Path) -> None:
    async with (
        lying() as engine,
        running(tmp_path, "docker", "--pool-size=2", "--warm=1", env={"DOCKER_HOST": engine.url}) as service,
    ):
        taken = await service.spawn()
        kernel = Kernel(taken)
        await kernel.begin()
        assert await kernel.run("kept = 1; print(kept)") == "1\n"
        for name, lie in LIES.items():
            await service.kill()
            engine.describe = lie
            await service.launch()
            await service.until(lambda _stats: True)
            await asyncio.sleep(1)
            engine.describe = None
            async with asyncio.timeout(10):
                while await answers(taken) != 200:
                    await asyncio.sleep(0.1)
            assert await kernel.run("print(kept + 1)") == "2\n", name


async def test_a_paused_notebook_is_there_when_it_goes_on(tmp_path: Path) -> None:
    async with (
        lying() as engine,
        running(tmp_path, "docker", "--pool-size=2", "--warm=1", env={"DOCKER_HOST": engine.url}) as service,
    ):
        taken = await service.spawn()
        kernel = Kernel(taken)
        await kernel.begin()
        assert await kernel.run("kept = 1; print(kept)") == "1\n"
        await service.until(lambda stats: stats["warm"] == 1)
        container = await given(service)
        await docker("pause", container)
        await service.kill()
        await service.start(warm=1)
        for _ in range(4):  # after each it looks at what runs
            engine.break_streams()
            await asyncio.sleep(2)
        await docker("unpause", container)
        assert await kernel.run("print(kept + 1)") == "2\n"


# Two services


async def test_a_second_service_of_one_name_on_one_engine_is_refused_and_follows_one_that_was_killed(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "docker", "--pool-size=2", "--warm=1") as one:
        taken = await one.spawn()
        await one.until(lambda stats: stats["warm"] == 1)
        before = await containers(one)
        other = Service(
            tmp_path, "docker", f"--image={IMAGE}", f"--pool-name={one.name}", "--pool-size=2", name="other"
        )
        for _ in range(2):
            status, said = await start(*other.options)
            assert status == 2
            sentence = one_sentence(said)
            assert f"--pool-name: a service called '{one.name}' already runs on this engine" in sentence
            assert str(tmp_path / one.name) in sentence
        assert await containers(one) == before
        assert await answers(taken) == 200

        await one.kill()
        await other.start(warm=1)
        assert await answers(Taken(taken.url.replace(str(one.port), str(other.port)), taken.token)) == 200
        status, said = await start(*one.options)
        assert (status, f"state in {tmp_path / other.name}" in said) == (2, True)
        await other.stop()
        await one.start(warm=1)
        assert await answers(taken) == 200
    assert await docker("ps", "-aq", "--filter", f"label=tmppool.service={one.name}") == ""


async def test_a_service_whose_ownership_is_cleared_away_takes_it_again_or_ends_and_leaves_what_runs(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "docker", "--pool-size=2", "--warm=1", "--on-exit=stop") as service:
        owner = f"tmppool-{service.name}-owner"
        taken = await service.spawn()
        await service.until(lambda stats: stats["warm"] == 1)
        before = await containers(service)
        await docker("rm", owner)
        async with asyncio.timeout(20):
            while await docker("ps", "-aq", "--filter", f"name=^/{owner}$") == "":
                await asyncio.sleep(0.1)
        assert await answers(taken) == 200

        await docker("rm", owner)
        await docker("create", f"--name={owner}", IMAGE)  # as another service that was quicker
        assert service.process is not None
        assert await asyncio.wait_for(service.process.wait(), 60) == 2
        assert f"a service called '{service.name}' already runs on this engine" in service.log.splitlines()[-1]
        assert await containers(service) == before
        await docker("rm", owner)
        service.options.append("--on-exit=keep")
        await service.start(warm=1)
        assert await answers(taken) == 200
