"""Find the kernels of a notebook that wait for their visitor's input, by what their processes do.

Jupyter's REST API calls them busy, like those that compute. But ipykernel waits for the answer to ``input()`` in slices
of 10 ms (``Kernel._input_request``), so its main thread is in poll(2) for one descriptor and that long, again and
again. A kernel that computes, sleeps, or waits for a process, a lock or the network is in user mode, in another call,
or in a longer or shorter one. That is what this machine's kernel says, not the notebook. A cell that itself waits for
one descriptor 10 ms long, again and again, looks the same.
"""

import re
import time
from pathlib import Path

_SAMPLES = 20
_ENOUGH = 3  # of them in a slice, and none in another call; on a busy machine it waits for its turn most of the time
_MOST_TICKS = 5  # of CPU time in all samples; who waits takes one or two
_MOST_RUNS = 5  # samples in which a process below it runs, or waits for its turn as it does on a busy machine
_PAUSE = 0.007  # seconds between two samples, which is no divisor of a slice
_SLICE = re.compile(r"7 0x[0-9a-f]+ 0x1 0xa ")  # poll(2) on x86-64: descriptors, their number, milliseconds
_REST = re.compile(r"running|7 0x[0-9a-f]+ 0x1 0x[0-9] ")  # of a slice, between two, or waiting for its turn
_CONNECTION_FILE = re.compile(r"kernel-([0-9A-Za-z-]{1,64})\.json")  # in a kernel's arguments, with its id
_MOST_KERNELS = 16  # that are looked at; any process may bear such a name
_MOST = 8192  # bytes of a file of /proc


def waiting(pid: int) -> set[str]:
    """Return the ids of the kernels below the process ``pid`` that wait for input. Blocks for a moment.

    One below which something computes meanwhile waits for that, perhaps in short slices too. Empty where this service
    may not look at its processes, and on other processors than x86-64.
    """
    ids = _kernels(pid) if pid else {}
    counts = dict.fromkeys(ids, 0)
    tops = {kernel: each for each, kernel in reversed(ids.items())}
    before = {kernel: _ticks(each) for kernel, each in tops.items()}
    children = {kernel: _below(each)[1:] for kernel, each in tops.items()}
    runs = dict.fromkeys(tops, 0)
    for _ in range(_SAMPLES if counts else 0):
        time.sleep(_PAUSE)  # noqa: TID251 - runs in a thread
        for kernel, below in children.items():
            runs[kernel] += any(_is_runnable(each) for each in below)
        for each in list(counts):
            call = _read(Path(f"/proc/{each}/syscall"))
            if _SLICE.match(call):
                counts[each] += 1
            elif not _REST.match(call):
                del counts[each]
    found = {ids[each] for each, count in counts.items() if count >= _ENOUGH}
    idle = {kernel for kernel in found if runs[kernel] < _MOST_RUNS}
    return {kernel for kernel in idle if _ticks(tops[kernel]) - before[kernel] < _MOST_TICKS}


def _kernels(pid: int) -> dict[int, str]:
    """Return the kernels' processes below this one and their ids, parents first; what one has forked bears its name."""
    found = {each: kernel for each in _below(pid) if (kernel := _kernel_id(each))}
    return dict(list(found.items())[:_MOST_KERNELS])


def _below(pid: int) -> list[int]:
    """Return the process and its descendants, parents before their children."""
    found = [pid]
    for each in found:
        threads = Path(f"/proc/{each}/task")
        children = [int(child) for thread in _names(threads) for child in _read(threads / thread / "children").split()]
        found += [child for child in children if child not in found]
    return found


def _ticks(pid: int) -> int:
    """Return the CPU time of the process and its descendants, in ticks of 10 ms (proc(5), ``stat``)."""
    total = 0
    for each in _below(pid):
        fields = _read(Path(f"/proc/{each}/stat")).rpartition(") ")[2].split()
        total += sum(int(field) for field in fields[11:13])
    return total


def _is_runnable(pid: int) -> bool:
    """Return True if the process runs or waits for a processor (proc(5), ``stat``)."""
    return _read(Path(f"/proc/{pid}/stat")).rpartition(") ")[2].startswith("R")


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
