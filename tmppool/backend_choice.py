"""Chooses between containers and processes at the start.

Processes are not isolated. So they never replace containers for other people, and run as root only if it is allowed.
"""

import asyncio
import math
import os
import time
from pathlib import Path

import structlog

from tmppool import from_settings, ledger_file
from tmppool.backends import engine
from tmppool.backends.base import Paths
from tmppool.backends.process import ProcessBackend
from tmppool.config import Settings
from tmppool.errors import BackendError, ConfigError, EngineAwayError

PATIENCE = 60.0  # seconds to wait for an engine, which the same boot often starts
_LOOK = 1.0  # seconds between two attempts
_SAY = 10.0  # seconds between two log lines about it

_log = structlog.get_logger("tmppool")


def check(settings: Settings) -> None:
    """Raise ConfigError for wrong settings of the chosen backend, before anything is queried or changed."""
    if settings.backend == "process":
        from_settings.check_processes(settings)
        check_root("--backend=process is set", is_allowed=settings.allow_root)
    elif settings.backend != "fake":
        from_settings.check_uids(settings)


async def backend_kind(settings: Settings, ledger_path: Path) -> str:
    """Return the backend's name: docker, process or fake. Waits for an engine if processes may not replace it.

    Raises ConfigError for processes of root without permission, EngineAwayError if no engine answers in time.
    """
    if settings.backend in ("process", "fake"):
        return settings.backend
    failure = await engine.failure()
    if not failure:
        return "docker"
    why = obstacle(settings, *await asyncio.to_thread(ledger_file.left_behind, ledger_path))
    if why is not None:
        await _await_engine(why, failure)
        return "docker"
    check_root(f"no Docker Engine answers ({failure})", is_allowed=settings.allow_root)
    message = "no Docker Engine answers: notebooks run as processes without isolation, for yourself only"
    _log.warning("backend.fell_back", error=failure, message=message)
    return "process"


def obstacle(settings: Settings, last_kind: str, sessions: int) -> str | None:
    """Return the reason why processes may not replace containers; None if they may.

    ``last_kind`` and ``sessions``: the previous service's backend, and the number of sessions that it left.
    """
    if settings.backend == "docker":
        return "--backend=docker"
    for exposure in from_settings.exposures(settings):
        return f"{exposure.option}={exposure.value}"
    if settings.domain_per_notebook is not None:
        return f"--domain-per-notebook={settings.domain_per_notebook}"
    if sessions and last_kind == "docker":
        return f"{sessions} session{'s' * (sessions > 1)} in containers according to the ledger"
    return None


def check_root(why: str, *, is_allowed: bool) -> None:
    """Raise ConfigError if notebooks would be processes of root without permission."""
    if os.geteuid() != 0 or is_allowed:
        return
    raise ConfigError(
        f"{why}, so notebooks would run as root without isolation: start a Docker Engine,"
        " run this as another user, or set --allow-root"
    )


async def end_processes(state: Path) -> None:
    """End the processes that a service without an engine left running; a service with an engine ignores them."""
    for pool in await asyncio.to_thread(_names_in, state / "notebooks"):
        backend = ProcessBackend(from_settings.default_spec(pool), Paths(state))
        try:
            running = await backend.list()
            for each in running:
                await backend.stop(each.key)
        except BackendError as error:
            _log.warning("processes.stop_failed", pool=pool, error=str(error))
            continue
        finally:
            await backend.close()
        if running:
            message = "an engine answers now: notebook processes left by an earlier service were stopped"
            _log.warning("processes.stopped", pool=pool, count=len(running), message=message)


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


async def _await_engine(why: str, failure: str) -> None:
    """Wait until an engine answers. Raises EngineAwayError if none does within PATIENCE."""
    end, said_at = time.monotonic() + PATIENCE, -math.inf
    while failure:
        now = time.monotonic()
        if now >= end:
            raise EngineAwayError(
                f"no Docker Engine answered within {PATIENCE:.0f} s: {failure}; start it or set DOCKER_HOST to where"
                f" it is; notebooks do not run as processes instead ({why})"
            )
        if now - said_at >= _SAY:
            message = "nothing is served until a Docker Engine answers"
            _log.warning("engine.awaited", why=why, error=failure, message=message, seconds_left=math.ceil(end - now))
            said_at = now
        await asyncio.sleep(min(_LOOK, end - now))
        failure = await engine.failure()
    _log.info("engine.answered")
