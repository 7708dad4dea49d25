"""Takes the home out of an image, at each start, and keeps it in a volume from which the pool's notebooks unpack it.

No code of the image runs for it: the engine archives a container that is never started. Every notebook unpacks the
archive into its own home, as its own UID; the volume is mounted read-only, so that they share nothing writable.
"""

import asyncio
import contextlib
import hashlib
import io
import posixpath
import secrets
import tarfile
import tempfile
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import aiohttp
import structlog

from tmppool.backends import engine
from tmppool.backends.base import FALLBACK_HOME, Edition, ImageFacts, Spec
from tmppool.backends.container import (
    HOME_LABEL,
    SERVICE_LABEL,
    container_name,
    declared,
    home_config,
    mount,
    volume_labels,
)
from tmppool.backends.container_limits import SEED, SEED_FILE
from tmppool.backends.home_archive import Account, Repacker, Survey, account_of, wrapped
from tmppool.backends.home_paths import Copies, Found, Tree, is_below, normal, obstacle
from tmppool.errors import BackendError
from tmppool.tasks import completed

REMEDY = "in the Dockerfile, give them to the image's user (chown, or COPY --chown; a hard link: cp), or remove them"

_VERSION = 3  # of what this module writes into a volume; another number makes other volumes
_USUAL = "/home/jovyan"  # of an image that says nothing of its user
_SET = ("HOME", "XDG_CACHE_HOME")  # by ``container``
_MIB = 1 << 20
_BEGIN = 1 << 14  # bytes that hold more than one entry of an archive
_SHOWN = 5  # paths that are named, of those that were left out


_log = structlog.get_logger("tmppool.docker")


def volume_name(spec: Spec, image: ImageFacts) -> str:
    """Return the name of the volume with the home of this image, for this pool alone."""
    facts = (spec.pool, image.id, image.user, image.home, image.workdir, spec.binds, _VERSION)
    return f"tmppool-{spec.service}-home-{hashlib.blake2s(repr(facts).encode(), digest_size=8).hexdigest()}"


async def take(docker: engine.Client, spec: Spec, image: ImageFacts) -> ImageFacts:
    """Return the facts with the volume that holds the image's home; it is written unless it is complete already.

    Raises BackendError, not transient if the home is larger than the pool's limits.
    """
    volume, name = volume_name(spec, image), container_name(spec, secrets.token_urlsafe())
    async with _temporary_file() as archive:
        try:
            container = await engine.create(docker, name, home_config(spec, image, volume))
            reading = _read(docker, container.id, spec, image, archive)
            taken, survey = await engine.call("read the home out of an image", reading, engine.COPY_TIMEOUT)
            empty = [path for path in image.volumes if await _is_empty(docker, container.id, path)]
            _check(spec, survey)
            if await _stored(docker, container.id) != await asyncio.to_thread(archive.seek, 0, io.SEEK_END):
                await _write(docker, container.id, archive)
        except BaseException:
            await completed(_undo(docker, spec, name, volume), "remove a volume")
            raise
        await completed(engine.remove(docker, name), "remove the container of a home")
    left_out = tuple(str(each) for each in survey.left_out)
    return replace(taken, volume=volume, left_out=left_out, empty=tuple(empty), documents=survey.documents)


async def _undo(docker: engine.Client, spec: Spec, name: str, volume: str) -> None:
    await engine.remove(docker, name)
    await discard(docker, spec, volume)


async def discard(docker: engine.Client, spec: Spec, volume: str) -> None:
    """Remove the volumes of an image that no notebook uses; one that is used, or an engine that fails, is left alone.

    ``volume``: that of its home, with whose name those of the others begin.
    """
    with contextlib.suppress(BackendError):
        for name in await _volumes(docker, spec):
            if name.startswith(volume):
                await engine.remove_volume(docker, name)


def notes(edition: Edition) -> tuple[str, ...]:
    """Return what the operator should know of an edition's image, as sentences."""
    found = list(edition.image.notes)
    if edition.image.left_out:
        found.append(left_out(edition.name, edition.image))
    writable, read_only = declared(edition.spec, edition.image)
    at_home = [path for path in writable if is_below(path, edition.image.home_at)]
    meanings = (
        (read_only, "read-only in notebooks, with the image's files"),
        (
            [path for path in writable if path not in at_home],
            "an empty tmpfs with the limits of /tmp (--tmp-size, --tmp-inodes)",
        ),
        (
            at_home,
            "a tmpfs in the home, with the image's files and the limits of the home (--home-size, --home-inodes)",
        ),
    )
    for paths, meaning in meanings:
        if paths:
            found.append(f"VOLUME {engine.one_line(', '.join(paths))} of image {edition.name} is {meaning}")
    return tuple(found)


def left_out(name: str, image: ImageFacts) -> str:
    """Return the sentence on what notebooks lack of the image's home."""
    more = len(image.left_out) - _SHOWN
    listed = ", ".join(image.left_out[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"notebooks lack some of the home of image {name}: {listed}; {REMEDY}"


async def sweep(docker: engine.Client, spec: Spec, wanted: Collection[str]) -> None:
    """Remove the pool's volumes of other images, as far as no notebook uses them. Raises BackendError.

    ``wanted``: the volumes with the homes of its images.
    """
    for name in await _volumes(docker, spec):
        if not name.startswith(tuple(wanted)):
            await engine.remove_volume(docker, name)


async def _volumes(docker: engine.Client, spec: Spec) -> list[str]:
    return await engine.volumes(docker, [f"{name}={value}" for name, value in volume_labels(spec).items()])


async def present(service: str) -> list[str]:
    """Return the names of a service's volumes. Raises BackendError."""
    docker = await engine.connect()
    try:
        return await _of_service(docker, service)
    finally:
        await docker.close()


async def clear(service: str, spared: Collection[str] = ()) -> None:
    """Remove a service's volumes that no notebook uses, except those that are ``spared``, at its end. Logs failures."""
    try:
        docker = await engine.connect()
        try:
            for name in await _of_service(docker, service):
                if name not in spared:
                    await engine.remove_volume(docker, name)
        finally:
            await docker.close()
    except BackendError as error:
        _log.warning("volumes.cleanup_failed", error=str(error))


async def _of_service(docker: engine.Client, service: str) -> list[str]:
    return await engine.volumes(docker, [f"{SERVICE_LABEL}={service}", HOME_LABEL])


def homes(image: ImageFacts, account: Account | None) -> Iterator[str]:
    """Yield where the home of the image's user may be: HOME as in the engine, else as in its /etc/passwd."""
    for path in (image.home, account.home if account else "", _USUAL):
        found = posixpath.normpath(path)
        if found.startswith("/") and found.strip("/"):
            yield found


def moved(env: Iterable[str], copies: Copies) -> tuple[str, ...]:
    """Return the variables whose value is a path in a directory that is copied to another place, with the path there.

    Otherwise ``RESULTS=/srv/repo/out`` would name the image's own, which is read-only. Lists such as PATH stay: they
    say where to look, not where to write. HOME is set anyway.
    """
    pairs = (pair.partition("=") for pair in env)
    led = ((name, value, _led(value, copies)) for name, _, value in pairs if name not in _SET)
    return tuple(f"{name}={path}{'/' if value.endswith('/') else ''}" for name, value, path in led if path)


def _led(value: str, copies: Copies) -> str | None:
    path = copies.moved(value) if value.startswith("/") and ":" not in value else None
    return None if path == normal(value) else path


def place_of(workdir: str, home: str) -> tuple[str, str]:
    """Return the directory that is copied besides the home, if any, and the working directory below a notebook's home.

    A WORKDIR outside of the home is copied too, over it: its files are what the visitor came for. Neither may contain
    links: a WORKDIR may lie in the home by one, and then is copied already.
    """
    work = normal(workdir or "/")
    if home and is_below(work, home):
        return "", work.removeprefix(home).strip("/")
    return ("", "") if is_below(home or "/", work) else (work, "")


async def _read(
    docker: engine.Client, container_id: str, spec: Spec, image: ImageFacts, archive: BinaryIO
) -> tuple[ImageFacts, Survey]:
    passwd, group = [await _text(docker, container_id, path) for path in ("/etc/passwd", "/etc/group")]
    account, own = account_of(image.user, passwd, group), account_of(spec.user or "", passwd, group)
    home = await _first(docker, container_id, homes(image, account))
    workdir = normal(image.workdir or "/")
    work = await _first(docker, container_id, [workdir] if workdir != "/" else [])
    more, below = place_of(work.real if work else "/", home.real if home else "")
    why = await _obstacle(docker, container_id, spec, image, home) if home else ""
    place = home.real if home and not why else FALLBACK_HOME
    copies = Copies(_places(home, work, place, more, below))
    hidden, mounted = [
        [path.removeprefix(f"{place}/") for path in paths if is_below(path, place)]
        for paths in (_targets(spec), image.volumes)
    ]
    repacker = Repacker(archive, copies, spec.home_size, account, hidden=hidden, mounted=mounted)
    if home is not None:
        await _add(docker, container_id, repacker, home.tree)
    if work is not None and more:
        await _add(docker, container_id, repacker, work.tree)
    notes = (*image.notes, _elsewhere(spec, home, why)) if home and why else image.notes
    owner = f"{own.uid}:{own.gid}" if spec.user and own else ""
    facts = replace(image, home_at=place, below=below, owner=owner, env=moved(image.env, copies), notes=notes)
    return facts, await asyncio.to_thread(repacker.close)


def _elsewhere(spec: Spec, home: Found, why: str) -> str:
    said = engine.one_line(f"the home of image {spec.image}, {home.given}, is at {FALLBACK_HOME} in notebooks: {why}")
    return f"{said}; a configuration that names it by its path finds the image's own, which is read-only"


async def _obstacle(docker: engine.Client, container_id: str, spec: Spec, image: ImageFacts, home: Found) -> str:
    """Return why notebooks cannot have their home at the path of the image's; empty if they can."""
    volumes, binds = [
        [await _found(docker, container_id, path) for path in paths] for paths in (image.volumes, _targets(spec))
    ]
    return obstacle(home, volumes, binds)


async def _found(docker: engine.Client, container_id: str, path: str) -> Found:
    real, modes = await engine.real_path(docker, container_id, path)
    return Found(path, real, tuple(modes[:-1]))


def _targets(spec: Spec) -> list[str]:
    """Return the mount points of the operator's directories. Raises BackendError, as ``mount`` does."""
    return [normal(mount(entry)["Target"]) for entry in spec.binds]


def _places(home: Found | None, work: Found | None, place: str, more: str, below: str) -> Iterator[tuple[Tree, str]]:
    """Yield the directories of which notebooks have a copy, each with its place; ``place`` is the home's."""
    if home is not None:
        yield home.tree, place
    if work is not None and (more or (home is not None and is_below(work.real, home.real))):
        yield work.tree, posixpath.join(place, below).rstrip("/")


async def _first(docker: engine.Client, container_id: str, paths: Iterable[str]) -> Found | None:
    """Return the first of these directories that the image has, and that is not the whole image."""
    for path in paths:
        async with engine.archive(docker, container_id, f"{path}/.") as stream:
            is_there = stream is not None
        found = await _found(docker, container_id, path) if is_there else None
        if found is not None and found.real != "/":
            return found
    return None


async def _add(docker: engine.Client, container_id: str, repacker: Repacker, tree: Tree) -> None:
    """Copy a directory of the image."""
    async with engine.archive(docker, container_id, f"{tree.name}/.") as stream:
        if stream is None:
            return
        source = cast("BinaryIO", _Incoming(stream, asyncio.get_running_loop()))
        try:
            await asyncio.to_thread(repacker.add, source, tree)
        except tarfile.TarError as error:
            said = engine.one_line(error)
            raise BackendError(f"the engine's archive of {tree.name} cannot be read: {said}") from error


async def _is_empty(docker: engine.Client, container_id: str, path: str) -> bool:
    """Return True if the image has no file below ``path``."""
    async with engine.archive(docker, container_id, f"{path}/.") as stream:
        if stream is None:
            return True
        begin = await engine.call("read files of an image", _begin(stream), engine.LIST_TIMEOUT)
    return await asyncio.to_thread(_is_directory_alone, begin)


async def _begin(stream: aiohttp.StreamReader) -> bytes:
    begin = b""
    while len(begin) < _BEGIN and (chunk := await stream.read(_BEGIN)):
        begin += chunk
    return begin


def _is_directory_alone(begin: bytes) -> bool:
    """Return True if an archive's first bytes are all of it, and contain the directory itself only."""
    try:
        with tarfile.open(fileobj=io.BytesIO(begin)) as tar:
            return tar.next() is not None and tar.next() is None
    except tarfile.TarError:  # cut off
        return False


async def _text(docker: engine.Client, container_id: str, path: str) -> str:
    """Return a text file of the image; empty if there is none."""
    async with engine.archive(docker, container_id, path) as stream:
        found = b"" if stream is None else await stream.read()
    return await asyncio.to_thread(_only_file, found)


def _only_file(archive: bytes) -> str:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            file = tar.extractfile(next(iter(tar)))
            return file.read().decode(errors="replace") if file else ""
    except (tarfile.TarError, StopIteration, KeyError):
        return ""


async def _stored(docker: engine.Client, container_id: str) -> int | None:
    """Return the size of the archive in the volume; None if there is none."""
    async with engine.archive(docker, container_id, SEED_FILE) as stream:
        if stream is None:
            return None
        head = await engine.call("read a volume", stream.readexactly(tarfile.BLOCKSIZE), engine.LIST_TIMEOUT)
        with engine.reading("read a volume"):
            return tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape").size


async def _write(docker: engine.Client, container_id: str, archive: BinaryIO) -> None:
    async with _temporary_file() as out:
        await asyncio.to_thread(wrapped, posixpath.basename(SEED_FILE), archive, out)
        await engine.put_archive(docker, container_id, SEED, out)


@contextlib.asynccontextmanager
async def _temporary_file() -> AsyncIterator[BinaryIO]:
    made = await asyncio.to_thread(_opened)
    try:
        yield cast("BinaryIO", made)
    finally:
        await asyncio.to_thread(made.close)


def _opened() -> io.BufferedRandom:
    """Open a temporary file without a name. Raises BackendError."""
    try:
        number, path = tempfile.mkstemp()
        Path(path).unlink()
    except OSError as error:
        raise _no_file(error) from error
    return io.BufferedRandom(_Scratch(number, "r+b"))


def _no_file(error: OSError) -> BackendError:
    where = tempfile.tempdir or "the directory for temporary files"
    return BackendError(
        f"the home of an image could not be kept in a temporary file in {where}: {error.strerror or error};"
        " TMPDIR names another directory"
    )


class _Scratch(io.FileIO):
    """A file whose errors are not taken for the engine's."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise _no_file(error) from error


def _check(spec: Spec, survey: Survey) -> None:
    """Raise BackendError for a home that does not fit, with both numbers."""
    for option, has, allowed, unit in (
        ("--home-size", survey.size, spec.home_size, "bytes"),
        ("--home-inodes", survey.inodes, spec.home_inodes, "inodes"),
    ):
        if has > allowed:
            said = f" ({has / _MIB:.1f} MiB)" if unit == "bytes" else ""
            raise BackendError(
                f"{option}: {allowed} {unit} are fewer than the {has} {unit}{said} of the home in image {spec.image}:"
                f" raise {option}, or take files out of the image's home and its WORKDIR",
                transient=False,
            )


class _Incoming(io.RawIOBase):
    """The engine's stream as a file for a thread, which reads what the loop receives."""

    def __init__(self, stream: aiohttp.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._stream, self._loop = stream, loop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = asyncio.run_coroutine_threadsafe(self._stream.read(len(buffer)), self._loop).result()
        buffer[: len(data)] = data
        return len(data)
