"""Client of a Docker Engine: calls have timeouts and raise only BackendError; the event stream reconnects.

No other module imports aiodocker. Calls and answers: Docker Engine API v1.41.
"""

import asyncio
import base64
import contextlib
import json
import mmap
import posixpath
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar, cast

import aiodocker
import aiohttp
import structlog
from aiodocker.containers import DockerContainer
from aiodocker.networks import DockerNetwork
from aiodocker.volumes import DockerVolume

from tmppool.backends import engine_address
from tmppool.backends.engine_address import EngineAddress
from tmppool.backoff import Backoff
from tmppool.errors import BackendError
from tmppool.questions import Questions
from tmppool.tasks import completed, spawn

T = TypeVar("T")
Container = DockerContainer

PING_TIMEOUT = 5.0  # seconds, like the next seven
RENAME_TIMEOUT = 5.0
PULSE_TIMEOUT = 3.0
LIST_TIMEOUT = 10.0
CREATE_TIMEOUT = 20.0
DELETE_TIMEOUT = 20.0
PRUNE_TIMEOUT = 60.0
COPY_TIMEOUT = 600.0  # for the files of a home, either way

_CONFIRM = 0.5  # seconds before an answer that contradicts the ones before it is confirmed
_PARTING = 2.0  # seconds in which calls from before a recovery can still be answered
_STEADY = 5.0  # seconds after which an event stream that breaks was not refused

NOT_FOUND = 404
CONFLICT = 409
_BAD_PARAMETER = 400
_SERVER_ERROR = 500
_NO_CONNECTION = 900  # aiodocker's own status for a failed connection

_CHUNK = 1 << 18  # bytes
_FRAME_HEAD = 8  # bytes before each part of a container's output
_MOST = 1 << 23  # bytes of an answer that is read whole: a list of some 3000 containers, and 200 MB as objects at most

# Errors of reading an answer that does not have the documented shape.
_MISSHAPEN = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

_log = structlog.get_logger("tmppool.engine")


class RefusedError(BackendError):
    """The engine answered with an HTTP status of 400 or above; ``said`` is its message on one line."""

    def __init__(self, what: str, status: int, said: str) -> None:
        super().__init__(f"the engine could not {what}: {one_line(said)}")
        self.status = status
        self.said = one_line(said)


class SilentError(BackendError):
    """The engine did not answer in time."""


class _EndlessError(Exception):
    """An answer is longer than any that is asked for."""


class _Answer(aiohttp.ClientResponse):
    """An answer of which no more than ``_MOST`` bytes are read, unless as a stream. Raises _EndlessError."""

    async def read(self) -> bytes:
        if self._body is None:
            try:
                self._body = await self._bounded()
            except BaseException:  # as in aiohttp's own: nobody else would close it
                self.close()
                raise
        return await super().read()

    async def _bounded(self) -> bytes:
        parts, size = list[bytes](), 0
        async for part in self.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > _MOST:
                raise _EndlessError
        return b"".join(parts)


def _aiodocker(address: EngineAddress) -> aiodocker.Docker:
    """Return a client whose answers are bounded. Raises what aiodocker raises for an address."""
    made = aiodocker.Docker(address.url, ssl_context=address.tls)
    _bound(made)
    return made


def _bound(client: aiodocker.Docker) -> None:
    """Bound the answers of a new client: aiodocker takes no class for them."""
    client.session.detach()
    client.session = aiohttp.ClientSession(
        connector=client.connector, response_class=_Answer, timeout=aiohttp.ClientTimeout()
    )


class Client(aiodocker.Docker):
    """An aiodocker client that keeps the address of its engine, and what ``ping`` has found out about it.

    ``illness`` is None while the engine is well. A call that was lost in an illness, by a proxy or with the engine's
    process, would wait for its timeout: calls from before a recovery are given up two seconds after it. Those without a
    limit are ``unlimited``, as who reads a body on a connection that aiohttp closes is not told (aiohttp 3,
    ``ResponseHandler.close``).
    """

    def __init__(self, address: EngineAddress) -> None:
        super().__init__(address.url, ssl_context=address.tls)
        _bound(self)
        self.address = address
        self.pulse = _aiodocker(address)  # lost calls can use up all connections
        self.pings = Questions()
        self.illness: BackendError | None = None
        self.listening: set[asyncio.Task[None]] = set()  # the readers of event streams
        self._partings: dict[asyncio.Task[None], aiohttp.ClientSession] = {}
        self._unlimited: dict[asyncio.Task[Any], aiohttp.ClientSession] = {}

    async def unlimited(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Await one call for however long it takes. Raises as ``call``; BackendError too if it is given up."""
        calling = spawn(call(what, work, None), what, awaited=True)
        self._unlimited[calling] = self.session
        try:
            await asyncio.wait({calling})
        finally:
            del self._unlimited[calling]
            if not calling.done():
                calling.cancel()
                await asyncio.wait({calling})
        if calling.cancelled():
            raise BackendError(f"the engine was ill while it was asked to {what}")
        return calling.result()

    def note(self, illness: BackendError | None) -> None:
        """Note the outcome of a ping, None if the engine is well."""
        was, self.illness = self.illness, illness
        if was is not None and illness is None:
            self._renew()

    def listen_again(self) -> None:
        """Break event streams, so that they are opened anew: they are open and do not tell what happens."""
        for reader in self.listening:
            reader.cancel()

    async def close(self) -> None:
        """Close all connections, also if the caller is cancelled meanwhile: nobody else would."""
        await completed(self._close(), "close the client of an engine")

    async def _close(self) -> None:
        for parting, session in list(self._partings.items()):
            parting.cancel()
            await session.close()
        await self.pulse.close()
        await super().close()

    def _renew(self) -> None:
        """Make later calls on new connections, and close the present ones soon: that ends the calls on them."""
        fresh = _aiodocker(self.address)  # only its session is used
        old, self.session, self.connector = self.session, fresh.session, fresh.connector
        parting = spawn(self._part_with(old), "give up lost calls")
        self._partings[parting] = old
        parting.add_done_callback(self._partings.pop)

    async def _part_with(self, session: aiohttp.ClientSession) -> None:
        await asyncio.sleep(_PARTING)
        await session.close()
        for calling, its in self._unlimited.items():
            if its is session:
                calling.cancel()


# What aiodocker raises for an address, among them ImportError: ssh:// needs another library, or a newer one.
_NO_ADDRESS = (ValueError, AssertionError, OSError, ImportError, AttributeError, aiodocker.DockerError)


async def connect(url: str | None = None) -> Client:
    """Return a client of the engine at ``url``, else of the one that ``engine_address`` finds, after it has answered.

    Raises BackendError, whose message says where no engine was found.
    """
    address = EngineAddress(url) if url else await asyncio.to_thread(engine_address.find)
    try:
        docker = Client(address)
    except _NO_ADDRESS as error:
        raise BackendError(f"{address} is not the address of a Docker Engine: {one_line(error)}") from error
    try:
        await version(docker)
    except BaseException as error:
        await docker.close()
        if isinstance(error, RefusedError):
            raise BackendError(f"the Docker Engine at {address} answered {error.status}: {error.said}") from error
        if isinstance(error, BackendError):
            raise BackendError(f"the Docker Engine at {address} did not answer") from error
        raise
    return docker


async def call(what: str, work: Awaitable[T], seconds: float | None) -> T:
    """Await one engine call for at most ``seconds``; None sets no limit.

    Raises RefusedError for an error status; SilentError if it times out; BackendError if there is no connection, it
    breaks, or the answer is too long, not JSON or lacks documented fields.
    """
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise SilentError(f"the engine did not {what} within {seconds or 0:.0f} s") from error
    except aiodocker.DockerError as error:
        if error.status == _NO_CONNECTION:
            raise BackendError(f"the engine did not answer when asked to {what}") from error
        raise RefusedError(what, error.status, str(error.message)) from error
    except _EndlessError as error:
        raise BackendError(f"the engine answered with more than {_MOST >> 20} MiB when asked to {what}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise BackendError(f"the engine did not answer when asked to {what}: {one_line(error)}") from error
    except _MISSHAPEN as error:
        raise _nonsense(what, error) from error


def one_line(text: object, most: int = 300) -> str:
    """Return what an engine or an image said as one line of bounded length, without control characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def bounded(log: str) -> str:
    """Return a container's output with each line bounded, and without control characters."""
    return "\n".join(one_line(line) for line in log.splitlines())


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Translate the errors of reading an answer that lacks documented fields into BackendError."""
    try:
        yield
    except _MISSHAPEN as error:
        raise _nonsense(what, error) from error


# The engine itself


async def answers() -> bool:
    """Return True if a Docker Engine answers now."""
    return not await failure()


async def failure() -> str:
    """Return why no Docker Engine answers, and at which address; empty if one answers."""
    try:
        docker = await connect()
    except BackendError as error:
        return str(error)
    await docker.close()
    return ""


async def version(docker: Client) -> dict[str, Any]:
    """Return the answer to SystemVersion. Raises BackendError."""
    return await _object("tell its version", docker.version(), PING_TIMEOUT)


async def info(docker: Client) -> dict[str, Any]:
    """Return the answer to SystemInfo. Raises BackendError."""
    return await _object("tell about itself", docker.system.info(), LIST_TIMEOUT)


async def ping(docker: Client, known: Iterable[str] = ()) -> None:
    """Return if the engine is well: it lists a container, and tells about one of ``known``. Raises BackendError if not.

    Starts depend on both, which an engine can fail to do while it answers SystemPing. ``known``: ids or names of
    containers, none that is being started, as that is locked. One that runs can be stuck by itself, so one that never
    runs belongs to them; that there is none of a name is an answer too. One answer that contradicts those before it
    does not count until a second one confirms it, unless it is a silence of three seconds; nor does a silence while a
    later question has been answered.
    """
    number = docker.pings.ask()
    found = await _pulse(docker, known)
    if not isinstance(found, SilentError) and (found is None) is not (docker.illness is None):
        await asyncio.sleep(_CONFIRM)
        number = docker.pings.ask()
        again = await _pulse(docker, known)
        found = again if (again is None) is (found is None) else docker.illness
    if found is None:
        docker.pings.note_answer(number)
    elif docker.pings.is_overtaken(number):
        found = docker.illness
    docker.note(found)
    if found is not None:
        raise found


async def _pulse(docker: Client, known: Iterable[str]) -> BackendError | None:
    """Ask for a list with one container and about all of ``known``; return None if both are answered, else why not.

    One answer about a container is enough: no other is waited for, as that container can be stuck.
    """
    telling = [spawn(_failure_of(_tell_of(docker, name)), "ask about a container") for name in known]
    try:
        failure = await _failure_of(
            call("list a container", docker.pulse.containers.list(all=True, limit=1), PULSE_TIMEOUT)
        )
        if failure is not None:
            return failure
        for one in asyncio.as_completed(telling):
            failure = await one
            if failure is None:
                break
        return failure
    finally:
        for each in telling:
            each.cancel()


async def _tell_of(docker: Client, name: str) -> None:
    """Ask about a container, which may be gone. Raises BackendError."""
    try:
        await _object("inspect a container", docker.pulse.containers.container(name).show(), PULSE_TIMEOUT)
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise


async def _failure_of(asking: Awaitable[object]) -> BackendError | None:
    try:
        await asking
    except BackendError as error:
        return error
    return None


# Images and networks


async def has_image(name: str) -> bool:
    """Return True if the engine holds an image of that name. Raises BackendError."""
    docker = await connect()
    try:
        return await image_id(docker, name) is not None
    finally:
        await docker.close()


async def image_id(docker: Client, name: str) -> str | None:
    """Return the id of the image that ``name`` refers to now; None if there is none.

    Raises BackendError.
    """
    try:
        return str((await image(docker, name)).get("Id"))
    except RefusedError as error:
        if error.status == NOT_FOUND:
            return None
        raise


async def build(
    docker: Client, context: BinaryIO | mmap.mmap, image: str, arguments: dict[str, str], *, fresh: bool, silence: float
) -> AsyncGenerator[str]:
    """Build ``image`` from a tar; yield the engine's output, which may pause for at most ``silence`` seconds.

    The engine removes its build containers, also if the build is cancelled. Raises RefusedError if a step of the
    Dockerfile fails; BackendError.
    """
    stream = docker.images.build(
        fileobj=context,
        encoding="identity",
        tag=image,
        buildargs=arguments,
        nocache=fresh,
        forcerm=True,
        stream=True,
    )
    async with contextlib.aclosing(cast("AsyncGenerator[dict[str, Any]]", stream)) as parts:
        while (part := await call("build an image", anext(parts, None), silence)) is not None:
            with reading("build an image"):
                said = str(part.get("stream", ""))
            yield said


async def tag(docker: Client, image: str, name: str, label: str) -> None:
    """Tag an image as ``name:label``. Raises BackendError."""
    await call("tag an image", docker.images.tag(image, name, tag=label), LIST_TIMEOUT)


async def prune_images(docker: Client, label: str) -> None:
    """Remove dangling images with this label. Raises BackendError."""
    await call("prune images", docker.images.prune(filters={"dangling": ["true"], "label": [label]}), PRUNE_TIMEOUT)


async def image(docker: Client, name: str) -> dict[str, Any]:
    """Return the answer to ImageInspect. Raises RefusedError; BackendError."""
    return await _object("inspect an image", docker.images.inspect(name), LIST_TIMEOUT)


async def network(docker: Client, name: str) -> dict[str, Any]:
    """Return the answer to NetworkInspect. Raises RefusedError; BackendError."""
    return await _object("inspect a network", DockerNetwork(docker, name).show(), LIST_TIMEOUT)


async def create_network(docker: Client, config: dict[str, Any]) -> None:
    """Create a network; ``config`` is the NetworkCreate body. Raises BackendError."""
    await call("create a network", docker.networks.create(config), CREATE_TIMEOUT)


# Containers


async def containers(docker: Client, labels: Iterable[str]) -> list[Container]:
    """Return all containers with all of these labels (``name`` or ``name=value``). Raises BackendError.

    Callers remove what they get, so one that is listed without them is left out: the engine, or a proxy before it, may
    have passed over the filter.
    """
    wanted = list(labels)
    found = await call("list containers", docker.containers.list(all=True, filters={"label": wanted}), LIST_TIMEOUT)
    with reading("list containers"):
        return [container for container in found if _has_labels(container["Labels"], wanted)]


def _has_labels(has: Mapping[str, str] | None, wanted: Iterable[str]) -> bool:
    """Return True if something with the labels ``has`` has all that are ``wanted``."""
    pairs = [label.partition("=") for label in wanted]
    return has is not None and all(name in has and (not equals or has[name] == value) for name, equals, value in pairs)


async def create(docker: Client, name: str, config: dict[str, Any]) -> Container:
    """Create a container. Cancellation takes effect only afterwards, so that the caller can remove the container.

    Raises RefusedError; BackendError.
    """
    work = call("create a container", docker.containers.create(config, name=name), CREATE_TIMEOUT)
    return await completed(work, "create a container")


async def start(container: Container) -> None:
    """Start a container. Raises RefusedError; BackendError."""
    await call("start a container", container.start(), CREATE_TIMEOUT)


async def wait(docker: Client, container: Container) -> None:
    """Wait until a container has ended; the caller sets the timeout. Raises BackendError.

    It is asked again if it is given up with the calls of an illness: what it waits for goes on.
    """
    while True:
        session = docker.session
        try:
            await docker.unlimited("wait for a container", container.wait())
        except BackendError:
            if docker.session is session:
                raise
        else:
            return


async def inspect(docker: Client, name: str) -> dict[str, Any]:
    """Return the answer to ContainerInspect for a name or an id. Raises RefusedError; BackendError."""
    return await _object("inspect a container", docker.containers.container(name).show(), LIST_TIMEOUT)


async def log(container: Container, lines: int | str = "all") -> str:
    """Return the last lines of a container's output, stdout and stderr in order. Raises BackendError."""
    params = {"stdout": "1", "stderr": "1", "tail": str(lines)}
    # aiodocker's own method reads without a bound.
    path = f"containers/{container.id}/logs"
    asked = container.docker._do_query(path, "GET", params=params, timeout=None)  # noqa: SLF001

    async def read() -> bytes:
        async with await asked as reply:
            return await reply.read()

    return _demultiplexed(await call("read a log", read(), LIST_TIMEOUT)).decode("utf-8", "replace")


def _demultiplexed(said: bytes) -> bytes:
    """Return what the frames of a container's output hold (Docker Engine API, ContainerAttach, "Stream format")."""
    found, at = list[bytes](), 0
    while at + _FRAME_HEAD <= len(said):
        start = at + _FRAME_HEAD
        at = start + int.from_bytes(said[at + 4 : start])
        found.append(said[start:at])
    return b"".join(found)


async def rename(docker: Client, name: str, new: str) -> bool:
    """Rename a container; return False if it had the name already. Raises BackendError.

    A refusal counts once it is repeated. If the container has the name by then, it counts as renamed by this call, as
    nobody else renames it: it has one owner (``ownership``).
    """
    try:
        return await _rename(docker, name, new)
    except SilentError:
        raise
    except BackendError:
        await asyncio.sleep(_CONFIRM)
    await _rename(docker, name, new)
    return True


async def _rename(docker: Client, name: str, new: str) -> bool:
    """Rename a container once, as ``rename``. What the engine says counts less than the name that it has then."""
    try:
        await call("rename a container", docker.containers.container(name).rename(new), RENAME_TIMEOUT)
    except BackendError as error:
        if not await _is_called(docker, name, new):
            raise
        # If the container has this name already, the engine answers 409, an old one 400.
        if isinstance(error, RefusedError) and error.status in (CONFLICT, _BAD_PARAMETER):
            return False
        _log.warning("engine.disproved", message="it failed when asked to rename a container, and has renamed it")
    return True


async def _is_called(docker: Client, name: str, wanted: str) -> bool:
    """Return True if a container has this name, as far as the engine tells."""
    try:
        return (await inspect(docker, name)).get("Name") == f"/{wanted}"
    except BackendError:
        return False


async def remove_ended(docker: Client, name: str) -> bool:
    """Remove a container that does not run; return False if it runs or is paused.

    The engine itself checks that it does not run (ContainerDelete without force). Raises BackendError.
    """
    container = docker.containers.container(name)
    try:
        await call("remove a container", container.delete(force=False, v=True), DELETE_TIMEOUT)
    except RefusedError as error:
        if error.status not in (CONFLICT, NOT_FOUND):
            raise
        return error.status == NOT_FOUND
    return True


async def remove(docker: Client, name: str) -> None:
    """Remove a container, running or not, with its volumes; return when it is gone. Idempotent.

    A refused removal is retried: another removal may be under way (409), the container may have ended while the
    engine killed it, or its file system may still be in use (both 500). Raises BackendError.
    """
    container = docker.containers.container(name)
    backoff = Backoff(first=0.1, cap=0.5)
    refusal = ""
    try:
        async with asyncio.timeout(DELETE_TIMEOUT):
            while True:
                try:
                    await call("remove a container", container.delete(force=True, v=True), DELETE_TIMEOUT)
                except RefusedError as error:
                    if error.status == NOT_FOUND:
                        return
                    if error.status not in (CONFLICT, _SERVER_ERROR):
                        raise
                    refusal = f": {error.said}"
                    await asyncio.sleep(backoff.failed(time.monotonic()))
    except TimeoutError as error:
        raise BackendError(f"the engine did not remove a container within {DELETE_TIMEOUT:.0f} s{refusal}") from error


# Files in containers and volumes


@contextlib.asynccontextmanager
async def archive(docker: Client, container_id: str, path: str) -> AsyncIterator[aiohttp.StreamReader | None]:
    """Read ``path`` in a container, running or not, as a tar stream (ContainerArchive); None if it does not exist.

    The caller limits the time, and translates errors of the stream with ``call``. Raises RefusedError; BackendError.
    """
    # aiodocker's own method holds the whole archive in memory.
    asked = docker._do_query(f"containers/{container_id}/archive", "GET", params={"path": path}, timeout=None)  # noqa: SLF001
    try:
        reply = await call("read files of an image", asked, LIST_TIMEOUT)
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise
        yield None
        return
    try:
        yield reply.content
    finally:
        reply.close()


async def real_path(docker: Client, container_id: str, path: str) -> tuple[str, list[int]]:
    """Return ``path`` in a container without symbolic links, and the mode of each part; of none that does not exist.

    The engine resolves a link in full, but says so of the last part of a path alone. Raises BackendError.
    """
    real, modes = "/", list[int]()
    for part in path.strip("/").split("/"):
        real = posixpath.join(real, part)
        target, mode = await _stat(docker, container_id, real)
        if target:
            real, modes = await real_path(docker, container_id, target)
        elif mode is not None:
            modes.append(mode)
    return real, modes


async def _stat(docker: Client, container_id: str, path: str) -> tuple[str, int | None]:
    """Return where a path leads, if it is a link, and its mode; None if it does not exist (ContainerArchiveInfo)."""
    # aiodocker has no method of its own for this one.
    asked = docker._do_query(f"containers/{container_id}/archive", "HEAD", params={"path": path})  # noqa: SLF001
    try:
        reply = await call("tell about a file of an image", asked, LIST_TIMEOUT)
    except BackendError:  # a refusal of a HEAD has no body, which aiodocker cannot read
        async with archive(docker, container_id, path) as stream:
            if stream is None:
                return "", None
        raise
    reply.close()
    with reading("tell about a file of an image"):
        stat = json.loads(base64.b64decode(reply.headers["X-Docker-Container-Path-Stat"]))
        return str(stat.get("linkTarget") or ""), int(stat["mode"]) & 0o777


async def put_archive(docker: Client, container_id: str, path: str, archive: BinaryIO) -> None:
    """Unpack a tar into directory ``path`` of a container that has not run (PutContainerArchive).

    Raises RefusedError; BackendError.
    """
    kind, asked = {"Content-Type": "application/x-tar"}, f"containers/{container_id}/archive"
    sent = _chunks(archive)
    # aiodocker's own method has a short timeout.
    work = docker._do_query(asked, "PUT", params={"path": path}, data=sent, headers=kind, timeout=None)  # noqa: SLF001
    (await call("write into a volume", work, COPY_TIMEOUT)).close()


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    """Yield a file; end early if it is closed, which the caller does when the engine has failed."""
    with contextlib.suppress(ValueError):
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk


async def volumes(docker: Client, labels: Iterable[str]) -> list[str]:
    """Return the names of all volumes with all of these labels, as ``containers``. Raises BackendError."""
    wanted = list(labels)
    found = await _object("list volumes", docker.volumes.list(filters={"label": wanted}), LIST_TIMEOUT)
    with reading("list volumes"):
        return [str(volume["Name"]) for volume in found["Volumes"] or () if _has_labels(volume["Labels"], wanted)]


async def remove_volume(docker: Client, name: str) -> bool:
    """Remove a volume; return False if a container uses it. Raises BackendError."""
    volume = DockerVolume(docker, name)
    try:
        await call("remove a volume", volume.delete(), DELETE_TIMEOUT)
    except RefusedError as error:
        if error.status not in (CONFLICT, NOT_FOUND):
            raise
        return error.status == NOT_FOUND
    return True


# Events

_ACTIONS = ("kill", "oom", "die", "destroy", "pause", "unpause")
START = "start"
_HARMLESS = {str(int(number)) for number in (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)}
"""The signals that end no process unless it wants to (signal(7)); ``docker kill`` sends any."""


@dataclass(frozen=True, slots=True)
class Event:
    """``START`` or one of ``_ACTIONS`` (Docker Engine API, SystemEvents).

    ``at``: seconds since 1970 on the engine's clock. ``key`` is the value of the container's label. ``exit_code`` is
    that of one that dies.
    """

    key: str
    action: str
    at: float
    exit_code: int | None = None


async def events(docker: Client, labels: Iterable[str], key_label: str) -> AsyncIterator[Event | None]:
    """Yield the events of containers with these labels that tell of their starts, ends and pauses; never ends.

    The event stream ends when the engine stops, the connection breaks, or by ``listen_again``. None is yielded then,
    and before each retry: a caller that lists the containers each time misses no end. The next stream begins one second
    before the last event that was heard, by the engine's clock, and tells what the engine did while it stopped or
    started, as far as it remembers (256 events).
    """
    backoff = Backoff(first=0.5, cap=2.0)
    filters = json.dumps({"type": ["container"], "event": (START, *_ACTIONS), "label": list(labels)})
    since = time.time() - 1
    while True:
        began, error = time.monotonic(), None
        if backoff.failures:
            yield None
        try:
            async for said in _events(docker, filters, since):
                backoff.succeeded()
                event = _event(said, key_label)
                if event is not None:
                    since = max(0.0, min(event.at, time.time()) - 1)  # nonsense would be refused
                    yield event
        except BackendError as caught:
            error = caught
        if time.monotonic() - began > _STEADY:
            backoff.succeeded()
        if not backoff.failures:  # else the engine is ill, which has been told
            _tell_of_end(error)
        yield None
        await asyncio.sleep(backoff.failed(time.monotonic()))


def _tell_of_end(error: BackendError | None) -> None:
    if error is None:
        _log.warning("engine.events_ended")
    else:
        _log.warning("engine.events_lost", error=one_line(error))


async def past_events(docker: Client, container_id: str, key_label: str) -> list[Event]:
    """Return those of ``_ACTIONS`` that the engine remembers of a container: of its last 256 events since its start.

    Raises BackendError.
    """
    filters = json.dumps({"type": ["container"], "event": _ACTIONS, "container": [container_id]})
    params = {"since": "1", "until": f"{time.time():.3f}", "filters": filters}
    # aiodocker's own method only follows events.
    asked = docker._do_query("events", "GET", params=params, timeout=None)  # noqa: SLF001

    async def read() -> str:
        async with await asked as reply:
            return await reply.text()

    said = await call("tell past events", read(), LIST_TIMEOUT)
    with reading("tell past events"):
        found = [_event(json.loads(line), key_label) for line in said.splitlines() if line]
    return [event for event in found if event is not None]


def _event(said: dict[str, Any], key_label: str) -> Event | None:
    """Return an event of a container with a key. Raises BackendError if it is misshapen."""
    with reading("tell events"):
        about = said.get("Actor", {}).get("Attributes", {})
        key, code = about.get(key_label), about.get("exitCode")
        if not isinstance(key, str) or not key:
            return None
        if said["Action"] == "kill" and str(about.get("signal")) in _HARMLESS:
            return None
        at = int(said.get("timeNano", 0)) / 1e9
        return Event(key, str(said["Action"]), at, None if code is None else int(code))


async def _events(docker: Client, filters: str, since: float) -> AsyncIterator[dict[str, Any]]:
    """Yield events until the engine's stream ends. Raises BackendError."""
    subscriber = docker.events.subscribe(create_task=False)
    stream = docker.unlimited("tell events", docker.events.run(filters=filters, since=f"{since:.3f}"))
    reader = spawn(stream, "engine events", awaited=True)
    docker.listening.add(reader)
    try:
        while (event := await subscriber.get()) is not None:
            yield event
        await asyncio.wait({reader})
        if reader.cancelled():
            raise SilentError("the engine did not tell what happened")
        reader.result()
    finally:
        docker.listening.discard(reader)
        reader.cancel()
        await asyncio.wait({reader})


# Inside


async def _object(what: str, work: Awaitable[Any], seconds: float) -> dict[str, Any]:
    """Await a call that answers with a JSON object. Raises RefusedError; BackendError."""
    found = await call(what, work, seconds)
    if not isinstance(found, dict):
        raise _nonsense(what, TypeError(f"{type(found).__name__} instead of an object"))
    return found


def _nonsense(what: str, error: Exception) -> BackendError:
    return BackendError(f"the engine answered nonsense when asked to {what}: {one_line(repr(error))}")
