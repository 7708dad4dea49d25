"""Whatever runs in one notebook, the others keep working, and after the reap nothing of it is left."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.acceptance import remains
from tests.acceptance.harness import ROOT, Service, running
from tests.acceptance.neighbours import Guest, Neighbours, take
from tests.conftest import Figure

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

MIB = 1 << 20
POOL = f"""
[pools.hostile]
command = "python3 /hostile/server.py {{base_path}} {{ip}} {{port}}"
host-directories = "{ROOT}/tests/acceptance/hostile:/hostile:ro"
pool-size = 2
mem-limit = "512m"
pids-limit = 128
"""


def at_most(name: str, limit: float, *refusals: str) -> Callable[[dict[str, Any]], bool]:
    return lambda said: said[name] <= limit and (not refusals or said["refused"] in refusals)


def says(**wanted: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda said: {name: said.get(name) for name in wanted} == wanted


def anything(_said: dict[str, Any]) -> bool:
    """What the attack did to its own notebook is its own business."""
    return True


GREED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "fork_bomb": at_most("done", 128, "EAGAIN"),
    "endless_forks": anything,
    "thread_bomb": at_most("done", 128, "RuntimeError"),
    "zombie_factory": at_most("done", 128, "EAGAIN"),
    "memory_hog": says(signal=9),
    "home_filler": at_most("done", 256, "ENOSPC"),
    "tmp_filler": at_most("done", 128, "ENOSPC"),
    "shm_filler": at_most("done", 64, "ENOSPC"),
    "inode_filler": at_most("done", 32_768, "ENOSPC"),
    "deep_directories": at_most("done", 32_768, "ENOSPC", "ENAMETOOLONG"),
    "log_spam": lambda said: said["written"] > 4 * MIB,
    "cpu_burner": at_most("cores", 1.15),
    "page_cache_thrasher": anything,
    "open_and_close": anything,
    "descriptor_hoarder": at_most("done", 4096, "EMFILE"),
    "pty_hoarder": at_most("done", 4096, "EMFILE", "ENOSPC"),
    "inotify_hoarder": at_most("done", 128, "EMFILE"),
    "signal_storm": anything,
    "ignore_every_signal": anything,
}

ESCAPES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "socket_families": lambda said: said["answers"] == ["EPERM"] and said["families"] == 41,
    "raw_sockets": says(answers=["EPERM"]),
    "namespaces": says(answers=["EPERM"]),
    "ptrace": says(answers=["EPERM"]),
    "scan": says(reached=[], interfaces=["lo"]),
    "kernel_settings": says(written=[]),
    "host_files": says(read=[]),
    "devices_and_links": says(allowed=[]),
}


async def attack(session: aiohttp.ClientSession, guest: Guest, name: str) -> dict[str, Any] | None:
    """Run one; None when the notebook did not live to tell."""
    try:
        address, limit = f"{guest.url}attack/{name}", aiohttp.ClientTimeout(10)
        async with session.post(address, headers=guest.headers, timeout=limit) as reply:
            return dict(await reply.json()) if reply.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


async def end(service: Service, session: aiohttp.ClientSession, guest: Guest) -> None:
    for notebook in await service.notebooks():
        if notebook["pool"] == "hostile" and notebook["state"] == "assigned":
            async with service.operator() as operator:
                await operator.delete(f"{service.admin_url}/api/notebooks/{notebook['id']}")


@contextlib.asynccontextmanager
async def beside_neighbours(
    folder: Path, more: str = "", *options: str
) -> AsyncIterator[tuple[Service, aiohttp.ClientSession, Neighbours]]:
    """A service with two healthy visitors, and a pool of notebooks for hostile ones, which has ``more`` settings."""
    config = folder / "pools.toml"
    config.write_text(POOL + more)
    options = (f"--config={config}", "--pool-size=2", "--starts-per-hour=0", *options)
    timeout = aiohttp.ClientTimeout(60)
    async with (
        running(folder, "docker", *options, warm=2) as service,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        neighbours = Neighbours([await take(service, session) for _ in range(2)])
        yield service, session, neighbours


async def test_every_greed_and_escape_is_contained_and_the_neighbours_keep_working(
    tmp_path: Path, figure: Figure
) -> None:
    terminals = remains.terminals()
    free = free_bytes()
    wrong: dict[str, Any] = {}
    traces: list[remains.Trace] = []
    async with beside_neighbours(tmp_path) as (service, session, neighbours):
        async with neighbours.asking():
            for name, is_contained in {**GREED, **ESCAPES}.items():
                guest = await take(service, session, "hostile")
                trace = await remains.trace(guest.key)
                traces.append(trace)
                await asyncio.sleep(1.5)  # the next one has started: a quiet moment to compare with
                async with neighbours.under(name):
                    said = await attack(session, guest, name)
                if said is None and is_contained is not anything:
                    wrong[name] = "did not tell"
                elif said is not None and not is_contained(said):
                    wrong[name] = said
                if name == "log_spam":
                    assert trace.log_size() <= 2.2 * MIB  # one file, and at times the one that it takes the place of
                await end(service, session, guest)
        assert wrong == {}
        assert neighbours.failures == []
        assert sum(len(times) for times in neighbours.attacked.values()) > 300
        figure("neighbours' requests under attack, p95", neighbours.slower, "x quiet", at_most=2)
        figure("attacks contained", len(traces), "kinds")
        for trace in traces:
            assert await remains.nothing_left_of(trace) == []
        notebooks = await service.notebooks()
        assert service.process is not None
        assert remains.namespaces_held_by(service.process.pid) <= 2 * len(
            notebooks
        )  # one to go there, one to come back
        assert sum(notebook["state"] == "assigned" for notebook in notebooks) == 2
        assert "Traceback" not in service.log
    assert remains.terminals() <= terminals
    figure("disk that one attacker keeps after the reap", (free - free_bytes()) / MIB / len(traces), "MiB", at_most=3)


async def test_hoarding_takes_nothing_from_a_neighbour(tmp_path: Path) -> None:
    async with beside_neighbours(tmp_path) as (service, session, _neighbours):
        hoarder, neighbour = [await take(service, session, "hostile") for _ in range(2)]
        for hoard in ("inotify_hoarder", "fork_bomb", "descriptor_hoarder"):
            hoarding = asyncio.create_task(attack(session, hoarder, hoard))
            await asyncio.sleep(1)
            said = await attack(session, neighbour, "neighbour_can")
            assert said is not None
            assert said["kept"] == ["watch files", "open a terminal", "start a process", "fill a pipe"], hoard
            await hoarding


@pytest.mark.parametrize("name", ["kill_server", "stop_everything"])
async def test_a_notebook_that_ends_or_freezes_itself_is_reaped_and_its_visitor_learns_why(
    tmp_path: Path, name: str
) -> None:
    async with beside_neighbours(tmp_path) as (service, session, neighbours):
        guest = await take(service, session, "hostile")
        trace = await remains.trace(guest.key)
        attacking = asyncio.create_task(attack(session, guest, name))
        await asyncio.sleep(1)
        if name == "stop_everything":
            await end(service, session, guest)
        assert await remains.nothing_left_of(trace) == []
        attacking.cancel()
        async with session.get(f"{guest.url}api/status", headers=guest.headers) as reply:
            facts = await reply.json()
        assert (reply.status, facts["reason"]) == (424, "died" if name == "kill_server" else "drained")
        async with neighbours.asking():
            await asyncio.sleep(1)
        assert neighbours.failures == []


EVIL = {
    "garbage": 502,
    "nothing": 502,
    "endless-headers": 502,
    "endless-header": 502,
    "endless-interim": 502,
    "endless-chunk-size": 502,
    "late-endless-chunk-size": 0,
    "unasked-101": 502,
    "two-lengths": 502,
    "split-answer": 0,
}
"""What a visitor gets for what a hostile server answers; 0 is an answer that is broken off, its head being sent on."""


async def test_what_a_hostile_server_answers_harms_nobody(tmp_path: Path, figure: Figure) -> None:
    async with beside_neighbours(tmp_path) as (service, session, neighbours):
        guest = await take(service, session, "hostile")
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        memory = process.memory_info().rss
        async with neighbours.asking():
            for name, wanted in EVIL.items():
                async with neighbours.under(name):
                    assert await answer_of(session, guest, name) == wanted, name
                await asyncio.sleep(0.5)
            address = f"{guest.url}evil/endless-body"
            async with neighbours.under("endless-body"), session.get(address, headers=guest.headers) as reply:
                async with asyncio.timeout(30):
                    for _ in range(64):
                        assert await reply.content.readexactly(MIB) == b"z" * MIB
                reply.close()
            await asyncio.sleep(2)
        assert neighbours.failures == []
        figure("memory that hostile answers take", (process.memory_info().rss - memory) / MIB, "MiB", at_most=16)
        assert "Traceback" not in service.log


KERNELS = {
    "eight-megabytes": 424,
    "deepest": 424,
    "one-byte-chunks": 424,
    "interim": 424,
    "behind-it": 424,
    "longest-number": 424,
    "busy": 200,
}
"""What a hostile server says when it is asked for its kernels, and how it is with it afterwards: busy, it is spared."""


async def test_what_a_hostile_server_says_of_its_kernels_harms_nobody(tmp_path: Path, figure: Figure) -> None:
    """The service asks it itself, when its visitor has been idle, and once in a minute at most."""
    async with beside_neighbours(tmp_path, "cull-timeout = 2", "--cull-period=0.2") as (service, session, neighbours):
        async with neighbours.asking():
            await asyncio.sleep(4)
            for says, status in KERNELS.items():
                guest = await take(service, session, "hostile")
                async with neighbours.under(says):
                    await session.post(f"{guest.url}kernels/{says}", headers=guest.headers)
                    await asyncio.sleep(5)
                    async with session.post(f"{guest.url}kernels/{says}", headers=guest.headers) as reply:
                        assert reply.status == status, says
                        assert status != 200 or await reply.json() == {"asked": 1}
                await end(service, session, guest)
                await asyncio.sleep(1)
        assert neighbours.failures == []
        figure("neighbours while notebooks say nonsense of their kernels, p95", neighbours.slower, "x quiet", at_most=2)
        assert "Traceback" not in service.log


async def answer_of(session: aiohttp.ClientSession, guest: Guest, name: str) -> int:
    try:
        async with session.get(f"{guest.url}evil/{name}", headers=guest.headers) as reply:
            body = await reply.read()
    except aiohttp.ClientError:
        return 0
    if name == "split-answer":
        assert b"second" not in body
        return 0
    return reply.status


def free_bytes() -> int:
    root = next((path for path in ("/var/lib/docker",) if Path(path).exists()), "/")
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize
