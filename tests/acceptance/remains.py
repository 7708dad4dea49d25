"""What a container holds on its host, and what of it is left after the reap."""

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trace:
    """How one container is found again on the host."""

    container_id: str
    log: Path

    def log_size(self) -> int:
        """Return the bytes that the engine keeps of what was printed; one of its files may go at any moment."""
        size = 0
        for file in self.log.parent.glob(f"{self.log.name}*"):
            with contextlib.suppress(FileNotFoundError):
                size += file.stat().st_size
        return size


async def docker(*words: str) -> str:
    child = await asyncio.create_subprocess_exec(
        "docker", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    return (await child.communicate())[0].decode()


async def trace(key: str) -> Trace:
    found = (await docker("ps", "-aq", "--no-trunc", "--filter", f"label=tmppool.key={key}")).split()
    shown = json.loads(await docker("inspect", found[0]))[0]
    return Trace(found[0], Path(shown["LogPath"]))


def left_of(gone: Trace) -> list[str]:
    """What is still there: processes, mounts, control groups, files."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if gone.container_id in (process / "cgroup").read_text() + (process / "mountinfo").read_text():
                left.append(f"process {process.name}")
    if gone.container_id in Path("/proc/self/mountinfo").read_text():
        left.append("mount")
    # Not by glob, which fails over a group that goes meanwhile.
    left += [
        f"{path}/{gone.container_id}" for path, inner, _ in os.walk("/sys/fs/cgroup") if gone.container_id in inner
    ]
    if gone.log.parent.exists():
        left.append(str(gone.log.parent))
    return left


async def nothing_left_of(gone: Trace, within: float = 30.0) -> list[str]:
    """Wait until nothing is left; what is left at the end."""
    for _ in range(int(within / 0.25)):
        if not (left := await asyncio.to_thread(left_of, gone)):
            return []
        await asyncio.sleep(0.25)
    return left


def namespaces_held_by(process: int) -> int:
    """How many descriptors of network namespaces a process keeps open: the same few for each notebook that it dials."""
    held = 0
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            held += str(descriptor.readlink()).startswith("net:[")
    return held


def terminals() -> int:
    """How many pseudo-terminals the whole host has open."""
    return int(Path("/proc/sys/kernel/pty/nr").read_text())
