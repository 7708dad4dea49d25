"""One owner per service name on an engine: two would adopt, assign and reap each other's notebooks.

The lock is a container with a unique name that is never started. Its label identifies the owner, so that another
service can check whether the owner is alive. A lock file would not do: services that run in containers may share an
engine and nothing else.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from tmppool.backends import container_dial, engine, preflight, process_birth
from tmppool.backends.container import OWNER_LABEL, SERVICE_LABEL, owner_name
from tmppool.clocks import boot_id
from tmppool.errors import BackendError, ConfigError, ImageError

_TRIES = 50  # retries while other services create and remove the container
_PAUSE = 0.1  # seconds between them: a container being created has its name but cannot be inspected yet

_log = structlog.get_logger("tmppool.owner")


@dataclass(frozen=True, slots=True)
class OwnerIdentity:
    """An owner: process ``pid`` on the machine ``host``, its PID namespace and start (``process_birth.born``).

    ``state`` is the state directory, ``lock`` its lock file, held while the owner lives, as ``device:inode``; empty if
    there is none.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    birth: str
    state: str
    lock: str = ""


_IDENTITY = TypeAdapter(OwnerIdentity)


def this_process(state: Path) -> OwnerIdentity:
    """Describe this process as an owner. It holds the lock in ``state`` already, if there is one."""
    try:
        found = (state / "lock").stat()
        lock = f"{found.st_dev}:{found.st_ino}"
    except OSError:
        lock = ""
    namespace = str(Path("/proc/self/ns/pid").readlink())
    pid = os.getpid()
    return OwnerIdentity(
        socket.gethostname(), boot_id(), namespace, pid, process_birth.born(pid) or "", str(state), lock
    )


def has_ended(other: OwnerIdentity, me: OwnerIdentity, birth: str | None, *, is_local: bool) -> bool:
    """Return True if ``other`` is certainly dead. ``birth``: the start of the process that has its PID here now.

    Same boot and PID namespace: compare the process starts. Same boot, other namespace: it is dead if ``me`` has
    locked its lock file. Another boot: it is dead if it ran on this machine, that is, if the engine is local or the
    host name is the same; a service on another machine may share the engine.
    """
    if other.boot != me.boot:
        return is_local or other.host == me.host
    if other.namespace == me.namespace:
        return other.birth != birth
    return bool(other.lock) and other.lock == me.lock


class Owner:
    """The ownership of all pools of one service. ``lost`` is called when another service has taken it.

    ``image`` is any image on the engine, since a container needs one.
    """

    def __init__(self, service: str, image: str, me: OwnerIdentity, lost: Callable[[], None] = lambda: None) -> None:
        self.is_lost = False
        self._lost = lost
        self._name = owner_name(service)
        self._service = service
        self._image = image
        self._me = me
        self._docker: engine.Client | None = None
        self._failure = ""  # why the last check failed, if it did

    async def take(self) -> None:
        """Become the owner. Raises ConfigError if another owner is alive; ImageError; BackendError."""
        self._docker = await engine.connect()
        await preflight.inspect_image(self._docker, self._image)
        await self._take(self._docker)

    async def keep(self) -> None:
        """Create the container again if it is gone, for example after ``docker container prune``.

        If another service was quicker, the ownership is lost: that service has adopted the notebooks.
        """
        assert self._docker is not None, "take() comes first"
        try:
            await self._take(self._docker)
            self._failure = ""
        except ConfigError as error:
            if not self.is_lost:
                self.is_lost = True
                _log.error(
                    "owner.lost",
                    error=str(error),
                    message="exiting and leaving the running notebooks to the other service",
                )
                self._lost()
        except (BackendError, ImageError) as error:
            if str(error) != self._failure:  # told once, not every few seconds
                _log.warning("owner.check_failed", error=str(error))
            self._failure = str(error)

    async def close(self) -> None:
        """Release the ownership. Raises ConfigError if it was lost."""
        if self._docker is None:
            return
        if self.is_lost:
            await self._docker.close()
            raise ConfigError(self._refusal(None))
        try:
            found = await self._find(self._docker)
            if found is not None and found[1] == self._me:
                await engine.remove(self._docker, found[0])
        except BackendError as error:
            _log.warning("owner.release_failed", name=self._name, error=str(error))
        finally:
            await self._docker.close()

    async def _take(self, docker: engine.Client) -> None:
        """Take what nobody owns. An answer that names another owner is confirmed, one that names none for seconds."""
        known: OwnerIdentity | None = None
        for left in reversed(range(_TRIES)):
            found = await self._find(docker)
            if found is None:
                if await self._make(docker):
                    return
                await asyncio.sleep(_PAUSE)
                continue
            container, other = found
            if other == self._me:
                return
            if (other is None or other != known) and left:
                known = other
                await asyncio.sleep(_PAUSE)
                continue
            if other is None or not await self._has_ended(other):
                raise ConfigError(self._refusal(other))
            await engine.remove(docker, container)  # by id: the name may be another owner's by now
        raise BackendError(
            f"the container {self._name} keeps changing hands: too many services with one name start at the same time"
        )

    async def _find(self, docker: engine.Client) -> tuple[str, OwnerIdentity | None] | None:
        """Return the id of the owner's container, and the owner, None if its label is unreadable."""
        try:
            shown = await self._show(docker)
        except container_dial.GoneError:
            return None
        with engine.reading("inspect a container"):
            name, label = str(shown["Id"]), (shown["Config"].get("Labels") or {}).get(OWNER_LABEL, "")
        try:
            return name, _IDENTITY.validate_json(label)
        except ValidationError:
            return name, None

    async def _show(self, docker: engine.Client) -> dict[str, Any]:
        """Return the engine's answer about the owner's container; one about another container is asked for again.

        Raises GoneError; BackendError.
        """
        for _ in range(_TRIES):
            shown = await container_dial.show(docker, self._name)
            with engine.reading("inspect a container"):
                if shown["Name"].removeprefix("/") == self._name:
                    return shown
            await asyncio.sleep(_PAUSE)
        raise BackendError(f"the engine tells of another container when it is asked about {self._name}")

    async def _make(self, docker: engine.Client) -> bool:
        """Create the container; return False if another service was quicker. Raises BackendError."""
        labels = {SERVICE_LABEL: self._service, OWNER_LABEL: json.dumps(asdict(self._me))}
        config = {
            "Image": self._image,
            "Entrypoint": ["/bin/false"],  # never started
            "Labels": labels,
            "HostConfig": {"NetworkMode": "none"},
        }
        try:
            await engine.create(docker, self._name, config)
        except engine.RefusedError as error:
            if error.status == engine.CONFLICT:
                return False
            raise BackendError(f"the engine refused a container: {error.said}") from error
        return True

    async def _has_ended(self, other: OwnerIdentity) -> bool:
        assert self._docker is not None, "take() comes first"
        birth = await asyncio.to_thread(process_birth.born, other.pid)
        return has_ended(other, self._me, birth, is_local=self._docker.address.is_local)

    def _refusal(self, other: OwnerIdentity | None) -> str:
        who = "somebody else's" if other is None else f"process {other.pid} on {other.host}, state in {other.state}"
        return (
            f"--pool-name: a service called {self._service!r} already runs on this engine ({who}): choose another name,"
            f" or, if that service no longer exists, run `docker rm {self._name}`"
        )
