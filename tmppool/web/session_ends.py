"""The times at which a session ends, for JSON bodies and pages."""

from typing import NamedTuple

from tmppool.clocks import wall_of
from tmppool.notebook import Notebook
from tmppool.policy import opens_until
from tmppool.pool import Pool


class Ends(NamedTuple):
    """The times at which a session ends, in seconds since 1970; None without a limit."""

    expires_at: float | None
    idle_expires_at: float | None


def ends(pool: Pool, notebook: Notebook) -> Ends:
    """Return the times at which a session ends by its lifetime and, without any use from now on, before that."""
    now, idle = pool.clock(), pool.limits.idle
    unused = [at for at in (notebook.active_at + idle if idle else None, opens_until(notebook, pool.limits)) if at]
    return Ends(
        expires_at=None if notebook.expires_at is None else wall_of(notebook.expires_at, now),
        idle_expires_at=wall_of(min(unused), now) if unused else None,
    )
