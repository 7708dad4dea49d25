"""A service on an engine of its own, with visitors, and what they and the operator see of it during a fault."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.acceptance.harness import IMAGE, Service, Taken
from tests.acceptance.remains import namespaces_held_by
from tests.chaos.fault import Fault, Kills
from tests.chaos.middleman import Middleman, between
from tests.chaos.outcome import Outcome, given_twice, warnings
from tests.chaos.own_engine import OwnEngine
from tests.chaos.visitors import PAUSES, Clicker, Clicks, Process, Visitor, client, status_of
from tmppool.backends.container import KEY_LABEL, OWNER_LABEL, SERVICE_LABEL
from tmppool.keys import id_of

_POOL_SIZE, _WARM = 8, 2
_STATE_SIZE = 8 << 20  # bytes of the file system with the state directory; SQLite's log alone may take 4 MB
_AFTER = 2.5  # seconds for which clicks go on after a fault
_HEALTHY = 40.0  # seconds after which a service that is not well again is given up
_GONE = 60.0  # seconds until what ended must have left nothing
_DESCRIPTORS = 16  # more than before that may be open: connections to the engine and to notebooks that stay for reuse
_MEMORY = 40 << 20  # bytes more than before that may be in use after a fault
_SOON = aiohttp.ClientTimeout(2)

_SECOND = f"""
[pools.second]
image = "{IMAGE}"
pool-size = 4
warm = 1
"""
_DOMAIN = "--domain-per-notebook=nb.localhost:{service_port}"
_RISK = "--accept-risk=reach-host,reach-gateway,reach-neighbour"  # this engine makes no firewall's rules


@dataclass(frozen=True)
class Kind:
    """How a service is set up. Its visitors come in turn to the ``pools``, the empty name being the default one.

    ``on_bridge`` has those of them whose containers are on an internal bridge.
    """

    name: str
    options: tuple[str, ...] = ()
    toml: str = ""
    pools: tuple[str, ...] = ("",)
    on_bridge: tuple[str, ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        Kind("plain"),
        Kind("isolated", ("--network=isolated", _RISK), on_bridge=("",)),
        Kind("domain", (_DOMAIN,)),
        Kind("two pools", toml=_SECOND, pools=("", "second")),
        Kind("mixed", (_DOMAIN, _RISK), f'{_SECOND}network = "isolated"\n', ("", "second"), ("second",)),
    )
}


class Watch:
    """Asks the health several times a second, and notes when one of the ``wanted`` checks fails for the first time.

    ``wanted`` has parts of their names; if there are none, any check counts. The seconds count from its begin, or ``from_the_start``, from the first answer of a service that has been started.
    """

    def __init__(self, world: "World", wanted: tuple[str, ...], *, from_the_start: bool) -> None:
        self._world, self._wanted = world, wanted
        self._from_the_start = from_the_start
        self._began = asyncio.get_running_loop().time()
        self.known: float | None = None
        self.name = self.words = ""

    async def look(self) -> None:
        """Look until a check has failed, or cancelled."""
        while self.known is None:
            now = asyncio.get_running_loop().time()
            failed = await self._world.ailments(is_public=True)
            if failed is None and self._from_the_start:
                self._began = now
            if bad := [check for check in failed or () if self._is_wanted(check["service"])]:
                self.known = asyncio.get_running_loop().time() - self._began
                self.name = bad[0]["service"]
                detailed = await self._world.ailments(is_public=False) or []
                self.words = "; ".join(check.get("message", "") for check in detailed if check.get("message"))
            await asyncio.sleep(0.2)

    def _is_wanted(self, name: str) -> bool:
        return not self._wanted or any(part in name for part in self._wanted)


class World:
    """``lead`` is the visitor to whom faults happen, the others are bystanders."""

    def __init__(self, home: Path, engine: OwnEngine, middleman: Middleman, kind: Kind, chance: random.Random) -> None:
        self.engine, self.middleman, self.kind, self.chance = engine, middleman, kind, chance
        self.home = home
        self.clock = home / "clock"
        self.set_clock(0)
        self.visitors: list[Visitor] = []
        self.service = self._new_service()
        self.touched_until = 0.0  # until then a fault harmed warm notebooks; what is given later has to be whole
        self._is_given_up = False
        self._keys: list[str] = []  # every one that was ever given
        self._first: dict[str, float] = {}  # what the service used at first

    @property
    def lead(self) -> Visitor:
        return self.visitors[0]

    @property
    def state(self) -> Path:
        return self.home / self.service.name

    @property
    def process(self) -> psutil.Process:
        assert self.service.process is not None
        return psutil.Process(self.service.process.pid)

    def _new_service(self) -> Service:
        config = self.home / "pools.toml"
        config.write_text(self.kind.toml)
        options = [
            f"--image={IMAGE}", f"--pool-size={_POOL_SIZE}", f"--warm={_WARM}", "--starts-per-hour=0", "--mem-limit=512m",
            f"--config={config}", *self.kind.options,
        ]  # fmt: skip
        # The wall clock is one that a fault can set (libfaketime); the monotonic one is the machine's.
        environment = {
            "DOCKER_HOST": self.middleman.url,
            "LD_PRELOAD": str(next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        return Service(self.home, "docker", *options, env=environment)

    async def open(self) -> None:
        self.state.mkdir(parents=True)
        disk = self.home / f"{self.service.name}.disk"
        with disk.open("wb") as file:
            file.truncate(_STATE_SIZE)
        await _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(disk))
        await _run("mount", "-o", "loop", str(disk), str(self.state))
        self.state.chmod(0o700)
        await self.service.start(warm=_WARM)

    async def close(self) -> list[str]:
        """End the service and return what is left of it."""
        await self._see_off(self.visitors)
        try:
            await self.service.remove()
        finally:
            if self.service.process is not None and self.service.process.returncode is None:
                await self.service.kill()
            await self._unmount()
        left = await self.engine.docker("ps", "-aq", f"--filter=label={SERVICE_LABEL}={self.service.name}")
        return [f"after the end: container {each}" for each in left.split()]

    async def _unmount(self) -> None:
        if self.state.is_mount():
            await _run("umount", "--lazy", str(self.state))

    def set_clock(self, seconds: int) -> None:
        """Let the service's wall clock differ from the machine's by this, within a second."""
        self.clock.write_text(f"{seconds:+d}")

    # Before a fault

    async def settle(self) -> None:
        """Wait until all is well, with two visitors; start anew with another service if it is not well again."""
        self.middleman.be_honest()
        if self._is_given_up or await self._full_after(_HEALTHY) is None:
            await self._start_anew()
        kept = [(visitor, await visitor.has_kept()) for visitor in self.visitors]
        await self._see_off([visitor for visitor, is_there in kept if not is_there])
        pools = self.kind.pools
        while len(self.visitors) < 2:
            taken = await self._take(pools[len(self.visitors) % len(pools)])
            self.visitors.append(await Visitor.arrive(taken, self.service, self.engine))
            assert await self._full_after(_HEALTHY) is not None, self.service.log[-3000:]
        for visitor in self.visitors:
            visitor.was_cut_off = False
        if not self._first:
            self._first = self._used()

    async def warm_containers(self) -> list[str]:
        """Return the full ids of the running notebooks that were given to nobody."""
        words = (f"--filter=label={SERVICE_LABEL}={self.service.name}", f"--filter=label={KEY_LABEL}")
        shown = await self.engine.docker("ps", "--no-trunc", "--format={{.ID}} {{.Names}}", *words)
        return [line.split()[0] for line in shown.splitlines() if not line.endswith("-given")]

    async def _take(self, pool: str) -> Taken:
        clicks = Clicks()
        clicker = Clicker(self.service, (pool,))
        await clicker._click(clicks, pool)
        assert clicks.given, f"a click got {list(clicks.statuses)} while all was well"
        self._keys.append(clicks.given[0].key)
        return clicks.given[0]

    async def _start_anew(self) -> None:
        await self._see_off(self.visitors)
        if self.service.process is not None and self.service.process.returncode is None:
            await self.service.kill()
        await self._unmount()
        await self.engine.ensure()
        await self.engine.clear()
        self.set_clock(0)
        self.service = self._new_service()
        self._first, self._is_given_up = {}, False
        await self.open()

    async def _see_off(self, visitors: list[Visitor]) -> None:
        for visitor in list(visitors):
            await visitor.go()
            self.visitors.remove(visitor)
            await self._end(id_of(visitor.taken.key))

    async def _end(self, notebook_id: str) -> None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            address = f"{self.service.admin_url}/api/notebooks/{notebook_id}"
            async with self.service.operator() as session, session.delete(address, timeout=_SOON):
                pass

    # A fault

    async def endure(self, fault: Fault, seconds: float | None = None) -> Outcome:
        """Let it happen for ``seconds``, its own length by default, and answer the questions."""
        await self.settle()
        before = [(visitor, visitor.process) for visitor in self.visitors]
        clicks, watch = Clicks(), Watch(self, fault.known, from_the_start=fault.breaks_sockets)
        clicker = Clicker(self.service, self.kind.pools)
        log_begins = len(self.service.log)
        looking = asyncio.ensure_future(watch.look())
        clicking = asyncio.ensure_future(clicker.click_on(clicks))
        try:
            async with fault.act(self):
                await asyncio.sleep(fault.seconds if seconds is None else seconds)
            _, full = await asyncio.gather(self._stop_soon(clicker, clicking), self._full_after(_HEALTHY))
        finally:
            for task in (looking, clicking):
                task.cancel()
            await asyncio.wait({looking, clicking})
        outcome = Outcome(fault.name, bool(fault.known), known=watch.known, name=watch.name, words=watch.words)
        outcome.full = full
        self._is_given_up = full is None
        outcome.log = warnings(self.service.log[log_begins:])
        self._ask_about_knowledge(fault, outcome, self.service.log[log_begins:])
        self._keys += [taken.key for taken in clicks.given]
        outcome.twice = given_twice(self._keys)
        outcome.wrong += self._wrong_answers(fault, clicks)
        for number, (visitor, process) in enumerate(before):
            await self._ask(visitor, process, fault, is_lead=number == 0, outcome=outcome)
        outcome.wrong += await self._ownerless(len(before) + len(clicks.given) + clicks.statuses[0])
        if fault.kills is not Kills.ALL:
            bad = [status for status in self._of_whole(await clicker.answers()) if status != 200]
            outcome.lost += [f"a clicked notebook, which answers {status}" for status in bad]
        await clicker.leave()
        if fault.kills is not Kills.NOTHING or fault.touches_lead:
            await self._see_off([visitor for visitor in self.visitors if visitor is before[0][0]])
        await self._end_all_but_visitors()
        outcome.leaked = await self._leaks()
        return outcome

    @staticmethod
    async def _stop_soon(clicker: Clicker, clicking: asyncio.Future[None]) -> None:
        await asyncio.sleep(_AFTER)
        clicker.stop()
        await asyncio.wait({clicking})

    def _ask_about_knowledge(self, fault: Fault, outcome: Outcome, log: str) -> None:
        """What heals before the health was asked must at least stand in the log."""
        if outcome.known is None and fault.may_heal_at_once and any(f'"{name}.' in log for name in fault.known):
            outcome.known, outcome.name = 0.0, "the log"

    async def _ask(self, visitor: Visitor, process: Process, fault: Fault, *, is_lead: bool, outcome: Outcome) -> None:
        """Ask a visitor if the variable is still there, or what the service says of its end."""
        who = "the lead" if is_lead else "a bystander"
        may_die = fault.kills is Kills.ALL or (fault.kills is Kills.LEAD and is_lead)
        lives = process.lives
        if await visitor.has_kept():
            if visitor.was_cut_off and not fault.breaks_sockets and not (is_lead and fault.touches_lead):
                outcome.wrong.append(f"the WebSocket of {who} broke")
            return
        told = await self._told(visitor)
        if lives or not may_die:
            state = "still runs" if lives else "has ended"
            answer = await status_of(visitor.taken)
            outcome.lost.append(f"the variable of {who}, whose container {state}; it answers {answer}: {told!r}")
            return
        outcome.told = told
        if not told:
            outcome.wrong.append(f"the session of {who} is dead, and the service has not noticed")
        if "memory" in told:
            outcome.wrong.append(f"{who} was told {told!r}")

    @staticmethod
    async def _told(visitor: Visitor) -> str:
        """Return what the service says of an end, waiting a while: the engine may be late to tell of it."""
        deadline = asyncio.get_running_loop().time() + _GONE
        while not (told := await visitor.told()) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.5)
        return told

    def _wrong_answers(self, fault: Fault, clicks: Clicks) -> list[str]:
        """Say what was answered wrongly. Who is given a warm notebook just as it is killed by hand may find it dead."""
        silence = {0} if fault.breaks_sockets or fault.is_deaf else set()
        may_be = {200} | PAUSES | silence
        dead = self._of_whole(clicks.dead)
        found = [f"a notebook that answered {status} was given" for status in dead if status not in silence]
        found += [f"{count} clicks got {status}" for status, count in clicks.statuses.items() if status not in may_be]
        if clicks.without_retry:
            found.append(f"{clicks.without_retry} refusals without Retry-After")
        return found

    def _of_whole(self, answers: list[tuple[float, int]]) -> list[int]:
        """Return what notebooks answered that were given when the fault had done its work on warm ones."""
        return [status for given_at, status in answers if given_at > self.touched_until]

    async def _ownerless(self, most: int) -> list[str]:
        """Say how many notebooks more are assigned than visitors can have: warm ones that were taken for sessions."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            more = sum(notebook["state"] == "assigned" for notebook in await self.notebooks()) - most
            return [f"{more} notebooks are assigned to nobody"] if more > 0 else []
        return []

    # What is left

    async def _end_all_but_visitors(self) -> None:
        """End every session that was clicked, also one whose visitor never heard of it."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            kept = {id_of(visitor.taken.key) for visitor in self.visitors}
            for notebook in await self.notebooks():
                if notebook["state"] == "assigned" and notebook["id"] not in kept:
                    await self._end(notebook["id"])

    async def _leaks(self) -> list[str]:
        """Return what is left after a minute; at once if nothing is."""
        found: list[str] = ["nothing could be asked"]
        deadline = asyncio.get_running_loop().time() + _GONE
        while found and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, psutil.NoSuchProcess):
                found = await self._unaccounted()
            if found:
                await asyncio.sleep(0.5)
        return found

    async def _unaccounted(self) -> list[str]:
        """Return what belongs to no notebook in the table."""
        notebooks = await self.notebooks()
        table = {it["id"] for it in notebooks}
        shown = await self.engine.docker(
            "ps", "-a", "--no-trunc", f"--filter=label={SERVICE_LABEL}={self.service.name}",
            f'--format={{{{.ID}}}}|{{{{.State}}}}|{{{{.Label "{KEY_LABEL}"}}}}|{{{{.Label "{OWNER_LABEL}"}}}}',
        )  # fmt: skip
        found = []
        for line in shown.splitlines():
            container, state, key, owner = line.split("|", 3)
            if (key and id_of(key) not in table) or not (key or owner):
                found.append(f"container {container[:12]} ({state}) in no table")
        used, first = self._used(), self._first
        bridged = [name or self.service.name for name in self.kind.on_bridge]
        spare = used["namespaces"] - 2 * sum(notebook["pool"] not in bridged for notebook in notebooks)
        if spare > 0:
            found.append(f"{spare} descriptors of namespaces")
        if first and used["others"] > first["others"] + _DESCRIPTORS:
            found.append(f"{used['others'] - first['others']} descriptors")
        if first and used["memory"] > first["memory"] + _MEMORY:
            found.append(f"{(used['memory'] - first['memory']) / (1 << 20):.0f} MiB of memory")
        volumes = (await self.engine.docker("volume", "ls", "-q")).split()
        if len(volumes) > len(self.kind.pools):
            found.append(f"{len(volumes)} volumes")
        return found

    def _used(self) -> dict[str, float]:
        """Return what the service uses: descriptors of namespaces, all others, and bytes of memory."""
        process = self.process
        namespaces = namespaces_held_by(process.pid)
        return {
            "namespaces": namespaces,
            "others": process.num_fds() - namespaces,
            "memory": process.memory_info().rss,
        }

    # Asking the service

    async def notebooks(self) -> list[dict[str, Any]]:
        address = f"{self.service.admin_url}/api/notebooks"
        async with self.service.operator() as session, session.get(address, timeout=_SOON) as reply:
            return list((await reply.json())["notebooks"])

    async def ailments(self, *, is_public: bool) -> list[dict[str, Any]] | None:
        """Return the checks of the health that fail, also those that do not count; None if it does not answer."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            session = client() if is_public else self.service.operator()
            address = self.service.url if is_public else self.service.admin_url
            async with session, session.get(f"{address}/health", timeout=_SOON) as reply:
                return [check for check in (await reply.json())["checks"] if not check["ok"]]
        return None

    async def _is_full(self) -> bool:
        """Return True if all checks are healthy, and each pool has the warm notebooks that it should have."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with client() as session:
                async with session.get(f"{self.service.url}/health", timeout=_SOON) as reply:
                    health = await reply.json()
                if not health["ok"] or not all(check["ok"] for check in health["checks"]):
                    return False
                for pool in self.kind.pools:
                    query = f"?pool={pool}" if pool else ""
                    async with session.get(f"{self.service.url}/api/stats{query}", timeout=_SOON) as reply:
                        stats = await reply.json()
                    wanted = 1 if pool else _WARM
                    if stats["warm"] < min(wanted, stats["capacity"] - stats["assigned"]):
                        return False
                return True
        return False

    async def _full_after(self, limit: float) -> float | None:
        """Wait until it is full; return the seconds, None after ``limit``."""
        now = asyncio.get_running_loop().time
        began = now()
        while now() < began + limit:
            if await self._is_full():
                return now() - began
            await asyncio.sleep(0.1)
        return None


@contextlib.asynccontextmanager
async def world(home: Path, engine: OwnEngine, kind: str, seed: int) -> AsyncIterator[World]:
    """Open a world in which chance is that of ``seed``; what its service leaves behind at the end is an error."""
    chance = random.Random(seed)
    async with between(engine.socket, chance) as middleman:
        made = World(home, engine, middleman, KINDS[kind], chance)
        left: list[str] = []
        try:
            await made.open()
            yield made
        finally:
            await engine.ensure()
            middleman.be_honest()
            left = await made.close()
        assert not left, left


async def _run(*words: str) -> None:
    child = await asyncio.create_subprocess_exec(*words)
    assert await child.wait() == 0, " ".join(words)
