"""From a monotonic clock to the wall's and back: only the ledger, programs and people know wall times.

Wall times are seconds since the epoch. Between two calls the wall clock may be set; no limit of a session is measured
by it except across a restart, when nothing else is left.
"""

import time


def wall_of(at: float, now: float) -> float:
    """Return the wall time of the moment ``at`` of a clock that shows ``now``; both in seconds."""
    return time.time() + at - now


def seconds_until(wall_at: float) -> float:
    """Return how many seconds it is until a wall time; negative when it has passed."""
    return wall_at - time.time()
