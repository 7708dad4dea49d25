"""The canary on a real engine: a sound profile holds, and each wall that is taken away is missed by its probe."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiodocker
import pytest

from tests.specs import spec_of
from tmppool.audit import canary, expectations
from tmppool.audit.canary import Canary
from tmppool.backends import engine
from tmppool.backends.base import Spec
from tmppool.backends.container import SERVICE_LABEL, container_name
from tmppool.backends.docker import DockerBackend
from tmppool.build_image import build
from tmppool.pool_settings import DEFAULT_IMAGE

SERVICE = f"test-{os.getpid()}-canary"
on_an_engine = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test may have to build the image


class Weakened(DockerBackend):
    """Makes containers with one wall less."""

    def __init__(self, spec: Spec, config: dict[str, Any], host: dict[str, Any]) -> None:
        super().__init__(spec)
        self._changes = config, host

    def trial_config(self, name: str, command: Sequence[str]) -> dict[str, Any]:
        made = super().trial_config(name, command)
        config, host = self._changes
        return {**made, **config, "HostConfig": {**made["HostConfig"], **host}}


@pytest.fixture
async def docker() -> AsyncIterator[aiodocker.Docker]:
    if not await engine.has_image(DEFAULT_IMAGE):
        await build("debian")
    async with aiodocker.Docker() as made:
        yield made
        assert await ours(made) == []
        for volume in await engine.volumes(made, [f"{SERVICE_LABEL}={SERVICE}"]):
            await engine.remove_volume(made, volume)
        for network in await made.networks.list():
            if network["Name"].startswith(f"tmppool-{SERVICE}-"):
                await aiodocker.networks.DockerNetwork(made, network["Id"]).delete()


async def ours(docker: aiodocker.Docker) -> list[str]:
    return [container.id for container in await engine.containers(docker, [f"{SERVICE_LABEL}={SERVICE}"])]


@pytest.fixture
async def fly(docker: aiodocker.Docker) -> AsyncIterator[Callable[..., Any]]:
    """Run a canary; ``config`` and ``host`` replace parts of what the container is."""
    opened: list[DockerBackend] = []

    async def run(
        config: dict[str, Any] | None = None,
        host: dict[str, Any] | None = None,
        *,
        ports: tuple[int, ...] = (),
        **spec: Any,
    ) -> Canary:
        backend = Weakened(spec_of(SERVICE, "main", image=DEFAULT_IMAGE, **spec), config or {}, host or {})
        opened.append(backend)
        await backend.open()
        return await canary.run(backend, ports)

    yield run
    for backend in opened:
        await backend.close()


def failed(found: Canary) -> dict[str, str]:
    return {result.name: result.seen for result in found.results if not result.held}


class TestOnTheEngine:
    pytestmark = on_an_engine

    async def test_a_notebooks_container_holds_what_is_promised(self, fly: Callable[..., Any]) -> None:
        found = await fly()
        assert failed(found) == {}
        assert {result.name for result in found.results} == expectations.names("none")
        assert found.shown["HostConfig"]["CapDrop"] == ["ALL"]

    @pytest.mark.parametrize("network", ["isolated", "bridge"])
    async def test_on_a_bridge_a_neighbour_is_not_reached_and_what_listens_on_this_machine_is_told(
        self, network: str, fly: Callable[..., Any]
    ) -> None:
        found = await fly(network=network)
        missed = failed(found)
        # Nothing here keeps a bridge from this machine's own addresses; the probe must not say otherwise.
        assert set(missed) - {"reach-metadata"} == {"reach-gateway", "reach-host"}
        assert {result.name for result in found.results} == expectations.names(network)

    async def test_what_a_settings_limit_says_is_what_the_probe_compares_with(self, fly: Callable[..., Any]) -> None:
        spec = {"memory": 300 << 20, "pids": 90, "nofile": 2048, "home_size": 64 << 20, "cpu_quota": 30_000}
        assert failed(await fly(**spec, tmp_inodes=999, oom_score=700)) == {}

    async def test_with_the_engines_own_rules_there_is_a_filter_and_the_probes_say_what_it_lacks(
        self, fly: Callable[..., Any]
    ) -> None:
        missed = failed(await fly(seccomp="engine"))
        assert missed
        assert all(name.startswith(("call-", "socket-")) for name in missed)

    async def test_an_image_without_python_is_told_as_one_probe(self, fly: Callable[..., Any]) -> None:
        missed = failed(await fly({"Env": ["PATH=/nowhere"], "Entrypoint": ["/usr/bin/env"]}))
        assert list(missed) == ["canary"]
        assert "python3 in the image exited with code 127" in missed["canary"]

    async def test_a_program_that_is_missing_altogether_is_told_as_one_probe(self, fly: Callable[..., Any]) -> None:
        missed = failed(await fly({"Entrypoint": ["/nothing/here"]}))
        assert list(missed) == ["canary"]
        assert "no such file" in missed["canary"]

    async def test_it_is_never_listed_as_a_notebook_and_a_crashed_services_is_swept(
        self, docker: aiodocker.Docker
    ) -> None:
        backend = DockerBackend(spec_of(SERVICE, "main", image=DEFAULT_IMAGE))
        await backend.open()
        try:
            async with canary._containers(backend) as start:
                left = await start("import time; time.sleep(60)")
                assert await backend.list() == []
                assert await ours(docker) == [left.id]
                await canary.sweep(docker, f"{SERVICE}-other")
                assert await ours(docker) == [left.id]
                await canary.sweep(docker, SERVICE)
                assert await ours(docker) == []
        finally:
            await backend.close()

    async def test_a_canary_that_is_cancelled_leaves_nothing(self, docker: aiodocker.Docker) -> None:
        backend = DockerBackend(spec_of(SERVICE, "main", image=DEFAULT_IMAGE, network="isolated"))
        await backend.open()
        running = asyncio.ensure_future(canary.run(backend))
        while not await ours(docker):
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
        async with asyncio.timeout(10):
            while await ours(docker):
                await asyncio.sleep(0.05)
        await backend.close()

    async def test_one_that_takes_too_long_is_told(
        self, fly: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(canary, "RUN_TIMEOUT", 0.05)
        assert "did not finish within" in failed(await fly())["canary"]


SOCKET = "/var/run/docker.sock"
# what is changed of the container, of its HostConfig, and some of the probes that must miss it
WEAKENED: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "a capability": ({}, {"CapDrop": [], "CapAdd": ["NET_RAW"]}, {"capabilities-bounding"}),
    "all privileges": (
        {},
        {"Privileged": True, "CapDrop": []},
        {"capabilities-bounding", "seccomp-filter", "devices", "mounted-readonly-sys"},
    ),
    "root": ({"User": "0:0"}, {}, {"not-root", "not-root-group", "own-user", "setuid-call"}),
    "a foreign user number": ({"User": "999:100"}, {}, {"own-user"}),
    "the group of root": ({}, {"GroupAdd": ["0"]}, {"not-root-group"}),
    "a writable root": ({}, {"ReadonlyRootfs": False}, {"readonly-root", "readonly-usr", "readonly-etc"}),
    "a way out": ({}, {"NetworkMode": "bridge"}, {"interfaces", "routes", "reach-host"}),
    "the host's network": ({"Hostname": ""}, {"NetworkMode": "host"}, {"interfaces", "routes", "reach-host"}),
    "no filter of system calls": (
        {},
        {"SecurityOpt": ["no-new-privileges:true", "seccomp=unconfined"]},
        {
            "seccomp-filter",
            "call-io-uring-setup",
            "call-unshare-user",
            "call-clone3",
            "call-32-bit",
            "socket-vsock",
            "socket-mptcp",
            "socket-udplite",
        },
    ),
    "new privileges": (
        {},
        {"SecurityOpt": ["seccomp=unconfined"], "CapDrop": []},
        {"no-new-privileges", "setuid-program"},
    ),
    "the engine's socket": ({}, {"Binds": [f"{SOCKET}:/mnt/engine.sock"]}, {"host-socket"}),
    "the engine's socket in a folder": ({}, {"Binds": ["/var/run:/mnt/run:ro"]}, {"host-socket"}),
    "a device": (
        {},
        {"Devices": [{"PathOnHost": "/dev/net/tun", "PathInContainer": "/dev/tun", "CgroupPermissions": "rw"}]},
        {"devices"},
    ),
    "the host's processes": ({}, {"PidMode": "host"}, {"own-processes"}),
    "the host's control groups": ({}, {"CgroupnsMode": "host"}, {"own-cgroup"}),
    "nothing masked": (
        {},
        {"MaskedPaths": [], "ReadonlyPaths": []},
        {
            "masked-interrupts",
            "masked-cmdline",
            "masked-key-users",
            "masked-locks",
            "masked-pressure",
            "masked-kernel-irq",
            "mounted-readonly-proc-sys",
        },
    ),
    "twice the memory": ({}, {"Memory": 2 << 30, "MemorySwap": 2 << 30}, {"memory-limit"}),
    "any number of processes": ({}, {"PidsLimit": 0}, {"pids-limit"}),
    "the engine's own limits": ({}, {"Ulimits": []}, {"limit-core", "limit-msgqueue"}),
    "setuid files in /tmp": (
        {},
        {"Tmpfs": {"/tmp": "rw,exec,suid,dev,size=1m"}},
        {"no-setuid-files", "no-device-files"},
    ),
    "a larger /dev/shm": ({}, {"ShmSize": 1 << 30}, {"shm-size"}),
    "a secret of the service": ({"Env": ["PATH=/usr/bin:/bin", "ADMIN_AUTH_TOKEN=x"]}, {}, {"environment"}),
    "the host's name": ({"Hostname": "secret-host"}, {}, {"own-hostname"}),
    "a lower score": ({}, {"OomScoreAdj": 0}, {"oom-score"}),
    "more of the CPU": ({}, {"CpuQuota": 200_000}, {"cpu-limit"}),
}


class TestWeakened:
    pytestmark = on_an_engine

    @pytest.mark.parametrize("wall", WEAKENED)
    async def test_a_wall_that_is_missing_is_missed_by_its_probe(self, wall: str, fly: Callable[..., Any]) -> None:
        config, host, wanted = WEAKENED[wall]
        found = failed(await fly(config, host))
        assert wanted <= set(found), found
        assert "canary" not in found


# Without an engine


def test_what_is_no_result_is_kept_as_the_last_words() -> None:
    good = json.dumps({"name": "x", "held": True, "detail": "y"})
    results, other = canary.parse(f'{good}\nTraceback\n{{"name": 1}}\n[1]\nsh: python3: not found\n')
    assert [(result.name, result.held, result.seen) for result in results] == [("x", True, "y")]
    assert other == "sh: python3: not found"


def test_only_true_is_held() -> None:
    ((result,), _) = canary.parse(json.dumps({"name": "x", "held": "yes", "detail": ""}))
    assert result.held is False


def test_pools_that_differ_in_name_and_command_alone_share_a_canary() -> None:
    one = spec_of("service", "one", command="a {base_path}", start_timeout=1)
    assert canary.probed_part(one) == canary.probed_part(
        spec_of("service", "two", command="b {base_path}", start_timeout=2)
    )
    assert canary.probed_part(one) != canary.probed_part(spec_of("service", "one", command="a {base_path}", memory=1))
    assert canary.probed_part(one) != canary.probed_part(
        spec_of("service", "one", command="a {base_path}", network="bridge")
    )


def test_its_name_is_no_notebooks() -> None:
    assert not container_name(spec_of("service", "main"), "key").startswith("tmppool-service-canary-")


async def test_what_a_notebook_must_not_reach_really_listens() -> None:
    async with canary._beacon() as port:
        assert await canary._accepts("127.0.0.1", port)
    assert not await canary._accepts("127.0.0.1", port)


def test_this_machines_own_addresses_are_those_that_others_reach() -> None:
    found = canary._addresses()
    assert "127.0.0.1" not in found
    assert "::1" not in found
