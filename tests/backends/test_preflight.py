"""What is found out before a pool's first container, and what an engine's refusals are told as."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiodocker
import pytest
from aiohttp import web

from tests.backends.test_engine import SmallEngine, output, said
from tests.specs import spec_of
from tmppool.backends import container, engine, image_home, preflight, seccomp
from tmppool.backends.base import ImageFacts
from tmppool.backends.container import CANARY_LABEL, SERVICE_LABEL, EngineFacts
from tmppool.errors import BackendError
from tmppool.pool_settings import DEFAULT_IMAGE

SPEC = spec_of(service=f"opening-{os.getpid()}", pool="main", image=DEFAULT_IMAGE)


class Docile(SmallEngine):
    """Makes, starts and removes one container, and keeps what it was told."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.made: dict[str, object] = {}
        self.all_made: list[dict[str, object]] = []
        self.says, self.code = ["tmppool-42\n"], 0  # what each container prints, the last one also for all further
        self.start: tuple[object, int] = ("", 204)
        self.info = {"CgroupVersion": "1", "MemoryLimit": True}
        self.answers |= {
            "containers/create": self.create,
            "start": lambda _request: said(*self.start),
            "wait": lambda _request: said({"StatusCode": self.code}),
            f"{'c' * 64}/json": lambda _request: said({"Id": "c" * 64, "State": {"ExitCode": self.code}}),
            "logs": self.log,
            "info": lambda _request: said(self.info),
        }

    def log(self, _request: web.Request) -> web.Response:
        return output(self.says[min(len(self.all_made), len(self.says)) - 1])

    async def create(self, request: web.Request) -> web.Response:
        self.made = await request.json()
        self.all_made.append(self.made)
        return said({"Id": "c" * 64, "Warnings": []}, 201)


@pytest.fixture
async def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Docile]:
    made = Docile(tmp_path / "engine.sock")
    await made.open()
    monkeypatch.setenv("DOCKER_HOST", made.url)
    yield made
    await made.close()


# The engine


@pytest.mark.parametrize(
    ("info", "has_swappiness"),
    [
        ({"CgroupVersion": "1", "MemoryLimit": True}, True),
        ({"CgroupVersion": "1", "MemoryLimit": False}, False),
        ({"CgroupVersion": "2", "MemoryLimit": True}, False),
        ({}, False),
    ],
)
async def test_only_the_older_control_groups_have_swappiness(
    small: Docile,
    docker: aiodocker.Docker,
    info: dict[str, object],
    has_swappiness: bool,  # noqa: FBT001
) -> None:
    small.info = info
    assert await preflight.engine_facts(docker, "tmppool") == EngineFacts(seccomp.PROFILE, has_swappiness)


async def test_the_rules_for_system_calls_are_read_once(docker: aiodocker.Docker, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert (await preflight.engine_facts(docker, str(tmp_path / "p.json"))).seccomp == (
        '{"defaultAction": "SCMP_ACT_ALLOW"}'
    )
    assert (await preflight.engine_facts(docker, "engine")).seccomp is None
    with pytest.raises(BackendError, match=r"^--seccomp: "):
        await preflight.engine_facts(docker, str(tmp_path / "none"))


@pytest.mark.parametrize("status", [404, 500])
async def test_an_engine_that_does_not_tell_about_itself_is_a_backenderror(
    small: Docile, docker: aiodocker.Docker, status: int
) -> None:
    small.answers["info"] = lambda _request: said({"message": "ill"}, status)
    with pytest.raises(BackendError):
        await preflight.engine_facts(docker, "tmppool")


# The trial

IMAGE = ImageFacts(volume="v", entrypoint=("tini", "-g", "--"))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("", id="nothing"),
        pytest.param("jupyter-lab: /bin/sh -c echo tmppool-$((6 * 7)): no such option\n", id="the command quoted"),
        pytest.param("-42\njupyter-lab: /bin/sh -c a=tmppool; b=42; echo $a-$b: no command\n", id="expanded as text"),
    ],
)
async def test_an_entrypoint_that_does_not_run_its_command_is_left_out_and_said(
    small: Docile, docker: aiodocker.Docker, said: str
) -> None:
    small.says = [said, "tmppool-42\n"]
    found = await preflight.try_out(docker, SPEC, IMAGE, EngineFacts())
    assert found.entrypoint == ()
    (note,) = found.notes
    assert note == (
        "the entrypoint of image tmppool/debian:latest (tini -g --) does not run the command that it is given:"
        f" a notebook's container with it ended with exit code 0 ({' '.join(said.split()) or 'no output'});"
        " notebooks run theirs without it and what it prepares"
    )
    assert [made["Entrypoint"][4:] for made in small.all_made] == [["tini", "-g", "--"], []]


@pytest.mark.parametrize(
    ("said", "code"),
    [("[app] tmppool-42\n", 0), ('{"message": "tmppool-42"}', 1), ("\x1b[1mtmppool-42\x1b[0m\n", 0), ("", 87)],
)
async def test_an_entrypoint_that_runs_its_command_may_change_the_output_or_keep_it(
    small: Docile, docker: aiodocker.Docker, said: str, code: int
) -> None:
    small.says, small.code = [said], code
    found = await preflight.try_out(docker, SPEC, IMAGE, EngineFacts())
    assert found == replace(IMAGE, is_plain=False)
    assert container.trial_config(SPEC, "probe", found, EngineFacts(), ["true"])["Entrypoint"][-1] == IMAGE.below
    notebook = container.container_config(SPEC, "key", "token", found, uid=20000)
    assert notebook["Entrypoint"][-3:] == ["tini", "-g", "--"]


async def test_an_entrypoint_that_runs_for_ever_is_waited_for_as_long_as_a_start_may_take(
    small: Docile, docker: aiodocker.Docker
) -> None:
    async def wait(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    small.says = ["a server listens\n", "tmppool-42\n"]
    small.answers["wait"] = wait
    found = await preflight.try_out(docker, replace(SPEC, start_timeout=0.05), IMAGE, EngineFacts())
    assert found.entrypoint == ()
    assert "with it ran no command within 0 s (--start-timeout) (a server listens); notebooks" in found.notes[0]


def test_what_listens_in_a_container_is_seen_and_the_engines_own_names_are_not(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "mountinfo").write_text("a mount of container-id")
    head = "  sl  local_address rem_address   st tx_queue\n"
    rows = {"dns": "0: 0B00007F:9C41 00000000:0000 0A 0:0", "client": "1: 0100007F:9C41 0100007F:22B8 01 0:0"}
    (tmp_path / "net" / "tcp").write_text(head + "\n".join(rows.values()))
    (tmp_path / "net" / "tcp6").write_text(head)
    assert not preflight._has_listener(tmp_path, "container-id")
    (tmp_path / "net" / "tcp6").write_text(f"{head}0: {'0' * 32}:22B8 {'0' * 32}:0000 0A 0:0\n")
    assert preflight._has_listener(tmp_path, "container-id")
    assert not preflight._has_listener(tmp_path, "another-id")
    assert not preflight._has_listener(tmp_path / "none", "container-id")


@pytest.mark.parametrize("image", [IMAGE, replace(IMAGE, entrypoint=())])
async def test_an_image_in_which_no_command_runs_is_one_bounded_sentence(
    small: Docile, docker: aiodocker.Docker, image: ImageFacts
) -> None:
    small.says, small.code = ["x\x1b[31m\r\n" * 9000 + "sh: tar: not found\n"], 127
    with pytest.raises(BackendError) as caught:
        await preflight.try_out(docker, SPEC, image, EngineFacts())
    text = str(caught.value)
    assert text.startswith("--image: a container of tmppool/debian:latest ended with exit code 127 (")
    assert text.endswith("sh: tar: not found); an image needs /bin/sh and tar, which unpacks its home")
    assert len(text) < 400
    assert text.isprintable()
    assert not caught.value.transient


async def test_a_home_that_is_not_unpacked_is_no_fault_of_the_entrypoint(
    small: Docile, docker: aiodocker.Docker
) -> None:
    small.says, small.code = ["tar: short read\ntmppool: the home could not be unpacked: tar exited with 2\n"], 73
    with pytest.raises(BackendError, match=r"exit code 73 \(tar: short read tmppool: the home could not be unpacked"):
        await preflight.try_out(docker, SPEC, IMAGE, EngineFacts())
    assert len(small.all_made) == 1


async def test_the_trial_is_a_notebook_in_all_but_its_command_and_is_removed(
    small: Docile, docker: aiodocker.Docker
) -> None:
    assert await preflight.try_out(docker, SPEC, IMAGE, EngineFacts()) == IMAGE
    assert small.made["Cmd"] == ["/bin/sh", "-c", 'a=tmppool; b=42; echo "$a-$b"; exit 87']
    assert small.made["Entrypoint"][-3:] == ["tini", "-g", "--"]
    assert small.made["User"] == "29999:100"
    assert small.made["Labels"] == {SERVICE_LABEL: SPEC.service, CANARY_LABEL: "main"}
    assert small.made["HostConfig"]["SecurityOpt"][1] == f"seccomp={seccomp.PROFILE}"
    asked = [(method, path.rpartition("/")[2]) for method, path, _ in small.asked]
    assert [what for what in asked if what[0] != "GET"][:2] == [("POST", "create"), ("POST", "start")]
    assert asked[-1][0] == "DELETE"


async def test_one_user_for_all_is_tried_as_it_is(small: Docile, docker: aiodocker.Docker) -> None:
    await preflight.try_out(docker, replace(SPEC, user="1000:100"), IMAGE, EngineFacts())
    assert small.made["User"] == "1000:100"


@pytest.mark.parametrize(
    ("message", "setting"),
    [
        ("string SCMP_ACT_X is not a valid action for seccomp: unknown", "--seccomp: "),
        ("Unknown runtime specified runsc", "--runtime: "),
        ("unable to find user somebody: no matching entries in passwd file", "--container-user: "),
        ("uids and gids must be in range 0-2147483647", "--container-user or --container-uids: "),
        ('exec: "/bin/sh": stat /bin/sh: no such file or directory', "--image: "),
        ("Minimum memory limit allowed is 6MB", "--mem-limit: "),
        ('invalid mount config for type "bind": bind source path does not exist: /cpu', "--host-directories: "),
        ("error setting rlimits", "--nofile-limit, --memlock-limit or --sigpending-limit: "),
        ("something\nnobody foresaw", ""),
    ],
)
async def test_a_refusal_names_the_setting_where_it_can_be_told(
    small: Docile, docker: aiodocker.Docker, message: str, setting: str
) -> None:
    small.start = ({"message": message}, 400)
    with pytest.raises(BackendError) as caught:
        await preflight.try_out(docker, SPEC, IMAGE, EngineFacts())
    text = str(caught.value)
    assert text.startswith(f"{setting}a container of tmppool/debian:latest with these settings could not be started: ")
    assert text.endswith(" ".join(message.split()))
    assert "\n" not in text
    assert not caught.value.transient
    assert small.asked[-1][0] == "DELETE"


@pytest.mark.engine
class TestOnTheEngine:
    @pytest.mark.parametrize(
        ("changed", "text", "setting"),
        [
            ({}, '{"defaultAction": "SCMP_ACT_NONSENSE"}', "--seccomp: "),
            ({}, '{"defaultAction": 7}', "--seccomp: "),
            ({"runtime": "nobody-has-this"}, None, "--runtime: "),
            ({"memory": 1 << 20}, None, "--mem-limit: "),
            ({"user": "nobody-has-this"}, None, "--container-user: "),
            ({"uids": range(2**31, 2**31 + 5)}, None, "--container-user or --container-uids: "),
            ({"nofile": 1 << 40}, None, "--nofile-limit, --memlock-limit or --sigpending-limit: "),
            ({"binds": ("/nowhere/at/all:/x:ro",)}, None, "--host-directories: "),
            ({"extra_hosts": ("nonsense",)}, None, "--extra-hosts: "),
        ],
    )
    async def test_what_a_real_engine_refuses_is_told_by_the_settings_name(
        self, changed: dict[str, object], text: str | None, setting: str
    ) -> None:
        async with await engine.connect() as docker:
            with pytest.raises(BackendError) as caught:
                await preflight.try_out(
                    docker, replace(SPEC, **changed), ImageFacts(volume="unused"), EngineFacts(text)
                )
            filters = {"label": [f"{SERVICE_LABEL}={SPEC.service}"]}
            assert await docker.containers.list(all=True, filters=filters) == []
            await engine.remove_volume(docker, "unused")
        assert str(caught.value).startswith(f"{setting}a container of"), caught.value

    async def test_the_default_container_is_taken_and_nothing_is_left(self) -> None:
        async with await engine.connect() as docker:
            image = await image_home.take(docker, SPEC, await preflight.inspect_image(docker, DEFAULT_IMAGE))
            facts = await preflight.engine_facts(docker, "tmppool")
            assert await preflight.try_out(docker, SPEC, image, facts) == image
            await image_home.sweep(docker, SPEC, ())
            filters = {"label": [f"{SERVICE_LABEL}={SPEC.service}"]}
            assert await docker.containers.list(all=True, filters=filters) == []
