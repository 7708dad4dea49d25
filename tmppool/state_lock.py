"""The lock that allows one service at a time to use a state directory."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tmppool.errors import ConfigError


@contextlib.asynccontextmanager
async def held(state: Path, name: str) -> AsyncIterator[None]:
    """Hold the state directory's lock. If the directory is unusable, hold none: the ledger logs that error.

    Raises ConfigError if another service holds it.
    """
    try:
        descriptor = await asyncio.to_thread(_open_lock, state)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"--pool-name: a service called {name!r} already runs with its state in {state}; choose another name"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _open_lock(state: Path) -> int:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(state / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
