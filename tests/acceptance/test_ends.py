"""Each end of a notebook is known by its true name, and what an operator does to a container by hand ends no other.

On the real engine: a session and a warm notebook are killed, stopped, restarted, removed, renamed, paused, updated.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.harness import Service, Taken, running
from tests.acceptance.lying_engine import LyingEngine, lying
from tests.acceptance.test_beliefs import containers, docker, given
from tests.acceptance.test_restart import Kernel
from tests.backends.contract import SERVER
from tmppool import reconcile
from tmppool.notebook import EXPLANATIONS, Reason

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

HOARDING = SERVER.replace("os._exit(3)", "b'x' * (1 << 30)")
"""A server of which the path ``exit`` takes more memory than a notebook may."""


@dataclass
class Scene:
    """A service with one session in ``session`` and one warm notebook in ``warm``, which are ids of containers."""

    service: Service
    taken: Taken
    session: str
    warm: str

    async def end(self) -> dict[str, Any]:
        """Return what a program is told of the session once it has ended."""
        async with asyncio.timeout(20), self.taken.client() as client:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"{self.taken.url}api/status") as reply:
                        if reply.status == 424:
                            return dict(await reply.json())
                await asyncio.sleep(0.1)

    async def status(self) -> int:
        async with self.taken.client() as client, client.get(f"{self.taken.url}api/status") as reply:
            return reply.status

    def reasons(self) -> list[str]:
        """Return the reasons of the ends that the service has logged, in order."""
        return [event["reason"] for event in self.service.events if event["event"] == "notebook.reaping"]

    async def replaced(self) -> str:
        """Return the reason for which the warm notebook ended, once another is warm in its place."""
        async with asyncio.timeout(30):
            while not (self.reasons() and self.warm not in await containers(self.service)):
                await asyncio.sleep(0.1)
        await self.service.until(lambda stats: stats["warm"] == 1, within=30)
        return self.reasons()[-1]


@contextlib.asynccontextmanager
async def scene(home: Path, *options: str, **more: Any) -> AsyncIterator[Scene]:
    async with running(home, "docker", "--pool-size=3", "--warm=1", *options, **more) as service:
        taken = await service.spawn()
        await service.until(lambda stats: stats["warm"] == 1)
        session = await docker("inspect", "-f", "{{.Id}}", await given(service))
        (warm,) = {await docker("inspect", "-f", "{{.Id}}", found) for found in await containers(service)} - {session}
        yield Scene(service, taken, session, warm[:12])


BY_HAND: dict[str, tuple[list[list[str]], Reason]] = {
    "kill": ([["kill"]], Reason.KILLED),
    "stop": ([["stop"]], Reason.KILLED),
    "stop and start": ([["stop"], ["start"]], Reason.KILLED),
    "restart": ([["restart"]], Reason.KILLED),
    "rm -f": ([["rm", "-f"]], Reason.REMOVED),
    "kill while it is paused": ([["pause"], ["kill"]], Reason.KILLED),
    "rm -f while it is paused": ([["pause"], ["rm", "-f"]], Reason.REMOVED),
    "rename and kill": ([["rename"], ["kill"]], Reason.KILLED),
}


async def do(container: str, steps: list[list[str]]) -> None:
    for step in steps:
        more = [f"renamed-{container[:12]}"] if step == ["rename"] else []
        await docker(*step, container, *more)


@pytest.mark.parametrize(("steps", "reason"), BY_HAND.values(), ids=BY_HAND)
async def test_what_an_operator_ends_by_hand_is_known_at_once_and_by_its_name(
    tmp_path: Path, steps: list[list[str]], reason: Reason
) -> None:
    async with scene(tmp_path) as made:
        doing = asyncio.ensure_future(do(made.session, steps))
        told = await made.end()
        assert (told["reason"], told["explanation"]) == (reason, EXPLANATIONS[reason])
        await doing
        async with asyncio.timeout(20):
            while made.session[:12] in await containers(made.service):
                await asyncio.sleep(0.1)
        await do(made.warm, steps)
        assert await made.replaced() == reason
        assert set(made.reasons()) == {reason}
        assert len(await containers(made.service)) == 1


@pytest.mark.parametrize("network", ["none", "isolated"])
async def test_a_session_that_was_restarted_is_over_also_if_the_service_learns_of_it_late(
    tmp_path: Path, network: str
) -> None:
    """Another server answers at the same address by then: on a bridge it even has the same IP address."""
    async with scene(
        tmp_path, f"--network={network}", "--accept-risk=reach-host,reach-gateway,reach-neighbour"
    ) as made:
        assert made.service.process is not None
        made.service.process.send_signal(signal.SIGSTOP)
        try:
            await docker("restart", "--time=0", made.session)
            await asyncio.sleep(6)
        finally:
            made.service.process.send_signal(signal.SIGCONT)
        assert (await made.end())["reason"] == Reason.KILLED


async def test_a_server_that_exits_by_itself_has_died(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        async with made.taken.client() as client:
            await client.post(f"{made.taken.url}api/shutdown")
        assert (await made.end())["reason"] == Reason.DIED


async def test_a_server_that_needs_too_much_memory_ends_for_that(tmp_path: Path) -> None:
    async with scene(tmp_path, f"--command={HOARDING}", "--mem-limit=128m") as made:
        async with made.taken.client() as client:
            with contextlib.suppress(aiohttp.ClientError):
                await client.get(f"{made.taken.url}exit")
        told = await made.end()
        assert (told["reason"], told["explanation"]) == (
            Reason.OUT_OF_MEMORY,
            EXPLANATIONS[Reason.OUT_OF_MEMORY],
        )


async def test_a_kernel_that_needs_too_much_memory_ends_no_session_and_does_not_give_its_name_to_a_later_end(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, "--mem-limit=300m") as made:
        kernel = Kernel(made.taken)
        await kernel.begin()
        hoarding = asyncio.ensure_future(kernel.run("x = b'x' * (1 << 30)"))
        async with asyncio.timeout(30):
            while not await docker(
                "events", "--since=60s", "--until=0s", "--filter=event=oom", f"--filter=container={made.session}"
            ):
                await asyncio.sleep(0.2)
        hoarding.cancel()
        await asyncio.sleep(1)
        assert await made.status() == 200
        await docker("kill", made.session)
        assert (await made.end())["reason"] == Reason.KILLED


async def test_what_ended_while_no_service_ran_is_told_by_its_remains(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        await made.service.kill()
        await docker("kill", made.session)
        await made.service.start(warm=1)
        assert (await made.end())["reason"] == Reason.KILLED


async def test_renaming_and_updating_end_nothing_and_a_renamed_one_is_removed_as_any_other(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        kernel = Kernel(made.taken)
        await kernel.begin()
        assert await kernel.run("kept = 1; print(kept)") == "1\n"
        for container in (made.session, made.warm):
            await docker("update", "--cpus=0.9", container)
            await docker("rename", container, f"renamed-{container[:12]}")
        await made.service.kill()
        await made.service.start(warm=1)
        assert await kernel.run("print(kept + 1)") == "2\n"
        async with made.service.operator() as operator:
            for each in await made.service.notebooks():
                async with operator.delete(f"{made.service.admin_url}/api/notebooks/{each['id']}") as reply:
                    assert reply.status == 200
        async with asyncio.timeout(30):
            while {made.session[:12], made.warm} & await containers(made.service):
                await asyncio.sleep(0.1)
        assert "stop.failed" not in {event["event"] for event in made.service.events}


# Paused


async def test_a_paused_session_says_so_and_goes_on_as_it_was(tmp_path: Path) -> None:
    async with scene(tmp_path, "--cull-timeout=20", "--cull-period=1") as made:
        kernel = Kernel(made.taken)
        await kernel.begin()
        assert await kernel.run("kept = 1; print(kept)") == "1\n"
        async with (
            made.taken.client() as client,
            client.ws_connect(f"{made.taken.url}api/kernels/{kernel.id}/channels") as socket,
        ):
            await docker("pause", made.session)
            await until_status(made, 503)
            async with client.get(f"{made.taken.url}api/status") as reply:
                assert int(reply.headers["Retry-After"]) > 0
                assert "have paused this notebook" in (await reply.json())["message"]
            await asyncio.sleep(24)  # longer than the idle limit
            assert await made.status() == 503
            await docker("unpause", made.session)
            await until_status(made, 200)
            assert not socket.closed
            assert await kernel.run("print(kept + 1)") == "2\n"
        assert made.reasons() == []


async def until_status(made: Scene, status: int) -> None:
    async with asyncio.timeout(10):
        while await made.status() != status:
            await asyncio.sleep(0.1)


async def test_a_paused_warm_one_is_given_to_nobody_and_is_warm_again_when_it_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        await docker("pause", made.warm)
        await made.service.until(lambda stats: stats["warm"] == 2)  # another is available
        taken = await made.service.spawn()
        async with taken.client() as client, client.get(f"{taken.url}api/status") as reply:
            assert reply.status == 200
        await made.service.kill()
        await made.service.start(warm=1)
        assert made.warm in await containers(made.service)
        await docker("unpause", made.warm)
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(AssertionError):  # not yet
                    last = await made.service.spawn()
                    break
                await asyncio.sleep(0.2)
        async with last.client() as client, client.get(f"{last.url}api/status") as reply:
            assert reply.status == 200
        assert made.reasons() == []


# Many at once


async def lie(engine: LyingEngine, seconds: float) -> None:
    """List nothing for so long."""
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        engine.lists = [[]] * 20
        engine.break_streams()
        await asyncio.sleep(1)
    engine.lists = []


@pytest.mark.parametrize("how", ["kill", "rm -f"])
async def test_many_that_are_seen_to_end_are_known_within_seconds(tmp_path: Path, how: str) -> None:
    async with running(tmp_path, "docker", "--pool-size=4", "--warm=1", "--parallel-starts=2") as service:
        taken = [await spawned(service) for _ in range(3)]
        await service.until(lambda stats: stats["warm"] == 1)
        await docker(*how.split(), *await containers(service))
        began = asyncio.get_running_loop().time()
        await service.until(lambda stats: stats["assigned"] == 0, within=20)
        took = asyncio.get_running_loop().time() - began
        reasons = [event["reason"] for event in service.events if event["event"] == "notebook.reaping"]
        assert set(reasons) == {"kill": {Reason.KILLED}, "rm -f": {Reason.REMOVED}}[how]
        assert len(reasons) >= len(taken)
        assert took < sum(reconcile._MASS_LOOKS), "as long as a loss that nobody saw"


async def spawned(service: Service) -> Taken:
    await service.until(lambda stats: stats["warm"] >= 1)
    return await service.spawn()


async def test_an_engine_that_lists_nothing_for_long_ends_no_session_of_many(tmp_path: Path) -> None:
    async with lying() as engine:
        options = ("--pool-size=4", "--warm=1", "--parallel-starts=2")
        async with running(tmp_path, "docker", *options, env={"DOCKER_HOST": engine.url}) as service:
            taken = [await spawned(service) for _ in range(3)]
            await service.until(lambda stats: stats["warm"] == 1)
            before = await containers(service)
            await lie(engine, 15)
            assert await containers(service) >= before
            for each in taken:
                async with each.client() as client, client.get(f"{each.url}api/status") as reply:
                    assert reply.status == 200
