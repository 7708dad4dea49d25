"""Find and kill all descendants of a process.

A process may clear its environment, leave its session and outlive its parent. But an orphan's parent becomes the
nearest ancestor that is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER), so it stays a descendant of that one
while that one lives. ``BEGIN`` makes the leader a subreaper. If the leader has died, its descendants are found by a
mark in their environment and by their sessions.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "TMPPOOL_NOTEBOOK"
_ROUNDS = 250  # scans until no process is left
# Errors for an ended or hidden process (proc(5), hidepid); any other error must not look like an ended process.
_UNSEEN = (FileNotFoundError, ProcessLookupError, PermissionError)
_PAUSE = 0.02  # seconds between two scans

BEGIN = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])",
)
"""Command prefix that makes the leader a child subreaper; the attribute survives the exec."""


@dataclass(frozen=True, slots=True)
class Member:
    """A live process; ``birth`` is its start in ticks since boot, which differs after PID reuse."""

    pid: int
    parent: int
    session: int
    birth: str


def end(mark: str, leader: int | None) -> bool:
    """Kill every process of a family; return True if none is left. Blocks.

    Raises OSError if /proc cannot be read.
    """
    family = Family(mark, leader)
    for _ in range(_ROUNDS):
        # SIGSTOP all first: if some were killed while others run, new children could escape to another parent.
        stopped: set[int] = set()
        while (found := family.members()) and not found.keys() <= stopped:
            stopped |= found.keys()
            _send(found, signal.SIGSTOP)
        if not found:
            return True
        _send(found, signal.SIGKILL)
        # Not psutil.wait_procs: it would reap the exit status that the event loop waits for.
        time.sleep(_PAUSE)  # noqa: TID251 - runs in a thread
    return False


class Family:
    """The processes that carry a mark or are in the leader's session, and all others in their sessions or below them.

    The leader's session id is its PID, which no new process gets while the session has members (credentials(7)).
    """

    def __init__(self, mark: str, leader: int | None) -> None:
        self._wanted = f"{MARK}={mark}".encode()
        self._leader = leader
        self._environments: dict[Member, tuple[bytes, ...]] = {}

    def members(self) -> dict[int, Member]:
        """Return the live members by PID. Raises OSError.

        Each scan reads one line per process of the machine. The environment, which is long, is read once per process:
        a process inherits the mark from its parent and cannot get it later.
        """
        alive = _alive()
        self._environments = {each: self._environments.get(each) or _environment(each.pid) for each in alive}
        found = {each.pid for each, pairs in self._environments.items() if self._wanted in pairs}
        own = {0, os.getsid(0)}
        sessions = {each.pid: each.session for each in alive}
        while True:
            theirs = {sessions[pid] for pid in found} - own | ({self._leader} if self._leader is not None else set())
            more = {each.pid for each in alive if each.parent in found or each.session in theirs} - found
            if not more:
                return {each.pid: each for each in alive if each.pid in found}
            found |= more


def _environment(pid: int) -> tuple[bytes, ...]:
    """Return the initial environment; empty if it ended, is in an exec, or is another user's or the kernel's."""
    try:
        return tuple(pair for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pair)
    except _UNSEEN:
        return ()


def _alive() -> list[Member]:
    found = (_read(int(name)) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - needs only names
    return [each for each in found if each is not None]


def _read(pid: int) -> Member | None:
    """Return a live process; None if it has ended or is a zombie."""
    try:
        # From the third field on: state, parent, group, session; the 22nd is the start time (proc(5), stat).
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except _UNSEEN:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return Member(pid, int(fields[1]), int(fields[3]), fields[19].decode())


def _send(family: dict[int, Member], number: signal.Signals) -> None:
    """Signal each process unless its PID was reused; a pidfd always refers to the same process (pidfd_open(2)).

    Raises OSError.
    """
    for pid, member in family.items():
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            now = _read(pid)
            if now is not None and now.birth == member.birth:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            continue
        finally:
            os.close(descriptor)
