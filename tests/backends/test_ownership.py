"""One owner for each service name on an engine, whatever became of the one before."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import aiodocker
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.backends.test_engine import SmallEngine, said
from tmppool.backends import container_dial, engine, ownership, process_birth
from tmppool.backends.container import OWNER_LABEL, owner_name
from tmppool.backends.ownership import Owner, OwnerIdentity, has_ended, this_process
from tmppool.clocks import boot_id
from tmppool.errors import BackendError, ConfigError, ImageError
from tmppool.pool_settings import DEFAULT_IMAGE

ME = OwnerIdentity("here", "boot-1", "pid:[1]", 100, "boot-1 5000", "/state", "8:100")
HIM = replace(ME, pid=99, birth="boot-1 4000", state="/other", lock="8:200")


@pytest.mark.parametrize(
    ("other", "birth", "is_local", "expected"),
    [
        pytest.param(HIM, "boot-1 4000", True, False, id="it lives"),
        pytest.param(HIM, None, True, True, id="its process is over"),
        pytest.param(HIM, "boot-1 4500", True, True, id="its number is another process's now"),
        pytest.param(replace(HIM, namespace="pid:[2]"), None, True, False, id="from here it cannot be seen"),
        pytest.param(
            replace(HIM, namespace="pid:[2]", lock="8:100"), None, True, True, id="unseen, but its lock is ours now"
        ),
        pytest.param(replace(HIM, namespace="pid:[2]", lock=""), None, True, False, id="unseen and without a lock"),
        pytest.param(replace(HIM, boot="boot-0", birth="boot-0 4000"), None, True, True, id="before the last boot"),
        pytest.param(
            replace(HIM, boot="boot-0", birth="boot-0 4000"), None, False, True, id="before this machine's last boot"
        ),
        pytest.param(
            replace(HIM, boot="boot-9", birth="boot-9 1", host="there"), None, False, False, id="on another machine"
        ),
    ],
)
def test_whether_an_owner_lives_no_more(
    other: OwnerIdentity, birth: str | None, *, is_local: bool, expected: bool
) -> None:
    assert has_ended(other, ME, birth, is_local=is_local) is expected


def test_no_lock_of_nobody_is_a_lock() -> None:
    other = replace(HIM, namespace="pid:[2]", lock="")
    assert not has_ended(other, replace(ME, lock=""), None, is_local=True)


def test_this_process_says_who_it_is(tmp_path: Path) -> None:
    assert this_process(tmp_path).lock == ""
    (tmp_path / "lock").touch()
    me = this_process(tmp_path)
    assert (me.pid, me.birth, me.boot) == (os.getpid(), process_birth.born(os.getpid()), boot_id())
    assert me.lock == f"{(tmp_path / 'lock').stat().st_dev}:{(tmp_path / 'lock').stat().st_ino}"
    assert not has_ended(me, replace(me, state="/other"), process_birth.born(os.getpid()), is_local=True)


# On the engine

SERVICE = f"test-{os.getpid()}-owner"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def docker() -> AsyncIterator[aiodocker.Docker]:
    async with aiodocker.Docker() as made:
        yield made
        await engine.remove(made, owner_name(SERVICE))


@pytest.fixture
def me(tmp_path: Path) -> OwnerIdentity:
    return this_process(tmp_path)


def owner(other: OwnerIdentity, image: str = DEFAULT_IMAGE) -> Owner:
    return Owner(SERVICE, image, other)


async def kept(docker: aiodocker.Docker) -> bool:
    filters = {"name": [f"^/{owner_name(SERVICE)}$"]}
    return bool(await docker.containers.list(all=True, filters=filters))


@pytest.mark.engine
async def test_there_is_one_and_the_next_comes_when_it_has_gone(docker: aiodocker.Docker, me: OwnerIdentity) -> None:
    one, other = owner(me), owner(replace(me, state="/other"))
    await one.take()
    refused = rf"^--pool-name: a service called '{SERVICE}' already runs on this engine \(process {me.pid} on "
    with pytest.raises(ConfigError, match=refused) as caught:
        await other.take()
    assert f"state in {me.state}): choose another name" in str(caught.value)
    assert f"docker rm {owner_name(SERVICE)}" in str(caught.value)
    await other.close()
    assert await kept(docker)
    await one.close()
    assert not await kept(docker)
    await other.take()
    await other.close()


@pytest.mark.engine
async def test_of_many_that_come_at_once_one_is_the_owner(docker: aiodocker.Docker, me: OwnerIdentity) -> None:
    others = [owner(replace(me, state=f"/{number}")) for number in range(6)]
    taken = await asyncio.gather(*(each.take() for each in others), return_exceptions=True)
    assert sorted(type(result).__name__ for result in taken) == ["ConfigError"] * 5 + ["NoneType"], taken
    await asyncio.gather(*(each.close() for each in others))
    assert not await kept(docker)


@pytest.mark.engine
async def test_one_that_was_killed_is_followed_at_once_also_by_many(
    docker: aiodocker.Docker, me: OwnerIdentity
) -> None:
    with subprocess.Popen(["sleep", "60"]) as dead:
        birth = await asyncio.to_thread(process_birth.born, dead.pid)
        assert birth is not None
        killed = owner(replace(me, pid=dead.pid, birth=birth, state="/dead"))
        await killed.take()
        heirs = [owner(replace(me, state=f"/{number}")) for number in range(4)]
        with pytest.raises(ConfigError):
            await heirs[0].take()
        dead.kill()
    await heirs[0].close()
    taken = await asyncio.gather(*(each.take() for each in heirs), return_exceptions=True)
    assert [result for result in taken if result is None] == [None]
    assert [type(result).__name__ for result in taken if result is not None] == ["ConfigError"] * 3, taken
    await asyncio.gather(killed.close(), *(each.close() for each in heirs))


@pytest.mark.engine
async def test_it_is_taken_again_when_somebody_has_cleared_it_away(docker: aiodocker.Docker, me: OwnerIdentity) -> None:
    ended: list[str] = []
    one = Owner(SERVICE, DEFAULT_IMAGE, me, lambda: ended.append("one"))
    await one.take()
    await one.keep()
    await engine.remove(docker, owner_name(SERVICE))
    await one.keep()
    assert await kept(docker)

    await engine.remove(docker, owner_name(SERVICE))
    other = owner(replace(me, state="/other"))
    await other.take()
    assert ended == []
    with capture_logs() as logs:
        await one.keep()
        await one.keep()
    assert [(line["event"], line["log_level"]) for line in logs] == [("owner.lost", "error")]
    assert ended == ["one"]
    with pytest.raises(ConfigError, match="already runs on this engine"):
        await one.close()
    assert await kept(docker)  # it is the other one's
    await other.close()


@pytest.mark.engine
@pytest.mark.parametrize("lie", ["nobody", "nobody, twice", "another", "one that has ended"])
async def test_one_answer_without_the_owners_name_ends_no_ownership(
    docker: aiodocker.Docker, me: OwnerIdentity, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    ended: list[str] = []
    one = Owner(SERVICE, DEFAULT_IMAGE, me, lambda: ended.append("one"))
    await one.take()
    said = {"another": replace(me, namespace="another"), "one that has ended": replace(me, birth="another")}
    labels = {OWNER_LABEL: json.dumps(asdict(said[lie]))} if lie in said else None
    show, lies = container_dial.show, [True] * (2 if "twice" in lie else 1)

    async def false(*asked: Any) -> dict[str, Any]:
        shown = await show(*asked)
        return shown | {"Config": {"Labels": labels}} if lies and lies.pop() else shown

    async def remove(*_about: object) -> None:
        pytest.fail("it is removed by one answer")

    with monkeypatch.context() as lying:
        lying.setattr(container_dial, "show", false)
        lying.setattr(engine, "remove", remove)
        await one.keep()
    assert (lies, ended) == ([], [])
    assert not one.is_lost
    await one.close()
    assert not await kept(docker)


@pytest.mark.engine
async def test_a_container_of_that_name_that_says_nothing_is_left_alone(
    docker: aiodocker.Docker, me: OwnerIdentity
) -> None:
    await docker.containers.create({"Image": DEFAULT_IMAGE}, name=owner_name(SERVICE))
    one = owner(me)
    with pytest.raises(ConfigError, match=r"\(somebody else's\): choose another name"):
        await one.take()
    await one.close()
    assert await kept(docker)


@pytest.mark.engine
async def test_an_image_that_is_not_there_is_told(docker: aiodocker.Docker, me: OwnerIdentity) -> None:
    one = owner(me, "nobody/has:this")
    with pytest.raises(ImageError, match="is not on the engine"):
        await one.take()
    await one.close()


async def test_without_an_engine_it_cannot_be_taken_and_is_left_without_a_traceback(
    me: OwnerIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    one = owner(me)
    with pytest.raises(BackendError, match="did not answer"):
        await one.take()
    with capture_logs() as logs:
        await one.close()
    assert not one.is_lost
    assert logs == []


async def test_an_engine_that_goes_away_takes_nothing_from_the_owner(
    me: OwnerIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SmallEngine(tmp_path / "engine.sock")
    small.answers |= {
        f"images/{DEFAULT_IMAGE}/json": lambda _request: said({"Id": "sha256:abc", "Config": {}}),
        "containers/create": lambda _request: said({"Id": "c" * 64, "Warnings": []}, 201),
    }
    await small.open()
    monkeypatch.setenv("DOCKER_HOST", small.url)
    one = owner(me)
    await one.take()
    await small.close()
    with capture_logs() as logs:
        await one.keep()
        await one.close()
    assert not one.is_lost
    assert [line["event"] for line in logs] == ["owner.check_failed", "owner.release_failed"]


@pytest.mark.parametrize("mixed_up", [3, 99])
async def test_an_answer_about_another_container_names_no_owner(
    me: OwnerIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixed_up: int
) -> None:
    """As of a proxy that gives two callers each other's answers: another service's owner lives, and not here."""
    monkeypatch.setattr(ownership, "_TRIES", 5)
    monkeypatch.setattr(ownership, "_PAUSE", 0.0)
    ended: list[str] = []
    small, name, others = SmallEngine(tmp_path / "engine.sock"), owner_name(SERVICE), [mixed_up]

    def shown(_request: web.Request) -> web.Response:
        others[0] -= 1
        said_of, who = (name, me) if others[0] < 0 else ("somebody's", replace(me, state="/other"))
        labels = {OWNER_LABEL: json.dumps(asdict(who))}
        return said({"Id": "c" * 64, "Name": f"/{said_of}", "Config": {"Labels": labels}})

    small.answers |= {
        f"images/{DEFAULT_IMAGE}/json": lambda _request: said({"Id": "sha256:abc", "Config": {}}),
        f"containers/{name}/json": shown,
    }
    await small.open()
    monkeypatch.setenv("DOCKER_HOST", small.url)
    one = Owner(SERVICE, DEFAULT_IMAGE, me, lambda: ended.append("one"))
    others[0] = 0
    await one.take()
    others[0] = mixed_up
    with capture_logs() as logs:
        await one.keep()
        await one.close()
    await small.close()
    failures = [line["error"] for line in logs if line["event"] == "owner.check_failed"]
    assert (ended, one.is_lost) == ([], False)
    told = [f"the engine tells of another container when it is asked about {name}"]
    assert failures == (told if mixed_up > 5 else [])


async def test_one_that_was_never_taken_is_closed_for_nothing(me: OwnerIdentity) -> None:
    await owner(me).close()
    assert asdict(me)["pid"] == os.getpid()
