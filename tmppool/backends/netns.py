"""Create sockets inside another network namespace.

A container with ``NetworkMode: none`` has only its own loopback interface. To reach it, one synchronous block enters
its namespace, creates a socket and returns; a socket stays in the namespace in which it was created
(network_namespaces(7), setns(2)). Needs CAP_SYS_ADMIN for setns, and CAP_SYS_PTRACE to open the namespace of a
process of another user (proc(5), /proc/pid/ns; ptrace(2), "Ptrace access mode checking").

The block contains no ``await``, and the process exits at once if it cannot return to its own namespace: it must not
go on serving from a visitor's namespace.
"""

import ctypes
import os
import socket
import sys
from pathlib import Path

from tmppool.errors import BackendError
from tmppool.running import plain_socket

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_NEEDED = {"CAP_SYS_ADMIN": 21, "CAP_SYS_PTRACE": 19}  # linux/capability.h
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class NetworkNamespace:
    """A file descriptor of one process's network namespace, which it keeps alive until ``close``."""

    def __init__(self, descriptor: int) -> None:
        self._there: int | None = descriptor
        try:
            self._here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # as where the first was the last descriptor
            os.close(descriptor)
            raise

    @classmethod
    def of(cls, pid: int) -> "NetworkNamespace":
        """Open the namespace of ``pid``. Raises OSError; ValueError if it is this process's own namespace."""
        namespace = cls(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        assert namespace._there is not None
        if os.fstat(namespace._there).st_ino == os.fstat(namespace._here).st_ino:
            namespace.close()
            raise ValueError("the process is in this service's own network namespace")
        return namespace

    def socket(self) -> socket.socket:
        """Return a non-blocking TCP socket created in the namespace. Raises OSError."""
        if self._there is None:
            raise ConnectionRefusedError("the notebook is gone")
        _setns(self._there)
        try:
            return plain_socket()
        finally:
            try:
                _setns(self._here)
            except OSError as error:  # never seen; must not serve from a visitor's namespace
                sys.stderr.write(f"tmppool: could not leave a notebook's network namespace ({error}); exiting\n")
                sys.stderr.flush()
                os._exit(70)

    def close(self) -> None:
        if self._there is not None:
            os.close(self._there)
            os.close(self._here)
            self._there = None


def require_permission() -> None:
    """Raise BackendError, which names what is missing, if this process may not enter containers' network namespaces."""
    missing = [name for name, bit in _NEEDED.items() if not _effective_capabilities() >> bit & 1]
    if missing:
        raise BackendError(
            f"no permission to enter a container's network namespace: this process lacks {' and '.join(missing)}",
            transient=False,
        )
    try:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(own)
        finally:
            os.close(own)
    except OSError as error:
        raise BackendError(
            f"no permission to enter a container's network namespace, with {' and '.join(_NEEDED)} too"
            f" ({error.strerror}): this process is in a user namespace, or a security module forbids it",
            transient=False,
        ) from error


def _effective_capabilities() -> int:
    lines = Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapEff:")), 16)
