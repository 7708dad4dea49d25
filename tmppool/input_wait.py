"""Find the kernels of a notebook that wait for their visitor's input, by what their processes do.

Jupyter's REST API calls them busy, like those that compute. But ipykernel waits for the answer to ``input()`` in slices
of 10 ms (``Kernel._input_request``), so its main thread is in poll(2) for one descriptor and that long, again and
again. A kernel that computes, sleeps, or waits for a process, a lock or the network is in user mode, in another call,
or in a longer one. That is what this machine's kernel says, not the notebook.
"""

import re
import time
from pathlib import Path

_SAMPLES = 20
_ENOUGH = 3  # of them in a slice, and none in another call; on a busy machine it waits for its turn most of the time
_PAUSE = 0.007  # seconds between two samples, which is no divisor of a slice
_SLICE = re.compile(r"7 0x[0-9a-f]+ 0x1 0x[0-9a] ")  # poll(2) on x86-64: descriptors, their number, milliseconds
_CONNECTION_FILE = re.compile(r"kernel-([0-9A-Za-z-]{1,64})\.json")  # in a kernel's arguments, with its id
_MOST = 8192  # bytes of a file of /proc


def waiting(pid: int) -> set[str]:
    """Return the ids of the kernels below the process ``pid`` that wait for input. Blocks for a moment.

    Empty where this service may not look at its processes, and on other processors than x86-64.
    """
    ids = {each: found for each in (_below(pid) if pid else ()) if (found := _kernel_id(each))}
    counts = dict.fromkeys(ids, 0)
    for _ in range(_SAMPLES if counts else 0):
        time.sleep(_PAUSE)  # noqa: TID251 - runs in a thread
        for each in list(counts):
            call = _read(Path(f"/proc/{each}/syscall"))
            if _SLICE.match(call):
                counts[each] += 1
            elif not call.startswith("running"):  # between two slices, or waiting for its turn
                del counts[each]
    return {ids[each] for each, count in counts.items() if count >= _ENOUGH}


def _below(pid: int) -> set[int]:
    """Return the process and its descendants."""
    found, left = {pid}, [pid]
    while left:
        threads = Path(f"/proc/{left.pop()}/task")
        children = {int(child) for thread in _names(threads) for child in _read(threads / thread / "children").split()}
        left += children - found
        found |= children
    return found


def _kernel_id(pid: int) -> str:
    """Return the id of the kernel that this process is; empty if it is none."""
    found = _CONNECTION_FILE.search(_read(Path(f"/proc/{pid}/cmdline")))
    return found[1] if found else ""


def _names(path: Path) -> list[str]:
    try:
        return [each.name for each in path.iterdir()]
    except OSError:
        return []


def _read(path: Path) -> str:
    """Return the beginning of a file; empty if the process has ended, or may not be looked at."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""
