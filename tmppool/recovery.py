"""After a restart: take over what runs, by what the ledger says of it. No session ends because the service did."""

import time

from tmppool.errors import BackendError, ConfigError
from tmppool.ledger import Ledger, Row
from tmppool.notebook import Reason, State
from tmppool.pool import Pool
from tmppool.pools import Ended, Pools
from tmppool.running import Running


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
        for item in running:
            await _adopt_one(pool, item, rows.get(item.key), is_trusted=ledger.is_trusted)
        found = {item.key for item in running}
        for row in rows.values():
            if row.pool == pool.name and row.key not in found and row.ended_at is None:
                await _close_row(pools, ledger, row)


async def _adopt_one(pool: Pool, item: Running, row: Row | None, *, is_trusted: bool) -> None:
    """What nothing is known of may have been given away: it is kept as a session and never handed out."""
    if row is None and not is_trusted:
        pool.adopt_session(item, visitor=None, expires_in=None)
    elif row is not None and row.state is State.ASSIGNED:
        left = None if row.expires_at is None else row.expires_at - time.time()
        pool.adopt_session(item, visitor=row.visitor, expires_in=left).shared = row.shared
    elif row is not None and row.state is State.WARM:
        await pool.adopt_warm(item)
    else:
        await pool.discard(item.key)


async def _close_row(pools: Pools, ledger: Ledger, row: Row) -> None:
    """Its notebook vanished while no service ran."""
    if row.state is State.ASSIGNED:
        pools.remember(row.key, Ended(Reason.DIED, time.time(), row.pool))
    await ledger.end_row(row.key, Reason.DIED)
