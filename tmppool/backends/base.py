"""The interface of every backend, and the values that it takes and returns."""

import hashlib
import re
import shlex
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tmppool.image_documents import Document
from tmppool.running import Death, Paused, Running, base_path

DEFAULT_COMMAND = (
    "jupyter lab --no-browser --ServerApp.base_url={base_path} --ServerApp.ip={ip} --ServerApp.port={port}"
    " --ServerApp.port_retries=0 --ServerApp.allow_remote_access=True --ServerApp.trust_xheaders=True"
    " --ServerApp.quit_button=False --ServerApp.shutdown_no_activity_timeout=0"
)
"""Option names: Jupyter Server 2, ``jupyter server --help-all``. ``port_retries=0``: the service could not find a
server that moved to another port. ``shutdown_no_activity_timeout=0``: an image's own would end warm notebooks, over and
over. The token is passed in ``JUPYTER_TOKEN``, to keep it out of the argument list."""


_INIT = re.compile(r"(tini|dumb-init|catatonit)(-\w+)?")  # the names of programs that reap orphans
_OF_THE_SHELL = frozenset("|&;<>()$`\\*?#~\n")


def options_apart(command: str) -> str:
    """Return a command with options that were quoted as one word taken apart.

    Operators of tmpnb have always written them so, because its images' scripts did not quote what they passed on;
    today's do. A word is taken apart if it holds nothing but options. A command that uses more of the shell than
    quotes is left alone.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    apart = [part for word in words for part in _parts(word)]
    is_plain = not _OF_THE_SHELL.intersection(command.replace('\\"', ""))
    return shlex.join(apart) if is_plain and apart != words else command


def _parts(word: str) -> list[str]:
    try:
        parts = shlex.split(word) if word.startswith("-") else [word]
    except ValueError:
        return [word]
    return parts if all(part.startswith("-") for part in parts) else [word]


@dataclass(frozen=True, slots=True)
class Spec:
    """Image, command and limits of a pool's notebooks. Sizes are in bytes, times in seconds."""

    service: str
    pool: str
    image: str
    command: str
    port: int
    user: str | None
    uids: range
    network: str
    memory: int
    cpu_quota: int | None
    cpu_shares: int | None
    pids: int
    nofile: int
    memlock: int
    sigpending: int
    home_size: int
    home_inodes: int
    tmp_size: int
    tmp_inodes: int
    shm_size: int
    log_size: int
    oom_score: int
    seccomp: str
    runtime: str | None
    start_timeout: float
    binds: tuple[str, ...]
    extra_hosts: tuple[str, ...]

    def render(self, key: str, *, ip: str, port: int, token: str) -> str:
        """Return the shell command with the placeholders filled in: tmpnb's, and ``prefix``."""
        path = base_path(key)
        filled = self.command.format(base_path=path, prefix=path.rstrip("/"), ip=ip, port=port, token=token)
        return options_apart(filled)


@dataclass(frozen=True, slots=True)
class Paths:
    """Local directories, for a backend that uses them.

    ``state``: the state directory; ``template``: the home to copy for each; ``config``: JUPYTER_CONFIG_PATH, or None.
    """

    state: Path
    template: Path | None = None
    config: Path | None = None


FALLBACK_HOME = "/home/notebook"
"""Mount point of a notebook's home if the path of the image's own cannot be one. No image has a file there."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about an image: its configuration, and what was found out with its help.

    ``landing``: the path that ``/`` opens. ``knock``: as in ``Running``. ``user``, ``home`` and ``shell`` (its
    variables HOME and SHELL), ``workdir``, ``volumes``: as configured. ``program`` is the entrypoint, and
    ``entrypoint`` too if it runs the command that it is given; ``is_plain`` if it does so at once and leaves the output
    as it is. ``empty``: those of ``volumes`` in which the image has no files. ``volume`` holds the copy of its home,
    ``home_at`` is where notebooks have it, ``below`` the working directory in it, and ``left_out`` says what was not
    copied. ``env``: its variables; with a volume, those whose value is another in the copy. ``owner``: the UID and GID
    of a user who is set for all notebooks (``Spec.user``), if they are known. ``notes`` are for the operator.
    ``documents`` are those in the copy of its home.
    """

    id: str = ""
    landing: str = "/tree"
    knock: str | None = None
    user: str = ""
    home: str = ""
    shell: str = ""
    workdir: str = "/"
    env: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    is_plain: bool = True
    volume: str = ""
    home_at: str = FALLBACK_HOME
    below: str = ""
    owner: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    documents: tuple[Document, ...] = field(default=(), repr=False)

    @property
    def has_init(self) -> bool:
        """True if the entrypoint that notebooks run is, or starts with, a program that reaps orphans."""
        words = " ".join(self.entrypoint).split()
        return any(_INIT.fullmatch(word.rpartition("/")[2]) for word in words)


@dataclass(frozen=True, slots=True)
class Edition:
    """One kind of notebook that a pool serves, as prepared by its backend.

    ``id`` is a digest of everything that its notebooks have in common; ``Running.edition`` holds it, also after a
    restart. ``name`` is for people. ``weight`` is its share of the warm notebooks, relative to the other editions.
    """

    id: str
    name: str
    spec: Spec
    image: ImageFacts = ImageFacts()
    landing: str = "/tree"
    weight: float = 1.0  # room for a roll-out: every pool has one edition now, so all weights are 1


def digest(*facts: object) -> str:
    """Return the id of an edition with these facts."""
    return hashlib.blake2s(repr(facts).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Traits:
    """A backend's properties, and the edition of its own spec. Pages and the log warn if it is not ``isolated``."""

    isolated: bool
    edition: Edition
    notes: tuple[str, ...] = field(default=())


class Backend(Protocol):
    """Runs the notebooks of one pool. Every call but ``deaths`` is bounded in time.

    Errors: BackendError; ``open`` and ``prepare`` also raise ConfigError and ImageError. A start that fails, is
    cancelled or times out leaves nothing behind.
    """

    @property
    def edition(self) -> Edition:
        """The edition of the backend's own spec; valid after ``open``."""

    async def open(self) -> Traits:
        """Connect, and check that notebooks can run here. Raises BackendError, ConfigError or ImageError."""

    async def prepare(self, spec: Spec) -> Edition:
        """Return the edition for ``spec``, checked as far as possible without starting a notebook.

        The spec's service and pool are replaced by the backend's own. Raises BackendError, ConfigError or ImageError.
        """

    async def start(self, key: str, edition: Edition) -> Running:
        """Start one notebook; return when it answers HTTP. Raises StartError with the tail of its log; BackendError."""

    async def give(self, key: str) -> None:
        """Record in the backend that the notebook was assigned; ``Running.given`` is YES from then on. Idempotent.

        The ledger records it too. But the ledger can be lost, or an older one restored, and an assigned notebook must
        not look warm then. Raises TakenError if another service assigned it first; BackendError.
        """

    async def stop(self, key: str) -> None:
        """End the notebook and remove its processes, files and descriptors. Idempotent. Raises BackendError."""

    async def list(self, known: Collection[str] = ()) -> list[Running]:
        """Return the running notebooks of this pool. Raises BackendError.

        ``known``: keys to look up one by one if the backend's listing lacks them, as it may be incomplete.
        """

    async def ping(self) -> None:
        """Return if the backend is well: within a few seconds it answered a cheap question that starts depend on.

        May be called while earlier calls are pending; one that a later call has overtaken says what that one found.
        Raises BackendError if it is ill.
        """

    def deaths(self) -> AsyncIterator[str | Paused | None]:
        """Yield the keys of notebooks that ended without ``stop``, for as long as the backend is open.

        And which ones were paused, or go on. None means that events may have been missed: call ``list``.
        """

    async def death(self, key: str) -> Death:
        """Return how a notebook that runs no more ended; UNKNOWN if the backend did not see it, or cannot tell now.

        What was seen is kept until ``stop``, also when ``list`` has cleared the remains away.
        """

    async def close(self) -> None:
        """Close connections and file descriptors; notebooks keep running."""
