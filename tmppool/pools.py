"""The named pools of one service, look-up of their notebooks, and the reasons for which past sessions ended."""

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
    """The end of a session, kept in memory to answer its old URL without the engine or the disk.

    ``at`` is wall time in epoch seconds.
    """

    reason: Reason
    at: float
    pool: str


class Pools:
    """All pools of a service. The first one added is the default, for links that name no pool."""

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
        """The first pool. Raises StopIteration if there is none."""
        return next(iter(self._pools.values()))

    def get(self, name: str | None) -> Pool | None:
        """Return the pool of that name, or the default pool for None; None if there is no such pool."""
        return self.default if name is None else self._pools.get(name)

    def find(self, key: str) -> tuple[Pool, Notebook] | None:
        """Return the pool and the assigned notebook of ``key``, or None."""
        for pool in self._pools.values():
            notebook = pool.find(key)
            if notebook is not None:
                return pool, notebook
        return None

    def has(self, notebook_id: str) -> bool:
        """Return True if an assigned notebook has this id."""
        return any(notebook.is_live and notebook.id == notebook_id for pool in self for notebook in pool)

    def held_by(self, visitor: str | None, pool: Pool) -> Notebook | None:
        """Return the notebook in ``pool`` that is assigned to this visitor, or None."""
        if visitor is None:
            return None
        held = (n for n in pool if n.is_live and n.visitor == visitor)
        return next(held, None)

    def all_of(self, visitor: str | None) -> list[Notebook]:
        """Return the notebooks in all pools that are assigned to this visitor."""
        return [notebook for pool in self if (notebook := self.held_by(visitor, pool)) is not None]

    async def close(self, *, stop: bool, grace: float = 30.0, hurry: asyncio.Event | None = None) -> int:
        """Close all pools concurrently, within ``grace`` seconds in total; see ``Pool.close``."""
        return sum(await asyncio.gather(*(pool.close(stop=stop, grace=grace, hurry=hurry) for pool in self)))

    def ended(self, key: str) -> Ended | None:
        """Return the end of the session of ``key``; None if there was none or it is forgotten."""
        return self._ended.get(key)

    def reason(self, key: str) -> Reason | None:
        """Return only the reason of ``ended(key)``, or None."""
        ended = self.ended(key)
        return None if ended is None else ended.reason

    def remember(self, key: str, ended: Ended) -> None:
        """Record the end of the session of ``key``; only the latest 10,000 are kept."""
        self._ended[key] = ended

    def hear(self, fact: Transition) -> None:
        """Listener: record the end of a session as soon as it begins to end."""
        if fact.was is State.ASSIGNED:
            self.remember(fact.notebook.key, Ended(fact.reason, time.time(), fact.notebook.pool))
