"""A started notebook and the way to it. Values only: a backend makes them, the proxy dials them."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field


def base_path(key: str) -> str:
    """Return the path below which a notebook is served, slashes at both ends."""
    return f"/user/{key}/"


def plain_socket() -> socket.socket:
    """Return a TCP socket of this process's own network namespace."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


@dataclass(frozen=True, slots=True)
class Dial:
    """The way to open a connection to one notebook.

    ``make_socket`` returns a non-blocking TCP socket that was made where the notebook can be reached, which may be
    another network namespace: a socket keeps the namespace in which it was made (network_namespaces(7)). The rest
    is an ordinary connect to ``host``:``port``.
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


@dataclass(frozen=True, slots=True)
class Running:
    """One notebook that was started, as its backend sees it.

    ``created_at`` is wall time in epoch seconds. ``token`` is what the
    notebook asks for in ``Authorization``; the proxy says it. ``secret`` is
    known outside the notebook alone, where the backend can keep such a thing.
    ``edition`` is the id of the Edition that it was started as; empty where that cannot be told.
    ``is_given``: its backend has noted that it was given away; None where that
    cannot be told, as of one that an older version made.
    """

    key: str
    dial: Dial
    token: str = field(repr=False)
    created_at: float
    secret: str = field(default="", repr=False)
    edition: str = ""
    is_given: bool | None = False

    @property
    def base_path(self) -> str:
        """The path below which it is served, slashes at both ends."""
        return base_path(self.key)
