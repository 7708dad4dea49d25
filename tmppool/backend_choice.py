"""The choice between containers and processes at a start.

Processes isolate nothing, so they never stand in for containers where others come, and never run as root unasked.
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

PATIENCE = 60.0  # seconds for an engine to come: it is often started by the same boot
_LOOK = 1.0  # seconds between two looks for it
_SAY = 10.0  # seconds between two lines about it

_log = structlog.get_logger("tmppool")


def check(settings: Settings) -> None:
    """Raise ConfigError for what is wrong with the chosen backend's settings, before anything is asked or touched."""
    if settings.backend == "process":
        from_settings.check_processes(settings)
        check_root("--backend=process is set", is_allowed=settings.allow_root)
    elif settings.backend != "fake":
        from_settings.check_uids(settings)


async def backend_kind(settings: Settings, ledger_path: Path) -> str:
    """Return what runs the notebooks: docker, process or fake; waits for an engine where nothing else will do.

    Raises ConfigError for processes of root that nobody allowed, EngineAwayError for an engine that does not come.
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
    """Return why processes may not stand in for containers; None where they may.

    ``last_kind`` and ``sessions``: in what the last service ran its notebooks, and how many it left with visitors.
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
    """Raise ConfigError where notebooks would be processes of root and nobody said that they may."""
    if os.geteuid() != 0 or is_allowed:
        return
    raise ConfigError(
        f"{why}, so notebooks would run as root without isolation: start a Docker Engine,"
        " run this as another user, or set --allow-root"
    )


async def end_processes(state: Path) -> None:
    """End notebooks that a service without an engine left running: where there is one, nobody would ever do so."""
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
    """Return when an engine answers. Raises EngineAwayError when none does within PATIENCE."""
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
