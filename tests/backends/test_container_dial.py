"""Whether and how a container is reached, and what is told when it cannot be."""

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiodocker
import pytest

from tests.backends.test_engine import SmallEngine, said
from tmppool.backends import container_dial
from tmppool.backends.container_dial import GoneError, Reach
from tmppool.errors import BackendError
from tmppool.running import Dial

CONTAINER = "c" * 64
Shown = dict[str, dict[str, object]]


@pytest.fixture
async def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmallEngine]:
    made = SmallEngine(tmp_path / "engine.sock")
    await made.open()
    monkeypatch.setenv("DOCKER_HOST", made.url)
    yield made
    await made.close()


@pytest.fixture
def show(small: SmallEngine) -> Callable[..., Shown]:
    """Let the engine show a container with this process number."""

    def told(pid: int, *, network: str = "none", running: bool = True) -> Shown:
        shown: Shown = {
            "State": {"Running": running, "Pid": pid},
            "HostConfig": {"NetworkMode": network},
            "NetworkSettings": {"Networks": {network: {"IPAddress": "10.9.8.7"}}},
        }
        small.answers[f"containers/{CONTAINER}/json"] = lambda _request: said(shown)
        return shown

    return told


@pytest.fixture
def ended() -> Iterator[int]:
    """A process that is over, and whose exit nobody has asked for."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


async def test_on_a_bridge_it_is_reached_by_its_address(docker: aiodocker.Docker, show: Callable[..., Shown]) -> None:
    show(1, network="bridge")
    found = await container_dial.find(docker, CONTAINER, 8888)
    assert (found.dial.host, found.dial.port, found.namespace) == ("10.9.8.7", 8888, None)
    found.close()


async def test_processes_of_another_machine_are_told(docker: aiodocker.Docker, show: Callable[..., Shown]) -> None:
    show(os.getpid())  # the number is in use here, by something else
    with pytest.raises(BackendError, match=r"are not processes on this host; use --network isolated$") as caught:
        await container_dial.find(docker, CONTAINER, 8888)
    assert not caught.value.transient
    assert not isinstance(caught.value, GoneError)


async def test_a_process_whose_exit_the_engine_has_not_noticed_is_gone(
    docker: aiodocker.Docker, show: Callable[..., Shown], ended: int
) -> None:
    """Its mounts cannot be read any more, and that is no illness of the engine."""
    show(ended)
    with pytest.raises(GoneError):
        await container_dial.find(docker, CONTAINER, 8888)


@pytest.mark.parametrize(("pid", "running"), [(2**22 + 1, True), (0, True), (1, False)])
async def test_one_that_does_not_run_is_gone(
    docker: aiodocker.Docker, show: Callable[..., Shown], pid: int, *, running: bool
) -> None:
    show(pid, running=running)
    with pytest.raises(GoneError):
        await container_dial.find(docker, CONTAINER, 8888)


async def test_one_that_the_engine_does_not_know_is_gone(docker: aiodocker.Docker) -> None:
    with pytest.raises(GoneError, match=r"^the container is gone: no such thing$"):
        await container_dial.find(docker, CONTAINER, 8888)


async def test_an_engine_that_cannot_tell_does_not_make_it_gone(small: SmallEngine, docker: aiodocker.Docker) -> None:
    small.answers[f"containers/{CONTAINER}/json"] = lambda _request: said({"message": "ill"}, 500)
    with pytest.raises(BackendError, match=r"ill$") as caught:
        await container_dial.find(docker, CONTAINER, 8888)
    assert not isinstance(caught.value, GoneError)


async def test_a_first_process_is_there_if_it_has_what_is_the_containers(ended: int) -> None:
    own = os.getpid()
    word = Path(f"/proc/{own}/mountinfo").read_text().split()[4]
    dial, namespace = Dial("127.0.0.1", 8888), object()  # any that is held
    for pid, container_id, is_there in (
        (own, word, True),
        (own, CONTAINER, False),
        (own, "", False),
        (ended, word, False),
        (2**22 + 1, word, False),  # beyond what the kernel gives (proc(5), pid_max)
    ):
        assert await container_dial.is_there(Reach(dial, namespace, pid), container_id) is is_there, (pid, container_id)
    assert await container_dial.is_there(Reach(dial, None, own), word)  # on a bridge too
