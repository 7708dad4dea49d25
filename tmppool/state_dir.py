"""The state directory: used by one service at a time, and writable by its user alone.

Who can write there, or replace it, can make themselves the owner of sessions: the ledger has the secret that tokens
and tickets are made with.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import structlog

from tmppool.errors import ConfigError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_MAY_ENTER = stat.S_IXGRP | stat.S_IXOTH
_ROOT = 0
_LOCK = "lock"
_ADMIN_TOKEN = "admin-token"  # noqa: S105 - a file's name
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,}")

_log = structlog.get_logger("tmppool")


class Held:
    """The state directory, while this service holds its lock: until each of its users has closed it, from any thread.

    ``token`` is the admin listener's, if it is to be read there. ``lock`` is a descriptor, None if the directory is
    unusable.
    """

    def __init__(self, state: Path, lock: int | None) -> None:
        self.token: str | None = None
        self._state = state
        self._locks = [] if lock is None else [lock]  # those of moved ones stay locked: they may be moved back
        self._failure = ""  # the last one that was logged
        self._users = 1
        self._counting = threading.Lock()

    async def keep(self) -> None:
        """Notice that the directory was moved or deleted, and make it anew: lock and admin token, not the ledger."""
        await asyncio.to_thread(self._keep)

    def is_ours(self) -> bool:
        """Return True while the lock in the directory, which may be one moved back, is this service's. Blocks."""
        try:
            found = (self._state / _LOCK).stat(follow_symlinks=False)
            return any(os.path.samestat(found, os.fstat(lock)) for lock in self._locks)
        except OSError:
            return False

    def use(self) -> None:
        """Count one more user: the lock is given back once each has called ``close``."""
        with self._counting:
            self._users += 1

    def close(self) -> None:
        """Give the lock back, if this is the last user."""
        with self._counting:
            self._users -= 1
            while not self._users and self._locks:
                os.close(self._locks.pop())

    def _keep(self) -> None:
        if self.is_ours():
            return
        try:
            lock = _locked(self._state)
            try:
                self._write_token()
            except OSError:
                os.close(lock)
                raise
            self._locks.append(lock)
        except BlockingIOError:
            self._note("another service holds its lock")
            return
        except (OSError, ConfigError) as error:
            self._note(str(error))
            return
        self._failure = ""
        message = "the state directory was moved, deleted or unusable; it has its lock and the admin token again"
        _log.warning("state.restored", path=str(self._state), message=message)

    def _write_token(self) -> None:
        if self.token is not None:
            _write_private(self._state / _ADMIN_TOKEN, self.token)

    def _note(self, failure: str) -> None:
        if failure != self._failure:
            _log.error("state.lost", path=str(self._state), error=failure)
        self._failure = failure


@contextlib.asynccontextmanager
async def held(state: Path, name: str) -> AsyncIterator[Held]:
    """Hold the state directory's lock. If the directory is unusable, hold none: the ledger logs that error.

    Raises ConfigError if another service holds it, or if others than this user can change what is in it.
    """
    lock = None
    with contextlib.suppress(OSError):
        try:
            lock = await asyncio.to_thread(_locked, state)
        except BlockingIOError as error:
            raise ConfigError(
                f"--pool-name: a service called {name!r} already runs with its state in {state}; choose another name"
            ) from error
    holding = Held(state, lock)
    try:
        yield holding
    finally:
        holding.close()


def _locked(state: Path) -> int:
    """Return a descriptor that holds the directory's lock.

    Raises BlockingIOError if another service holds it, and what ``prepare`` raises.
    """
    prepare(state)
    descriptor = os.open(state / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def prepare(state: Path) -> None:
    """Create the directory with mode 0700, or check an existing one, and take its group's and others' write permission.

    Raises ConfigError if others can change what is in it, OSError if it cannot be used.
    """
    _refuse(state, _dangers_on_the_way(state))
    for parent in reversed(state.absolute().parents):
        parent.mkdir(exist_ok=True, mode=0o755)  # whatever the umask: the next start looks at them too
    state.mkdir(exist_ok=True, mode=0o700)
    _refuse(state, _dangers_within(state))
    for path in _files(state):
        _keep_private(path)
    mode = stat.S_IMODE(state.stat().st_mode)
    if mode & _OTHERS_MAY_WRITE:
        state.chmod(mode & ~_OTHERS_MAY_WRITE)
        message = "other users could write to the state directory; their permission was removed"
        _log.warning("state.tightened", path=str(state), mode=f"{mode:04o}", message=message)


def admin_token(state: Path) -> tuple[str, Path | None]:
    """Return the admin listener's token and the file that has it, which is made unless there is one.

    A file that others can read is replaced, token and all. None for the file if it cannot be written.
    """
    path = state / _ADMIN_TOKEN
    try:
        known = _read_private(path)
        if known is not None:
            return known, path
        made = secrets.token_urlsafe(32)
        _write_private(path, made)
    except OSError as error:
        made = secrets.token_urlsafe(32)
        message = f"{path} cannot be written ({error.strerror}): set ADMIN_AUTH_TOKEN to reach the admin listener"
        _log.warning("admin.token_lost", message=message)
        return made, None
    return made, path


def _read_private(path: Path) -> str | None:
    """Return the token in the file; None if there is none, or others could have read or written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        found = os.fstat(descriptor)
        is_private = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _OTHERS
        said = file.read(1024).strip() if is_private else ""
    return said if _TOKEN.fullmatch(said) else None


def _write_private(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
    new.replace(path)


def _refuse(state: Path, dangers: Iterator[str]) -> None:
    for danger in dangers:
        raise ConfigError(
            f"--state-dir: {str(state)!r} is not allowed, since other users could change the sessions in it: {danger}"
        )


def _dangers_on_the_way(state: Path) -> Iterator[str]:
    """Yield each directory or link above the state directory by which others could replace it (as sshd does for keys).

    In a directory with the sticky bit, such as /tmp, nobody renames what belongs to somebody else (inode(7)).
    """
    whole = state.absolute()
    for path in (whole, *whole.parents):
        if path.is_symlink() and path.lstat().st_uid not in _trusted():
            yield f"the link {path} belongs to UID {path.lstat().st_uid}; name another directory"
    for path in whole.resolve().parents:
        if not path.exists():
            continue
        found = path.stat()
        if found.st_uid not in _trusted():
            yield f"{path} belongs to UID {found.st_uid}; name a directory below one of this user's or root's"
        if found.st_mode & _OTHERS_MAY_WRITE and not found.st_mode & stat.S_ISVTX:
            yield f"{path} has mode {stat.S_IMODE(found.st_mode):04o}; run chmod go-w {path}, or name another"


def _dangers_within(state: Path) -> Iterator[str]:
    """Yield what is wrong with the directory itself, and each file in it that others have put there."""
    found = state.stat()
    if found.st_uid != os.geteuid():
        yield f"it belongs to UID {found.st_uid}, and the service runs as {os.geteuid()}; run chown, or name another"
    if found.st_mode & stat.S_ISVTX:
        yield "it is a directory for everybody's files; name one below it"
    with os.scandir(state) as entries:
        names = list(entries)
    for entry in names:
        if entry.is_symlink():
            yield f"{entry.name} in it is a symbolic link; remove it"
        elif not entry.is_dir() and entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            yield f"{entry.name} in it belongs to another user; remove it, or run chown"
    for path in _files(state) if found.st_mode & _OTHERS_MAY_ENTER else ():
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & _OTHERS_MAY_WRITE:
            yield f"{path.name} in it has mode {mode:04o}; remove it, or run chmod 0600 on it if nobody changed it"


def _files(state: Path) -> list[Path]:
    """Return the regular files in the directory, without the admin token's, which is replaced if others may know it."""
    return [path for path in state.iterdir() if stat.S_ISREG(path.lstat().st_mode) and path.name != _ADMIN_TOKEN]


def _keep_private(path: Path) -> None:
    """Take all permissions of others on a file, as a restored backup may have them."""
    mode = stat.S_IMODE(path.lstat().st_mode)
    if mode & _OTHERS:
        path.chmod(mode & ~_OTHERS)
        message = "other users had permissions on a file with secrets; they were removed"
        _log.warning("state.tightened", path=str(path), mode=f"{mode:04o}", message=message)


def _trusted() -> tuple[int, int]:
    return _ROOT, os.geteuid()
