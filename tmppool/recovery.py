"""After a restart: adopt the running notebooks, as the ledger records them, so that sessions survive the restart."""

import asyncio
import time
from collections import Counter

import structlog

from tmppool.errors import BackendError
from tmppool.ledger import Ledger
from tmppool.ledger_rows import Row
from tmppool.notebook import BY_DEATH, REVOCABLE, Notebook, Reason, State
from tmppool.pool import Pool
from tmppool.pools import Ended, Pools
from tmppool.reconcile import is_certain, is_mass_loss
from tmppool.running import Death, Given, Running
from tmppool.tasks import spawn

_LOOKS = (1.0, 2.0, 3.0)  # seconds before the list is repeated, if it lacks many notebooks of the ledger; few: once
_RECOGNITION = 2.0  # seconds that the notebooks have to tell what they are; one that is silent is asked again later

_log = structlog.get_logger("tmppool.recovery")


async def adopt(pools: Pools, ledger: Ledger) -> None:
    """Adopt the notebooks that the backends run, then open the pools.

    Raises BackendError if a backend fails; no pool is open then.
    """
    rows = ledger.rows()
    for key, row in rows.items():
        if row.ended_at is not None and row.reason is not None and row.assigned_at is not None:  # else it was warm
            pools.remember(key, Ended(row.reason, ledger.wall_of(row.ended_at), row.pool))
    for pool in pools:
        mine = {key: row for key, row in rows.items() if row.pool == pool.name}
        running = await _what_runs(pool, {key for key, row in mine.items() if row.ended_at is None})
        adopted = await asyncio.gather(*(_adopt_one(pool, item, rows.get(item.key), ledger) for item in running))
        outdated: Counter[State | None] = Counter()
        for item, was in zip(running, adopted, strict=True):
            outdated[was] += item.edition not in pool.editions
        _log_outdated(pool, outdated)
        found = {item.key for item in running}
        for key, row in mine.items():
            if key not in found and row.ended_at is None:
                await _close_row(pools, ledger, row)
    await _recognise([notebook for pool in pools for notebook in pool if notebook.state is not State.REAPING])
    for pool in pools:
        pool.open()
        pool.wake()


async def _recognise(notebooks: list[Notebook]) -> None:
    """Find out which of the notebooks are Jupyter servers, before the first request reaches one."""
    asking = [spawn(each.jupyter.recognise(), f"recognise {each.id}") for each in notebooks]
    if asking:
        await asyncio.wait(asking, timeout=_RECOGNITION)


async def _what_runs(pool: Pool, known: set[str]) -> list[Running]:
    """Return the running notebooks. If the list lacks a ``known`` key, ask again, as one list may be incomplete.

    Raises BackendError if the backend fails.
    """
    running = {item.key: item for item in await _list(pool, known)}
    for number, pause in enumerate(_LOOKS):
        missing = known - running.keys()
        if not missing or (number and not is_mass_loss(len(missing), len(known))):
            break
        await asyncio.sleep(pause)
        running |= {item.key: item for item in await _list(pool, known)}
    return list(running.values())


async def _list(pool: Pool, known: set[str]) -> list[Running]:
    """Return what the backend lists; if it fails, ask once more. Raises BackendError."""
    try:
        return await pool.backend.list(known)
    except BackendError as error:
        if not error.transient:
            raise
    await asyncio.sleep(_LOOKS[0])
    return await pool.backend.list(known)


def becomes(row: Row | None, *, given: Given, is_trusted: bool) -> State:
    """Return the state to adopt a running notebook in: ASSIGNED, WARM, or GONE if its end was already decided.

    ``row`` is its row in the ledger. A notebook that may have been assigned is kept as a session and never assigned
    again. The backend's mark overrides the ledger, which may be an older one that was restored. If the backend cannot
    tell, the notebook is warm only if a trusted ledger says so. An unknown notebook is not ended.
    """
    if row is not None and row.ended_at is not None and row.reason not in REVOCABLE:
        return State.GONE
    if given is Given.YES or (row is not None and (row.state is State.ASSIGNED or row.assigned_at is not None)):
        return State.ASSIGNED
    is_warm = given is Given.NO or (is_trusted and row is not None and row.state is State.WARM)
    return State.WARM if is_warm else State.ASSIGNED


def is_unopened(row: Row, within: float, now: float) -> bool:
    """Return True if a session was assigned in the last ``within`` seconds, and nobody has opened it.

    ``now`` is the ledger's time.

    A session that was assigned earlier counts as opened. A service that ran would have ended it, so the ledger may be
    an older one that was restored, and what that does not know must not end a session.
    """
    if row.state is not State.ASSIGNED or row.assigned_at is None or row.opened_at is not None:
        return False
    return now < row.assigned_at + within


async def _adopt_one(pool: Pool, item: Running, row: Row | None, ledger: Ledger) -> State | None:
    """Return the state it was adopted in, or None if it is being stopped."""
    match becomes(row, given=item.given, is_trusted=ledger.is_trusted):
        case State.ASSIGNED:
            _adopt_session(pool, item, row, ledger)
            return State.ASSIGNED
        case State.WARM:
            await pool.adopt_warm(item)
            return State.WARM
    pool.discard(item, row.reason if row is not None and row.reason is not None else Reason.ENDED)
    return None


async def recover(pool: Pool, ledger: Ledger, item: Running) -> Notebook | None:
    """Adopt a session that was called over and turns out to run, as the ledger knows it; None if it was adopted."""
    row = ledger.row(item.key)
    return None if item.key in pool else _adopt_session(pool, item, row, ledger)


async def keep(pools: Pools, ledger: Ledger) -> None:
    """Keep the ledger in its file.

    Once a file is used again that the start could not use, sessions get back the owners whom it alone knew.
    """
    for row in await ledger.keep():
        found = pools.find(row.key)
        if found is not None and row.visitor is not None:
            found[1].bind(row.visitor)


def _adopt_session(pool: Pool, item: Running, row: Row | None, ledger: Ledger) -> Notebook | None:
    if row is None:
        return pool.adopt_session(item, visitor=None, expires_in=None)
    now = ledger.now()
    return pool.adopt_session(
        item,
        visitor=row.visitor,
        expires_in=None if row.expires_at is None else row.expires_at - now,
        shared=row.shared,
        network=row.network,
        is_opened=not (ledger.is_trusted and is_unopened(row, pool.limits.unopened, now)),
    )


def _log_outdated(pool: Pool, outdated: Counter[State | None]) -> None:
    """Log how many notebooks have other settings than the pool's."""
    if outdated[State.WARM]:
        message = (
            "warm notebooks started with other settings are given until replaced; DELETE /api/pool ends them at once"
        )
        _log.info("warm.outdated", pool=pool.name, count=outdated[State.WARM], message=message)
    if outdated[State.ASSIGNED]:
        message = "sessions started with other settings keep them until they end"
        _log.warning("sessions.outdated", pool=pool.name, count=outdated[State.ASSIGNED], message=message)


async def _close_row(pools: Pools, ledger: Ledger, row: Row) -> None:
    """End a session whose notebook ended while no service ran; what is left of it may tell how.

    One whose end nobody saw may still turn up.
    """
    pool = pools.get(row.pool)
    death = Death.UNKNOWN if pool is None else await pool.backend.death(row.key)
    reason = BY_DEATH[death]
    if row.state is State.ASSIGNED:
        pools.remember(row.key, Ended(reason, time.time(), row.pool))
    if pool is not None and not is_certain(death, is_told=False):
        pool.missed.add(row.key)
    await ledger.end_row(row.key, reason)
