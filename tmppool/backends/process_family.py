"""All processes that descend from one: found, and ended together.

A process may clear its environment, leave its session and outlive its parent. But its parent's end hands it to the
nearest ancestor that is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER), so that it stays a descendant of that
one for as long as that lives. ``BEGIN`` makes a leader such an ancestor; a mark in the environment and the sessions
find what is left of a family whose leader has died.
"""

import os
import signal
import sys
import time

import psutil

MARK = "TMPPOOL_NOTEBOOK"
_ROUNDS = 250  # looks until no process is left
_PAUSE = 0.02  # seconds between two looks

BEGIN = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])",
)
"""The words before a command by which the leader of a family begins; the attribute survives the exec."""


def end(mark: str, leader: int | None) -> bool:
    """Kill every process of a family, until none is left; returns whether that was reached. Blocks."""
    for _ in range(_ROUNDS):
        # Stopped first: whoever is killed while others run hands what these begin to somebody else.
        stopped: set[int] = set()
        while (found := members(mark, leader)) and not found.keys() <= stopped:
            stopped |= found.keys()
            _send(found, signal.SIGSTOP)
        if not found:
            return True
        _send(found, signal.SIGKILL)
        # Not psutil.wait_procs: it would take the exit status that the event loop waits for.
        time.sleep(_PAUSE)  # noqa: TID251 - in a thread
    return False


def members(mark: str, leader: int | None) -> dict[int, psutil.Process]:
    """Return who lives of a family: who carries its mark or is in its leader's session, their sessions, their children.

    A leader is told by its session, whose number no other process gets while anybody is in it (credentials(7)).
    """
    alive = {process.pid: process for process in psutil.process_iter() if _lives(process)}
    parents = {pid: _parent(process) for pid, process in alive.items()}
    sessions = {pid: _session(pid) for pid in alive}
    found = {pid for pid, process in alive.items() if _carries(process, mark)}
    own = {0, _session(os.getpid())}
    while True:
        theirs = {sessions[pid] for pid in found} - own | ({leader} if leader is not None else set())
        more = {pid for pid in alive if parents[pid] in found or sessions[pid] in theirs} - found
        if not more:
            return {pid: alive[pid] for pid in found}
        found |= more


def _send(family: dict[int, psutil.Process], number: signal.Signals) -> None:
    for process in family.values():
        try:
            process.send_signal(number)
        except psutil.Error:
            continue


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark)
    except (psutil.Error, OSError):
        return False
