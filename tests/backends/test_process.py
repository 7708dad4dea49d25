"""Notebooks as processes keep the contract, and leave no process and no file behind."""

import asyncio
import contextlib
import functools
import gc
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from tests.backends.contract import KEY, OTHER, SERVER, CommandContract, Site, started, until
from tests.backends.test_port_owner import squatter
from tests.specs import spec_of
from tmppool.backends import port_owner
from tmppool.backends import process as process_module
from tmppool.backends.base import DEFAULT_COMMAND, Paths
from tmppool.backends.process import ProcessBackend
from tmppool.errors import BackendError, StartError
from tmppool.jupyter import JupyterClient
from tmppool.keys import id_of

ROOT = Path(__file__).parents[2]


class ProcessSite(Site):
    """Each service has a state directory of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.made: list[ProcessBackend] = []
        self.template: Path | None = None

    async def make(self, service: str = "one", *, command: str = SERVER, start_timeout: float = 20.0) -> ProcessBackend:
        spec = spec_of(service=service, pool="main", command=command, start_timeout=start_timeout)
        backend = ProcessBackend(spec, Paths(self.state / service, self.template))
        self.made.append(backend)
        await backend.open()
        return backend

    def home(self, key: str) -> Path:
        return self.state / "one" / "notebooks" / "main" / id_of(key)

    def facts(self, key: str) -> dict[str, object]:
        return json.loads((self.home(key) / "notebook.json").read_text())

    async def kill(self, key: str) -> None:
        os.kill(self.facts(key)["pid"], signal.SIGKILL)

    async def leftovers(self, key: str) -> list[str]:
        return await asyncio.to_thread(self._leftovers, key)

    def _leftovers(self, key: str) -> list[str]:
        processes = [f"process {process.pid} {process.name()}" for process in marked(key)]
        return processes + ([f"directory {self.home(key)}"] if self.home(key).exists() else [])


def marked(key: str) -> list[psutil.Process]:
    """Every process that lives and carries the notebook's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if id_of(key) in process.environ().values() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ProcessSite]:
    made = ProcessSite(tmp_path)
    yield made
    for backend in made.made:
        for key in (KEY, OTHER):
            await backend.stop(key)
        await backend.close()


pytestmark = pytest.mark.process


class TestProcess(CommandContract):
    pass


async def test_it_says_that_nothing_is_isolated(site: ProcessSite) -> None:
    traits = await (await site.make()).open()
    assert (traits.isolated, traits.edition.landing) == (False, "/tree")
    assert "without isolation" in traits.notes[0]


async def test_a_home_starts_as_a_copy_of_the_template(site: ProcessSite, tmp_path: Path) -> None:
    site.template = tmp_path / "template"
    (site.template / "talks").mkdir(parents=True)
    (site.template / "welcome.ipynb").write_text("{{}}")
    (site.template / "talks" / "a.txt").write_text("hello")
    backend = await site.make()
    assert (await backend.open()).edition.landing == "/notebooks/welcome.ipynb"
    await backend.start(KEY, backend.edition)
    await backend.start(OTHER, backend.edition)
    (site.home(KEY) / "home" / "talks" / "a.txt").write_text("changed by a visitor")
    assert (site.home(OTHER) / "home" / "talks" / "a.txt").read_text() == "hello"
    assert (site.template / "talks" / "a.txt").read_text() == "hello"


async def test_a_notebook_sees_no_secret_of_the_service(site: ProcessSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_AUTH_TOKEN", "very-secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    backend = await site.make()
    running = await backend.start(KEY, backend.edition)
    environ = psutil.Process(site.facts(KEY)["pid"]).environ()
    assert environ["JUPYTER_TOKEN"] == running.token
    assert (environ["LANG"], environ["HOME"]) == ("C.UTF-8", str(site.home(KEY) / "home"))
    assert "very-secret" not in environ.values()


async def test_what_is_written_about_a_notebook_is_for_its_owner_alone(site: ProcessSite) -> None:
    await started(await site.make())
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (site.home(KEY), site.home(KEY) / "notebook.json")]
    assert modes == [0o700, 0o600]


@pytest.mark.parametrize(
    "escape",
    [
        pytest.param("setsid sleep 86399 &", id="left the session"),
        pytest.param("env -i sleep 86399 &", id="cleared its environment"),
        pytest.param("(sleep 86399 &); (setsid nohup sleep 86399 >/dev/null 2>&1 &);", id="orphans"),
    ],
)
async def test_a_stop_ends_processes_that_tried_to_get_away(site: ProcessSite, escape: str) -> None:
    before = sleepers()
    backend = await site.make(command=f"{escape} {SERVER}")
    await backend.start(KEY, backend.edition)
    assert len(sleepers() - before) >= 2
    await backend.stop(KEY)
    assert sleepers() - before == set()


def sleepers() -> set[int]:
    return {
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["cmdline"] == ["sleep", "86399"] and process.info["status"] != psutil.STATUS_ZOMBIE
    }


async def test_a_notebook_that_died_while_no_service_looked_is_cleared_away(site: ProcessSite) -> None:
    backend = await site.make()
    await backend.start(KEY, backend.edition)
    await backend.close()
    await site.kill(KEY)
    await until(lambda: is_over(site.facts(KEY)["pid"]))
    heir = await site.make()
    assert await heir.list() == []
    assert await site.leftovers(KEY) == []


async def is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_process_number_that_was_used_again_is_not_taken_for_the_notebook(site: ProcessSite) -> None:
    backend = await site.make()
    await backend.start(KEY, backend.edition)
    await backend.close()
    facts = site.facts(KEY)
    await site.kill(KEY)
    bystander = subprocess.Popen(["sleep", "86398"])
    try:
        (site.home(KEY) / "notebook.json").write_text(json.dumps({**facts, "pid": bystander.pid}))
        heir = await site.make()
        assert await heir.list() == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_facts_that_cannot_be_read_are_passed_over(site: ProcessSite) -> None:
    backend = await site.make()
    await backend.start(KEY, backend.edition)
    for name, text in (("half", '{"key": "x", "pi'), ("empty", ""), ("other", "[]"), ("short", '{"key": "x"}')):
        folder = site.home(KEY).parent / name
        folder.mkdir()
        (folder / "notebook.json").write_text(text)
    assert [running.key for running in await backend.list()] == [KEY]


async def test_a_key_that_no_service_ever_gave_is_passed_over(site: ProcessSite) -> None:
    """A visitor can write it, and a lone surrogate is JSON and has no bytes."""
    backend = await site.make()
    await backend.start(KEY, backend.edition)
    forged = {**site.facts(KEY), "key": "\ud800"}
    folder = site.home(KEY).parent / "forged"
    folder.mkdir()
    (folder / "notebook.json").write_text(json.dumps(forged))
    assert [running.key for running in await backend.list()] == [KEY]


@contextlib.contextmanager
def descriptors(spare: int) -> Iterator[None]:
    """Let this process open only so many more descriptors (getrlimit(2), RLIMIT_NOFILE: one above the highest)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("verb", ["open", "start", "give", "stop", "list", "close"])
async def test_without_descriptors_every_verb_ends_or_raises_a_backenderror(site: ProcessSite, verb: str) -> None:
    for spare in range(10):
        backend = await site.make()
        if verb != "start":
            await backend.start(KEY, backend.edition)
        fresh = ProcessBackend(spec_of("one", "main"), Paths(site.state / "one"))
        works = {
            "open": fresh.open,
            "start": functools.partial(backend.start, KEY, backend.edition),
            "list": backend.list,
            "close": backend.close,
        }
        with descriptors(spare), contextlib.suppress(BackendError):
            await (works[verb]() if verb in works else getattr(backend, verb)(KEY))
        await backend.stop(KEY)
        await backend.close()
        assert await site.leftovers(KEY) == []


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (
            DEFAULT_COMMAND,
            "there is no program 'jupyter' here: install Jupyter with pip install 'tmppool[notebook]', or",
        ),
        ("voila --port={port}", "there is no program 'voila' here: install it, or choose another command"),
    ],
)
async def test_a_command_that_is_not_installed_is_told_before_any_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, hint: str
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = ProcessBackend(spec_of("one", "main", command=command), Paths(tmp_path))
    with pytest.raises(BackendError, match=f"^--command: {re.escape(hint)}") as caught:
        await backend.open()
    assert not caught.value.transient


@pytest.mark.parametrize("command", ["exec nothing-here", "A=1 nothing-here", "(true)", "/bin/sh -c x", "cd /; x"])
async def test_what_only_a_shell_can_read_is_left_to_it(tmp_path: Path, command: str) -> None:
    await ProcessBackend(spec_of("one", "main", command=command), Paths(tmp_path)).open()


async def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    backend = ProcessBackend(spec_of("one", "main"), Paths(tmp_path / "file"))
    with pytest.raises(BackendError, match=r"choose another --state-dir$") as caught:
        await backend.open()
    assert not caught.value.transient


async def test_a_state_directory_that_vanished_is_a_starterror(site: ProcessSite) -> None:
    backend = await site.make()
    site.home(KEY).parent.rmdir()
    with pytest.raises(StartError):
        await backend.start(KEY, backend.edition)


async def test_a_backend_that_is_forgotten_kills_nothing(site: ProcessSite) -> None:
    """asyncio kills a child whose transport is collected: a service that ends must not take its sessions along."""
    backend = await site.make()
    running = await backend.start(KEY, backend.edition)
    await backend.close()
    site.made.clear()
    del backend
    gc.collect()
    heir = await site.make()
    assert [found.key for found in await heir.list()] == [KEY]
    async with JupyterClient(running) as jupyter:
        assert await jupyter.answers()


async def test_a_start_that_is_cancelled_while_its_home_is_made_leaves_no_home(
    site: ProcessSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be cancelled: what it makes has to be waited for."""
    backend = await site.make()
    begun, prepare = threading.Event(), backend._prepare

    def slowly(home: Path) -> None:
        begun.set()
        time.sleep(0.3)
        prepare(home)

    monkeypatch.setattr(backend, "_prepare", slowly)
    starting = asyncio.ensure_future(backend.start(KEY, backend.edition))
    await asyncio.to_thread(begun.wait)
    starting.cancel()
    await asyncio.wait({starting})
    assert starting.cancelled()
    await asyncio.sleep(0.5)
    assert await site.leftovers(KEY) == []


PROGRAM = """
import asyncio, sys
from pathlib import Path

from tests.specs import spec_of
from tmppool.backends.base import Paths
from tmppool.backends.process import ProcessBackend

async def main():
    backend = ProcessBackend(spec_of("one", "main", command=sys.argv[2]), Paths(Path(sys.argv[1])))
    await backend.open()
    await backend.start(sys.argv[3], backend.edition)
    await backend.close()

if sys.argv[4] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_notebook_outlives_the_service_that_started_it(site: ProcessSite, loop: str) -> None:
    words = [str(site.state / "one"), SERVER, KEY, loop]
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *words, cwd=ROOT)
    assert await ended.wait() == 0
    heir = await site.make()
    (listed,) = await heir.list()
    async with JupyterClient(listed) as jupyter:
        assert await jupyter.answers()


async def test_the_real_jupyter_starts_and_ends(site: ProcessSite) -> None:
    backend = await site.make(command=DEFAULT_COMMAND, start_timeout=60.0)
    running = await backend.start(KEY, backend.edition)
    async with JupyterClient(running) as jupyter:
        assert await jupyter.answers()
        assert await jupyter.silent_for() is None
        (site.home(KEY) / "home" / "a.ipynb").write_text(
            json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
        )
        await jupyter.start_kernel("a.ipynb")
        assert await jupyter.silent_for() in (None, 0.0)  # an idle kernel is no work, one that starts may be
    assert len(marked(KEY)) >= 2
    await backend.stop(KEY)
    assert await site.leftovers(KEY) == []


# The port


async def test_a_start_in_which_the_service_was_killed_leaves_nothing(site: ProcessSite) -> None:
    """What would tell the next service of it is written once it answers."""
    backend = await site.make()
    running = await backend.start(KEY, backend.edition)
    await backend.start(OTHER, backend.edition)
    (site.home(KEY) / "notebook.json").unlink()
    assert [each.key for each in await backend.list()] == [OTHER], "it is this service's own"
    assert await site.leftovers(KEY) != []
    heir = await site.make()
    assert [each.key for each in await heir.list()] == [OTHER]
    assert await site.leftovers(KEY) == []
    await until(lambda: is_over(running.pid))


REMOVE = """
import pathlib, sys
from tmppool.backends import process
process._remove(pathlib.Path(sys.argv[1]))
"""
AS_ANYBODY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_what_a_visitor_has_made_read_only_is_removed_too(tmp_path: Path, mode: int) -> None:
    """As the caches of some package managers are. Root may write there, so that it is tried without that right."""
    outside, home = tmp_path / "outside", tmp_path / "home"
    (home / "cache" / "deeper").mkdir(parents=True)
    (home / "cache" / "deeper" / "file").touch()
    outside.mkdir(mode=0o755)
    (home / "cache" / "link").symlink_to(outside)
    for path in (home / "cache" / "deeper", home / "cache", home):
        path.chmod(mode)
    subprocess.run([*AS_ANYBODY, sys.executable, "-c", REMOVE, home], check=True, cwd=ROOT)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


async def test_remains_that_cannot_be_removed_hold_up_no_other(
    site: ProcessSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await site.make()
    await backend.start(KEY, backend.edition)
    await backend.start(OTHER, backend.edition)
    await site.kill(KEY)
    await until(lambda: is_over(site.facts(KEY)["pid"]))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(process_module, "_remove", lambda _home: None)
        assert [running.key for running in await backend.list()] == [OTHER]
    assert [line["event"] for line in logs] == ["remains.cleanup_failed"]


SILENT = "sleep 60 # {port} {base_path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
async def test_another_user_who_takes_the_port_is_sent_nothing(
    site: ProcessSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await site.make(command=SILENT, start_timeout=1.0)
    with port_owner.reserved() as port, squatter(port) as other:
        monkeypatch.setattr(port_owner, "reserved", lambda: contextlib.nullcontext(port))
        with pytest.raises(StartError, match=rf"^another user of this machine \(UID 65534\) took port {port}$"):
            await backend.start(KEY, backend.edition)
        other.kill()
        assert other.stdout is not None
        assert other.stdout.read() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
async def test_another_user_who_takes_the_port_of_a_notebook_that_died_is_sent_nothing(site: ProcessSite) -> None:
    backend = await site.make()
    running = await backend.start(KEY, backend.edition)
    await site.kill(KEY)

    async def is_free() -> bool:
        return port_owner.owner(running.dial.port) is None

    await until(is_free)
    with squatter(running.dial.port) as other:
        with pytest.raises(ConnectionRefusedError):
            await running.dial.connect()
        async with JupyterClient(replace(running, is_jupyter=True)) as jupyter:
            with pytest.raises(BackendError):
                await jupyter.silent_for()
        other.kill()
        assert other.stdout is not None
        assert other.stdout.read() == ""


async def test_where_the_machine_does_not_tell_who_listens_it_says_so(
    site: ProcessSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_owner, "_NETLINK_SOCK_DIAG", 31)
    backend = await site.make()
    assert "other users could pose as a notebook" in (await backend.open()).notes[1]
    async with JupyterClient(await backend.start(KEY, backend.edition)) as jupyter:
        assert await jupyter.answers()


async def test_it_is_ill_where_no_notebook_could_be_made(site: ProcessSite) -> None:
    backend = await site.make()
    await backend.ping()
    root = site.state / "one" / "notebooks" / "main"
    root.rename(root.with_name("moved"))
    with pytest.raises(BackendError, match=r"^notebooks cannot be started: .*No such file"):
        await backend.ping()
    root.with_name("moved").rename(root)
    await backend.ping()
