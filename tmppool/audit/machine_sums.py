"""Limits that sum past the machine: what would only fail when many visitors are there is said at the start.

Pure: how many of what, and how much of it the machine has.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tmppool.backends.base import Spec

PIDS_SHARE = 0.8
"""How much of the machine's process numbers notebooks may plan for; the rest is the host's own and the engine's."""

PIDS = "pids-sum"
MEMORY = "memory-of-one"
RISKS = (PIDS, MEMORY)
"""What ends a start unless ``--accept-risk`` names it."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """The size of the engine's machine; None for a figure that could not be found out. ``memory``: bytes."""

    processes: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A pool as far as sums go: how many notebooks there may be, and what each may be."""

    name: str
    capacity: int
    spec: Spec


def pids(pools: Iterable[Planned], machine: Machine) -> str:
    """Return what is wrong as a sentence, empty when nothing is: all processes of all notebooks must have numbers.

    Beyond the share, a few visitors' fork bombs would leave none for anyone (proc(5), sys/kernel/pid_max). The
    defaults plan 10 x 256 = 2560 of the 26214 that the kernel's usual 32768 allow; 102 notebooks fit.
    """
    wanted = sum(pool.capacity * pool.spec.pids for pool in pools)
    if machine.processes is None or wanted <= machine.processes * PIDS_SHARE:
        return ""
    return (
        f"{wanted} processes for all notebooks (--pool-size times --pids-limit) exceed"
        f" {PIDS_SHARE:.0%} of the {machine.processes} that the machine can have"
    )


def memory_of_one(pools: Iterable[Planned], machine: Machine) -> str:
    """Return what is wrong as a sentence, empty when nothing is: one notebook alone must fit.

    That all together may want more than there is, is usual: most notebooks are idle (``memory_of_all``).
    """
    for pool in pools:
        if machine.memory is not None and pool.spec.memory > machine.memory:
            return (
                f"--mem-limit of pool {pool.name} ({pool.spec.memory // _MIB} MiB) is more than"
                f" the machine has ({machine.memory // _MIB} MiB)"
            )
    return ""


def memory_of_all(pools: Iterable[Planned], machine: Machine) -> str:
    """Return by how much memory is over-committed, as a sentence; empty when it is not."""
    wanted = sum(pool.capacity * pool.spec.memory for pool in pools)
    if machine.memory is None or wanted <= machine.memory:
        return ""
    return (
        f"memory limits of all notebooks add up to {wanted // _MIB} MiB; the machine has {machine.memory // _MIB} MiB"
    )


def tmpfs_of_one(pools: Iterable[Planned]) -> str:
    """Return in which pool a full home ends the notebook before it is full, as a sentence; empty when in none.

    Files in memory count as the notebook's memory (Linux, admin-guide/cgroup-v2, "memory").
    """
    for pool in pools:
        files = pool.spec.home_size + pool.spec.tmp_size + pool.spec.shm_size
        if files > pool.spec.memory:
            return (
                f"home, /tmp and /dev/shm of pool {pool.name} hold {files // _MIB} MiB together,"
                f" --mem-limit is {pool.spec.memory // _MIB} MiB"
            )
    return ""
