"""Conversion between monotonic and wall clock time. Only the ledger, the API and pages use wall time.

Wall times are seconds since the epoch. The wall clock may be changed at any time, so a session's limits are measured
with it only across a restart, when there is no other clock.
"""

import time


def wall_of(at: float, now: float) -> float:
    """Return the wall time of ``at`` on a clock that now shows ``now``; both in seconds."""
    return time.time() + at - now


def seconds_until(wall_at: float) -> float:
    """Return the seconds until a wall time; negative if it has passed."""
    return wall_at - time.time()
