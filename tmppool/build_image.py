"""Build a notebook image from its recipe on a Docker Engine, without a registry."""

import asyncio
import io
import mmap
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from rich.console import Console

from tmppool.backends import engine
from tmppool.build_report import Report, StepError
from tmppool.errors import BackendError, ImageError
from tmppool.recipes import BuildOptions, Recipe

STALL = 900.0  # seconds that a stream or a tool may print nothing
BASE_DOCKERFILE = "FROM scratch\nADD rootfs.tar /\n"


async def build(
    name: str, options: BuildOptions | None = None, *, url: str | None = None, console: Console | None = None
) -> str:
    """Build the image ``name`` unless it exists, and return its full name with tag.

    ``url`` is the engine's (``unix://`` or ``tcp://``); the default is found as by ``serve``. Progress is shown on
    ``console`` (default: stderr). Raises ``ImageError``. Cancellation leaves no partial image.
    """
    options = await asyncio.to_thread((options or BuildOptions()).resolved, os.environ)
    recipe = await asyncio.to_thread(Recipe.read, name)
    recipe.check(options)
    try:
        docker = await engine.connect(url)
    except BackendError as error:
        raise ImageError(f"{error}; start it or set DOCKER_HOST") from error
    async with docker:
        try:
            return await _build(docker, recipe, options, console)
        except BackendError as error:
            raise ImageError(f"the image '{name}' could not be built at {docker.address}: {error}") from error


async def _build(docker: engine.Client, recipe: Recipe, options: BuildOptions, console: Console | None) -> str:
    """Build the image unless it exists; return its full name. Raises ImageError; BackendError."""
    if options.base:
        options = replace(options, base=await _base_id(docker, options.base))
    image = recipe.image(options)
    if options.fresh or not await engine.image_id(docker, image):
        log = options.log or user_cache_path("tmppool") / f"build-{recipe.name}.log"
        async with Report(f"image '{recipe.name}'", log, console) as report:
            await _Build(recipe, options, docker, report).run(image)
    await engine.tag(docker, image, f"tmppool/{recipe.name}", "latest")
    return image


async def _base_id(docker: engine.Client, image: str) -> str:
    """Return the id of an existing image. Raises ImageError if there is none; BackendError."""
    found = await engine.image_id(docker, image)
    if not found:
        raise ImageError(f"the base image '{image}' is not on this engine: docker pull {image}, or docker load it")
    return found


@dataclass(frozen=True)
class _Build:
    """One build: first the base image unless it exists, then the image."""

    recipe: Recipe
    options: BuildOptions
    docker: engine.Client
    report: Report

    async def run(self, image: str) -> None:
        if self.options.ca_bundle:
            await self.report.note(f"certificates to trust while building: {self.options.ca_bundle}")
        context = self.recipe.context(await asyncio.to_thread(self.options.certificates), time.time())
        base = self.recipe.base(self.options)
        if not self.options.base and (self.options.fresh or not await engine.image_id(self.docker, base)):
            await self._make_base(base)
        arguments = self.recipe.build_arguments(self.options, os.environ)
        try:
            async with self.report.step(f"install the notebook: {image}"):
                await self._engine_build(io.BytesIO(context), image, arguments)
        finally:
            with suppress(BackendError):
                await engine.prune_images(self.docker, "tmppool.stage=build")

    async def _make_base(self, base: str) -> None:
        """Run the recipe's ``base`` script and make an image of its root file system."""
        if os.geteuid() != 0:
            raise ImageError(
                f"{self.report.job}: building its file system from packages requires root; run this with sudo"
            )
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
        """Run ``command`` and report its output. Raises ``StepError`` with its last line if it fails or stalls."""
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
        """Let the engine build ``image`` from a tar. Raises StepError with the engine's message; BackendError."""
        printed = engine.build(self.docker, context, image, arguments, fresh=self.options.fresh, silence=STALL)
        try:
            async with aclosing(printed) as texts:
                async for text in texts:
                    await self.report.line(text)
        except engine.RefusedError as error:
            raise StepError(error.said) from error


async def _within(awaitable: Any, who: str) -> Any:
    """Wait for the next output for at most ``STALL`` seconds. Raises StepError."""
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
    """Create a private directory; not in /tmp, which often lacks the space and forbids device files."""
    cache.mkdir(parents=True, exist_ok=True)
    work = tempfile.mkdtemp(prefix="build-", dir=cache)
    rootfs = Path(work, "rootfs")
    rootfs.mkdir()
    rootfs.chmod(0o755)  # the mode of the image's "/", whatever the umask
    return work


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
