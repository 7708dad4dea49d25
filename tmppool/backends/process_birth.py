"""Detect PID reuse: tell a process from a later one with the same PID."""

from pathlib import Path

from tmppool.clocks import boot_id


def born(pid: int) -> str | None:
    """Return the boot id and the start time, in clock ticks since boot, of a live process; None if it has ended.

    No later process with the same PID has both.
    """
    try:
        # From the third field on; the 22nd is the start time (proc(5)), which clock changes do not affect.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else f"{boot_id()} {fields[19]}"
