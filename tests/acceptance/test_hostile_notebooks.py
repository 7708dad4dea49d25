"""Whatever runs in one notebook, the others keep working, and after the reap nothing of it is left."""

import asyncio
import contextlib
import os
import statistics
import time
from collections import deque
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
EACH = 2  # times as long as quiet, under each attack
LONGEST = 1000  # milliseconds that any request takes
ROUNDS = 3  # of an attack that seems to miss a limit, as the machine has pauses and files of its own
FEWEST = 20  # requests of neighbours under each attack
KEPT = 8  # MiB; the smallest of what an attacker fills has 64
HOSTILE = 2  # notebooks for attackers
POOL = f"""
[pools.hostile]
command = "python3 /hostile/server.py {{base_path}} {{ip}} {{port}}"
host-directories = "{ROOT}/tests/acceptance/hostile:/hostile:ro"
pool-size = {HOSTILE}
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


async def attack_for_a_while(
    session: aiohttp.ClientSession, guest: Guest, name: str, seconds: float = 2
) -> dict[str, Any] | None:
    """Run one again and again for so long, so that neighbours ask meanwhile; return what it told at first."""
    began = time.monotonic()
    said = await attack(session, guest, name)
    while said is not None and time.monotonic() - began < seconds:
        await attack(session, guest, name)
    return said


def note(figure: Figure, slower: dict[str, float], longest: float, what: str = "") -> None:
    """Note how neighbours fared under each attack: all of them together would hide one that stops everything."""
    for name, times in slower.items():
        figure(f"neighbours beside {what}{name}, p95", times, "x quiet", at_most=EACH)
    figure(f"neighbours' longest wait beside {what}any", longest, "ms", at_most=LONGEST)


async def end(service: Service, session: aiohttp.ClientSession, guest: Guest) -> None:
    for notebook in await service.notebooks():
        if notebook["pool"] == "hostile" and notebook["state"] == "assigned":
            async with service.operator() as operator:
                await operator.delete(f"{service.admin_url}/api/notebooks/{notebook['id']}")


async def all_warm(service: Service) -> None:
    """Wait until there is a warm notebook for each attacker: so much of the disk is in use before and afterwards."""
    async with asyncio.timeout(60):
        while sum(it["pool"] == "hostile" and it["state"] == "warm" for it in await service.notebooks()) < HOSTILE:
            await asyncio.sleep(0.2)


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
    wrong: dict[str, Any] = {}
    kept: dict[str, list[float]] = {}
    slower: dict[str, list[float]] = {}
    kinds = deque({**GREED, **ESCAPES}.items())
    async with beside_neighbours(tmp_path) as (service, session, neighbours):
        async with neighbours.asking():
            while kinds:
                name, is_contained = kinds.popleft()
                await all_warm(service)
                free = free_bytes()
                await asyncio.sleep(1)  # a quiet moment to compare with
                guest = await take(service, session, "hostile")
                trace = await remains.trace(guest.key)
                async with neighbours.under(name):
                    said = await attack_for_a_while(session, guest, name)
                if said is None and is_contained is not anything:
                    wrong[name] = "did not tell"
                elif said is not None and not is_contained(said):
                    wrong[name] = said
                if name == "log_spam":
                    assert trace.log_size() <= 2.2 * MIB  # one file, and at times the one that it takes the place of
                await end(service, session, guest)
                assert await remains.nothing_left_of(trace) == [], name
                await all_warm(service)
                kept.setdefault(name, []).append((free - free_bytes()) / MIB)
                rounds = slower.setdefault(name, [])
                rounds.append(neighbours.slower[name])
                if (rounds[0] > EACH or min(kept[name]) > KEPT) and len(rounds) < ROUNDS:
                    kinds.append((name, is_contained))
        figure("attacks contained", len(slower) - len(wrong), "kinds", at_least=len(GREED) + len(ESCAPES))
        assert wrong == {}
        assert neighbours.failures == []
        assert min(len(neighbours.attacked.get(name, ())) for name in kept) > FEWEST
        note(figure, {name: statistics.median(rounds) for name, rounds in slower.items()}, neighbours.longest)
        notebooks = await service.notebooks()
        assert service.process is not None
        assert remains.namespaces_held_by(service.process.pid) <= 2 * len(
            notebooks
        )  # one to go there, one to come back
        assert sum(notebook["state"] == "assigned" for notebook in notebooks) == 2
        assert "Traceback" not in service.log
    assert remains.terminals() <= terminals
    # The whole machine writes to that disk; what an attacker keeps is kept in every round.
    most = max(min(rounds) for rounds in kept.values())
    figure("disk that one attacker keeps after the reap, the most of any", most, "MiB", at_most=KEPT)


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
        assert (reply.status, facts["reason"]) == (424, "killed" if name == "kill_server" else "drained")
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
        forget_peak(process.pid)
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
        assert neighbours.failures == []
        figure("memory that hostile answers take, at most", (peak(process.pid) - memory) / MIB, "MiB", at_most=16)
        figure("neighbours' longest wait beside hostile answers", neighbours.longest, "ms", at_most=LONGEST)
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
        note(figure, neighbours.slower, neighbours.longest, "what a notebook says of its kernels, ")
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


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """Return the most memory that a process has had, in bytes, since the peak was forgotten (proc(5), VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def free_bytes() -> int:
    root = next((path for path in ("/var/lib/docker",) if Path(path).exists()), "/")
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize
