"""Build a notebook image from a recipe, without any registry.

A recipe is a directory in ``images/`` that holds

``base``
    A POSIX shell script that makes a root file system in the (new, empty) directory ``$1``. Its environment names
    ``SUITE`` and ``MIRROR`` (each may be empty: the script's own choice) and ``CACHE``, a directory for downloads that
    are worth keeping. It runs as root with mounts and processes of its own, so whatever it leaves behind ends with it;
    the last line it prints says why it failed.
``Dockerfile``
    Begins with ``ARG BASE`` and ``FROM ${BASE}``. Its context is the recipe's directory and a file ``ca-bundle.crt``
    (certificates to trust while building; empty when there are none, never to be kept in the image). A file that
    begins with ``#!`` is executable. ``PIP_INDEX_URL`` and the proxies are build arguments. A stage labelled
    ``tmppool.stage=build`` is dropped after the build.

That makes two images, ``tmppool/NAME-base:HASH`` and ``tmppool/NAME:HASH`` (also ``:latest``). The hash is that of all
that goes in, so an image that exists is an image that need not be built.
"""

import asyncio
import hashlib
import io
import json
import mmap
import os
import shutil
import signal
import tarfile
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError
from platformdirs import user_cache_path
from rich.console import Console

from tmppool.build_report import Report, StepError
from tmppool.errors import ImageError

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
CALL = 60.0  # seconds for one engine call that is no stream
STALL = 900.0  # seconds that a stream or a tool may be silent
CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
BASE_DOCKERFILE = "FROM scratch\nADD rootfs.tar /\n"
NOT_FOUND = 404


@dataclass(frozen=True)
class BuildOptions:
    """How to build; ``None`` leaves the choice to the environment and then to the recipe."""

    mirror: str | None = None  # URL of the distribution's packages
    pip_index: str | None = None  # URL; else PIP_INDEX_URL
    ca_bundle: Path | None = None  # PEM file, used while building only; else what CERTIFICATES name
    suite: str | None = None  # the distribution's release
    log: Path | None = None  # else build-NAME.log in the user's cache directory
    fresh: bool = False  # build though nothing changed, to take in newer packages

    def resolved(self, environ: Mapping[str, str]) -> Self:
        """Fill in what ``environ`` knows."""
        bundles = (Path(environ[key]) for key in CERTIFICATES if environ.get(key))
        return replace(
            self,
            pip_index=self.pip_index or environ.get("PIP_INDEX_URL") or None,
            ca_bundle=self.ca_bundle or next((path for path in bundles if path.is_file()), None),
        )

    def certificates(self) -> bytes:
        """Return the bundle's content, empty without one; raise ``ImageError`` when it cannot be read."""
        try:
            return self.ca_bundle.read_bytes() if self.ca_bundle else b""
        except OSError as error:
            raise ImageError(f"the CA bundle {self.ca_bundle} cannot be read: {error.strerror}") from error


def images_dir() -> Path:
    """Return the directory of the recipes: in an installed package beside the modules, else in the checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "images"
    return inside if inside.is_dir() else package.parent / "images"


def recipes() -> list[str]:
    """Return the names that can be built, sorted."""
    return sorted(path.parent.name for path in images_dir().glob("*/Dockerfile"))


@dataclass(frozen=True)
class Recipe:
    """A recipe's files by their relative POSIX path, read at one moment."""

    name: str
    files: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, name: str) -> Self:
        """Raise ``ImageError`` when there is no such recipe."""
        if name not in recipes():
            raise ImageError(f"there is no image '{name}' to build; there is: {', '.join(recipes()) or 'none at all'}")
        root = images_dir() / name
        paths = (path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
        return cls(name, {path.relative_to(root).as_posix(): path.read_bytes() for path in paths})

    def base(self, options: BuildOptions) -> str:
        """Return the base image's full name."""
        facts = [options.suite, options.mirror, hashlib.sha256(self.files["base"]).hexdigest()]
        return f"tmppool/{self.name}-base:{_hash(facts)}"

    def image(self, options: BuildOptions) -> str:
        """Return the image's full name, such as ``tmppool/debian:3f2a91c0``."""
        content = [(path, hashlib.sha256(data).hexdigest()) for path, data in sorted(self.files.items())]
        return f"tmppool/{self.name}:{_hash([self.base(options), options.pip_index, content])}"

    def context(self, certificates: bytes, now: float) -> bytes:
        """Return the build context, an uncompressed tar of the contents alone, dated ``now`` (Unix time)."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, data in sorted({**self.files, "ca-bundle.crt": certificates}.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mtime = len(data), now
                entry.mode = 0o755 if data.startswith(b"#!") else 0o644
                tar.addfile(entry, io.BytesIO(data))
        return packed.getvalue()


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


async def build(
    name: str, options: BuildOptions | None = None, *, engine: str | None = None, console: Console | None = None
) -> str:
    """Build the image ``name`` unless it exists, and return its full name with tag.

    ``engine`` is a URL (``unix://`` or ``tcp://``), by default ``DOCKER_HOST`` or the usual socket. What happens is
    shown on ``console`` (default: stderr). Raises ``ImageError``. Cancelling leaves nothing half done.
    """
    options = await asyncio.to_thread((options or BuildOptions()).resolved, os.environ)
    recipe = await asyncio.to_thread(Recipe.read, name)
    image = recipe.image(options)
    async with _connected(engine) as docker:
        if options.fresh or not await _exists(docker, image):
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


async def _exists(docker: aiodocker.Docker, image: str) -> bool:
    try:
        await docker.images.inspect(image)
    except DockerError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True


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
        if self.options.fresh or not await _exists(self.docker, base):
            await self._make_base(base)
        arguments = {"BASE": base, **_proxies(os.environ)}
        if self.options.pip_index:
            arguments["PIP_INDEX_URL"] = self.options.pip_index
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
                await asyncio.to_thread((work / "base").write_bytes, self.recipe.files["base"])
                own = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
                await self._tool(*own, "sh", str(work / "base"), str(rootfs), environ=environ)
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


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    names = (name for key in PROXIES for name in (key, key.lower()))
    return {name: environ[name] for name in names if environ.get(name)}


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
