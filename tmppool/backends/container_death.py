"""Decides how a container ended, by what the engine said of it in its events and when asked. Pure.

The exit code alone does not tell. After ``docker kill``, ``docker stop`` and an engine's restart a server may exit with
0, 137 or 143; so it may if it ended by itself. OOMKilled tells that the kernel has ended some process of the container,
which is mostly one that computes, and the server lives on. So the events count: "kill" is a wish of somebody who asked
the engine, "oom" is close to an end that it caused, and "destroy" is a removal.
"""

import signal
from dataclasses import dataclass
from typing import Any

from cachetools import FIFOCache

from tmppool.backends.engine import Event
from tmppool.running import Death

_REMEMBERED = 1_000
_KILL_TAKES = 60.0  # seconds in which a server may end in order, after it was told to
_OOM_TAKES = 5.0  # seconds between the engine's words about a lack of memory and the end that it caused
_KILLED = 128 + signal.SIGKILL  # exit code of a first process that was killed, or whose only child was (tini)
_SIGNALLED = {128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM)}
_GOING = ("removing", "dead")  # states of a container that is being removed (Docker Engine API, ContainerInspect)


@dataclass(slots=True)
class Seen:
    """The facts of one container's end, as far as they were seen; times are seconds on the engine's clock.

    ``is_cleared``: the service itself removes what is left of it, so that its removal tells nothing.
    """

    exit_code: int | None = None
    is_oom: bool = False
    died_at: float | None = None
    killed_at: float | None = None
    oom_at: float | None = None
    is_removed: bool = False
    is_cleared: bool = False


def death(seen: Seen) -> Death:
    """Return how a container ended, by what was seen."""
    if seen.is_removed:
        return Death.REMOVED
    if seen.exit_code is None:
        return Death.UNKNOWN
    if _is_within(seen.killed_at, seen.died_at, _KILL_TAKES):
        return Death.KILLED
    if seen.exit_code == _KILLED and _lacked_memory(seen):
        return Death.OUT_OF_MEMORY
    return Death.KILLED if seen.exit_code in _SIGNALLED else Death.EXITED


def of_state(state: dict[str, Any]) -> Death:
    """Return how a container ended, by the engine's description of its state alone. Raises KeyError or ValueError."""
    return death(Seen(int(state["ExitCode"]), is_oom=bool(state.get("OOMKilled"))))


def _lacked_memory(seen: Seen) -> bool:
    """Return True if a lack of memory ended its first process, and not only a process in it some time before."""
    if seen.oom_at is None or seen.died_at is None:
        return seen.is_oom  # its events were missed
    return abs(seen.died_at - seen.oom_at) <= _OOM_TAKES  # they may come in either order


def _is_within(before: float | None, at: float | None, seconds: float) -> bool:
    return before is not None and (at is None or at - before <= seconds)


class Record:
    """The facts of the latest ends, by key."""

    def __init__(self) -> None:
        self._seen: FIFOCache[str, Seen] = FIFOCache(_REMEMBERED)

    def note_event(self, event: Event) -> None:
        """Note an event of the container of ``event.key``."""
        seen = self._of(event.key)
        match event.action:
            case "kill":
                seen.killed_at = event.at
            case "oom":
                seen.oom_at = event.at
            case "die":
                seen.died_at, seen.exit_code = event.at, event.exit_code
            case "destroy":
                self.note_removal(event.key)

    def note_state(self, key: str, state: dict[str, Any]) -> None:
        """Note the State of a container as the engine describes it. Raises KeyError or another error of a wrong shape.

        The exit code is not that of an earlier end, as an event tells it, if the container was started again.
        """
        if not state["Running"] and state.get("Status") in _GOING:
            self.note_removal(key)
            return
        seen = self._of(key)
        seen.is_removed = False  # it is there
        if state["Running"]:
            return
        seen.exit_code = int(state["ExitCode"]) if seen.exit_code is None else seen.exit_code
        seen.is_oom = seen.is_oom or bool(state.get("OOMKilled"))

    def note_life(self, key: str) -> None:
        """Note that it runs, as it did from the first: whatever has told of its end was wrong.

        What was done to it, as a signal that it has survived, remains.
        """
        seen = self._seen.pop(key, None)
        if seen is not None:
            self._seen[key] = Seen(killed_at=seen.killed_at, oom_at=seen.oom_at)

    def note_removal(self, key: str) -> None:
        """Note that the container is gone, or going."""
        seen = self._of(key)
        seen.is_removed = not seen.is_cleared

    def note_clearing(self, key: str, *, is_cleared: bool) -> None:
        """Note whether the service itself removes what is left."""
        self._of(key).is_cleared = is_cleared

    def lacks_events(self, key: str) -> bool:
        """Return True if it has ended, and its events were missed."""
        seen = self._seen.get(key)
        return seen is not None and seen.exit_code is not None and seen.died_at is None

    def forget(self, key: str) -> None:
        self._seen.pop(key, None)

    def death(self, key: str) -> Death:
        """Return how the container of ``key`` ended."""
        return death(self._seen.get(key) or Seen())

    def _of(self, key: str) -> Seen:
        if key not in self._seen:
            self._seen[key] = Seen()
        return self._seen[key]
