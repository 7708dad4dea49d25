"""The seam: a few verbs, values in, values out, recovery included."""

import hashlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Protocol

from tmppool.running import Running, base_path

DEFAULT_COMMAND = (
    "jupyter lab --no-browser --ServerApp.base_url={base_path} --ServerApp.ip={ip} --ServerApp.port={port}"
    " --ServerApp.port_retries=0 --ServerApp.allow_remote_access=True --ServerApp.trust_xheaders=True"
    " --ServerApp.quit_button=False"
)
"""Option names: Jupyter Server 2, ``jupyter server --help-all``. ``port_retries=0``: a server that silently moves to
another port would never be found. The token comes by ``JUPYTER_TOKEN``, so it stands in no argument list."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Image, command and limits of a pool's notebooks. Sizes are bytes, times seconds.

    Its defaults are those of the settings.
    """

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
        """Return the shell command with tmpnb's placeholders filled in."""
        return self.command.format(base_path=base_path(key), ip=ip, port=port, token=token)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about an image: its id, the home to copy (``seed``), and the path where a visitor lands."""

    id: str = ""
    seed: str = "/home/jovyan"
    landing: str = "/tree"
    has_init: bool = False


@dataclass(frozen=True, slots=True)
class Edition:
    """One kind of notebook that a pool serves, as its backend has prepared it.

    ``id`` is a digest of all that its notebooks have in common; ``Running.edition`` tells it, after a restart too.
    ``name`` is for people. ``weight`` is its part of the warm notebooks, beside the weights of the pool's others.
    """

    id: str
    name: str
    spec: Spec
    image: ImageFacts = ImageFacts()
    landing: str = "/tree"
    weight: float = 1.0


def digest(*facts: object) -> str:
    """Return the id of an edition that is made of these facts."""
    return hashlib.blake2s(repr(facts).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Traits:
    """The promises of a backend, and the edition of its own spec. Pages and the log say what is false here."""

    isolated: bool
    edition: Edition
    notes: tuple[str, ...] = field(default=())


class Backend(Protocol):
    """Runs the notebooks of one pool. Every verb is bounded in time and raises BackendError, nothing else.

    A start that fails, is cancelled or runs late leaves nothing behind.
    """

    @property
    def edition(self) -> Edition:
        """The edition of the backend's own spec, known since ``open``."""

    async def open(self) -> Traits:
        """Check that notebooks can be run here; connect. Raises BackendError, ConfigError or ImageError."""

    async def prepare(self, spec: Spec) -> Edition:
        """Return the edition that notebooks of ``spec`` are, checked as far as it can be without starting one.

        Service and pool are the backend's own, whatever the spec says. Raises BackendError, ConfigError or ImageError.
        """

    async def start(self, key: str, edition: Edition) -> Running:
        """Start one notebook; returns when it answers HTTP. Raises StartError with the tail of its log."""

    async def give(self, key: str) -> None:
        """Note where the notebook itself lives that it was given away; ``Running.is_given`` tells it from then on.

        The ledger says so too, and more. But a ledger can be lost, or an older one restored, and a notebook that was
        given away must not look like a warm one then. To note it twice is to note it. Raises TakenError when another
        service was first.
        """

    async def stop(self, key: str) -> None:
        """End it and all it left: processes, files, descriptors. Gone already is success."""

    async def list(self, known: Collection[str] = ()) -> list[Running]:
        """Return what runs and is ours by label: the ground truth.

        ``known``: keys that are looked for one by one where the list lacks them, for it may be false.
        """

    def deaths(self) -> AsyncIterator[str | None]:
        """Yield the keys of notebooks that ended by themselves, for as long as the backend is open.

        None: the backend did not hear for a while, so only ``list`` can tell.
        """

    async def close(self) -> None:
        """Let go of connections and descriptors; notebooks keep running."""
