"""Probes of privileges: the user and capabilities of the visitor's code, and attempts to gain more."""

from __future__ import annotations

import os
import stat
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from tmppool.audit.inside.outcome import fails, is_equal, read

if TYPE_CHECKING:
    from tmppool.audit.inside.outcome import Facts, Outcome, Probe

_CAPABILITIES = {
    "effective": "CapEff",
    "permitted": "CapPrm",
    "inheritable": "CapInh",
    "bounding": "CapBnd",
    "ambient": "CapAmb",
}
_SETUID = ("su", "mount", "passwd", "newgrp", "chsh", "chfn", "gpasswd", "umount", "sudo")


def probes(facts: Facts) -> list[Probe]:
    return [
        *((f"capabilities-{name}", partial(_capabilities, field)) for name, field in _CAPABILITIES.items()),
        ("no-new-privileges", partial(_status_is, "NoNewPrivs", "1")),
        ("seccomp-filter", partial(_status_is, "Seccomp", "2")),
        ("not-root", partial(_without_zero, "Uid")),
        ("not-root-group", partial(_without_zero, "Gid")),
        ("own-user", partial(_own_user, facts["uids"])),
        ("setuid-call", partial(fails, os.setuid, (0,), "EPERM")),
        ("setuid-program", _setuid_program),
        ("environment", partial(_environment, facts["secrets"])),
    ]


def _status(field: str, pid: int | str = "self") -> str:
    """Return a field of ``/proc/<pid>/status`` (proc(5))."""
    lines = read(f"/proc/{pid}/status").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:")), "unknown")


def _status_is(field: str, wanted: str) -> Outcome:
    return is_equal(_status(field), wanted)


def _capabilities(field: str) -> Outcome:
    value = _status(field)
    return set(value) == {"0"}, value


def _without_zero(field: str) -> Outcome:
    """Hold if no real, effective, saved or file system id is 0, and no supplementary group is."""
    numbers = {int(word) for word in _status(field).split()} | (set(os.getgroups()) if field == "Gid" else set())
    return 0 not in numbers, " ".join(map(str, sorted(numbers)))


def _own_user(uids: list[int]) -> Outcome:
    return uids[0] <= os.getuid() <= uids[1], f"user {os.getuid()} of {uids[0]}-{uids[1]}"


def _setuid_program() -> Outcome:
    """Hold if a setuid-root program still runs as the visitor."""
    for path in (f"{folder}/{name}" for name in _SETUID for folder in ("/bin", "/usr/bin")):
        if not os.path.exists(path) or not os.stat(path).st_mode & stat.S_ISUID:
            continue
        with subprocess.Popen(
            [path, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            # The ids change shortly after Popen returns. Wait for the exit without reaping the child, so that its
            # status remains readable (waitid(2), WNOWAIT).
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            effective = _status("Uid", child.pid).split()[1]
        return effective != "0", f"{path} ran as user {effective}"
    return True, "no setuid program was found"


def _environment(secrets: list[str]) -> Outcome:
    found = [name for name in secrets if name in os.environ]
    return not found, " ".join(found) or "no name of a secret"
