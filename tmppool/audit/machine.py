"""Collect the facts about the engine and its machine that the rules use."""

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from tmppool.audit import machine_sums
from tmppool.backends import engine

KERNEL = {
    "pid_max": "kernel/pid_max",
    "threads_max": "kernel/threads-max",
    "pty_max": "kernel/pty/max",
    "inotify_instances": "fs/inotify/max_user_instances",
    "file_max": "fs/file-max",
    "protected_symlinks": "fs/protected_symlinks",
    "core_pattern": "kernel/core_pattern",
}
"""Kernel parameters below /proc/sys that affect notebooks."""


@dataclass(frozen=True, slots=True)
class Facts:
    """``info``, ``version``, ``images``: the engine's answers. ``kernel``: this machine's values, by KERNEL's names.

    An empty ``kernel`` and None mean unknown: the engine is on another machine, or the value is unreadable.
    """

    info: dict[str, Any] = field(default_factory=dict)
    version: dict[str, Any] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    kernel: dict[str, str] = field(default_factory=dict)
    engine_at: str = ""
    has_tls: bool = False
    socket_mode: int | None = None
    clock_skew: float | None = None

    @property
    def sums(self) -> machine_sums.Machine:
        known = [int(self.kernel[name]) for name in ("pid_max", "threads_max") if name in self.kernel]
        return machine_sums.Machine(min(known, default=None), self.info.get("MemTotal") or None)


async def look(docker: engine.Client, images: Iterable[str] = ()) -> Facts:
    """Collect the facts with a few calls of the engine. Raises BackendError if it does not answer."""
    at = docker.address.url
    asked = time.time()
    info = await engine.info(docker)
    answered = time.time()
    return Facts(
        info=info,
        version=await engine.version(docker),
        images={name: await engine.image(docker, name) for name in images},
        kernel=await asyncio.to_thread(_kernel) if await asyncio.to_thread(_is_here, info) else {},
        engine_at=at,
        has_tls=docker.address.tls is not None or bool(os.environ.get("DOCKER_TLS_VERIFY")),
        socket_mode=await asyncio.to_thread(_mode, at),
        clock_skew=_skew(info, asked, answered),
    )


def _is_here(info: dict[str, Any]) -> bool:
    """Return True if the engine runs on this kernel: the same release, and the same memory to the byte."""
    return info.get("KernelVersion") == os.uname().release and info.get("MemTotal") == psutil.virtual_memory().total


def _kernel() -> dict[str, str]:
    found = {}
    for name, path in KERNEL.items():
        try:
            found[name] = (Path("/proc/sys") / path).read_text(encoding="utf-8").strip()
        except OSError:
            continue
    return found


def _mode(engine_at: str) -> int | None:
    """Return the mode of the engine's socket; None if it is not a file here."""
    if not engine_at.startswith("unix://"):
        return None
    try:
        return Path(engine_at.removeprefix("unix://")).stat().st_mode & 0o777
    except OSError:
        return None


def _skew(info: dict[str, Any], asked: float, answered: float) -> float | None:
    """Return the clock skew of the engine in seconds, beyond the duration of the request."""
    try:
        theirs = datetime.fromisoformat(str(info["SystemTime"])[:19] + "+00:00").timestamp()
    except (KeyError, ValueError):
        return None
    return max(0.0, asked - 1 - theirs, theirs - answered)  # the answer is truncated to seconds
