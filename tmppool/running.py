"""A running notebook and how to connect to it. Plain values: a backend creates them, the proxy connects."""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of making a socket that are this machine's own (socket(2)): they say nothing about the other side."""


def base_path(key: str) -> str:
    """Return the base path of a notebook, with slashes at both ends."""
    return f"/user/{key}/"


def plain_socket() -> socket.socket:
    """Return a non-blocking TCP socket in this process's network namespace."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


@dataclass(frozen=True, slots=True)
class Dial:
    """Opens connections to one notebook.

    ``make_socket`` returns a non-blocking TCP socket, created in the network namespace in which ``host``:``port`` is
    reachable: a socket stays in the namespace in which it was created (network_namespaces(7)).
    """

    host: str
    port: int
    make_socket: Callable[[], socket.socket] = field(default=plain_socket, repr=False)

    async def connect(self) -> socket.socket:
        """Return a connected non-blocking socket. Raises OSError."""
        sock = self.make_socket()
        try:
            await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def is_open(self, seconds: float) -> bool:
        """Return True if a connection is accepted within this time; that takes no work of the notebook's server.

        Also if this machine has no socket to try it with: then nothing has been found out.
        """
        try:
            with self.make_socket() as sock:
                try:
                    async with asyncio.timeout(seconds):
                        await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
                except TimeoutError:
                    sock.getpeername()  # raises unless it is connected: our own loop may have been late
        except OSError as error:
            return error.errno in EXHAUSTED
        return True


class Given(Enum):
    """A backend's record of whether a notebook was assigned."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # as of one that an older version made


class Death(Enum):
    """The ways in which a notebook ends, as its backend saw it."""

    EXITED = "exited"  # its first process ended by itself
    KILLED = "killed"  # a signal from outside ended it
    OUT_OF_MEMORY = "out of memory"  # the kernel ended it, since it had reached its limit
    REMOVED = "removed"  # somebody else removed it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Paused:
    """The notebook of ``key`` was paused by the operator or, without ``is_paused``, goes on."""

    key: str
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Running:
    """One running notebook, as its backend reports it.

    ``created_at`` is wall time in epoch seconds. ``token`` is the notebook's own token, which the proxy sends in
    ``Authorization``. ``secret`` is unknown inside the notebook; empty if the backend cannot keep one. ``edition`` is
    the id of its Edition; empty if unknown. ``given``: whether the backend has recorded that it was assigned.
    ``pid`` is its first process on this machine; 0 if unknown. ``knock`` is the path below its base path that tells
    that it is ready, without a leading slash; None for Jupyter's. ``is_jupyter``: whether its server was found to be a
    Jupyter when it started; None if unknown, as after a restart of the service. ``began``: when that server started, as
    it says itself; None if unknown. ``is_paused``: its processes stand still, because the operator has paused them.
    """

    key: str
    dial: Dial
    token: str = field(repr=False)
    created_at: float
    secret: str = field(default="", repr=False)
    edition: str = ""
    given: Given = Given.NO
    pid: int = 0
    knock: str | None = None
    is_jupyter: bool | None = None
    began: str | None = None
    is_paused: bool = False

    @property
    def base_path(self) -> str:
        """Its base path, with slashes at both ends."""
        return base_path(self.key)
