"""A pool's monotonic times as wall times, as JSON bodies and pages show them."""

import time
from typing import NamedTuple

from tmppool.notebook import Notebook
from tmppool.pool import Pool


class Ends(NamedTuple):
    """The ends of a session, in seconds since 1970; None where there is no limit."""

    expires_at: float | None
    idle_expires_at: float | None


def wall_time(pool: Pool, at: float) -> float:
    """Return in seconds since 1970 what is ``at`` by the pool's own clock."""
    return at + _offset(pool)


def ends(pool: Pool, notebook: Notebook) -> Ends:
    """Return when a notebook's session reaches its lifetime, and its idle limit if nothing happens in it."""
    offset, idle = _offset(pool), pool.limits.idle
    return Ends(
        expires_at=None if notebook.expires_at is None else notebook.expires_at + offset,
        idle_expires_at=notebook.active_at + idle + offset if idle else None,
    )


def _offset(pool: Pool) -> float:
    return time.time() - pool.clock()
