"""Every fault: what is done to the engine, the containers, the state directory and the service."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil

from tests.chaos.fault import Fault, Kills
from tests.chaos.own_engine import IMAGE
from tests.chaos.visitors import Process
from tests.chaos.world import World

Act = Callable[[World], AbstractAsyncContextManager[None]]

# The engine


def engine_killed(*, live_restore: bool) -> Act:
    @contextlib.asynccontextmanager
    async def act(world: World) -> AsyncIterator[None]:
        await world.engine.keep_containers(live_restore=live_restore)
        await world.engine.kill()
        try:
            yield
        finally:
            await world.engine.start()
            if not live_restore:
                await world.engine.keep_containers(live_restore=True)

    return act


@contextlib.asynccontextmanager
async def engine_stands_still(world: World) -> AsyncIterator[None]:
    world.engine.stand_still()
    try:
        yield
    finally:
        world.engine.go_on()


@contextlib.asynccontextmanager
async def engine_disk_full(world: World) -> AsyncIterator[None]:
    with world.engine.full_disk():
        yield


def disk_stands_still(where: Callable[[World], Path]) -> Act:
    """Let what is written there neither fail nor end, as for a snapshot of the disk."""

    @contextlib.asynccontextmanager
    async def act(world: World) -> AsyncIterator[None]:
        await _freeze("--freeze", where(world))
        try:
            yield
        finally:
            await _freeze("--unfreeze", where(world))

    return act


async def _freeze(how: str, path: Path) -> None:
    assert await (await asyncio.create_subprocess_exec("fsfreeze", how, str(path))).wait() == 0


@contextlib.asynccontextmanager
async def containerd_killed(world: World) -> AsyncIterator[None]:
    world.engine.kill_containerd()
    yield


@contextlib.asynccontextmanager
async def shim_killed(world: World) -> AsyncIterator[None]:
    shim = psutil.Process(world.lead.process.pid).parent()
    assert shim is not None
    assert "shim" in shim.name(), shim
    shim.kill()
    yield


@contextlib.asynccontextmanager
async def first_process_killed(world: World) -> AsyncIterator[None]:
    os.kill(world.lead.process.pid, signal.SIGKILL)
    yield


@contextlib.asynccontextmanager
async def warm_ones_die_while_it_is_silent(world: World) -> AsyncIterator[None]:
    dying = [await Process.of(world.engine, each) for each in await world.warm_containers()]
    world.middleman.lie = world.middleman.hang
    for process in dying:
        os.kill(process.pid, signal.SIGKILL)
    while any(process.lives for process in dying):  # until then their ports may still take connections
        await asyncio.sleep(0.01)
    world.touched_until = time.monotonic()
    try:
        yield
    finally:
        world.middleman.be_honest()


# What stands between


def told(lie: str, *, look_again: bool = False) -> Act:
    """Answer with that method of ``Middleman``; with ``look_again`` the service is made to look at what runs."""

    @contextlib.asynccontextmanager
    async def act(world: World) -> AsyncIterator[None]:
        async def break_streams() -> None:
            while True:
                world.middleman.break_streams()
                await asyncio.sleep(world.chance.uniform(0.5, 1))

        world.middleman.lie = getattr(world.middleman, lie)
        breaking = asyncio.ensure_future(break_streams() if look_again else asyncio.sleep(0))
        try:
            yield
        finally:
            breaking.cancel()
            await asyncio.wait({breaking})
            world.middleman.be_honest()

    return act


@contextlib.asynccontextmanager
async def everything_listed_at_a_start(world: World) -> AsyncIterator[None]:
    """What belongs to somebody else is listed too: a container that never ran, and a volume that nothing uses."""
    container, volume = (
        await world.engine.docker("create", IMAGE, "true"),
        await world.engine.docker("volume", "create"),
    )
    async with told("list_everything", look_again=True)(world):
        await world.service.kill()
        await world.service.launch()
        yield
    assert await world.engine.docker("rm", container) == container, "somebody else's container was removed"
    assert await world.engine.docker("volume", "rm", volume) == volume, "somebody else's volume was removed"


@contextlib.asynccontextmanager
async def refused(world: World) -> AsyncIterator[None]:
    await world.middleman.refuse()
    try:
        yield
    finally:
        await world.middleman.accept()


# By hand


def by_hand(*commands: tuple[str, ...], undo: tuple[str, ...] = (), warm: bool = False) -> Act:
    """Run ``docker`` commands on the first visitor's container, or on one that is warm; ``{}`` is its id."""

    @contextlib.asynccontextmanager
    async def act(world: World) -> AsyncIterator[None]:
        target = world.chance.choice(await world.warm_containers()) if warm else world.lead.container
        for command in commands:
            await world.engine.docker(*(word.format(target) for word in command))
        if warm:
            world.touched_until = time.monotonic()
        try:
            yield
        finally:
            if undo:
                await world.engine.docker(*(word.format(target) for word in undo))

    return act


# The state directory


def ledger(world: World) -> Path:
    return world.state / "ledger.sqlite"


@contextlib.asynccontextmanager
async def state_full(world: World) -> AsyncIterator[None]:
    await fill(world)
    try:
        yield
    finally:
        await empty(world)


@contextlib.asynccontextmanager
async def ledger_deleted(world: World) -> AsyncIterator[None]:
    await delete(world)
    yield


@contextlib.asynccontextmanager
async def ledger_locked(world: World) -> AsyncIterator[None]:
    with contextlib.closing(sqlite3.connect(ledger(world), timeout=5, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            database.execute("ROLLBACK")


def while_down(
    damage: Callable[[World], Awaitable[None]], mend: Callable[[World], Awaitable[None]] | None = None
) -> Act:
    """Do something while the service is dead, and start it; with ``mend``, do that at the end and start it again."""

    @contextlib.asynccontextmanager
    async def act(world: World) -> AsyncIterator[None]:
        await world.service.kill()
        await damage(world)
        await world.service.launch()
        try:
            yield
        finally:
            if mend is not None:
                await world.service.kill()
                await mend(world)
                await world.service.launch()

    return act


@contextlib.asynccontextmanager
async def service_killed_while_the_engine_hangs(world: World) -> AsyncIterator[None]:
    world.middleman.lie = world.middleman.hang
    await world.service.kill()
    await world.service.launch()
    try:
        yield
    finally:
        world.middleman.be_honest()


@contextlib.asynccontextmanager
async def ledger_locked_at_a_start(world: World) -> AsyncIterator[None]:
    await world.service.kill()
    async with ledger_locked(world):
        await world.service.launch()
        yield


async def delete(world: World) -> None:
    for part in world.state.glob("ledger.sqlite*"):
        part.unlink()


async def save(world: World) -> None:
    """Keep a copy of the ledger, as a backup does."""
    shutil.rmtree(_backup(world), ignore_errors=True)
    _backup(world).mkdir()
    for part in world.state.glob("ledger.sqlite*"):
        shutil.copy2(part, _backup(world))


async def restore(world: World) -> None:
    await delete(world)
    for part in _backup(world).iterdir():
        shutil.copy2(part, world.state)


def _backup(world: World) -> Path:
    return world.home / "backup"


async def spoil(world: World) -> None:
    """Damage some bytes of the ledger at random."""
    content = bytearray(ledger(world).read_bytes())
    for _ in range(64):
        content[world.chance.randrange(len(content))] = world.chance.randrange(256)
    ledger(world).write_bytes(content)


async def make_newer(world: World) -> None:
    with contextlib.closing(sqlite3.connect(ledger(world))) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 90}")


async def make_older(world: World) -> None:
    with contextlib.closing(sqlite3.connect(ledger(world))) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version % 90}")


async def fill(world: World) -> None:
    for size in (65536, 512):
        with contextlib.suppress(OSError), (world.state / "filler").open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * size)


async def empty(world: World) -> None:
    (world.state / "filler").unlink()


def remount(how: str) -> Callable[[World], Awaitable[None]]:
    """Make the state directory read-only (``ro``) or writable (``rw``); none of its files may be open for writing."""

    async def change(world: World) -> None:
        words = ("mount", "--options", f"remount,{how}", str(world.state))
        assert await (await asyncio.create_subprocess_exec(*words)).wait() == 0

    return change


def set_clock(seconds: int) -> Callable[[World], Awaitable[None]]:
    async def change(world: World) -> None:
        world.set_clock(seconds)

    return change


# The service


@contextlib.asynccontextmanager
async def service_killed(world: World) -> AsyncIterator[None]:
    await world.service.kill()
    await asyncio.sleep(world.chance.uniform(0, 1))
    await world.service.launch()
    yield


@contextlib.asynccontextmanager
async def service_killed_at_any_moment(world: World) -> AsyncIterator[None]:
    for _ in range(3):
        await asyncio.sleep(world.chance.uniform(0.1, 3))
        await world.service.kill()
        await world.service.launch()
    yield


@contextlib.asynccontextmanager
async def service_told_to_stop_in_every_phase(world: World) -> AsyncIterator[None]:
    for _ in range(3):
        await world.service.stop()
        await world.service.launch()
        await asyncio.sleep(world.chance.uniform(0.1, 4))
    yield


@contextlib.asynccontextmanager
async def service_stands_still(world: World) -> AsyncIterator[None]:
    world.process.suspend()
    try:
        yield
    finally:
        world.process.resume()


@contextlib.asynccontextmanager
async def descriptors_used_up(world: World) -> AsyncIterator[None]:
    process = world.process
    limit = process.rlimit(psutil.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path(f"/proc/{process.pid}/fd").iterdir())
    process.rlimit(psutil.RLIMIT_NOFILE, (highest + 3, limit[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, limit)


@contextlib.asynccontextmanager
async def threads_used_up(world: World) -> AsyncIterator[None]:
    """Let the service start no thread and no process more, by a control group of its own."""
    root = Path("/sys/fs/cgroup/pids")
    group = (root if root.exists() else root.parent) / f"chaos{os.getpid()}"
    group.mkdir()
    procs = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":pids:" in line or "::" in line]
    home = group.parent / procs[0].rpartition(":")[2].lstrip("/")
    process = world.process
    (group / "cgroup.procs").write_text(str(process.pid))
    (group / "pids.max").write_text(str(process.num_threads()))
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text(str(process.pid))
        group.rmdir()


def clock_off(seconds: int) -> Act:
    @contextlib.asynccontextmanager
    async def act(world: World) -> AsyncIterator[None]:
        world.set_clock(seconds)
        try:
            yield
        finally:
            world.set_clock(0)

    return act


_DAY = 86400
_ENGINE, _LEDGER = ("backend", "engine"), ("ledger",)
_ANY = ("backend", "engine", "pool")

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("engine killed, live-restore", engine_killed(live_restore=True), known=_ENGINE),
        Fault("engine killed", engine_killed(live_restore=False), kills=Kills.ALL, known=_ENGINE),
        Fault("engine stopped (SIGSTOP)", engine_stands_still, 8, known=_ENGINE),
        Fault("engine's disk full", engine_disk_full, 10, known=_ANY),
        Fault("engine's disk stands still", disk_stands_still(lambda world: world.engine.data), 8, known=_ANY),
        Fault("containerd killed", containerd_killed),
        Fault("shim killed", shim_killed, kills=Kills.LEAD),
        Fault("first process killed", first_process_killed, kills=Kills.LEAD),
        Fault("warm ones die while the engine is silent", warm_ones_die_while_it_is_silent, 8, known=_ANY),
        Fault("engine hangs", told("hang"), 8, known=_ENGINE),
        Fault("engine refuses connections", refused, 6, known=_ENGINE),
        Fault("engine slow", told("dawdle"), 8),
        Fault("engine answers 500", told("fail"), 6, known=_ENGINE),
        Fault("engine answers HTML", told("babble"), 6, known=_ENGINE),
        Fault("engine breaks off answers", told("cut"), 6),
        Fault("engine lists nothing", told("list_nothing", look_again=True), 5),
        Fault("engine lists half", told("list_half", look_again=True), 5),
        Fault("engine lists everything at a start", everything_listed_at_a_start, 3, breaks_sockets=True),
        Fault("engine denies what lives", told("deny", look_again=True), 5),
        Fault("docker rm", by_hand(("rm", "--force", "{}")), 2, kills=Kills.LEAD),
        Fault("docker restart", by_hand(("restart", "--time=0", "{}")), 2, kills=Kills.LEAD),
        Fault("docker stop", by_hand(("stop", "--time=0", "{}")), 2, kills=Kills.LEAD),
        Fault("docker stop, start", by_hand(("stop", "--time=0", "{}"), ("start", "{}")), 2, kills=Kills.LEAD),
        Fault("docker rename", by_hand(("rename", "{}", "somebodys")), 3, touches_lead=True),
        Fault("docker pause", by_hand(("pause", "{}"), undo=("unpause", "{}")), 6, touches_lead=True),
        Fault("docker update", by_hand(("update", "--memory=400m", "--memory-swap=400m", "{}")), 2, touches_lead=True),
        Fault("docker rm, a warm one", by_hand(("rm", "--force", "{}"), warm=True), 2),
        Fault("docker stop, a warm one", by_hand(("stop", "--time=0", "{}"), warm=True), 2),
        Fault("docker restart, a warm one", by_hand(("restart", "--time=0", "{}"), warm=True), 2),
        Fault("docker rename, a warm one", by_hand(("rename", "{}", "nobodys"), warm=True), 3),
        Fault("docker pause, a warm one", by_hand(("pause", "{}"), undo=("unpause", "{}"), warm=True), 5),
        Fault("state directory full", state_full, 5, known=_LEDGER),
        Fault("state directory's disk stands still", disk_stands_still(lambda world: world.state), 8, known=_LEDGER),
        Fault(
            "state directory read-only at a start",
            while_down(remount("ro"), remount("rw")),
            8,
            known=_LEDGER,
            breaks_sockets=True,
        ),
        Fault("ledger deleted", ledger_deleted, 5, known=_LEDGER, may_heal_at_once=True),
        Fault("ledger locked", ledger_locked, 6, known=_LEDGER),
        Fault("ledger deleted, service killed", while_down(delete), 2, breaks_sockets=True),
        Fault("ledger locked at a start", ledger_locked_at_a_start, 8, known=_LEDGER, breaks_sockets=True),
        Fault("ledger damaged", while_down(spoil), 2, breaks_sockets=True),
        Fault("ledger newer", while_down(make_newer, make_older), 8, known=_LEDGER, breaks_sockets=True),
        Fault("ledger from a backup", while_down(save, restore), 6, breaks_sockets=True),
        Fault("state directory full at a start", while_down(fill, empty), 8, known=_LEDGER, breaks_sockets=True),
        Fault("service killed", service_killed, 0, breaks_sockets=True),
        Fault("service killed while the engine hangs", service_killed_while_the_engine_hangs, 8, breaks_sockets=True),
        Fault("service killed at any moment", service_killed_at_any_moment, 0, breaks_sockets=True),
        Fault("SIGTERM in every phase", service_told_to_stop_in_every_phase, 0, breaks_sockets=True),
        Fault("service stopped (SIGSTOP)", service_stands_still, 10, is_deaf=True),
        Fault("service killed, clock a day ahead", while_down(set_clock(_DAY), set_clock(0)), 6, breaks_sockets=True),
        Fault("service killed, clock a day back", while_down(set_clock(-_DAY), set_clock(0)), 6, breaks_sockets=True),
        Fault("clock a day ahead", clock_off(_DAY), 5),
        Fault("clock a day back", clock_off(-_DAY), 5),
        Fault("threads used up", threads_used_up, 5, is_deaf=True),
        Fault("descriptors used up", descriptors_used_up, 5, is_deaf=True),
    )
}
