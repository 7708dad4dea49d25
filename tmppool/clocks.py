"""The clocks of the service: the pool's, the ledger's, and their conversion to the wall's.

The wall clock may be set at any time, and the process may be stopped for any time. Neither may end a session, so limits
are measured with the pool's clock while the service runs, and with the ledger's across a restart. Only the API and
pages show wall times, which are seconds since the epoch.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former is Linux's (clock_gettime(2))
_LONGEST = 5.0  # seconds between two looks that count: a busy loop is late by less, a stopped process by more
_LOOK = 1.0  # seconds between two looks


def since_boot() -> float:
    """Return the seconds since the machine was booted, those in which it was suspended included."""
    return time.clock_gettime(_SINCE_BOOT)


def boot_id() -> str:
    """Return the id of this boot, the same in all containers of the machine (random(4)); empty if unreadable."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def wall_of(at: float, now: float) -> float:
    """Return the wall time of ``at`` on a clock that now shows ``now``; both in seconds."""
    return time.time() + at - now


def seconds_until(wall_at: float) -> float:
    """Return the seconds until a wall time; negative if it has passed."""
    return wall_at - time.time()


class AwakeClock:
    """The pool's clock: seconds that stand still while the process is stopped or the machine is suspended.

    Visitors cannot use their notebooks then, so that none of them counts as idle. ``base`` returns monotonic seconds.
    """

    def __init__(self, base: Callable[[], float] = since_boot) -> None:
        self._base = base
        self._looked_at = base()
        self._missed = 0.0

    def __call__(self) -> float:
        """Return the time; it goes on for at most a few seconds after each ``look``."""
        return min(self._base(), self._looked_at + _LONGEST) - self._missed

    def look(self) -> float:
        """Go on; return the seconds that were left out since the last look, which is due every second."""
        now, missed = self(), self._missed
        self._looked_at = self._base()
        self._missed = self._looked_at - now
        return self._missed - missed

    async def run(self, missed: Callable[[float], object]) -> None:
        """Keep the clock going, for ever; call ``missed`` with the seconds of each time that was left out."""
        while True:
            await asyncio.sleep(_LOOK)
            left_out = self.look()
            if left_out > _LOOK:
                missed(left_out)


class Epoch:
    """The ledger's clock: seconds since the epoch by the wall clock as it was when the ledger was first used.

    It goes on by the time since boot, whatever happens to the wall clock, and through restarts of the service, for as
    long as the machine is not booted again. ``offset`` is the difference between the two clocks in seconds.
    """

    def __init__(self, boot: str, offset: float | None = None) -> None:
        self._offset = time.time() - since_boot() if offset is None else offset
        self.kept = f"{boot} {self._offset!r}".encode()  # what ``of`` needs, for the ledger

    @classmethod
    def of(cls, kept: object = None) -> "Epoch":
        """Return the clock that goes on as ``kept`` says; a new one if that is of another boot, or says nothing."""
        boot = boot_id()
        try:
            known, offset = kept.decode().split() if isinstance(kept, bytes) else ("", "")
            return cls(boot, float(offset) if known == boot else None)
        except ValueError:
            return cls(boot)

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return since_boot() + self._offset

    def wall_of(self, at: float) -> float:
        """Return the wall time of a time on this clock."""
        return wall_of(at, self.now())
