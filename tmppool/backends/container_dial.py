"""Find how to reach a container's port: inside its network namespace, or at its address on a bridge."""

import asyncio
import contextlib
import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmppool.backends import engine
from tmppool.backends.netns import NetworkNamespace
from tmppool.errors import BackendError
from tmppool.running import Dial

_ELSEWHERE = "the engine's containers are not processes on this host; use --network isolated"
_ENDED = "the container ended before it could be reached"
# Errors of /proc for an ended process; EINVAL for a zombie, which has no mounts any more.
_OVER = (errno.ENOENT, errno.ESRCH, errno.EINVAL)


class GoneError(BackendError):
    """The container no longer exists or no longer runs."""


class ElsewhereError(BackendError):
    """The process that the engine names as the container's is none of it: its containers run on another machine."""

    def __init__(self) -> None:
        super().__init__(_ELSEWHERE, transient=False)


class UnsoundError(BackendError):
    """The engine's answers about a container contradict each other, or lack what its notebook is served by."""

    def __init__(self) -> None:
        super().__init__("the engine's answers about it contradict each other, or lack what it is served by")


@dataclass(frozen=True, slots=True)
class Reach:
    """The means to connect to a container; ``namespace`` is held open until ``close``.

    ``pid`` is that of the container's first process; it changes when the container is restarted.
    """

    dial: Dial
    namespace: NetworkNamespace | None = None
    pid: int = 0

    def close(self) -> None:
        if self.namespace is not None:
            self.namespace.close()


async def show(docker: engine.Client, container_id: str) -> dict[str, Any]:
    """Return the engine's answer to ContainerInspect. Raises GoneError; BackendError."""
    try:
        return await engine.inspect(docker, container_id)
    except engine.RefusedError as error:
        if error.status not in (engine.NOT_FOUND, engine.CONFLICT):
            raise
        raise GoneError(f"the container is gone: {error.said}") from error


async def find(docker: engine.Client, container_id: str, port: int) -> Reach:
    """Find how to reach ``port`` of a running container.

    Raises GoneError, ElsewhereError or UnsoundError; BackendError.
    """
    return await reach(docker, container_id, port, await show(docker, container_id))


async def reach(docker: engine.Client, container_id: str, port: int, shown: dict[str, Any]) -> Reach:
    """Find the same by what the engine has just ``shown`` of the container. Raises as ``find``."""
    with engine.reading("inspect a container"):
        network = shown["HostConfig"]["NetworkMode"]  # an adopted container may have other settings
        pid = int(shown["State"]["Pid"])
        if not shown["State"]["Running"] or not pid:
            raise GoneError(_ENDED)
        if network != "none":
            address = str(shown["NetworkSettings"]["Networks"][network]["IPAddress"])
            if not address:
                raise UnsoundError
            return Reach(Dial(address, port), pid=pid)
    namespace = await _namespace(docker, pid, container_id)
    return Reach(Dial("127.0.0.1", port, namespace.socket), namespace, pid)


async def is_there(reach: Reach, container_id: str) -> bool:
    """Return True if the first process of a container is seen on this machine, whatever the engine says of it."""
    try:
        return bool(container_id) and container_id in await _mounts(reach.pid)
    except OSError:
        return False


async def _mounts(pid: int) -> str:
    """Return what a process has mounted, its container's id in it. Raises OSError; for a zombie too, which has none."""
    return await asyncio.to_thread(Path(f"/proc/{pid}/mountinfo").read_text, errors="replace")


async def _namespace(docker: engine.Client, pid: int, container_id: str) -> NetworkNamespace:
    try:
        if container_id not in await _mounts(pid):
            raise ElsewhereError
        namespace = NetworkNamespace.of(pid)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OVER:
            raise GoneError(_ENDED) from error
        raise BackendError(f"the container's network namespace could not be opened: {error}") from error
    # PID reuse: the namespace is the container's only if the container still has this PID.
    with contextlib.ExitStack() as stack:
        stack.callback(namespace.close)
        again = await show(docker, container_id)
        with engine.reading("inspect a container"):
            if again["State"]["Pid"] != pid or not again["State"]["Running"]:
                raise GoneError(_ENDED)
        stack.pop_all()
    return namespace
