"""Telling one process from a later one of the same number."""

from pathlib import Path


def born(pid: int) -> str | None:
    """Return the boot and its clock's tick at which a process began that lives; None when none lives.

    No later process of that number has both.
    """
    try:
        # From the third field on; the twenty-second is the tick (proc(5)), which no setting of a clock changes.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else f"{boot()} {fields[19]}"


def boot() -> str:
    """Return the id of this boot of the machine, which containers on it see too (random(4)); nothing without one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
