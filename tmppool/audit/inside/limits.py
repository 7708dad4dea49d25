"""Probes of resource limits, and of the separation from other processes."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from functools import partial
from typing import TYPE_CHECKING

from tmppool.audit.inside.outcome import is_equal, read

if TYPE_CHECKING:
    from tmppool.audit.inside.outcome import Facts, Outcome, Probe

_FEW = 8  # processes: this one, the container's first, and zombies of the previous probe
_CGROUP = "/sys/fs/cgroup"


def probes(facts: Facts) -> list[Probe]:
    return [
        ("own-processes", _processes),
        ("own-ipc", _ipc),
        ("own-cgroup", _cgroup),
        ("own-hostname", partial(_hostname, "notebook")),
        ("pids-limit", partial(_limit, facts["pids"], "pids/pids.max", "pids.max")),
        ("memory-limit", partial(_limit, facts["memory"], "memory/memory.limit_in_bytes", "memory.max")),
        ("swap-limit", partial(_swap, facts["memory"])),
        ("cpu-limit", partial(_cpu, facts["cpu_quota"])),
        ("oom-score", partial(_oom_score, facts["oom_score"])),
        *((f"limit-{name}", partial(_rlimit, number, wanted)) for name, number, wanted in facts["rlimits"]),
    ]  # fmt: skip


def _processes() -> Outcome:
    users = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # ended meanwhile
            users += [os.stat(f"/proc/{name}").st_uid] if name.isdigit() else []
    foreign = sum(user != os.getuid() for user in users)
    return not foreign and len(users) <= _FEW, f"{len(users)} processes, {foreign} of other users"


def _ipc() -> Outcome:
    """Hold if there are no IPC objects (proc(5), sysvipc: a heading, then one line each)."""
    seen = sum(len(read(f"/proc/sysvipc/{kind}").splitlines()) - 1 for kind in ("shm", "sem", "msg"))
    seen += len(os.listdir("/dev/shm"))
    return seen == 0, f"{seen} objects"


def _cgroup() -> Outcome:
    """Hold if the host's cgroup paths, which contain the container's id, are not visible."""
    paths = {line.split(":", 2)[2] for line in read("/proc/self/cgroup").splitlines()}
    return paths == {"/"}, " ".join(sorted(paths))[:80]


def _hostname(wanted: str) -> Outcome:
    return is_equal(socket.gethostname(), wanted)


def _limit(wanted: int, *paths: str) -> Outcome:
    seen = _control(*paths)
    return is_equal(seen, str(wanted)) if seen is not None else (False, "no such control group")


def _control(*paths: str) -> str | None:
    """Return the content of the first existing file: that of cgroup v1 or that of v2."""
    for path in paths:
        if os.path.exists(f"{_CGROUP}/{path}"):
            return read(f"{_CGROUP}/{path}")
    return None


def _swap(memory: int) -> Outcome:
    if ["SwapTotal:", "0"] in [line.split()[:2] for line in read("/proc/meminfo").splitlines()]:
        return True, "the host has no swap"
    both = _control("memory/memory.memsw.limit_in_bytes")
    if both is not None:
        return is_equal(both, str(memory))
    return _limit(0, "memory.swap.max")


def _cpu(quota: int | None) -> Outcome:
    if quota is None:
        return True, "no limit is wanted"
    newer = _control("cpu.max")
    return is_equal(newer.split()[0], str(quota)) if newer else _limit(quota, "cpu/cpu.cfs_quota_us")


def _oom_score(wanted: int) -> Outcome:
    return is_equal(int(read("/proc/self/oom_score_adj")), wanted)


def _rlimit(number: int, wanted: int) -> Outcome:
    soft, hard = resource.getrlimit(number)
    return is_equal((soft, hard), (wanted, wanted))
