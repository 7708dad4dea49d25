"""Notebooks as ordinary processes of this machine: the default if no engine answers.

There is no isolation: a visitor's code runs as the service's user. So the service listens on loopback only, and every
page warns. Each notebook has a private directory (home, temporary files, log); its process tree is killed as a whole.
"""

import asyncio
import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog
from cachetools import FIFOCache

from tmppool.backends import port_owner, process_family
from tmppool.backends.base import DEFAULT_COMMAND, Edition, ImageFacts, Paths, Spec, Traits, digest
from tmppool.backends.process_birth import born
from tmppool.errors import BackendError, ConfigError, StartError, TakenError
from tmppool.image_documents import below
from tmppool.jupyter import JupyterClient
from tmppool.keys import id_of
from tmppool.running import Death, Dial, Given, Running
from tmppool.tasks import completed, spawn

_FACTS = "notebook.json"
_FACT_TYPES = {"key": str, "pid": int, "born": str, "port": int, "token": str, "created_at": float}
_LOG = "notebook.log"
_GIVEN = "given"  # a file of this name means: it was assigned
_LOG_TAIL = 4096  # bytes
# Disables the pop-up that asks about news (JupyterLab documentation, "Announcements"), as in our image.
_REMEMBERED = 1_000
_EXIT_GRACE = 1.0  # seconds until the event loop has the return code of a child that has ended
# Signals that somebody sends; others are a program's own errors.
_SENT = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM)
_PROGRAM = re.compile(r"[\w./+-]+")
_LANDING = "/notebooks/welcome.ipynb"
# The variables of the service's environment that a notebook gets: none that could be a secret.
_ENVIRONMENT = ("LANG", "LC_ALL", "TZ", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR")

_log = structlog.get_logger("tmppool.process")


class ProcessBackend:
    """One pool's notebooks as processes."""

    def __init__(self, spec: Spec, paths: Paths) -> None:
        self._spec = spec
        self._paths = paths
        self._root = paths.state / "notebooks" / spec.pool
        self._watched: dict[str, int] = {}  # pidfds by key
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._starting: set[str] = set()  # keys
        self._dead: asyncio.Queue[str] = asyncio.Queue()
        self._deaths: FIFOCache[str, Death] = FIFOCache(_REMEMBERED)
        self._edition: Edition | None = None
        self._given: frozenset[str] = frozenset()  # keys that this process has marked, or tried to
        self._checks_ports = port_owner.can_tell()

    @classmethod
    def from_spec(cls, spec: Spec, paths: Paths) -> Self:
        """Return a backend for this pool. Raises ConfigError if the command lacks ``{port}``."""
        if "{port}" not in spec.command:
            raise ConfigError(
                "--command: it must contain {port} when notebooks are processes, since each needs a port of its own"
            )
        return cls(spec, paths)

    @property
    def edition(self) -> Edition:
        assert self._edition is not None, "open() comes first"
        return self._edition

    async def open(self) -> Traits:
        if not hasattr(os, "pidfd_open"):
            raise BackendError("the process backend needs Linux", transient=False)
        try:
            await asyncio.to_thread(self._root.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BackendError(
                f"notebooks cannot live in {self._root}: {error.strerror}; choose another --state-dir", transient=False
            ) from error
        self._edition = await self.prepare(self._spec)
        notes = ["no containers: notebooks are ordinary processes without isolation; listening on loopback only"]
        if not self._checks_ports:
            notes.append("this machine does not tell who listens on a port: other users could pose as a notebook")
        return Traits(isolated=False, edition=self._edition, notes=tuple(notes))

    async def prepare(self, spec: Spec) -> Edition:
        if spec.command == DEFAULT_COMMAND and os.geteuid() == 0:
            spec = replace(spec, command=f"{spec.command} --allow-root")  # Jupyter refuses root without it
        await asyncio.to_thread(_check_program, spec.command)
        template = self._paths.template
        with _refusals("the template of a home cannot be looked at"):
            has_template = template is not None and await asyncio.to_thread((template / "welcome.ipynb").exists)
            documents = await asyncio.to_thread(below, template) if template is not None else ()
        landing = _LANDING if has_template else "/tree"
        spec = replace(spec, service=self._spec.service, pool=self._spec.pool)
        image = ImageFacts(documents=documents)
        return Edition(digest(spec.command, template), "process", spec, image, landing)

    async def start(self, key: str, edition: Edition) -> Running:
        home = self._root / id_of(key)
        self._starting.add(key)
        try:
            token = secrets.token_urlsafe(24)
            await completed(asyncio.to_thread(self._prepare, home), "prepare a home")
            with port_owner.reserved() as port:
                command = edition.spec.render(key, ip=port_owner.HOST, port=port, token=token)
                child = await self._spawn(key, home, token, command)
                self._children[key] = child
                running = Running(key, self._dial(port), token, time.time(), edition=edition.id, pid=child.pid)
                running = await self._when_ready(running, child, home, edition.spec.start_timeout)
            birth = await asyncio.to_thread(born, child.pid)
            facts = dict(zip(_FACT_TYPES, (key, child.pid, birth, port, token, running.created_at), strict=True))
            facts["edition"] = edition.id
            await completed(asyncio.to_thread(_write_private, home / _FACTS, json.dumps(facts)), "note a notebook")
            self._watch(key, child.pid)
        except BaseException as error:
            await completed(self.stop(key), "clean up a start")
            if isinstance(error, OSError):
                raise StartError(f"a notebook process could not be started: {error}") from error
            raise
        finally:
            self._starting.discard(key)
        return running

    async def give(self, key: str) -> None:
        is_first, self._given = key not in self._given, self._given | {key}
        try:
            await asyncio.to_thread((self._root / id_of(key) / _GIVEN).touch, exist_ok=False)
        except FileExistsError as error:
            if is_first:
                raise TakenError("another service with this name has assigned this notebook") from error
        except OSError as error:
            raise BackendError(f"could not record that a notebook is assigned: {error.strerror}") from error

    async def stop(self, key: str) -> None:
        self._unwatch(key)
        self._given -= {key}
        child = self._children.pop(key, None)
        self._deaths.pop(key, None)
        await self._end(id_of(key), child)

    async def list(self, known: Collection[str] = ()) -> list[Running]:
        del known  # the kernel's answer is complete
        running = []
        with _refusals("notebooks could not be listed"):
            homes = await asyncio.to_thread(_homes, self._root)
            found = await asyncio.to_thread(_read_facts, self._root)
        own = {*self._starting, *self._children, *self._watched, *(facts["key"] for facts, _, _ in found)}
        for name in homes - {id_of(key) for key in own}:
            await self._clear(self._end(name))  # a service was killed while it started this one
        for facts, is_alive, given in found:
            key = facts["key"]
            if not is_alive:
                death = await self.death(key)
                await self._clear(self.stop(key))
                self._deaths[key] = death
                continue
            with _refusals("a notebook's end could not be watched for"):
                self._watch(key, facts["pid"])
            dial, edition = self._dial(facts["port"]), str(facts.get("edition", ""))
            about = Running(key, dial, facts["token"], facts["created_at"], edition=edition, given=given)
            running.append(replace(about, pid=facts["pid"]))
        return running

    async def ping(self) -> None:
        with _refusals("notebooks cannot be started"):
            await asyncio.to_thread(_check_writable, self._root)

    async def deaths(self) -> AsyncIterator[str | None]:
        while True:
            yield await self._dead.get()

    async def death(self, key: str) -> Death:
        child = self._children.get(key)
        if key not in self._deaths and child is not None:
            with contextlib.suppress(TimeoutError):
                self._deaths[key] = _death(await asyncio.wait_for(child.wait(), _EXIT_GRACE))
        return self._deaths.get(key, Death.UNKNOWN)

    async def close(self) -> None:
        for key in list(self._watched):
            self._unwatch(key)

    # Inside

    async def _end(self, name: str, child: asyncio.subprocess.Process | None = None) -> None:
        """End the processes of the notebook in the directory of this name, and remove it. Raises BackendError."""
        home = self._root / name
        with _refusals("a notebook could not be ended"):
            leader = child.pid if child is not None else await asyncio.to_thread(_leader, home)
            if not await asyncio.to_thread(process_family.end, name, leader):
                raise BackendError("a notebook's processes did not end")
            if child is not None:
                await child.wait()
            await asyncio.to_thread(_remove, home)
            if await asyncio.to_thread(home.exists):
                raise BackendError(f"{home} could not be removed")

    async def _clear(self, ending: Coroutine[Any, Any, None]) -> None:
        """Remove what is left of a notebook that has ended; where that fails, it holds up no other."""
        try:
            await ending
        except BackendError as error:
            _log.warning("remains.cleanup_failed", error=str(error))

    def _dial(self, port: int) -> Dial:
        if not self._checks_ports:
            return Dial(port_owner.HOST, port)
        return Dial(port_owner.HOST, port, partial(port_owner.socket_to, port))

    def _prepare(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        if self._paths.template is not None:
            shutil.copytree(self._paths.template, home / "home")
        (home / "home").mkdir(exist_ok=True)
        (home / "tmp").mkdir()

    async def _spawn(self, key: str, home: Path, token: str, command: str) -> asyncio.subprocess.Process:
        log = await completed(asyncio.to_thread((home / _LOG).open, "wb"), "open a log")
        with log:
            return await asyncio.create_subprocess_exec(
                *process_family.BEGIN,
                "/bin/sh",
                "-c",
                command,
                cwd=home / "home",
                env=self._environment(key, home, token),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, key: str, home: Path, token: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        mine = {
            "PATH": _path(),
            "HOME": str(home / "home"),
            "TMPDIR": str(home / "tmp"),
            "JUPYTER_TOKEN": token,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            process_family.MARK: id_of(key),
        }
        if self._paths.config is not None:
            mine["JUPYTER_CONFIG_PATH"] = str(self._paths.config)
        return kept | mine

    async def _when_ready(
        self, running: Running, child: asyncio.subprocess.Process, home: Path, patience: float
    ) -> Running:
        """Return the notebook once it is ready, with what it was found to be. Raises StartError if it never will be."""
        exited = spawn(child.wait(), "watch a start")
        async with JupyterClient(running) as jupyter:
            ready = spawn(jupyter.wait_ready(), "wait until ready", awaited=True)
            try:
                await asyncio.wait({ready, exited}, return_when=asyncio.FIRST_COMPLETED, timeout=patience)
                if ready.done():
                    ready.result()
                    return replace(running, is_jupyter=jupyter.is_jupyter, began=jupyter.began)
            finally:
                ready.cancel()
                exited.cancel()
        tail = await asyncio.to_thread(_tail, home / _LOG)
        port = running.dial.port
        listener = port_owner.owner(port) if self._checks_ports else None
        if listener not in (None, os.geteuid()):
            raise StartError(f"another user of this machine (UID {listener}) took port {port}", log_tail=tail)
        if exited.done() and not exited.cancelled():
            raise StartError(
                f"the notebook command exited with code {exited.result()} before it answered", log_tail=tail
            )
        heard = jupyter.heard or "nothing listened on its port"
        raise StartError(f"the notebook did not answer within {patience:.0f} s: {heard}", log_tail=tail)

    def _watch(self, key: str, pid: int) -> None:
        """Report the end of a process, at which its pidfd becomes readable (pidfd_open(2)). Raises OSError."""
        if key in self._watched:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._dead.put_nowait(key)
            return
        self._watched[key] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._died, key)

    def _died(self, key: str) -> None:
        self._unwatch(key)
        self._dead.put_nowait(key)

    def _unwatch(self, key: str) -> None:
        descriptor = self._watched.pop(key, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)


def _death(code: int) -> Death:
    """Return how a child ended, by its return code: negative for a signal, over 128 for one that its shell tells of."""
    number = -code if code < 0 else code - 128
    return Death.KILLED if number in _SENT else Death.EXITED


def _path() -> str:
    """Return the PATH of a notebook: first the directory of the service's own Python."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _check_program(command: str) -> None:
    """Raise BackendError if the first word of a shell command is not a program here. Blocks.

    Without the program every start would fail. A word with shell syntax is not checked.
    """
    word = command.split(maxsplit=1)[0]
    if not _PROGRAM.fullmatch(word):
        return
    look = ["/bin/sh", "-c", 'command -v "$0" >/dev/null 2>&1', word]
    with _refusals("the notebook command could not be looked for"):
        found = subprocess.run(look, env={"PATH": _path()}, check=False)  # noqa: S603 - set by the operator
    if found.returncode:
        hint = "install Jupyter with pip install 'tmppool[notebook]'" if word == "jupyter" else "install it"
        raise BackendError(
            f"--command: there is no program {word!r} here: {hint}, or choose another command", transient=False
        )


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Translate OSError into BackendError; ``what`` begins its message."""
    try:
        yield
    except OSError as error:
        raise BackendError(f"{what}: {error}") from error


def _check_writable(root: Path) -> None:
    """Raise OSError unless notebooks can be made in ``root``."""
    with os.scandir(root) as entries:
        next(entries, None)
    if not os.access(root, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))


def _read_facts(root: Path) -> list[tuple[dict[str, Any], bool, Given]]:
    """Return each notebook's facts, validated since a visitor can write them; if it is alive; if it was assigned."""
    found = []
    for path in root.glob(f"*/{_FACTS}"):
        try:
            facts = json.loads(path.read_bytes())
            is_sound = all(isinstance(facts.get(name), kind) for name, kind in _FACT_TYPES.items())
            if is_sound and id_of(facts["key"]) == path.parent.name:
                given = Given.YES if path.with_name(_GIVEN).exists() else Given.NO
                found.append((facts, born(facts["pid"]) == facts["born"], given))
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
    return found


def _homes(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()


def _leader(home: Path) -> int | None:
    """Return the PID of a notebook's first process; None if it has ended (PID reuse is detected)."""
    alive = (facts for facts, is_alive, _ in _read_facts(home.parent) if is_alive)
    return next((int(facts["pid"]) for facts in alive if id_of(facts["key"]) == home.name), None)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _remove(home: Path) -> None:
    """Remove a notebook's files, as far as that is possible; also what its visitor has made read-only. Blocks."""
    shutil.rmtree(home, ignore_errors=True)
    if not home.exists():
        return
    with contextlib.suppress(OSError):
        home.chmod(0o700)
        for folder, names, _ in os.walk(home):
            for path in (Path(folder, name) for name in names):
                if not path.is_symlink():  # chmod would follow it
                    path.chmod(0o700)
    shutil.rmtree(home, ignore_errors=True)


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    except OSError:
        return ""
