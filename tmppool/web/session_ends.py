"""The ends of a session, as JSON bodies and pages show them."""

from typing import NamedTuple

from tmppool.clocks import wall_of
from tmppool.notebook import Notebook
from tmppool.pool import Pool


class Ends(NamedTuple):
    """The ends of a session, in seconds since 1970; None where there is no limit."""

    expires_at: float | None
    idle_expires_at: float | None


def ends(pool: Pool, notebook: Notebook) -> Ends:
    """Return when a notebook's session reaches its lifetime, and its idle limit if nothing happens in it."""
    now, idle = pool.clock(), pool.limits.idle
    return Ends(
        expires_at=None if notebook.expires_at is None else wall_of(notebook.expires_at, now),
        idle_expires_at=wall_of(notebook.active_at + idle, now) if idle else None,
    )
