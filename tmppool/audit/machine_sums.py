"""Checks that the limits of all notebooks together fit the machine, since an excess would show only under load.

Pure functions of the planned pools and the machine's size.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tmppool.backends.base import Spec

PIDS_SHARE = 0.8
"""The share of the machine's PIDs that notebooks may use; the rest is for the host and the engine."""

PIDS = "pids-sum"
MEMORY = "memory-of-one"
RISKS = (PIDS, MEMORY)
"""Checks that prevent a start unless ``--accept-risk`` names them."""

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """The size of the engine's machine; None for an unknown figure. ``memory`` is in bytes."""

    processes: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A pool's capacity, and the limits of each of its notebooks."""

    name: str
    capacity: int
    spec: Spec


def pids(pools: Iterable[Planned], machine: Machine) -> str:
    """Return an error message, or "", if the notebooks' PID limits exceed their share of the machine's PIDs.

    Above it, a few visitors' fork bombs would leave no PID for anyone (proc(5), sys/kernel/pid_max). The defaults
    need 10 x 256 = 2560 of 26214, which is the share of the kernel's usual 32768; 102 notebooks fit.
    """
    wanted = sum(pool.capacity * pool.spec.pids for pool in pools)
    if machine.processes is None or wanted <= machine.processes * PIDS_SHARE:
        return ""
    return (
        f"{wanted} processes for all notebooks (--pool-size times --pids-limit) exceed"
        f" {PIDS_SHARE:.0%} of the {machine.processes} that the machine can have"
    )


def memory_of_one(pools: Iterable[Planned], machine: Machine) -> str:
    """Return an error message, or "", if one notebook may use more memory than the machine has.

    Overcommitting all notebooks together is usual, as most are idle (``memory_of_all``).
    """
    for pool in pools:
        if machine.memory is not None and pool.spec.memory > machine.memory:
            return (
                f"--mem-limit of pool {pool.name} ({pool.spec.memory // _MIB} MiB) is more than"
                f" the machine has ({machine.memory // _MIB} MiB)"
            )
    return ""


def memory_of_all(pools: Iterable[Planned], machine: Machine) -> str:
    """Return a message, or "", if the memory limits of all notebooks overcommit the machine."""
    wanted = sum(pool.capacity * pool.spec.memory for pool in pools)
    if machine.memory is None or wanted <= machine.memory:
        return ""
    return (
        f"memory limits of all notebooks add up to {wanted // _MIB} MiB; the machine has {machine.memory // _MIB} MiB"
    )


def tmpfs_of_one(pools: Iterable[Planned]) -> str:
    """Return a message, or "", if a pool's tmpfs mounts can exceed its memory limit, which would kill the notebook.

    Files in a tmpfs count as the notebook's memory (Linux, admin-guide/cgroup-v2, "memory").
    """
    for pool in pools:
        files = pool.spec.home_size + pool.spec.tmp_size + pool.spec.shm_size
        if files > pool.spec.memory:
            return (
                f"home, /tmp and /dev/shm of pool {pool.name} hold {files // _MIB} MiB together,"
                f" --mem-limit is {pool.spec.memory // _MIB} MiB"
            )
    return ""
