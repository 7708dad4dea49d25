"""Containers, through an independent Docker client that shares no code with the service."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiodocker
import aiohttp

from benchmarks.procs import BenchError

_SERVICE_LABEL = "tmppool.service"
_TOKEN = "JUPYTER_TOKEN="  # Jupyter Server's own variable
_BASE_PATH = re.compile(r"/user/[\w.-]+/")
_POLL = 0.05  # seconds between two probes of a starting server
_START_TIMEOUT = 60.0  # seconds
_KEPT = ("Image", "User", "Hostname", "WorkingDir", "Entrypoint", "Healthcheck", "StopSignal")
"""The fields of Config that a twin copies unchanged (ContainerInspect)."""


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook server in a container whose port is published on loopback."""

    url: str
    token: str

    async def start_kernel(self, document: str) -> None:
        """POST a session for ``document``, as the service does when it assigns a notebook."""
        name = document.rsplit("/", 1)[-1]
        body = {"path": document, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        async with self._session() as session, session.post(f"{self.url}api/sessions", json=body) as reply:
            if reply.status != 201:
                raise BenchError(f"no kernel was started: {reply.status}")

    async def answers(self) -> bool:
        try:
            async with self._session() as session, session.get(f"{self.url}api") as reply:
                return reply.status == 200
        except aiohttp.ClientError:
            return False

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"Authorization": f"token {self.token}"})


async def need_engine(image: str) -> None:
    """Raise BenchError unless a Docker Engine answers and has the image."""
    try:
        async with aiodocker.Docker() as docker:
            await docker.images.inspect(image)
    except aiodocker.DockerError as error:
        if error.status != 404:
            raise BenchError("no Docker Engine answers (scripts/engine starts one)") from error
        raise BenchError(f"image {image} is not on the engine (tmppool build-image debian makes it)") from error
    except (OSError, ValueError, aiohttp.ClientError) as error:
        raise BenchError("no Docker Engine answers (scripts/engine starts one)") from error


async def remove_all(service: str) -> None:
    """Remove all containers and volumes of the service, which leaves them if it was killed."""
    async with aiodocker.Docker() as docker:
        for container in await _of(docker, service):
            with contextlib.suppress(aiodocker.DockerError):
                await container.delete(force=True, v=True)
        volumes: Any = docker.volumes  # untyped
        for found in (await volumes.list(filters={"label": [f"{_SERVICE_LABEL}={service}"]}))["Volumes"] or ():
            with contextlib.suppress(aiodocker.DockerError):
                await (await volumes.get(found["Name"])).delete()


@contextlib.asynccontextmanager
async def twin(service: str) -> AsyncIterator[Notebook]:
    """Run a copy of the service's notebook container, but on a bridge and with its port published on loopback."""
    async with aiodocker.Docker() as docker:
        for container in await _of(docker, service):
            shown = await container.show()
            if shown["State"]["Running"] and _BASE_PATH.search(" ".join(shown["Config"]["Cmd"] or ())):
                break
        else:
            raise BenchError("the service has no notebook to make another like")
        key, token = secrets.token_urlsafe(16), secrets.token_urlsafe(24)
        created = await docker.containers.create(_config(shown, key, token), name=f"tmppool-bench-{key}")
        try:
            await created.start()
            (published,) = (await created.show())["NetworkSettings"]["Ports"].values()
            notebook = Notebook(f"http://127.0.0.1:{published[0]['HostPort']}/user/{key}/", token)
            await _until_ready(notebook)
            yield notebook
        finally:
            await created.delete(force=True, v=True)


async def _of(docker: aiodocker.Docker, service: str) -> list[Any]:
    return list(await docker.containers.list(all=True, filters={"label": [f"{_SERVICE_LABEL}={service}"]}))


def _config(shown: dict[str, Any], key: str, token: str) -> dict[str, Any]:
    """Return the ContainerCreate body for a copy of the container ``shown`` (ContainerInspect)."""
    config = shown["Config"]
    port = "8888/tcp"
    command = [_BASE_PATH.sub(f"/user/{key}/", word).replace("127.0.0.1", "0.0.0.0") for word in config["Cmd"]]
    environment = [f"{_TOKEN}{token}" if pair.startswith(_TOKEN) else pair for pair in config["Env"]]
    published = {"NetworkMode": "bridge", "PortBindings": {port: [{"HostIp": "127.0.0.1"}]}}
    return {
        **{name: config[name] for name in _KEPT if name in config},
        "Cmd": command,
        "Env": environment,
        "ExposedPorts": {port: {}},
        "HostConfig": shown["HostConfig"] | published,
    }


async def _until_ready(notebook: Notebook) -> None:
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            while not await notebook.answers():
                await asyncio.sleep(_POLL)
    except TimeoutError as error:
        raise BenchError(f"the container opened directly did not answer within {_START_TIMEOUT:.0f} s") from error
