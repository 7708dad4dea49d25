"""Detect PID reuse: tell a process from a later one with the same PID."""

from pathlib import Path


def born(pid: int) -> str | None:
    """Return the boot id and the start time, in clock ticks since boot, of a live process; None if it has ended.

    No later process with the same PID has both.
    """
    try:
        # From the third field on; the 22nd is the start time (proc(5)), which clock changes do not affect.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else f"{boot()} {fields[19]}"


def boot() -> str:
    """Return the id of this boot, the same in all containers of the machine (random(4)); empty if unreadable."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
