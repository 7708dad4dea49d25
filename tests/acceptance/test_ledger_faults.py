"""A ledger that is lost while the service runs is noticed, said and written anew; nobody loses a notebook by it."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.harness import IMAGE, Service, Taken
from tests.acceptance.test_beliefs import answers, small_disk

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

NOTICED = 10.0  # seconds; about five are promised, on a machine that does nothing else
OPTIONS = (f"--image={IMAGE}", "--pool-size=4", "--warm=1")


def events(service: Service, name: str) -> list[dict[str, object]]:
    return [event for event in service.events if event["event"] == name]


async def seen(service: Service, name: str, number: int = 1, *, within: float = NOTICED) -> dict[str, object]:
    """Return the event of that name, once it is there that often."""
    deadline = time.monotonic() + within
    while len(events(service, name)) < number:
        assert time.monotonic() < deadline, f"no {name}: {service.log}"
        await asyncio.sleep(0.1)
    return events(service, name)[number - 1]


async def ledger_is_well(service: Service) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/health") as reply:
        checks = (await reply.json())["checks"]
    (found,) = [check for check in checks if check["service"] == "ledger"]
    return bool(found["ok"])


def owners(service: Service) -> dict[str, object]:
    """Return what stands in the file, as another process reads it."""
    path = service.home / service.name / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        return dict(database.execute("SELECT key, state FROM sessions WHERE ended_at IS NULL"))


class Scene:
    """A service with sessions from before, during and after the fault of its ledger."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.taken: list[Taken] = []

    async def take(self) -> None:
        await self.service.until(lambda stats: stats["warm"] == 1)
        self.taken.append(await self.service.spawn())

    async def survives_a_kill(self) -> None:
        """All sessions go on after ``kill -9``; what is warm stays warm, and nothing is given twice."""
        await self.service.until(lambda stats: stats["warm"] == 1)
        await self.service.kill()
        found = owners(self.service)
        assert {each.key for each in self.taken} <= {key for key, state in found.items() if state == "assigned"}
        await self.service.start(warm=1)
        assert [await answers(each) for each in self.taken] == [200] * len(self.taken)
        stats = await self.service.stats()
        assert (stats["assigned"], stats["warm"]) == (len(self.taken), 1)
        assert events(self.service, "session.recovered") == []
        assert (await self.service.spawn()).key not in {each.key for each in self.taken}


@contextlib.asynccontextmanager
async def scene(service: Service) -> AsyncIterator[Scene]:
    try:
        await service.start(warm=1)
        made = Scene(service)
        await made.take()
        yield made
    finally:
        await service.remove()


async def test_a_ledger_that_is_deleted_is_written_anew(tmp_path: Path) -> None:
    async with scene(Service(tmp_path, "docker", *OPTIONS)) as made:
        for part in (tmp_path / made.service.name).glob("ledger.sqlite*"):
            part.unlink()
        lost = await seen(made.service, "ledger.lost")
        assert lost["why"] == "it was deleted"
        await made.take()
        await seen(made.service, "ledger.rewritten")
        assert await ledger_is_well(made.service)
        await made.survives_a_kill()


async def test_a_ledger_that_is_locked_for_six_seconds_waits_where_it_is(tmp_path: Path) -> None:
    async with scene(Service(tmp_path, "docker", *OPTIONS)) as made:
        path = tmp_path / made.service.name / "ledger.sqlite"
        inode = path.stat().st_ino
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            began = time.monotonic()
            lost = await seen(made.service, "ledger.lost")
            assert lost["why"] == "another process has locked it"
            assert not await ledger_is_well(made.service)
            await made.take()
            await asyncio.sleep(max(0.0, began + 6 - time.monotonic()))
        await seen(made.service, "ledger.rewritten")
        assert await ledger_is_well(made.service)
        assert path.stat().st_ino == inode
        await made.survives_a_kill()


async def test_a_ledger_on_a_full_disk_comes_back_when_there_is_room(tmp_path: Path) -> None:
    service = Service(tmp_path, "docker", *OPTIONS)
    async with small_disk(tmp_path / service.name) as filler, scene(service) as made:
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * 512)
                file.flush()
        await seen(service, "ledger.lost", within=30)
        await made.take()
        assert not await ledger_is_well(service)
        filler.unlink()
        await seen(service, "ledger.rewritten")
        await made.survives_a_kill()


async def remount(path: Path, how: str) -> None:
    child = await asyncio.create_subprocess_exec("mount", "-o", f"remount,{how}", str(path))
    assert await child.wait() == 0


async def test_a_ledger_on_a_disk_that_was_read_only_at_the_start_comes_back(tmp_path: Path) -> None:
    service = Service(tmp_path, "docker", *OPTIONS)
    async with small_disk(tmp_path / service.name), scene(service) as made:
        await service.until(lambda stats: stats["warm"] == 1)
        await service.kill()
        before = owners(service)
        await remount(tmp_path / service.name, "ro")
        await service.start(warm=1)
        await seen(service, "ledger.open_failed")
        assert not await ledger_is_well(service)
        await made.take()
        await remount(tmp_path / service.name, "rw")
        await seen(service, "ledger.rewritten")
        assert before.keys() <= owners(service).keys()
        await made.survives_a_kill()
