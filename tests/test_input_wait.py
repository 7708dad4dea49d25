"""Who waits for input, among processes that do other things."""

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count

import pytest

from tmppool import input_wait

SLICES = """
import select, socket
one, other = socket.socketpair()
poll = select.poll()
poll.register(one)
poll.modify(one, select.POLLIN)
print("begun", flush=True)
while True:
    poll.poll({limit})
"""

WAITS = SLICES.format(limit=10)
"""As ``zmq.select`` with a limit of 10 ms does, in which ipykernel waits for the answer to ``input()``."""

COMPUTES = {
    "a loop": "print('begun', flush=True)\nwhile True: pass",
    "a sleep": "import time\nprint('begun', flush=True)\ntime.sleep(60)",
    "short sleeps": "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)",
    "a process that it waits for": "import subprocess\nprint('begun', flush=True)\nsubprocess.run(['sleep', '60'])",
    "a file that it reads": "import os\nprint('begun', flush=True)\nr, w = os.pipe()\nos.read(r, 1)",
    "a lock": "import threading\nprint('begun', flush=True)\nthreading.Event().wait()",
    "a loop of events": "import asyncio\nprint('begun', flush=True)\nasyncio.run(asyncio.sleep(60))",
    "a process that computes, in slices": "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'while 1: 1'])"
    + SLICES.format(limit=10),
    "a shorter wait": SLICES.format(limit=5),
    "a longer wait": SLICES.format(limit=1000),
    "an endless wait": SLICES.format(limit=""),
}

numbers = count()
here_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of poll(2) is another one")


@contextlib.contextmanager
def kernel(code: str, *, below: str = "") -> Iterator[tuple[int, str]]:
    """A process that looks like a kernel's; below another one if that is said."""
    name = f"0b5e11-{os.getpid()}-{next(numbers)}"
    command = [sys.executable, "-c", code, "-f", f"/somewhere/kernel-{name}.json"]
    if below:
        command = [sys.executable, "-c", f"import subprocess\nsubprocess.run({command!r})"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(0.05)
        yield process.pid, name
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def found_below(pid: int, wanted: set[str]) -> set[str]:
    """Return who is found; a machine that is busy with other tests gets more than one look."""
    found: set[str] = set()
    for _ in range(10):
        found |= input_wait.waiting(pid)
        if wanted <= found:
            break
    return found


@here_only
@pytest.mark.parametrize("below", ["", "another"])
def test_a_kernel_that_waits_for_input_is_found_wherever_it_is_below(below: str) -> None:
    with kernel(WAITS, below=below) as (pid, name):
        assert found_below(pid, {name}) == {name}


@pytest.mark.parametrize("code", COMPUTES.values(), ids=COMPUTES.keys())
def test_who_does_anything_else_is_not_found(code: str) -> None:
    with kernel(code) as (pid, _name):
        for _ in range(3):
            assert input_wait.waiting(pid) == set()


@here_only
def test_each_kernel_is_told_by_its_own_id() -> None:
    with kernel(WAITS) as (_, one), kernel(WAITS) as (_, other), kernel(COMPUTES["a sleep"]):
        assert found_below(os.getpid(), {one, other}) == {one, other}


def test_nobody_is_found_where_nothing_may_be_looked_at() -> None:
    assert input_wait.waiting(0) == set()
    assert input_wait.waiting(2**22 + 1) == set()  # no such process


def test_who_is_no_kernel_is_not_found() -> None:
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert input_wait.waiting(process.pid) == set()
    finally:
        process.kill()
        process.communicate()
