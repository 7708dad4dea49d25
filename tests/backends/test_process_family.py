"""However a process leaves those it comes from, it ends with them."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tmppool.backends import process_family

WAYS = {
    "a child": "subprocess.Popen(SLEEP)",
    "a session of its own": "subprocess.Popen(SLEEP, start_new_session=True)",
    "no environment": "subprocess.Popen(SLEEP, env={})",
    "neither": "subprocess.Popen(SLEEP, env={}, start_new_session=True)",
    "a daemon": "os.fork() or (os.setsid(), os.fork() and os._exit(0), os.execve('/bin/sleep', SLEEP, {}))",
    "a daemon of a daemon": (
        "os.fork() or (os.setsid(), os.fork() and os._exit(0), os.setsid(), os.fork() and os._exit(0),"
        " os.execve('/bin/sleep', SLEEP, {}))"
    ),
    "nohup in a shell": "subprocess.run(['/bin/sh', '-c', 'env -i nohup sleep ' + SLEEP[1] + ' >/dev/null 2>&1 &'])",
    "a child of one that ended": "subprocess.run([sys.executable, '-c', f'import subprocess; subprocess.Popen({SLEEP}, env={{}})'])",
}


@pytest.fixture
def number() -> Iterator[str]:
    """Seconds that nobody else sleeps."""
    found = str(10_000_000 + secrets.randbelow(80_000_000))
    yield found
    for process in sleepers(found):
        process.kill()


def sleepers(number: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[:2] == ["sleep", number] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def until(is_so: object) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def begin(number: str, *ways: str) -> subprocess.Popen[bytes]:
    """A leader that has begun a sleeper in each of these ways, and waits."""
    code = f"import os, subprocess, sys, time\nSLEEP = ['sleep', '{number}']\n" + "\n".join(WAYS[way] for way in ways)
    return subprocess.Popen(
        [*process_family.BEGIN, "/bin/sh", "-c", f'{sys.executable} -c "$CODE"; sleep {number}'],
        env={**os.environ, process_family.MARK: f"mark-{number}", "CODE": code},
        start_new_session=True,
    )


@pytest.mark.parametrize("way", WAYS)
def test_whoever_leaves_ends_with_the_others(way: str, number: str) -> None:
    with begin(number, way) as leader:
        until(lambda: len(sleepers(number)) == 2)
        assert process_family.end(f"mark-{number}", leader.pid)
        assert sleepers(number) == []
        leader.wait()


def test_all_of_them_together_and_nobody_else(number: str) -> None:
    with (
        begin(number, *WAYS) as leader,
        subprocess.Popen(["sleep", "600"]) as other,
        subprocess.Popen(["sleep", "600"], env={process_family.MARK: "another"}, start_new_session=True) as stranger,
    ):
        until(lambda: len(sleepers(number)) == len(WAYS) + 1)
        assert process_family.end(f"mark-{number}", leader.pid)
        assert sleepers(number) == []
        assert (other.poll(), stranger.poll()) == (None, None)
        other.kill()
        stranger.kill()
        leader.wait()


def test_of_a_leader_that_has_died_the_marks_and_sessions_are_left(number: str) -> None:
    with begin(number, "a child", "a session of its own") as leader:
        until(lambda: len(sleepers(number)) == 3)
        leader.kill()
        leader.wait()
        assert process_family.end(f"mark-{number}", leader.pid)
        assert sleepers(number) == []


def test_nobody_is_left_of_nobody() -> None:
    assert process_family.end("no-such-mark", None)
    assert process_family.Family("no-such-mark", None).members() == {}


def test_a_stop_reads_each_environment_once(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    environment = process_family._environment

    def noted(pid: int) -> tuple[bytes, ...]:
        found = environment(pid)
        read.extend([pid] if found else [])
        return found

    monkeypatch.setattr(process_family, "_environment", noted)
    with begin(number, *WAYS) as leader:
        until(lambda: len(sleepers(number)) == len(WAYS) + 1)
        assert process_family.end(f"mark-{number}", leader.pid)
        leader.wait()
    assert len(read) == len(set(read))


def test_a_later_process_of_a_number_is_not_signalled() -> None:
    with subprocess.Popen(["sleep", "600"]) as later:
        before = process_family.Member(later.pid, 1, 1, "1")
        process_family._send({later.pid: before}, signal.SIGKILL)
        assert later.poll() is None
        now = process_family._read(later.pid)
        assert now is not None
        process_family._send({later.pid: now}, signal.SIGKILL)
        assert later.wait() == -signal.SIGKILL


async def test_the_words_before_a_command_change_nothing_for_it(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *process_family.BEGIN, "/bin/sh", "-c", 'echo "$0 $HOME"; exit 3',
        env={"HOME": "/somewhere"}, stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    said, _ = await child.communicate()
    assert (child.returncode, said) == (3, b"/bin/sh /somewhere\n")
