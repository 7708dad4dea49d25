"""Before anything is served: what does not hold ends the start, in one sentence, unless its risk is accepted."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.acceptance.harness import IMAGE, Service, running
from tests.acceptance.test_mistakes import one_sentence, start
from tests.specs import spec_of
from tmppool.audit import canary, machine_sums, startup
from tmppool.audit.canary import Canary, Result
from tmppool.audit.machine_sums import Machine, Planned
from tmppool.audit.startup import PoolInForce
from tmppool.backends.base import Spec
from tmppool.backends.docker import DockerBackend
from tmppool.backends.fake import FakeBackend
from tmppool.errors import ConfigError
from tmppool.policy import Limits
from tmppool.pool import Pool
from tmppool.pools import Pools


@pytest.mark.parametrize(
    "name", ["not-root", "canary", "reach-gateway", "routes", "call-bpf", "pids-sum", "memory-of-one"]
)
def test_every_kind_of_risk_can_be_named(name: str) -> None:
    startup.check_risks([name])


@pytest.mark.parametrize(
    ("name", "hint"), [("reach-gatway", "did you mean reach-gateway?"), ("qqq", "`tmppool audit --json` lists them")]
)
def test_a_risk_of_no_name_is_a_mistake_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"^--accept-risk: '{name}' is not a start-up probe; ") as caught:
        startup.check_risks(["not-root", name])
    assert hint in str(caught.value)


async def test_notebooks_that_are_no_containers_have_nothing_to_prove() -> None:
    pools = Pools()
    pools.add(Pool("main", FakeBackend(spec_of()), [], Limits(9999, 1, 1, 1, 1)))
    with capture_logs() as logged:
        await startup.prove(pools, (), ())
    assert logged == []


class TestSums:
    planned = (Planned("main", 300, spec_of("service", "main")),)
    has = Machine(processes=32_768, memory=24 << 30)

    def test_too_many_processes_end_the_start(self) -> None:
        with pytest.raises(
            ConfigError, match=r"the limits add up to more than this machine has: pids-sum .*--accept-risk=pids-sum"
        ) as caught:
            startup._check_sums(self.planned, self.has, ())
        assert "\n" not in str(caught.value)

    def test_an_accepted_sum_is_logged_and_over_committed_memory_too(self) -> None:
        with capture_logs() as logged:
            startup._check_sums(self.planned, self.has, ("pids-sum",))
        assert [(line["event"], line["log_level"]) for line in logged] == [
            ("risk.accepted", "warning"),
            ("memory.overcommitted", "warning"),
        ]
        assert logged[0]["risk"] == machine_sums.PIDS

    def test_the_usual_sizes_are_said_nothing_about(self) -> None:
        with capture_logs() as logged:
            startup._check_sums((Planned("main", 10, spec_of("service", "main")),), self.has, ())
        assert logged == []


class TestProbes:
    """What is made of the results; the canaries themselves are told what to find."""

    @pytest.fixture
    def flown(self, monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
        flown: list[Spec] = []

        async def run(backend: DockerBackend, ports: object) -> Canary:
            flown.append(backend.spec)
            return Canary((Result("devices", True, "fine"), *self.missed), {})

        monkeypatch.setattr(canary, "run", run)
        self.missed: tuple[Result, ...] = ()
        return flown

    def miss(self, *names: str) -> None:
        self.missed = tuple(Result(name, False, f"seen {name}") for name in names)

    async def check(self, *accepted: str, pools: tuple[Spec, ...] = (spec_of("service", "main"),)) -> list[Any]:
        in_force = [PoolInForce(spec.pool, 1, DockerBackend(spec)) for spec in pools]
        with capture_logs() as logged:
            await startup._check_probes(in_force, accepted, ())
        return [(line["event"], line.get("risk") or line.get("probe")) for line in logged]

    async def test_what_holds_is_said_nothing_about(self, flown: list[Spec]) -> None:
        assert await self.check() == []

    async def test_one_sentence_names_all_that_does_not_hold(self, flown: list[Spec]) -> None:
        self.miss("not-root", "call-bpf", "call-ptrace", "devices", "own-ipc", "own-cgroup")
        with pytest.raises(ConfigError) as caught:
            await self.check("own-ipc")
        said = str(caught.value)
        assert "not-root (seen not-root)" in said
        assert said.endswith("--accept-risk=not-root,call-bpf,call-ptrace,devices,own-cgroup")
        assert "own-ipc" not in said

    async def test_each_accepted_risk_is_logged_once(self, flown: list[Spec]) -> None:
        self.miss("not-root", "devices")
        pools = (spec_of("service", "one"), spec_of("service", "two", memory=1 << 29))
        assert await self.check("not-root", "devices", "routes", pools=pools) == [
            ("risk.accepted", "devices"),
            ("risk.accepted", "not-root"),
        ]

    async def test_what_a_network_opens_by_choice_is_logged_and_ends_nothing(self, flown: list[Spec]) -> None:
        self.miss("reach-metadata")
        assert await self.check(pools=(spec_of("service", "main", network="bridge"),)) == [
            ("probe.waived", "reach-metadata")
        ]
        with pytest.raises(ConfigError, match="reach-metadata"):
            await self.check(pools=(spec_of("service", "main", network="isolated"),))

    async def test_pools_of_the_same_image_and_limits_share_one_canary(self, flown: list[Spec]) -> None:
        one, two = spec_of("service", "one", image="a"), spec_of("service", "two", image="a")
        await self.check(pools=(one, two, spec_of("service", "three", image="b")))
        assert [spec.image for spec in flown] == ["a", "b"]


@pytest.mark.engine
class TestTheService:
    @pytest.mark.parametrize(
        ("options", "probe"),
        [
            (["--container-user=0:0"], "not-root (0)"),
            (["--host-directories=/var/run/docker.sock:/mnt/e.sock"], "host-socket (/mnt/e.sock)"),
            (["--network=isolated"], "reach-gateway ("),
            (["--pool-size=9000", "--pids-limit=9999"], "pids-sum (89991000 processes"),
        ],
    )
    async def test_what_does_not_hold_ends_the_start_with_2_and_one_sentence_and_leaves_nothing(
        self, options: list[str], probe: str, tmp_path: Path
    ) -> None:
        service = Service(tmp_path, "docker", f"--image={IMAGE}", "--warm=1", *options)
        status, said = await start(*service.options)
        assert status == 2
        assert probe in one_sentence(said)
        assert await containers(service) == []
        await remove_network(service)

    async def test_an_accepted_risk_lets_the_service_go_on_with_a_loud_line(self, tmp_path: Path) -> None:
        options = ("--host-directories=/var/run/docker.sock:/mnt/e.sock", "--accept-risk=host-socket,devices")
        async with running(tmp_path, "docker", "--pool-size=1", *options) as service:
            loud = [event for event in service.events if event["event"] == "risk.accepted"]
            assert [(event["risk"], event["level"], event["seen"]) for event in loud] == [
                ("host-socket", "warning", "/mnt/e.sock")
            ]
        assert await containers(service) == []

    async def test_nothing_is_served_before_the_probes_are_done(self, tmp_path: Path) -> None:
        async with running(tmp_path, "docker", "--pool-size=1") as service:
            order = [event["event"] for event in service.events]
        assert order.index("probes.finished") < order.index("service.opened") < order.index("notebook.warm")


async def docker(*words: str) -> str:
    child = await asyncio.create_subprocess_exec("docker", *words, stdout=asyncio.subprocess.PIPE)
    return (await child.communicate())[0].decode()


async def containers(service: Service) -> list[str]:
    return (await docker("ps", "-aq", "--filter", f"label=tmppool.service={service.name}")).split()


async def remove_network(service: Service) -> None:
    for name in (await docker("network", "ls", "-q", "--filter", f"label=tmppool.service={service.name}")).split():
        await docker("network", "rm", name)
