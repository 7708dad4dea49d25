"""After a restart: take over what runs, by what the ledger says of it. No session ends because the service did."""

import time
from collections import Counter

import structlog

from tmppool.errors import BackendError, ConfigError
from tmppool.ledger import Ledger, Row
from tmppool.notebook import Reason, State
from tmppool.pool import Pool
from tmppool.pools import Ended, Pools
from tmppool.running import Running

_log = structlog.get_logger("tmppool.recovery")


async def adopt(pools: Pools, ledger: Ledger) -> None:
    """Fill the pools' tables from what their backends run. Raises ConfigError when a backend cannot tell."""
    for pool in pools:
        pool.is_held = True
    try:
        await _adopt_all(pools, ledger)
    finally:
        for pool in pools:
            pool.is_held = False
            pool.wake()


async def _adopt_all(pools: Pools, ledger: Ledger) -> None:
    rows = await ledger.rows()
    for key, row in rows.items():
        if row.ended_at is not None and row.reason is not None:
            pools.remember(key, Ended(row.reason, row.ended_at, row.pool))
    for pool in pools:
        try:
            running = await pool.backend.list()
        except BackendError as error:
            raise ConfigError(str(error)) from error
        outdated: Counter[State | None] = Counter()
        for item in running:
            was = await _adopt_one(pool, item, rows.get(item.key), is_trusted=ledger.is_trusted)
            outdated[was] += not item.is_current
        _tell(pool, outdated)
        found = {item.key for item in running}
        for row in rows.values():
            if row.pool == pool.name and row.key not in found and row.ended_at is None:
                await _close_row(pools, ledger, row)


async def _adopt_one(pool: Pool, item: Running, row: Row | None, *, is_trusted: bool) -> State | None:
    """Return as what it was taken over, if it was.

    What nothing is known of may have been given away: it is kept as a session and never handed out.
    """
    if row is None and not is_trusted:
        pool.adopt_session(item, visitor=None, expires_in=None)
        return State.ASSIGNED
    if row is not None and row.state is State.ASSIGNED:
        left = None if row.expires_at is None else row.expires_at - time.time()
        pool.adopt_session(item, visitor=row.visitor, expires_in=left).shared = row.shared
        return State.ASSIGNED
    if row is not None and row.state is State.WARM:
        await pool.adopt_warm(item)
        return State.WARM
    await pool.discard(item.key)
    return None


def _tell(pool: Pool, outdated: Counter[State | None]) -> None:
    """Say what was made with other settings than the pool's."""
    if outdated[State.WARM]:
        message = "warm notebooks that were made with other settings are replaced"
        _log.info("warm.outdated", pool=pool.name, count=outdated[State.WARM], message=message)
    if outdated[State.ASSIGNED]:
        message = "sessions that were made with other settings go on with these until they end"
        _log.warning("sessions.outdated", pool=pool.name, count=outdated[State.ASSIGNED], message=message)


async def _close_row(pools: Pools, ledger: Ledger, row: Row) -> None:
    """Its notebook vanished while no service ran."""
    if row.state is State.ASSIGNED:
        pools.remember(row.key, Ended(Reason.DIED, time.time(), row.pool))
    await ledger.end_row(row.key, Reason.DIED)
