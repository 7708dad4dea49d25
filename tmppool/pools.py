"""The named pools of one service, the notebooks in them by key, and why the past ones ended."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cachetools import FIFOCache

from tmppool.notebook import Notebook, Reason, State, Transition
from tmppool.pool import Pool

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a session, kept in memory so that its old URL is answered without engine or disk.

    ``at`` is wall time in epoch seconds.
    """

    reason: Reason
    at: float
    pool: str


class Pools:
    """All pools of a service. The first that is added is the default: the pool of a link that names none."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._ended: FIFOCache[str, Ended] = FIFOCache(_REMEMBERED)

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools.values())

    def add(self, pool: Pool) -> None:
        """Add a pool under its name."""
        self._pools[pool.name] = pool

    @property
    def default(self) -> Pool:
        """The first pool. Raises StopIteration while there is none."""
        return next(iter(self._pools.values()))

    def get(self, name: str | None) -> Pool | None:
        """Return the pool of that name, the default one for None, None when there is no such pool."""
        return self.default if name is None else self._pools.get(name)

    def find(self, key: str) -> tuple[Pool, Notebook] | None:
        """Return the assigned notebook of ``key`` and its pool."""
        for pool in self._pools.values():
            notebook = pool.find(key)
            if notebook is not None:
                return pool, notebook
        return None

    def has(self, notebook_id: str) -> bool:
        """Return True if an assigned notebook has this id."""
        return any(notebook.is_live and notebook.id == notebook_id for pool in self for notebook in pool)

    def held_by(self, visitor: str | None, pool: Pool) -> Notebook | None:
        """Return the live notebook that this visitor holds in ``pool``."""
        if visitor is None:
            return None
        held = (n for n in pool if n.is_live and n.visitor == visitor)
        return next(held, None)

    async def close(self, *, stop: bool, grace: float = 30.0) -> None:
        """Close all pools side by side: ``grace`` seconds are for all of them together."""
        await asyncio.gather(*(pool.close(stop=stop, grace=grace) for pool in self))

    def ended(self, key: str) -> Ended | None:
        """Return why the session of ``key`` ended; None when there never was one, or too long ago."""
        return self._ended.get(key)

    def reason(self, key: str) -> Reason | None:
        """Return the reason alone of what ``ended`` returns."""
        ended = self.ended(key)
        return None if ended is None else ended.reason

    def remember(self, key: str, ended: Ended) -> None:
        """Keep this as the end of the session of ``key``; the oldest beyond 10,000 is forgotten."""
        self._ended[key] = ended

    def hear(self, fact: Transition) -> None:
        """Listener: a session that ends is remembered from its first moment of ending."""
        if fact.was is State.ASSIGNED:
            self.remember(fact.notebook.key, Ended(fact.reason, time.time(), fact.notebook.pool))
