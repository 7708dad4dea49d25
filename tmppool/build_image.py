"""Build a notebook image from its recipe on a Docker Engine, without any registry."""

import asyncio
import io
import mmap
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError
from platformdirs import user_cache_path
from rich.console import Console

from tmppool.build_report import Report, StepError
from tmppool.errors import ImageError
from tmppool.recipes import BuildOptions, Recipe

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CALL = 60.0  # seconds for one engine call that is no stream
STALL = 900.0  # seconds that a stream or a tool may be silent
BASE_DOCKERFILE = "FROM scratch\nADD rootfs.tar /\n"
NOT_FOUND = 404


async def build(
    name: str, options: BuildOptions | None = None, *, engine: str | None = None, console: Console | None = None
) -> str:
    """Build the image ``name`` unless it exists, and return its full name with tag.

    ``engine`` is a URL (``unix://`` or ``tcp://``), by default ``DOCKER_HOST`` or the usual socket. What happens is
    shown on ``console`` (default: stderr). Raises ``ImageError``. Cancelling leaves nothing half done.
    """
    options = await asyncio.to_thread((options or BuildOptions()).resolved, os.environ)
    recipe = await asyncio.to_thread(Recipe.read, name)
    recipe.check(options)
    async with _connected(engine) as docker:
        if options.base:
            options = replace(options, base=await _base_id(docker, options.base))
        image = recipe.image(options)
        if options.fresh or not await _id(docker, image):
            log = options.log or user_cache_path("tmppool") / f"build-{name}.log"
            async with Report(f"image '{name}'", log, console) as report:
                await _Build(recipe, options, docker, report).run(image)
        await docker.images.tag(image, f"tmppool/{name}", tag="latest")
    return image


@asynccontextmanager
async def _connected(engine: str | None) -> AsyncIterator[aiodocker.Docker]:
    """Give a client of an engine that answers; every foreign error in the block becomes an ``ImageError``."""
    where = engine or os.environ.get("DOCKER_HOST") or DEFAULT_ENGINE
    try:
        docker = aiodocker.Docker(where, timeout=aiohttp.ClientTimeout(total=CALL))
    except ValueError as error:
        raise ImageError(f"no Docker Engine to build with: {where} is not the URL of one ({error})") from error
    async with docker:
        try:
            await docker.version()
        except (DockerError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ImageError(f"no Docker Engine answers at {where}; start it or set DOCKER_HOST") from error
        try:
            yield docker
        except (DockerError, aiohttp.ClientError, TimeoutError) as error:
            raise ImageError(f"the Docker Engine at {where} failed: {error or 'it did not answer in time'}") from error


async def _id(docker: aiodocker.Docker, image: str) -> str:
    """Return what names this very image, whatever its tag may name later; nothing when there is none."""
    try:
        return str((await docker.images.inspect(image))["Id"])
    except DockerError as error:
        if error.status == NOT_FOUND:
            return ""
        raise


async def _base_id(docker: aiodocker.Docker, image: str) -> str:
    """As ``_id``; raise ``ImageError`` when there is none."""
    found = await _id(docker, image)
    if not found:
        raise ImageError(f"the base image '{image}' is not on this engine: docker pull {image}, or docker load it")
    return found


@dataclass(frozen=True)
class _Build:
    """One build that has to be done: the base image unless it exists, then the image."""

    recipe: Recipe
    options: BuildOptions
    docker: aiodocker.Docker
    report: Report

    async def run(self, image: str) -> None:
        if self.options.ca_bundle:
            await self.report.note(f"certificates to trust while building: {self.options.ca_bundle}")
        context = self.recipe.context(await asyncio.to_thread(self.options.certificates), time.time())
        base = self.recipe.base(self.options)
        if not self.options.base and (self.options.fresh or not await _id(self.docker, base)):
            await self._make_base(base)
        arguments = self.recipe.build_arguments(self.options, os.environ)
        try:
            async with self.report.step(f"install the notebook: {image}"):
                await self._engine_build(io.BytesIO(context), image, arguments)
        finally:
            with suppress(DockerError, aiohttp.ClientError, TimeoutError):
                await self.docker.images.prune(filters={"dangling": ["true"], "label": ["tmppool.stage=build"]})

    async def _make_base(self, base: str) -> None:
        """Run the recipe's script and make an image of what it made."""
        if os.geteuid() != 0:
            raise ImageError(f"{self.report.job}: making its file system from packages needs root: run this with sudo")
        cache = user_cache_path("tmppool")
        work = Path(await asyncio.to_thread(_work_dir, cache))
        rootfs = work / "rootfs"
        environ = {"SUITE": self.options.suite or "", "MIRROR": self.options.mirror or "", "CACHE": str(cache)}
        try:
            async with self.report.step("make the base system from packages"):
                await asyncio.to_thread(_write, work / "recipe", self.recipe.base_files)
                own = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
                await self._tool(*own, "sh", str(work / "recipe" / "base"), str(rootfs), environ=environ)
            async with self.report.step(f"pack the base system: {base}"):
                await self._tool("tar", "--numeric-owner", "-C", str(rootfs), "-cf", str(work / "rootfs.tar"), ".")
                await asyncio.to_thread((work / "Dockerfile").write_text, BASE_DOCKERFILE)
                await self._tool("tar", "-C", str(work), "-cf", str(work / "context"), "Dockerfile", "rootfs.tar")
                with await asyncio.to_thread(_mapped, work / "context") as context:
                    await self._engine_build(context, base, {})
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def _tool(self, *command: str, environ: Mapping[str, str] | None = None) -> None:
        """Run ``command``, its output kept; raise ``StepError`` with its last line when it fails or falls silent."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C", **(environ or {})},
            start_new_session=True,
        )
        assert process.stdout is not None
        last = ""
        try:
            while line := await _within(process.stdout.readline(), command[0]):
                last = line.decode(errors="replace").strip() or last
                await self.report.line(last)
            if await process.wait():
                raise StepError(last or f"{command[0]} ended with {process.returncode}")
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    async def _engine_build(self, context: io.BytesIO | mmap.mmap, image: str, arguments: dict[str, str]) -> None:
        """Let the engine build ``image`` from a tar; it drops its own containers, also when this is cancelled."""
        stream = self.docker.images.build(
            fileobj=context,
            encoding="identity",
            tag=image,
            buildargs=arguments,
            nocache=self.options.fresh,
            forcerm=True,
            stream=True,
        )
        async with aclosing(cast("AsyncGenerator[dict[str, Any]]", stream)) as items:
            while item := await _within(anext(items, None), "the engine"):
                await self.report.line(item.get("stream", ""))


async def _within(awaitable: Any, who: str) -> Any:
    """Wait for the next sign of life, at most ``STALL`` seconds."""
    try:
        async with asyncio.timeout(STALL):
            return await awaitable
    except TimeoutError as error:
        raise StepError(f"{who} was silent for {STALL:.0f} s") from error


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)


def _work_dir(cache: Path) -> str:
    """Make a directory of our own: not in /tmp, where device files and this much space are often not to be had."""
    cache.mkdir(parents=True, exist_ok=True)
    work = tempfile.mkdtemp(prefix="build-", dir=cache)
    rootfs = Path(work, "rootfs")
    rootfs.mkdir()
    rootfs.chmod(0o755)  # it becomes the image's "/", whatever the umask
    return work


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
