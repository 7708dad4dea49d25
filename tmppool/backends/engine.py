"""Talking to a Docker Engine: the client, a bound on every call, its errors as ours, its events without end."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Container, Iterable
from typing import Any, TypeVar

import aiodocker
import aiohttp
import structlog
from aiodocker.containers import DockerContainer

from tmppool.backoff import Backoff
from tmppool.errors import BackendError
from tmppool.tasks import completed, spawn

T = TypeVar("T")

PING_TIMEOUT = 5.0  # seconds, as for the next four
RENAME_TIMEOUT = 5.0
LIST_TIMEOUT = 10.0
CREATE_TIMEOUT = 20.0
DELETE_TIMEOUT = 20.0

NOT_FOUND = 404
CONFLICT = 409
_BAD_PARAMETER = 400
_SERVER_ERROR = 500
_NO_CONNECTION = 900  # aiodocker's own, when nothing answers

_log = structlog.get_logger("tmppool.engine")


def connect() -> aiodocker.Docker:
    """Open a client for DOCKER_HOST, the Docker context or the usual socket. Raises BackendError."""
    try:
        return aiodocker.Docker()
    except (ValueError, AssertionError, OSError, aiodocker.DockerError) as error:
        raise BackendError("no Docker Engine was found: neither DOCKER_HOST nor a local socket leads to one") from error


async def call(what: str, work: Awaitable[T], seconds: float, passing: Container[int] = (NOT_FOUND, CONFLICT)) -> T:
    """Await one engine call for at most so many seconds. Raises BackendError; lets DockerErrors of ``passing`` pass."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise BackendError(f"the engine did not {what} within {seconds:.0f} s") from error
    except aiodocker.DockerError as error:
        if error.status in passing:
            raise
        if error.status == _NO_CONNECTION:
            where = os.environ.get("DOCKER_HOST", "its socket")
            raise BackendError(f"the Docker Engine at {where} did not answer when asked to {what}") from error
        raise BackendError(f"the engine could not {what}: {_one_line(error.message)}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise BackendError(f"the engine did not answer when asked to {what}: {_one_line(str(error))}") from error


async def answers() -> bool:
    """Whether a Docker Engine answers now."""
    return not await failure()


async def failure() -> str:
    """Return why no Docker Engine answers now, and where it was looked for; empty when one does."""
    try:
        docker = connect()
    except BackendError as error:
        return str(error)
    try:
        await call("tell its version", docker.version(), PING_TIMEOUT)
    except (BackendError, aiodocker.DockerError) as error:
        return str(error)
    finally:
        await docker.close()
    return ""


async def has_image(name: str) -> bool:
    """Whether the engine holds an image of that name. Raises BackendError."""
    docker = connect()
    try:
        await call("inspect an image", docker.images.inspect(name), LIST_TIMEOUT)
    except aiodocker.DockerError:
        return False
    finally:
        await docker.close()
    return True


async def containers(docker: aiodocker.Docker, labels: Iterable[str]) -> list[DockerContainer]:
    """Return all containers that carry all of these labels (``name`` or ``name=value``). Raises BackendError."""
    listing = docker.containers.list(all=True, filters={"label": list(labels)})
    try:
        return await call("list containers", listing, LIST_TIMEOUT)
    except aiodocker.DockerError as error:
        raise BackendError(f"the engine could not list containers: {error.message}") from error


async def create(docker: aiodocker.Docker, name: str, config: dict[str, Any]) -> DockerContainer:
    """Make a container; whoever is cancelled meanwhile waits for it, or nobody would remove it.

    Raises BackendError; lets DockerError 404 and 409 pass.
    """
    work = call("create a container", docker.containers.create(config, name=name), CREATE_TIMEOUT)
    return await completed(work, "create a container")


async def rename(docker: aiodocker.Docker, name: str, new: str) -> bool:
    """Give a container another name; returns False when it had that already. Raises BackendError."""
    container = docker.containers.container(name)
    try:
        await call("rename a container", container.rename(new), RENAME_TIMEOUT, (NOT_FOUND, CONFLICT, _BAD_PARAMETER))
    except aiodocker.DockerError as error:
        if error.status != NOT_FOUND and await _is_called(container, new):
            return False
        raise BackendError(f"the engine could not rename a container: {_one_line(error.message)}") from error
    return True


async def _is_called(container: DockerContainer, name: str) -> bool:
    try:
        shown = await call("inspect a container", container.show(), LIST_TIMEOUT)
    except aiodocker.DockerError:
        return False
    return bool(shown["Name"] == f"/{name}")


async def remove_ended(docker: aiodocker.Docker, name: str) -> bool:
    """Remove a container that does not run; returns False for one that does, paused ones among them.

    The engine itself looks once more (ContainerDelete without force). Raises BackendError.
    """
    container = docker.containers.container(name)
    try:
        await call("remove a container", container.delete(force=False, v=True), DELETE_TIMEOUT)
    except aiodocker.DockerError as error:
        if error.status == CONFLICT:
            return False
    return True


async def remove(docker: aiodocker.Docker, name: str) -> None:
    """Remove a container, running or not, with its volumes; returns when it is gone, which it may be already.

    What the engine refuses it is asked again: another removal may be under way (409), the container may have ended
    while it was to be killed, or something may still hold its file system (both 500). Raises BackendError.
    """
    container = docker.containers.container(name)
    backoff = Backoff(first=0.1, cap=0.5)
    refusal = ""
    try:
        async with asyncio.timeout(DELETE_TIMEOUT):
            while True:
                try:
                    deletion = container.delete(force=True, v=True)
                    await call("remove a container", deletion, DELETE_TIMEOUT, (NOT_FOUND, CONFLICT, _SERVER_ERROR))
                except aiodocker.DockerError as error:
                    if error.status == NOT_FOUND:
                        return
                    refusal = f": {_one_line(error.message)}"
                    await asyncio.sleep(backoff.failed(time.monotonic()))
    except TimeoutError as error:
        raise BackendError(f"the engine did not remove a container within {DELETE_TIMEOUT:.0f} s{refusal}") from error


async def deaths(docker: aiodocker.Docker, labels: Iterable[str], key_label: str) -> AsyncIterator[str | None]:
    """Yield the keys of our containers that die, for ever.

    The engine's stream ends when the engine ends or the connection breaks. None is yielded then, and before each try
    for another stream: whoever looks at what runs each time misses nothing, as a stream begins a second before.
    """
    backoff = Backoff(first=0.5, cap=10.0)
    filters = json.dumps({"type": ["container"], "event": ["die"], "label": list(labels)})
    while True:
        since = time.time() - 1
        if backoff.failures:
            yield None
        try:
            async for event in _events(docker, filters, since):
                backoff.succeeded()
                key = event.get("Actor", {}).get("Attributes", {}).get(key_label)
                if key:
                    yield key
            _log.warning("engine.events_ended")
        except (BackendError, aiodocker.DockerError, aiohttp.ClientError, OSError) as error:
            _log.warning("engine.events_lost", error=_one_line(str(error)))
        yield None
        await asyncio.sleep(backoff.failed(time.monotonic()))


async def _events(docker: aiodocker.Docker, filters: str, since: float) -> AsyncIterator[dict[str, Any]]:
    subscriber = docker.events.subscribe(create_task=False)
    failure: list[Exception] = []

    async def read() -> None:
        try:
            await docker.events.run(filters=filters, since=f"{since:.3f}")
        except (aiodocker.DockerError, aiohttp.ClientError, OSError) as error:
            failure.append(error)

    reader = spawn(read(), "engine events")
    try:
        while (event := await subscriber.get()) is not None:
            yield event
        await reader
        if failure:
            raise failure[0]
    finally:
        reader.cancel()
        await asyncio.wait({reader})


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
