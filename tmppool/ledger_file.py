"""Create, inspect, mark and rename a ledger's file. Every function here does blocking I/O."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

BUSY = 2.0  # seconds to wait for another process's lock

_PARTS = ("", "-journal", "-wal", "-shm")  # the last two are of older versions


class Identity(NamedTuple):
    """A file and its content, as far as its inode tells. All writes of other processes change it, reads do not."""

    device: int
    inode: int
    size: int
    changed_at: int  # nanoseconds


def left_behind(path: Path) -> tuple[str, int]:
    """Return the last service's backend, and the number of its sessions that may still run. Changes nothing.

    A file without a backend predates other backends than ``docker``. For an unreadable file: ``docker`` and 0.
    """
    live = "SELECT count(*) FROM sessions WHERE state = 'assigned' AND ended_at IS NULL AND coalesce(expires_at > ?, 1)"
    try:
        uri = f"file:{quote(os.fspath(path))}?mode=rw"  # to roll back what a killed service had begun
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY)) as database:
            kind = database.execute("SELECT value FROM meta WHERE name = 'backend'").fetchone()
            (count,) = database.execute(live, (time.time(),)).fetchone()
    except sqlite3.Error:
        return "docker", 0
    return kind[0].decode(errors="replace") if kind and isinstance(kind[0], bytes) else "docker", count


def prepare(path: Path) -> bool:
    """Create the file with mode 0600; return True if there was a non-empty one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        return os.fstat(descriptor).st_size > 0
    finally:
        os.close(descriptor)


def identity(path: Path) -> Identity | None:
    """Return the identity of the ledger's file; None if it is not there."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def difference(found: Identity | None, own: Identity) -> str | None:
    """Return what another process did to our ``own`` file, for the log; None if nothing."""
    if found is None:
        return "it was deleted"
    if found[:2] != own[:2]:
        return "another file was put in its place"
    return None if found == own else "another process has changed it"


def begin_anew(path: Path) -> Path:
    """Create an empty file, with mode 0600, that is to take the place of the ledger at ``path``; return its path.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f"{path.name}.new")
    for suffix in _PARTS:  # of a service that was killed
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    return new


def put_in_place(new: Path, path: Path, own: Identity | None) -> None:
    """Rename a whole new file over the ledger's. One that was put in the place of our ``own`` is renamed before.

    Raises OSError.
    """
    found = identity(path)
    if own is not None and found is not None and found[:2] != own[:2]:
        set_aside(path, "replaced")
    for suffix in _PARTS[1:]:  # SQLite would apply the old file's journal to the new one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    new.replace(path)


def missed_marker(path: Path) -> Path:
    """Return the path of the file that says that a service ran without the ledger at ``path``."""
    return path.with_name(f"{path.name}.missed")


def pass_over(path: Path) -> str:
    """Mark the ledger as incomplete from now on, else rename it; return what was done, for the log."""
    try:
        missed_marker(path).touch(mode=0o600)
    except OSError:
        try:
            set_aside(path, "missed")
        except OSError as error:
            return f"continuing without it; remove it before the next start, it could not be renamed: {error.strerror}"
    return "continuing without a ledger on disk"


def set_aside(path: Path, why: str) -> None:
    """Rename the ledger and what SQLite keeps beside it, adding ``why`` and the time. Raises OSError.

    A symbolic link is removed: it holds nothing, and no start allows one in the state directory.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S")
    for suffix in _PARTS:
        part = path.with_name(path.name + suffix)
        if part.is_symlink():
            part.unlink()
        elif part.exists():
            part.rename(part.with_name(f"{path.name}.{why}-{stamp}{suffix}"))
