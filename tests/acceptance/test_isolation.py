"""After a notebook has been given away, nothing reaches into its container from outside."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Service, Taken, running

pytestmark = pytest.mark.engine

LIFE = {"create", "start", "rename", "kill", "die", "destroy", "stop", "oom"}
"""What becomes of a container, its mark included, which is in its name; all else is something that someone did to it."""


class Watch:
    """What the engine says of one service's containers, as it happens."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def listen(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None
        async for line in child.stdout:
            event: dict[str, Any] = json.loads(line)
            self.seen.append((event["Actor"]["ID"], event["Action"].partition(":")[0]))

    def of(self, container: str) -> list[str]:
        return [action for seen, action in self.seen if seen == container]

    async def until(self, container: str, action: str) -> None:
        async with asyncio.timeout(30):
            while action not in self.of(container):
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def watching(service: Service) -> AsyncIterator[Watch]:
    child = await asyncio.create_subprocess_exec(
        "docker", "events", "--format={{json .}}", "--filter=type=container",
        f"--filter=label=tmppool.service={service.name}", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    watch = Watch()
    listening = asyncio.ensure_future(watch.listen(child))
    try:
        yield watch
    finally:
        child.terminate()
        await child.wait()
        await listening


async def docker(*words: str) -> str:
    child = await asyncio.create_subprocess_exec("docker", *words, stdout=asyncio.subprocess.PIPE)
    return (await child.communicate())[0].decode().strip()


async def of_key(service: Service, key: str) -> str:
    """Return the id of the container that a notebook of this key is."""
    filters = (f"label=tmppool.service={service.name}", f"label=tmppool.key={key}")
    return await docker("ps", "-q", "--no-trunc", f"--filter={filters[0]}", f"--filter={filters[1]}")


async def use(taken: Taken) -> None:
    """What a visitor does: open the page, save a file, start a kernel and end it."""
    url = taken.url
    async with taken.client() as session:
        async with session.get(f"{url}tree") as reply:
            assert reply.status == 200
        file = {"type": "file", "format": "text", "content": "mine"}
        async with session.put(f"{url}api/contents/mine.txt", json=file) as reply:
            assert reply.status == 201
        async with session.post(f"{url}api/kernels", json={"name": "python3"}) as reply:
            assert reply.status == 201
            kernel = (await reply.json())["id"]
        async with session.delete(f"{url}api/kernels/{kernel}") as reply:
            assert reply.status == 204


async def test_a_given_notebooks_container_is_never_entered_copied_from_or_attached_to(tmp_path: Path) -> None:
    service_options = ("--pool-size=2", "--cull-period=0.5")
    async with running(tmp_path, "docker", *service_options, warm=2) as service, watching(service) as watch:
        taken = await service.spawn()
        given = await of_key(service, taken.key)
        (other,) = set(
            (await docker("ps", "-q", "--no-trunc", f"--filter=label=tmppool.service={service.name}")).split()
        ) - {given}
        await use(taken)
        # The watch is proved to see what it is to see, on a container that nobody has.
        await docker("exec", other, "true")
        await watch.until(other, "exec_create")
        async with service.operator() as session:
            for notebook in await service.notebooks():
                if notebook["state"] == "assigned":
                    await session.delete(f"{service.admin_url}/api/notebooks/{notebook['id']}")
        await watch.until(given, "destroy")
        assert set(watch.of(given)) <= LIFE
        assert "die" in watch.of(given)
        assert {"exec_create", "exec_start"} <= set(watch.of(other))
