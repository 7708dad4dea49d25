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
from dataclasses import dataclass
from pathlib import Path

MARK = "TMPPOOL_NOTEBOOK"
_ROUNDS = 250  # looks until no process is left
# Of a process that is over, or hidden (proc(5), hidepid); any other error must not look like nobody is left.
_UNSEEN = (FileNotFoundError, ProcessLookupError, PermissionError)
_PAUSE = 0.02  # seconds between two looks

BEGIN = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])",
)
"""The words before a command by which the leader of a family begins; the attribute survives the exec."""


@dataclass(frozen=True, slots=True)
class Member:
    """A process that lives: its ``birth`` is the boot's tick at which it began, so a later one of its PID differs."""

    pid: int
    parent: int
    session: int
    birth: str


def end(mark: str, leader: int | None) -> bool:
    """Kill every process of a family, until none is left; returns whether that was reached. Blocks.

    Raises OSError when /proc cannot be read.
    """
    family = Family(mark, leader)
    for _ in range(_ROUNDS):
        # Stopped first: whoever is killed while others run hands what these begin to somebody else.
        stopped: set[int] = set()
        while (found := family.members()) and not found.keys() <= stopped:
            stopped |= found.keys()
            _send(found, signal.SIGSTOP)
        if not found:
            return True
        _send(found, signal.SIGKILL)
        # Not psutil.wait_procs: it would take the exit status that the event loop waits for.
        time.sleep(_PAUSE)  # noqa: TID251 - in a thread
    return False


class Family:
    """The processes that carry a mark or are in the leader's session, with their sessions and children.

    A leader is told by its session, whose number no other process gets while anybody is in it (credentials(7)).
    """

    def __init__(self, mark: str, leader: int | None) -> None:
        self._wanted = f"{MARK}={mark}".encode()
        self._leader = leader
        self._environments: dict[Member, tuple[bytes, ...]] = {}

    def members(self) -> dict[int, Member]:
        """Return who lives of it, by PID. Raises OSError.

        Each look reads one line of each process of the machine. The environment, which is long, is read when a process
        is first seen: a mark comes with a process, as its parent's had it, or not at all.
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
    """Return what a process began with; nothing where it is over, another user's or the kernel's, or in an exec."""
    try:
        return tuple(pair for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pair)
    except _UNSEEN:
        return ()


def _alive() -> list[Member]:
    found = (_read(int(name)) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - names alone
    return [each for each in found if each is not None]


def _read(pid: int) -> Member | None:
    """Return a process that lives; None for one that is over, or a zombie."""
    try:
        # From the third field on: state, parent, group, session; the twenty-second is the tick (proc(5), stat).
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except _UNSEEN:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return Member(pid, int(fields[1]), int(fields[3]), fields[19].decode())


def _send(family: dict[int, Member], number: signal.Signals) -> None:
    """Signal each process, unless its PID is a later one's by now: a descriptor stays with one (pidfd_open(2)).

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
