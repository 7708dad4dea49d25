"""Create, inspect, mark and rename a ledger's file. Every function here does blocking I/O."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

BUSY = 2.0  # seconds to wait for another process's lock

Identity = dict[str, tuple[int, int]]
"""Device and inode of each of a ledger's files, by what its name ends with."""

_PARTS = ("", "-wal", "-shm")


def left_behind(path: Path) -> tuple[str, int]:
    """Return the last service's backend, and the number of its sessions that may still run. Only reads.

    A file without a backend predates other backends than ``docker``. For an unreadable file: ``docker`` and 0.
    """
    live = "SELECT count(*) FROM sessions WHERE state = 'assigned' AND ended_at IS NULL AND coalesce(expires_at > ?, 1)"
    try:
        uri = f"file:{quote(os.fspath(path))}?mode=ro"
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
    """Return which files are there; None if the ledger itself is not."""
    parts = {suffix: _inode(path.with_name(path.name + suffix)) for suffix in _PARTS}
    found = {suffix: inode for suffix, inode in parts.items() if inode is not None}
    return found if "" in found else None


def make_way(path: Path, own: Identity | None) -> None:
    """Rename whatever is in the place of our ``own`` file, if we had one, and create a file if none is left.

    What is left of ours beside it is removed: SQLite would take our ``-wal`` for a part of the other. Raises OSError.
    """
    found = identity(path)
    if own is not None and (found is None or found[""] != own[""]):
        for suffix in _PARTS[1:]:
            part = path.with_name(path.name + suffix)
            if _inode(part) == own.get(suffix):
                part.unlink(missing_ok=True)
        set_aside(path, "replaced")
    prepare(path)


def _inode(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if it is not there."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
    """Rename the ledger and its ``-wal`` and ``-shm`` files, adding ``why`` and the time. Raises OSError."""
    stamp = time.strftime("%Y%m%dT%H%M%S")
    for suffix in _PARTS:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(part.with_name(f"{path.name}.{why}-{stamp}{suffix}"))
