"""Notebooks as containers keep the contract, on a real engine; what an ill engine does is tried on a small one."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiodocker
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.backends.contract import FAILING, KEY, NEVER_READY, OTHER, SERVER, CommandContract, Site, started
from tests.backends.test_engine import SmallEngine, output, said, until
from tests.specs import spec_of
from tests.test_pool import Remembered
from tmppool import recovery
from tmppool.audit import canary
from tmppool.backends import container_dial, engine, uids
from tmppool.backends import docker as docker_module
from tmppool.backends.base import DEFAULT_COMMAND, Spec
from tmppool.backends.container import (
    GIVEN_LABEL,
    KEY_LABEL,
    SECRET_LABEL,
    container_name,
    given_name,
    network_name,
    owner_name,
)
from tmppool.backends.container_dial import GoneError
from tmppool.backends.docker import DockerBackend
from tmppool.build_image import build
from tmppool.errors import BackendError, ImageError, StartError, TakenError
from tmppool.jupyter import JupyterClient
from tmppool.keys import id_of
from tmppool.ledger import Row
from tmppool.notebook import State
from tmppool.policy import Limits
from tmppool.pool import Phase, Pool
from tmppool.pool_settings import DEFAULT_IMAGE
from tmppool.pools import Pools
from tmppool.reconcile import Reconciler
from tmppool.running import Death, Given, Paused

on_an_engine = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test may have to build the image


def spec(service: str = "one", **more: object) -> Spec:
    return spec_of(service=f"test-{os.getpid()}-{service}", pool="main", image=DEFAULT_IMAGE, **more)


class DockerSite(Site):
    def __init__(self, docker: aiodocker.Docker, network: str = "none") -> None:
        self.docker, self.network = docker, network
        self.made: list[DockerBackend] = []

    async def make(
        self, service: str = "one", *, command: str = SERVER, start_timeout: float = 20.0, **more: object
    ) -> DockerBackend:
        more = {"command": command, "start_timeout": start_timeout, "network": self.network, **more}
        backend = DockerBackend(spec(service, **more))
        self.made.append(backend)
        self.traits = await backend.open()
        return backend

    async def kill(self, key: str) -> None:
        await self.docker.containers.container(container_name(spec(), key)).kill()

    async def leftovers(self, key: str) -> list[str]:
        found = await self.docker.containers.list(all=True, filters={"label": [f"{KEY_LABEL}={key}"]})
        return [f"container {container['Names']} {container['State']}" for container in found]

    async def users(self) -> list[str]:
        """Return as whom each notebook of ours runs."""
        found = []
        for service in ("one", "two"):
            filters = {"label": [f"tmppool.service={spec(service).service}"]}
            for container in await self.docker.containers.list(all=True, filters=filters):
                found.append((await container.show())["Config"]["User"])  # noqa: PERF401 - each waits
        return found

    async def clean(self) -> None:
        for service in ("one", "two"):
            filters = {"label": [f"tmppool.service={spec(service).service}"]}
            for container in await self.docker.containers.list(all=True, filters=filters):
                await engine.remove(self.docker, container.id)
            for volume in await engine.volumes(self.docker, filters["label"]):
                await engine.remove_volume(self.docker, volume)
        for network in await self.docker.networks.list():
            if network["Name"].startswith(f"tmppool-test-{os.getpid()}-"):
                await aiodocker.networks.DockerNetwork(self.docker, network["Id"]).delete()


@pytest.fixture
async def docker() -> AsyncIterator[aiodocker.Docker]:
    async with aiodocker.Docker() as made:
        yield made


@pytest.fixture
async def site(docker: aiodocker.Docker) -> AsyncIterator[DockerSite]:
    if not await engine.has_image(DEFAULT_IMAGE):
        await build("debian")
    made = DockerSite(docker)
    yield made
    for backend in made.made:
        await backend.close()
    await made.clean()


class TestDocker(CommandContract):
    pytestmark = on_an_engine


@pytest.mark.parametrize("network", ["isolated", "bridge"])
class TestDockerOnABridge:
    pytestmark = on_an_engine

    async def test_a_notebook_is_reached_by_its_address(self, site: DockerSite, network: str) -> None:
        site.network = network
        backend = await site.make()
        running = await backend.start(KEY, backend.edition)
        assert running.dial.host != "127.0.0.1"
        async with JupyterClient(running) as jupyter:
            assert await jupyter.answers()
        (shown,) = [n for n in await site.docker.networks.list() if n["Name"] == network_name(spec(network=network))]
        assert shown["Internal"] == (network == "isolated")
        await backend.close()
        (listed,) = await (await site.make()).list()
        assert (listed.dial.host, listed.token) == (running.dial.host, running.token)


class TestOnTheEngine:
    pytestmark = on_an_engine

    @pytest.mark.parametrize("is_listed", [False, True])
    async def test_removals_by_somebody_else_are_told_from_ends(self, site: DockerSite, is_listed: bool) -> None:  # noqa: FBT001
        backend = await site.make()
        deaths = backend.deaths()
        first = asyncio.ensure_future(anext(deaths))
        for number in range(4):
            key = f"{number}" * 22
            await backend.start(key, backend.edition)
            removing = asyncio.ensure_future(site.docker.containers.container(backend._ids[key]).delete(force=True))
            async with asyncio.timeout(10):
                assert await (first if number == 0 else anext(deaths)) == key
            while is_listed and not removing.done():
                await backend.list()
            assert await backend.death(key) is Death.REMOVED
            await removing
        await deaths.aclose()

    async def test_a_pause_is_told_and_listed(self, site: DockerSite) -> None:
        backend = await site.make()
        deaths = backend.deaths()
        told = asyncio.ensure_future(anext(deaths))
        await backend.start(KEY, backend.edition)
        container = site.docker.containers.container(container_name(spec(), KEY))
        await container.pause()
        async with asyncio.timeout(10):
            assert await told == Paused(KEY, is_paused=True)
        assert [item.is_paused for item in await backend.list()] == [True]
        await container.unpause()
        async with asyncio.timeout(10):
            assert await anext(deaths) == Paused(KEY, is_paused=False)
        assert [item.is_paused for item in await backend.list()] == [False]
        await deaths.aclose()

    async def test_what_was_made_with_other_settings_is_told_and_still_reached(self, site: DockerSite) -> None:
        running = await started(await site.make())
        for more, is_same in (
            ({}, True),
            ({"start_timeout": 9.0}, True),
            ({"memory": 1 << 29}, False),
            ({"seccomp": "engine"}, False),
            ({"network": "isolated"}, False),
        ):
            heir = await site.make(**more)
            (listed,) = await heir.list()
            assert (listed.edition == heir.edition.id, listed.token) == (is_same, running.token), more
            async with JupyterClient(listed) as jupyter:
                assert await jupyter.answers()

    async def test_the_real_jupyter_starts_and_ends(self, site: DockerSite) -> None:
        backend = await site.make(command=DEFAULT_COMMAND, start_timeout=60.0)
        running = await backend.start(KEY, backend.edition)
        async with JupyterClient(running) as jupyter:
            assert await jupyter.silent_for() is None
            await jupyter.start_kernel("welcome.ipynb")
            assert await jupyter.silent_for() in (None, 0.0)  # an idle kernel is no work, one that starts may be
        await backend.stop(KEY)
        assert await site.leftovers(KEY) == []

    async def test_the_landing_page_is_what_the_image_says(self, site: DockerSite) -> None:
        await site.make()
        assert (site.traits.isolated, site.traits.edition.landing) == (True, "/notebooks/welcome.ipynb")

    async def test_a_command_that_fails_tells_its_exit_code(self, site: DockerSite) -> None:
        backend = await site.make(command=FAILING)
        with pytest.raises(StartError, match=r"exited with code 3 before it answered$") as caught:
            await backend.start(KEY, backend.edition)
        assert set(caught.value.log_tail.splitlines()) == {"first words", "last words"}

    async def test_a_container_that_is_not_ours_is_never_touched(self, site: DockerSite) -> None:
        config = {
            "Image": DEFAULT_IMAGE,
            "Cmd": ["sleep", "86396"],
            "Entrypoint": [],
            "Labels": {"tmppool.pool": "main", KEY_LABEL: KEY},
            "HostConfig": {"NetworkMode": "none"},
        }
        stranger = await site.docker.containers.create(config)
        try:
            await stranger.start()
            backend = await site.make()
            assert await backend.list() == []
            await backend.stop(KEY)
            assert (await stranger.show())["State"]["Running"] is True
        finally:
            await engine.remove(site.docker, stranger.id)

    async def test_a_container_that_was_made_and_never_started_is_cleared_away(self, site: DockerSite) -> None:
        backend = await site.make()
        labels = {"tmppool.service": spec().service, "tmppool.pool": "main", KEY_LABEL: KEY}
        await site.docker.containers.create(
            {"Image": DEFAULT_IMAGE, "Labels": labels}, name=container_name(spec(), KEY)
        )
        assert await backend.list() == []
        assert await site.leftovers(KEY) == []

    @pytest.mark.parametrize("name", ["given", "by hand"])
    async def test_one_that_has_another_name_was_given_away_and_is_ended_all_the_same(
        self, site: DockerSite, name: str
    ) -> None:
        backend = await site.make()
        await backend.start(KEY, backend.edition)
        if name == "given":
            await backend.give(KEY)
        new = f"renamed-{os.getpid()}"
        for asked in (backend, await site.make()):
            (container,) = await site.docker.containers.list(filters={"label": [f"{KEY_LABEL}={KEY}"]})
            if name == "by hand" and asked is backend:
                await container.rename(new)
            (listed,) = await asked.list()
            assert listed.given is Given.YES
        await backend.give(KEY)
        assert (await container.show())["Name"] == f"/{given_name(spec(), KEY)}"
        await container.rename(new)
        await asked.stop(KEY)
        assert await site.leftovers(KEY) == []

    async def test_a_paused_container_is_no_remains(self, site: DockerSite) -> None:
        backend = await site.make()
        running = await backend.start(KEY, backend.edition)
        container = site.docker.containers.container(container_name(spec(), KEY))
        await container.pause()
        for asked in (backend, await site.make()):
            (listed,) = await asked.list()
            assert listed.token == running.token
        await container.unpause()
        async with JupyterClient(listed) as jupyter:
            assert await jupyter.answers()

    async def test_one_that_is_said_to_be_another_process_is_adopted_when_that_is_over(
        self, site: DockerSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running = await started(await site.make())
        heir, genuine = await site.make(), engine.inspect

        async def false(*about: Any) -> dict[str, Any]:
            shown = await genuine(*about)
            shown["State"]["Pid"] = 1
            return shown

        monkeypatch.setattr(engine, "inspect", false)
        with capture_logs() as logs:
            assert [await heir.list(), await heir.list([KEY])] == [[], []]
        assert [line["event"] for line in logs] == ["adoption.postponed"]
        monkeypatch.setattr(engine, "inspect", genuine)
        (listed,) = await heir.list()
        assert (listed.token, listed.pid) == (running.token, running.pid)

    async def test_one_that_is_falsely_said_to_have_exited_goes_on_and_is_reached(
        self, site: DockerSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = await site.make()
        running = await backend.start(KEY, backend.edition)
        genuine = engine.containers

        async def false(*about: object) -> list[object]:
            found = await genuine(*about)
            for container in found:
                container._container["State"] = "exited"
            return found

        monkeypatch.setattr(engine, "containers", false)
        assert [item.key for item in await backend.list()] == [KEY]
        async with JupyterClient(running) as jupyter:
            assert await jupyter.answers()

    async def test_one_that_a_false_list_lacks_is_found_by_its_names(
        self, site: DockerSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = await site.make()
        await backend.start(KEY, backend.edition)
        await backend.start(OTHER, backend.edition)
        await backend.give(OTHER)

        async def nothing(*_about: object) -> list[object]:
            return []

        monkeypatch.setattr(engine, "containers", nothing)
        for asked in (backend, await site.make()):
            assert await asked.list() == []
            found = await asked.list([KEY, OTHER, "c" * 22])
            assert {item.key: item.given for item in found} == {KEY: Given.NO, OTHER: Given.YES}

    async def test_one_that_the_engine_denies_altogether_is_known_by_its_process(
        self, site: DockerSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that is paused, and takes no connection any more, has nothing else that speaks for it."""
        backend = await site.make()
        await backend.start(KEY, backend.edition)
        container = site.docker.containers.container(container_name(spec(), KEY))
        await container.pause()
        (paused,) = await backend.list()

        async def nothing(*_about: object) -> list[object]:
            return []

        async def denied(*_about: object) -> None:
            raise GoneError("no such container")

        monkeypatch.setattr(engine, "containers", nothing)
        monkeypatch.setattr(container_dial, "show", denied)
        assert [await backend.list(), await backend.list([KEY])] == [[], [paused]]
        assert await (await site.make()).list([KEY]) == []
        await container.unpause()
        await container.kill()
        await eventually_over(paused.pid)
        assert await backend.list([KEY]) == []

    async def test_one_that_was_started_anew_is_over(self, site: DockerSite) -> None:
        backend = await site.make()
        await backend.start(KEY, backend.edition)
        container = site.docker.containers.container(container_name(spec(), KEY))
        await container.restart(timeout=0)
        assert await backend.list([KEY]) == []
        (listed,) = await (await site.make()).list()
        assert listed.key == KEY

    async def test_of_two_services_one_gives_a_notebook_away(self, site: DockerSite) -> None:
        one, other = await site.make(), await site.make()
        await one.start(KEY, one.edition)
        await other.list()
        await one.give(KEY)
        await one.give(KEY)
        with pytest.raises(TakenError):
            await other.give(KEY)

    async def test_a_stopped_notebook_holds_no_descriptor(self, site: DockerSite) -> None:
        backend = await site.make()
        await backend.start(OTHER, backend.edition)
        await backend.stop(OTHER)
        before = namespaces()
        for _ in range(3):
            await backend.start(KEY, backend.edition)
            assert namespaces() == before + 2
            await backend.stop(KEY)
            assert namespaces() == before

    async def test_a_start_that_failed_holds_no_descriptor(self, site: DockerSite) -> None:
        backend = await site.make(command=NEVER_READY, start_timeout=1.0)
        before = namespaces()
        with pytest.raises(StartError):
            await backend.start(KEY, backend.edition)
        assert namespaces() == before

    async def test_notebooks_of_all_services_have_different_users_and_no_more_than_the_range(
        self, site: DockerSite
    ) -> None:
        numbers = range(23_000, 23_003)
        one, two = await site.make("one", uids=numbers), await site.make("two", uids=numbers)
        started = [one.start("a" * 22, one.edition), two.start("b" * 22, two.edition), one.start("c" * 22, one.edition)]
        await asyncio.gather(*started)
        assert sorted(await site.users()) == [f"{number}:100" for number in numbers]
        with pytest.raises(StartError, match=r"^all 3 UIDs 23000-23002 \(--container-uids\) are in use"):
            await two.start("d" * 22, two.edition)
        await one.stop("a" * 22)
        await two.start("d" * 22, two.edition)
        assert sorted(await site.users()) == [f"{number}:100" for number in numbers]

    async def test_an_image_that_is_not_there_is_told(self, site: DockerSite) -> None:
        backend = DockerBackend(spec_of("one", "main", image="nobody/has:this"))
        site.made.append(backend)
        with pytest.raises(ImageError, match=r"^image nobody/has:this is not on the engine: build it or run"):
            await backend.open()


async def eventually_over(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.05)


def namespaces() -> int:
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        try:
            found += str(path.readlink()).startswith("net:")
        except OSError:
            continue
    return found


# An ill engine

CONTAINER = "c" * 64


@pytest.fixture
async def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmallEngine]:
    """An engine on which one notebook of ours runs, on a bridge."""
    made = SmallEngine(tmp_path / "engine.sock")
    labels = {"tmppool.service": spec().service, "tmppool.pool": "main", KEY_LABEL: KEY, SECRET_LABEL: "the-secret"}
    shown = {
        "Id": CONTAINER,
        "Name": f"/{container_name(spec(), KEY)}",
        "Created": "2026-01-01T00:00:00.123456789Z",
        "Config": {"Env": ["JUPYTER_TOKEN=the-token"], "Labels": labels},
        "State": {"Running": True, "Pid": 1},
        "HostConfig": {"NetworkMode": network_name(spec(network="bridge"))},
        "NetworkSettings": {"Networks": {network_name(spec(network="bridge")): {"IPAddress": "10.9.8.7"}}},
    }
    made.answers |= {
        "containers/json": lambda _request: said([{"Id": CONTAINER, "State": "running", "Labels": labels}]),
        f"containers/{CONTAINER}/json": lambda _request: said(shown),
        "info": lambda _request: said({"CgroupVersion": "2"}),
        "containers/create": lambda _request: said({"Id": CONTAINER, "Warnings": []}, 201),
        f"containers/{CONTAINER}/start": lambda _request: web.Response(status=204),
        f"containers/{CONTAINER}/wait": lambda _request: said({"StatusCode": 0}),
        f"containers/{CONTAINER}/logs": lambda _request: output("tmppool-42\n"),
        f"containers/{CONTAINER}/archive": no_files,
        "images/tmppool/debian:latest/json": lambda _request: said({"Id": "sha256:abc", "Config": {}}),
        f"networks/{network_name(spec(network='bridge'))}": lambda _request: said({"Id": "n"}),
    }
    await made.open()
    monkeypatch.setenv("DOCKER_HOST", made.url)
    yield made
    await made.close()


@pytest.fixture
async def backend(small: SmallEngine) -> AsyncIterator[DockerBackend]:
    made = DockerBackend(spec(network="bridge"))
    await made.open()
    yield made
    await made.close()


def no_files(request: web.Request) -> web.Response:
    return web.Response() if request.method == "PUT" else said({"message": "no such file"}, 404)


async def never(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


ILL = {"message": "the engine is ill"}


async def test_what_runs_is_listed_with_its_token_and_address(backend: DockerBackend, small: SmallEngine) -> None:
    (listed,) = await backend.list()
    assert (listed.key, listed.token, listed.secret) == (KEY, "the-token", "the-secret")
    assert listed.created_at == 1767225600.0
    assert (listed.dial.host, listed.dial.port) == ("10.9.8.7", 8888)
    (query,) = [query for _, path, query in small.asked if path.endswith("/containers/json")]
    assert json.loads(query["filters"]) == {"label": [f"tmppool.service={spec().service}", "tmppool.pool=main"]}


async def test_one_that_a_service_before_editions_made_is_of_none(backend: DockerBackend) -> None:
    (listed,) = await backend.list()
    assert listed.edition == ""


async def test_of_one_that_a_service_before_marks_made_nobody_can_tell(
    backend: DockerBackend, small: SmallEngine
) -> None:
    (listed,) = await backend.list()
    assert listed.given is Given.UNKNOWN
    shown = json.loads(small.answers[f"containers/{CONTAINER}/json"](None).body)
    shown["Config"]["Labels"][GIVEN_LABEL] = "name"
    small.answers[f"containers/{CONTAINER}/json"] = lambda _request: said(shown)
    (listed,) = await backend.list()
    assert listed.given is Given.NO


async def test_a_notebook_that_the_engine_cannot_show_now_is_not_taken_for_gone(
    backend: DockerBackend, small: SmallEngine
) -> None:
    """A list that leaves it out would end a visitor's session because the engine was slow once."""
    for name in (CONTAINER, owner_name(spec().service)):
        small.answers[f"containers/{name}/json"] = lambda _request: said(ILL, 500)
    with pytest.raises(BackendError):
        await backend.list()


async def test_one_that_another_service_gave_away_is_never_ours(backend: DockerBackend, small: SmallEngine) -> None:
    """Also not at a second try, which after a failure of the first finds what that has done."""
    await backend.list()
    shown = json.loads(small.answers[f"containers/{CONTAINER}/json"](None).body)
    shown["Name"] = f"/{given_name(spec(), KEY)}"
    small.answers[f"containers/{CONTAINER}/json"] = lambda _request: said(shown)
    small.answers[f"containers/{CONTAINER}/rename"] = lambda _request: said({"message": "it has that name"}, 409)
    for _ in range(2):
        with pytest.raises(TakenError):
            await backend.give(KEY)


@pytest.mark.parametrize("stuck", [("notebook",), ("owner",), ("notebook", "owner")], ids=" and ".join)
async def test_an_engine_that_tells_of_none_of_our_containers_is_ill(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch, stuck: tuple[str, ...]
) -> None:
    """Its lists alone, which may come without a look at a container, do not tell that a start would work.

    But a notebook that is the only one can be stuck by itself.
    """
    monkeypatch.setattr(engine, "_CONFIRM", 0.0)
    await backend.list()
    await backend.ping()
    sound = dict(small.answers)
    names = {"notebook": CONTAINER, "owner": owner_name(spec().service)}
    small.answers |= {f"containers/{names[each]}/json": lambda _request: said(ILL, 500) for each in stuck}
    if len(stuck) == len(names):
        with pytest.raises(BackendError, match="could not inspect a container: the engine is ill"):
            await backend.ping()
        small.answers = sound
    await backend.ping()


async def test_a_notebook_that_vanished_while_it_was_looked_at_is_left_out(
    backend: DockerBackend, small: SmallEngine
) -> None:
    small.answers[f"containers/{CONTAINER}/json"] = lambda _request: said({"message": "no such container"}, 404)
    with capture_logs():
        assert await backend.list() == []


def shown_as(small: SmallEngine, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Describe the container in another way."""
    shown = json.loads(small.answers[f"containers/{CONTAINER}/json"](None).body)
    change(shown)
    small.answers[f"containers/{CONTAINER}/json"] = lambda _request: said(shown)
    return shown


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no variables": lambda shown: shown["Config"].update(Env=None),
    "no token": lambda shown: shown["Config"].update(Env=["HOME=/home"]),
    "no labels": lambda shown: shown["Config"].update(Labels=None),
    "no secret": lambda shown: shown["Config"]["Labels"].pop(SECRET_LABEL),
    "another key": lambda shown: shown["Config"]["Labels"].update({KEY_LABEL: OTHER}),
    "no address": lambda shown: shown["NetworkSettings"]["Networks"][network_name(spec(network="bridge"))].update(
        IPAddress=""
    ),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_one_is_not_adopted_by_a_false_description_but_by_the_next_that_is_true(
    backend: DockerBackend, small: SmallEngine, lie: Callable[[dict[str, Any]], object]
) -> None:
    true = small.answers[f"containers/{CONTAINER}/json"]
    shown_as(small, lie)
    with capture_logs() as logs:
        assert [await backend.list(), await backend.list([KEY])] == [[], []]
    assert [(line["event"], line["notebook"]) for line in logs] == [("adoption.postponed", id_of(KEY))]
    small.answers[f"containers/{CONTAINER}/json"] = true
    (listed,) = await backend.list()
    assert (listed.key, listed.token, listed.secret) == (KEY, "the-token", "the-secret")
    with capture_logs():
        shown_as(small, lie)
        assert [item.key for item in await backend.list()] == [KEY]  # it is reached by what was true


@pytest.mark.parametrize("answer", [{}, {"State": {"Running": True}}, None], ids=["empty", "no process", "an error"])
async def test_one_that_cannot_be_described_keeps_no_other_from_being_adopted(
    backend: DockerBackend, small: SmallEngine, answer: dict[str, Any] | None
) -> None:
    stuck, true = "b" * 64, small.answers[f"containers/{CONTAINER}/json"]
    (one,) = json.loads(small.answers["containers/json"](None).body)
    other = {**one, "Id": stuck, "Labels": {**one["Labels"], KEY_LABEL: OTHER}}

    def failing(_request: web.Request) -> web.Response:
        return said(ILL, 500) if answer is None else said(answer)

    small.answers["containers/json"] = lambda _request: said([one, other])
    small.answers[f"containers/{stuck}/json"] = failing
    with capture_logs() as logs:
        assert [item.key for item in await backend.list([KEY, OTHER])] == [KEY]
    assert [(line["event"], line["notebook"]) for line in logs] == [("adoption.postponed", id_of(OTHER))]
    small.answers[f"containers/{stuck}/json"] = true
    small.answers[f"containers/{CONTAINER}/json"] = failing
    with capture_logs():
        assert [item.key for item in await backend.list()] == [KEY]  # as it was


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {"maintainer": "somebody"},
        {"tmppool.service": "another", "tmppool.pool": "main", KEY_LABEL: OTHER},
        {"tmppool.service": spec().service, "tmppool.pool": "another", KEY_LABEL: OTHER},
        {"tmppool.service": spec().service},
    ],
    ids=["no labels", "other labels", "another service", "another pool", "the owner's container"],
)
async def test_a_list_that_passes_over_its_filter_costs_nobody_a_container(
    backend: DockerBackend, small: SmallEngine, labels: dict[str, str] | None
) -> None:
    """What has ended is removed where it is ours, and an operator's own may be stopped for a while."""
    (ours,) = json.loads(small.answers["containers/json"](None).body)
    strangers = [{"Id": state * 8, "State": state, "Labels": labels} for state in ("exited", "created", "running")]
    small.answers["containers/json"] = lambda _request: said([*strangers, ours])
    del small.asked[:]
    assert [item.key for item in await backend.list()] == [KEY]
    await canary.sweep(backend.docker, spec().service)
    assert [(method, path) for method, path, _ in small.asked if method != "GET"] == []


async def test_those_that_are_stuck_hold_up_no_other(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As containers are whose shim is stopped: the engine describes all others, and never says anything of these."""
    monkeypatch.setattr(docker_module, "_STUCK", 0.1)
    (one,) = json.loads(small.answers["containers/json"](None).body)
    stuck = [{**one, "Id": name * 64, "Labels": {**one["Labels"], KEY_LABEL: name * 22}} for name in "de"]

    small.answers["containers/json"] = lambda _request: said([*stuck, one])
    small.answers |= {f"containers/{each['Id']}/json": never for each in stuck}
    with capture_logs() as logs:
        async with asyncio.timeout(engine.LIST_TIMEOUT / 2):
            assert [item.key for item in await backend.list([KEY, "d" * 22])] == [KEY]
    assert [line["event"] for line in logs] == ["adoption.postponed"] * 2


async def test_one_that_a_slow_engine_describes_step_by_step_is_adopted(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked about several times, one after the other, and the owner's container only once."""
    monkeypatch.setattr(docker_module, "_STUCK", 1.0)
    quick = small.answers[f"containers/{CONTAINER}/json"]

    async def slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.6)
        return quick(request)

    small.answers |= {
        f"containers/{CONTAINER}/json": slowly,
        f"containers/{owner_name(spec().service)}/json": lambda _request: said({"Id": "o"}),
    }
    assert [item.key for item in await backend.list([KEY])] == [KEY]


@pytest.mark.parametrize("is_known", [True, False])
async def test_one_that_is_stuck_and_the_only_one_is_no_illness(
    backend: DockerBackend,
    small: SmallEngine,
    monkeypatch: pytest.MonkeyPatch,
    is_known: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """The engine describes the owner's container, so it is well, and other pools are to start."""
    monkeypatch.setattr(docker_module, "_STUCK", 0.1)
    known = await backend.list() if is_known else []
    small.answers[f"containers/{CONTAINER}/json"] = never
    small.answers[f"containers/{owner_name(spec().service)}/json"] = lambda _request: said({"Id": "o"})
    with capture_logs() as logs:
        async with asyncio.timeout(engine.LIST_TIMEOUT / 2):
            assert await backend.list([KEY]) == known
            await backend.ping()
    assert [line["event"] for line in logs] == ([] if is_known else ["adoption.postponed"])


async def test_one_that_is_stuck_and_the_only_one_of_its_pool_keeps_no_pool_from_its_start(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_module, "_STUCK", 0.1)
    monkeypatch.setattr(recovery, "_LOOKS", (0.0,))
    sound, listed = small.answers[f"containers/{CONTAINER}/json"], small.answers["containers/json"]

    def of_its_pool(request: web.Request) -> web.Response:
        return listed(request) if "tmppool.pool=main" in request.query["filters"] else said([])

    small.answers |= {"containers/json": of_its_pool, f"containers/{CONTAINER}/json": never}
    pools, limits = Pools(), Limits(capacity=1, warm=0, idle=0.0, lifetime=0.0, parallel_starts=1)
    other = DockerBackend(replace(spec(network="bridge"), pool="other"))
    await other.open()
    for one in (backend, other):
        pools.add(Pool(one.spec.pool, one, [one.edition], limits))
    row = Row(KEY, "main", State.ASSIGNED, "visitor", None, None, None, assigned_at=1.0)
    with capture_logs():
        await recovery.adopt(pools, Remembered({KEY: row}, is_trusted=True))
        assert [pool.phase for pool in pools] == [Phase.OPEN] * 2
        small.answers[f"containers/{CONTAINER}/json"] = sound
        await Reconciler(pools.default, pools.reason).look()
    assert pools.find(KEY) is not None
    await pools.close(stop=False)
    await other.close()


async def test_many_are_asked_about_some_at_a_time_and_none_waits_for_good_behind_those_that_are_stuck(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, they would keep a click's rename from a connection."""
    monkeypatch.setattr(docker_module, "_STUCK", 0.1)
    monkeypatch.setattr(docker_module, "_AT_ONCE", 4)
    (one,) = json.loads(small.answers["containers/json"](None).body)
    stuck = [
        {**one, "Id": f"{number:064}", "Labels": {**one["Labels"], KEY_LABEL: f"{number:022}"}} for number in range(8)
    ]
    small.answers["containers/json"] = lambda _request: said([*stuck, one])
    asked: set[str] = set()
    most = [0]

    async def count(request: web.Request) -> web.Response:
        asked.add(request.path)
        most[0] = max(most[0], len(asked))
        try:
            return await never(request)
        finally:
            asked.discard(request.path)

    small.answers |= {f"containers/{each['Id']}/json": count for each in stuck}
    with capture_logs() as logs:
        assert [item.key for item in await backend.list([KEY])] == [KEY]
    assert [line["event"] for line in logs] == ["adoption.postponed"] * len(stuck)
    assert 0 < most[0] <= 4


async def test_remains_that_cannot_be_removed_hold_up_no_other_and_have_ended(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_module, "_CLEARING", 0.3)
    (one,) = json.loads(small.answers["containers/json"](None).body)
    ended = [
        {**one, "Id": name * 64, "State": "exited", "Labels": {**one["Labels"], KEY_LABEL: name * 22}} for name in "def"
    ]
    small.answers["containers/json"] = lambda _request: said([*ended, one])
    small.answers |= {f"containers/{each['Id']}": never for each in ended}
    with capture_logs() as logs:
        async with asyncio.timeout(0.8):
            assert [item.key for item in await backend.list()] == [KEY]
    assert [line["event"] for line in logs] == ["remains.cleanup_failed"] * 3


@pytest.mark.parametrize("state", ["exited", "removing", None])
async def test_one_that_cannot_be_looked_up_has_ended_as_it_is_listed_or_is_as_it_was(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    for name in ("_CLEARING", "_STUCK"):
        monkeypatch.setattr(docker_module, name, 0.1)
    known = await backend.list()
    (one,) = json.loads(small.answers["containers/json"](None).body)
    small.answers["containers/json"] = lambda _request: said([{**one, "State": state}] if state else [])
    names = (given_name(spec(), KEY), container_name(spec(), KEY))
    small.answers |= {f"containers/{name}/json": never for name in (CONTAINER, *names)}
    small.answers[f"containers/{CONTAINER}"] = never
    with capture_logs():
        async with asyncio.timeout(engine.LIST_TIMEOUT / 2):
            assert await backend.list([KEY]) == ([] if state else known)


async def test_one_that_could_not_be_adopted_is_forgotten_once_it_is_gone(
    backend: DockerBackend, small: SmallEngine
) -> None:
    there = small.answers["containers/json"]
    shown_as(small, LIES["no token"])
    with capture_logs() as logs:
        for answer in (there, there, lambda _request: said([]), there):
            small.answers["containers/json"] = answer
            assert await backend.list() == []
    assert [line["event"] for line in logs] == ["adoption.postponed"] * 2


@pytest.mark.parametrize("is_there", [True, False])
async def test_one_that_is_denied_is_as_it_was_for_as_long_as_its_process_is_there(
    backend: DockerBackend,
    small: SmallEngine,
    monkeypatch: pytest.MonkeyPatch,
    is_there: bool,  # noqa: FBT001
) -> None:
    async def found(*_about: object) -> bool:
        return is_there

    monkeypatch.setattr(container_dial, "is_there", found)
    (listed,) = await backend.list()
    small.answers["containers/json"] = lambda _request: said([])
    for name in (given_name(spec(), KEY), container_name(spec(), KEY)):
        small.answers[f"containers/{name}/json"] = lambda _request: said({"message": "no such container"}, 404)
    assert await backend.list() == []
    assert await backend.list([KEY, OTHER]) == ([listed] if is_there else [])


async def test_one_that_is_said_to_have_ended_and_is_then_denied_is_reached_while_its_process_is_there(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(*_about: object) -> bool:
        return True

    monkeypatch.setattr(container_dial, "is_there", found)
    (ours,) = json.loads(small.answers["containers/json"](None).body)
    (listed,) = await backend.list()
    small.answers["containers/json"] = lambda _request: said([{**ours, "State": "exited"}])
    for name in (CONTAINER, given_name(spec(), KEY), container_name(spec(), KEY)):
        small.answers[f"containers/{name}/json"] = lambda _request: said({"message": "no such container"}, 404)
    assert await backend.list([KEY]) == [listed]
    assert list(backend._reached) == [KEY]


@pytest.mark.parametrize(
    ("word", "lie"),
    [
        (b"the-token", b"another"),
        (b"the-secret", b"another"),
        (b'"Pid": 1', b'"Pid": 2'),
        (b'"/tmppool', b'"/x-tmppool'),
    ],
    ids=["token", "secret", "process", "name"],
)
async def test_one_is_not_adopted_while_two_descriptions_contradict_each_other(
    backend: DockerBackend, small: SmallEngine, word: bytes, lie: bytes
) -> None:
    true = small.answers[f"containers/{CONTAINER}/json"](None).body
    assert word in true
    other = true.replace(word, lie)
    small.answers[f"containers/{CONTAINER}/json"] = lambda _request: said(json.loads(answers.pop(0)))
    answers = [other, true]
    with capture_logs():
        assert await backend.list() == []
    answers = [true] * 3
    assert [item.token for item in await backend.list()] == ["the-token"]


async def test_an_end_that_was_none_does_not_name_the_real_one(backend: DockerBackend, small: SmallEngine) -> None:
    await backend.list()
    true, known = small.answers[f"containers/{CONTAINER}/json"], small.answers["containers/json"]
    listed = {**json.loads(known(None).body)[0], "State": "removing"}
    small.answers["containers/json"] = lambda _request: said([listed])
    assert await backend.list() == []
    small.answers["containers/json"] = known
    assert [item.key for item in await backend.list()] == [KEY]
    assert await backend.death(KEY) is Death.UNKNOWN
    small.answers[f"containers/{CONTAINER}/json"] = true
    small.answers["events"] = lambda _request: web.Response(text="")
    ended = {"Running": False, "Status": "exited", "ExitCode": 3, "OOMKilled": False}
    shown_as(small, lambda shown: shown.update(State=ended))
    assert await backend.death(KEY) is Death.EXITED


async def test_one_that_is_being_stopped_is_not_listed(backend: DockerBackend, small: SmallEngine) -> None:
    """Listed, it would be opened once more, and nobody would close it."""
    release = asyncio.Event()

    async def delete(_request: web.Request) -> web.Response:
        await release.wait()
        return said({"message": "no such container"}, 404)

    small.answers[f"containers/{container_name(spec(), KEY)}"] = delete
    stopping = asyncio.ensure_future(backend.stop(KEY))
    await until(lambda: any(method == "DELETE" for method, _, _ in small.asked))
    assert await backend.list() == []
    release.set()
    await stopping
    assert [running.key for running in await backend.list()] == [KEY]


@pytest.mark.parametrize("has_ended", [False, True])
async def test_one_whose_stop_begins_while_it_is_looked_at_holds_no_namespace(
    backend: DockerBackend,
    monkeypatch: pytest.MonkeyPatch,
    has_ended: bool,  # noqa: FBT001 - a column of the table
) -> None:
    closed: list[str] = []

    class Held:
        def close(self) -> None:
            closed.append("closed")

    async def reach(*_about: object) -> Held:
        if has_ended:
            await backend.stop(KEY)
        else:
            backend._stopping.add(KEY)
        return Held()

    await backend.list()
    backend._let_go(KEY)

    monkeypatch.setattr(container_dial, "reach", reach)
    assert await backend.list() == []
    assert closed == ["closed"]


async def test_what_runs_is_listed_though_the_remains_of_another_cannot_be_removed(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "DELETE_TIMEOUT", 0.1)
    known = small.answers["containers/json"](None)
    labels = json.loads(known.body)[0]["Labels"]
    other = {"Id": "d" * 64, "State": "exited", "Labels": {**labels, KEY_LABEL: OTHER}}
    small.answers["containers/json"] = lambda _request: said([other, *json.loads(known.body)])
    small.answers[f"containers/{'d' * 64}"] = lambda _request: said({"message": "busy"}, 500)
    with capture_logs() as logs:
        (listed,) = await backend.list()
    assert listed.key == KEY
    assert [line["event"] for line in logs] == ["remains.cleanup_failed"]


@pytest.mark.parametrize(
    ("has_reached", "words"), [(False, r"are not processes on this host; use --network isolated$"), (True, "denies")]
)
@pytest.mark.parametrize("error", [GoneError("gone"), container_dial.ElsewhereError()], ids=["gone", "wrong PID"])
async def test_one_that_is_gone_from_here_and_runs_is_elsewhere_unless_others_were_here(
    backend: DockerBackend,
    small: SmallEngine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    error: BackendError,
    has_reached: bool,
    words: str,
) -> None:
    async def find(*_about: object) -> None:
        raise error

    async def wait(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(container_dial, "find", find)
    monkeypatch.setattr(docker_module, "_EXIT_GRACE", 0.05)
    small.answers |= {f"containers/{CONTAINER}/wait": wait, "containers/json": lambda _request: said([])}
    backend._has_reached = has_reached
    with pytest.raises(BackendError, match=words) as caught:
        await backend.start(KEY, backend.edition)
    assert caught.value.transient is has_reached


async def test_one_whose_start_ends_while_the_engine_lists_it_is_left_alone(
    backend: DockerBackend, small: SmallEngine
) -> None:
    """What the engine says was true before that start."""
    release = asyncio.Event()

    async def containers(_request: web.Request) -> web.Response:
        await release.wait()
        return said([{"Id": CONTAINER, "State": "created", "Labels": {KEY_LABEL: KEY}}])

    small.answers["containers/json"] = containers
    backend._starting.add(KEY)
    small.asked.clear()
    listing = asyncio.ensure_future(backend.list())
    await until(lambda: small.asked)
    backend._starting.discard(KEY)
    release.set()
    assert await listing == []
    assert [method for method, _, _ in small.asked] == ["GET"]


async def test_an_engine_that_fails_is_a_passing_backenderror(backend: DockerBackend, small: SmallEngine) -> None:
    small.answers["containers/json"] = lambda _request: said(ILL, 500)
    with pytest.raises(BackendError, match=r"the engine is ill$") as caught:
        await backend.list()
    assert caught.value.transient


@pytest.mark.parametrize("verb", ["list", "stop", "start", "give"])
async def test_an_engine_that_is_gone_is_a_backenderror(backend: DockerBackend, small: SmallEngine, verb: str) -> None:
    await small.close()
    words = {"stop": [KEY], "start": [KEY, backend.edition], "give": [KEY]}
    with capture_logs(), pytest.raises(BackendError):
        await getattr(backend, verb)(*words.get(verb, []))


@pytest.mark.parametrize(
    ("status", "message", "sentence", "transient"),
    [
        (404, "No such image: x", "image tmppool/debian:latest is no longer on the engine", False),
        (409, "the name is in use", "the engine refused a container: the name is in use", True),
        (500, "no space left", "the engine could not create a container: no space left", True),
    ],
)
async def test_why_no_container_could_be_made(
    backend: DockerBackend,
    small: SmallEngine,
    status: int,
    message: str,
    sentence: str,
    transient: bool,  # noqa: FBT001
) -> None:
    small.answers["containers/create"] = lambda _request: said({"message": message}, status)
    with pytest.raises(BackendError) as caught:
        await backend.start(KEY, backend.edition)
    assert (str(caught.value), caught.value.transient) == (sentence, transient)


async def test_a_start_that_is_cancelled_while_its_container_is_made_removes_that_container(
    backend: DockerBackend, small: SmallEngine
) -> None:
    """An engine goes on with what it was asked, though nobody waits for the answer any more."""
    name, received, release = container_name(spec(), KEY), asyncio.Event(), asyncio.Event()
    containers: set[str] = set()
    making: list[asyncio.Task[None]] = []

    async def make() -> None:
        await release.wait()
        containers.add(name)

    async def create(_request: web.Request) -> web.Response:
        making.append(asyncio.ensure_future(make()))
        received.set()
        await asyncio.shield(making[0])
        return said({"Id": CONTAINER, "Warnings": []}, 201)

    def delete(_request: web.Request) -> web.Response:
        gone = containers & {name}
        containers.clear()
        return web.Response(status=204) if gone else said({"message": "no such container"}, 404)

    small.answers |= {"containers/create": create, f"containers/{name}": delete, f"containers/{CONTAINER}": delete}
    starting = asyncio.ensure_future(backend.start(KEY, backend.edition))
    await received.wait()
    starting.cancel()
    await asyncio.wait({starting}, timeout=0.2)
    release.set()
    await asyncio.wait({starting, making[0]})
    assert starting.cancelled()
    assert containers == set()


def contested(small: SmallEngine, times: int) -> list[str]:
    """Let another service take the number of the first ``times`` containers; returns the users of all made."""
    users: list[str] = []

    async def create(request: web.Request) -> web.Response:
        users.append((await request.json())["User"])
        return said({"Id": CONTAINER, "Warnings": []}, 201)

    def containers(request: web.Request) -> web.Response:
        ((label,),) = json.loads(request.query["filters"]).values()
        uid = label.partition("=")[2]
        shown = {"Id": CONTAINER, "State": "running", "Labels": {"tmppool.uid": uid}}
        return said([shown] * (0 if not uid else 2 if len(users) <= times else 1))

    small.answers |= {"containers/create": create, "containers/json": containers}
    return users


async def test_a_number_that_another_service_took_meanwhile_is_left_to_it(
    backend: DockerBackend, small: SmallEngine
) -> None:
    users = contested(small, 2)
    small.answers[f"containers/{CONTAINER}/start"] = lambda _request: said({"message": "that will do"}, 500)
    with capture_logs(), pytest.raises(BackendError, match=r"that will do$"):
        await backend.start(KEY, backend.edition)
    assert len(users) == 3
    name = container_name(spec(), KEY)
    changes = [f"{method} {path.rpartition('/')[2]}" for method, path, _ in small.asked if method != "GET"]
    stepped_back = ["POST create", f"DELETE {name}"]
    assert changes[-7:] == [*stepped_back, *stepped_back, "POST create", "POST start", f"DELETE {CONTAINER}"]


async def test_a_number_that_is_taken_again_and_again_ends_the_start(
    backend: DockerBackend, small: SmallEngine
) -> None:
    users = contested(small, 99)
    with pytest.raises(StartError, match=r"^other services on this engine keep taking the same UIDs"):
        await backend.start(KEY, backend.edition)
    assert len(users) == 5
    assert uids._taken == {}


async def test_a_stop_goes_on_until_the_engine_has_removed_it(backend: DockerBackend, small: SmallEngine) -> None:
    name = container_name(spec(), KEY)
    answers = [said({"message": "removal is in progress"}, 409), said({"message": "no such container"}, 404)]
    small.answers[f"containers/{name}"] = lambda _request: answers.pop(0)
    await backend.stop(KEY)
    assert answers == []
    (query,) = {json.dumps(query) for method, _, query in small.asked if method == "DELETE"}
    assert json.loads(query)["force"] in ("1", "true", "True")


async def test_a_removal_that_never_ends_is_given_up(
    backend: DockerBackend, small: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "DELETE_TIMEOUT", 0.2)
    name = container_name(spec(), KEY)
    small.answers[f"containers/{name}"] = lambda _request: said({"message": "removal is in progress"}, 409)
    with pytest.raises(
        BackendError, match=r"^the engine did not remove a container within 0 s: removal is in progress$"
    ):
        await backend.stop(KEY)


async def test_the_network_is_made_when_it_is_missing(small: SmallEngine) -> None:
    del small.answers[f"networks/{network_name(spec(network='bridge'))}"]
    small.answers["networks/create"] = lambda _request: said({"Id": "n", "Warning": ""}, 201)
    made = DockerBackend(spec(network="bridge"))
    await made.open()
    await made.close()
    posted = [path for method, path, _ in small.asked if method == "POST"]
    create, trial = "/v1.41/containers/create", f"/v1.41/containers/{CONTAINER}"
    assert posted == [create, "/v1.41/networks/create", create, f"{trial}/start", f"{trial}/wait"]


async def test_without_an_engine_it_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/at.all")
    made = DockerBackend(spec())
    with pytest.raises(BackendError):
        await made.open()
    await made.close()
