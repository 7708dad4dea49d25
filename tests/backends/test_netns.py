"""Sockets made inside another network namespace: a real one, made for the test. Needs root on Linux."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tmppool.backends.netns import NetworkNamespace, require_permission
from tmppool.running import Dial

ROOT = Path(__file__).parents[2]
PORT = 8888
INSIDE = """
import socket
server = socket.create_server(("127.0.0.1", 8888))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"from inside")
    connection.close()
"""


def own_namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


def descriptors() -> set[str]:
    """What this process holds open, the links of /proc/self/fd being looked at aside."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{path.name} {path.readlink()}")
        except OSError:
            continue
    return {name for name in found if "/proc/" not in name}


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    """A process in a network namespace of its own, that answers on its loopback."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        unavailable("network namespaces", "making one needs root, unshare and ip")
    script = f"ip link set lo up && exec {sys.executable} -c '{INSIDE}'"
    made = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    yield made.pid
    made.kill()
    made.wait()
    made.stdout.close()


@pytest.fixture
def visitor(pid: int) -> Iterator[int]:
    """A process of another user in a network namespace of its own, as a notebook's is."""
    made = subprocess.Popen(
        ["unshare", "--net", "setpriv", "--reuid=20001", "--clear-groups", "sh", "-c", "echo ready; exec sleep 60"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    yield made.pid
    made.kill()
    made.wait()
    made.stdout.close()


@pytest.fixture
def namespace(pid: int) -> Iterator[NetworkNamespace]:
    with closing(NetworkNamespace.of(pid)) as made:
        yield made


async def read(make_socket: Callable[[], object] | None) -> bytes:
    dial = Dial("127.0.0.1", PORT) if make_socket is None else Dial("127.0.0.1", PORT, make_socket)
    with await dial.connect() as sock:
        return await asyncio.get_running_loop().sock_recv(sock, 100)


@pytest.fixture
async def neighbour() -> AsyncIterator[None]:
    """Another server on the same port, outside."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"from outside")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", PORT)
    async with server:
        yield


async def test_a_socket_made_there_reaches_what_listens_there(namespace: NetworkNamespace) -> None:
    assert await read(namespace.socket) == b"from inside"


async def test_inside_and_outside_are_never_mixed_up(namespace: NetworkNamespace, neighbour: None) -> None:
    answers = [await read(make) for _ in range(20) for make in (namespace.socket, None)]
    assert answers == [b"from inside", b"from outside"] * 20


async def test_many_dials_at_once_stay_in_their_namespace(namespace: NetworkNamespace, neighbour: None) -> None:
    answers = await asyncio.gather(*(read(make) for _ in range(50) for make in (namespace.socket, None)))
    assert list(answers) == [b"from inside", b"from outside"] * 50


def test_the_service_is_back_in_its_own_namespace_after_each_socket(namespace: NetworkNamespace) -> None:
    before = own_namespace()
    for _ in range(100):
        namespace.socket().close()
        assert own_namespace() == before


def test_it_is_back_also_when_no_socket_could_be_made(
    namespace: NetworkNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_descriptors() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("tmppool.backends.netns.plain_socket", out_of_descriptors)
    before = own_namespace()
    with pytest.raises(OSError, match="Too many open files"):
        namespace.socket()
    assert own_namespace() == before


def test_where_only_one_descriptor_is_left_none_is_kept(pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While descriptors are used up it is tried again and again: each try would keep the last one for good."""
    before, genuine = descriptors(), os.open

    def one(path: str, flags: int) -> int:
        if len(descriptors() - before) > 0:
            raise OSError(24, "Too many open files")
        return genuine(path, flags)

    with monkeypatch.context() as short:
        short.setattr(os, "open", one)
        with pytest.raises(OSError, match="Too many open files"):
            NetworkNamespace.of(pid)
    assert descriptors() == before


def test_a_closed_one_makes_no_socket_and_holds_no_descriptor(pid: int) -> None:
    before = descriptors()
    made = NetworkNamespace.of(pid)
    assert len(descriptors() - before) == 2
    made.close()
    made.close()
    assert descriptors() == before
    with pytest.raises(ConnectionRefusedError, match="the notebook is gone"):
        made.socket()


async def test_the_namespace_is_held_though_its_process_ends() -> None:
    made = await asyncio.create_subprocess_exec(
        "unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep 86397", stdout=subprocess.PIPE
    )
    await made.stdout.readline()
    with closing(NetworkNamespace.of(made.pid)) as namespace:
        made.kill()
        await made.wait()
        with pytest.raises(ConnectionRefusedError):
            await read(namespace.socket)


def test_its_own_namespace_is_refused(pid: int) -> None:
    before = descriptors()
    with pytest.raises(ValueError, match="in this service's own network namespace"):
        NetworkNamespace.of(os.getpid())
    assert descriptors() == before


def test_a_process_that_is_gone_is_an_oserror(pid: int) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(OSError, match="No such file"):
        NetworkNamespace.of(gone.pid)


def test_root_may_enter_namespaces(pid: int) -> None:
    before = descriptors()
    require_permission()
    assert descriptors() == before


def without(*capabilities: str) -> list[str]:
    """The beginning of a command that runs as root, but for these capabilities."""
    if shutil.which("setpriv") is None:
        unavailable("network namespaces", "setpriv is not installed")
    listed = ",".join(capabilities)
    return ["setpriv", f"--bounding-set={listed}", f"--inh-caps={listed}"]


TRY = """
import os, sys
from tmppool.backends.netns import NetworkNamespace, require_permission
from tmppool.errors import BackendError
try:
    require_permission()
    print("may")
except BackendError as error:
    print(error.transient, error)
try:
    NetworkNamespace.of(int(sys.argv[1])).socket().close()
    print("can")
except OSError as error:
    print("cannot")
"""
LACKS = "False no permission to enter a container's network namespace: this process lacks"


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [
        (("-sys_admin",), f"{LACKS} CAP_SYS_ADMIN\ncannot\n"),
        (("-sys_ptrace",), f"{LACKS} CAP_SYS_PTRACE\ncannot\n"),
        (("-sys_admin", "-sys_ptrace"), f"{LACKS} CAP_SYS_ADMIN and CAP_SYS_PTRACE\ncannot\n"),
        (("-all",), f"{LACKS} CAP_SYS_ADMIN and CAP_SYS_PTRACE\ncannot\n"),
        (("-all", "+sys_admin"), f"{LACKS} CAP_SYS_PTRACE\ncannot\n"),
        (("-all", "+sys_admin", "+sys_ptrace"), "may\ncan\n"),
    ],
    ids=str,
)
def test_who_may_not_is_told_what_exactly_is_missing_and_those_two_are_enough(
    visitor: int, capabilities: tuple[str, ...], said: str
) -> None:
    command = [*without(*capabilities), sys.executable, "-c", TRY, str(visitor)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == said


def test_a_service_that_cannot_come_back_ends_at_once(pid: int) -> None:
    program = (
        "from tmppool.backends import netns\n"
        f"namespace = netns.NetworkNamespace.of({pid})\n"
        "enter, calls = netns._setns, []\n"
        "def once(descriptor):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 2:\n        raise OSError(1, 'Operation not permitted')\n"
        "    enter(descriptor)\n"
        "netns._setns = once\n"
        "try:\n    namespace.socket()\nfinally:\n    print('still here')\n"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (70, "")
    assert found.stderr == (
        "tmppool: could not leave a notebook's network namespace ([Errno 1] Operation not permitted); exiting\n"
    )
