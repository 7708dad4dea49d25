"""Compares what a backend says of a pool's notebooks with the table: no single word of it ends a session.

An engine may list nothing once, or tell of an end that was none. Whoever is said to have ended is asked, which takes
no engine; only if no life is shown, and another look at what runs does not find it either, it is lost. While that is
open it is given to nobody.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable

from tmppool.clocks import seconds_until
from tmppool.errors import BackendError
from tmppool.incidents import DeathDisproved, SessionRecovered
from tmppool.notebook import REVOCABLE, Notebook, Reason, State
from tmppool.pool import Phase, Pool
from tmppool.running import Running

_LOOKS = (0.0, 0.2, 1.0, 2.0)  # seconds before each look for one that is silent: an engine tells of an end before it is
_GRACE = 120.0  # seconds for which one that nobody knows is spared: its start may be under way


class Reconciler:
    """``ended`` tells why a session of that key ended, as far as that is remembered."""

    def __init__(self, pool: Pool, ended: Callable[[str], Reason | None] = lambda _key: None) -> None:
        self._pool = pool
        self._ended = ended
        self._again: set[str] = set()  # who is said to have ended since one last began to find out
        self._settling: asyncio.Task[None] | None = None
        self.name = pool.name

    def doubt(self, key: str) -> None:
        """The backend says that this notebook ended by itself: find out whether that is so."""
        if key in {notebook.key for notebook in self._members()}:
            self._doubt(key)
            self._begin()

    async def watch(self) -> None:
        """Doubt whoever the backend says has ended, for as long as it is open. Before the pool is open it only notes.

        What a backend may have missed meanwhile a look finds out; what runs at a start is adopted first.
        """
        async for key in self._pool.backend.deaths():
            if key is not None:
                self.doubt(key)
            elif self._pool.phase is not Phase.ADOPTING:
                await self.look()

    async def look(self) -> None:
        """Compare the table with what the backend runs. Does nothing while the backend is ill."""
        known = {notebook.key for notebook in self._members()}
        running = await self._running(())
        if running is None:
            return
        for key in known - running.keys():
            self._doubt(key)
        await asyncio.wait({self._begin()})
        for notebook in self._members():
            if notebook.is_live and notebook.key in running and running[notebook.key].is_given is False:
                self._pool.marks.set(notebook)  # somebody has renamed it
        for key, item in running.items():
            if key not in self._pool:
                await self._meet(item)

    # Inside

    def _doubt(self, key: str) -> None:
        """Note one more word against this notebook: what was found out before it came says nothing of it."""
        self._again.add(key)
        self._pool.doubt(key)

    def _begin(self) -> asyncio.Task[None]:
        """Return the one task that finds out."""
        if self._settling is None or self._settling.done():
            self._settling = self._pool.run(self._settle(), "find out what ended")
        return self._settling

    def _members(self) -> Iterable[Notebook]:
        return (notebook for notebook in self._pool if notebook.state in (State.WARM, State.ASSIGNED))

    async def _running(self, known: Collection[str]) -> dict[str, Running] | None:
        """Return what the backend runs, by key, the ``known`` looked for; None while it is ill, which is said once."""
        pool = self._pool
        try:
            running = {item.key: item for item in await pool.backend.list(known)}
        except BackendError as error:
            pool.note_illness(error)
            return None
        pool.note_illness(None)
        return running

    async def _settle(self) -> None:
        """Go on while there are new words; whom the backend cannot tell of now waits for the next look."""
        is_first = True
        while is_first or self._again:
            is_first = False
            self._again.clear()
            await self._find_out([notebook for notebook in self._members() if notebook.key in self._pool.doubted])
            self._again &= self._pool.doubted

    async def _find_out(self, doubted: list[Notebook]) -> None:
        lives = await asyncio.gather(*(notebook.jupyter.shows_life() for notebook in doubted))
        silent = [notebook for notebook, is_alive in zip(doubted, lives, strict=True) if not is_alive]
        for notebook in doubted:
            if notebook not in silent and notebook.key not in self._again:
                self._pool.report(DeathDisproved(self._pool.name, notebook.id))
                self._pool.trust(notebook.key)
        for pause in _LOOKS:
            if not silent:
                return
            await asyncio.sleep(pause)
            running = await self._running([notebook.key for notebook in silent])
            if running is None or self._pool.phase is Phase.CLOSING:
                return  # the next look, or the next service, finds out
            self._end(notebook for notebook in silent if notebook.key not in running)
            silent = [notebook for notebook in silent if notebook.key in running]
        # Silent, but not over: somebody's is theirs to end, for nobody's there are better ones.
        self._end(notebook for notebook in silent if notebook.state is State.WARM)
        for notebook in silent:
            if notebook.key not in self._again:
                self._pool.trust(notebook.key)

    def _end(self, lost: Iterable[Notebook]) -> None:
        for notebook in list(lost):
            self._pool.reap(notebook, Reason.DIED)

    async def _meet(self, item: Running) -> None:
        """One runs that stands in no table: somebody's is taken back, nobody's is stopped once no start can be its."""
        if item.is_given is not False and (self._ended(item.key) or Reason.DIED) in REVOCABLE:
            self._pool.report(SessionRecovered(self._pool.name))
            self._pool.adopt_session(item, visitor=None, expires_in=None)
        elif seconds_until(item.created_at + _GRACE) < 0:
            await self._pool.discard(item.key)
