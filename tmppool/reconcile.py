"""Compare a pool's table with the notebooks that its backend reports. One false report never ends a session.

An engine may return an incomplete list, or report a death that did not happen. A notebook that is reported dead is
first asked over HTTP, without the engine. Its session ends only if it does not respond and another listing lacks it
too. Until that is decided it is not assigned.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum

from tmppool.clocks import seconds_until
from tmppool.errors import BackendError
from tmppool.incidents import DeathDisproved, SessionRecovered
from tmppool.jupyter import Knock
from tmppool.notebook import REVOCABLE, Notebook, Reason, State
from tmppool.pool import Phase, Pool
from tmppool.questions import Questions
from tmppool.running import Given, Running
from tmppool.tasks import spawn

_LOOKS = (0.0, 0.2, 1.0, 2.0)  # seconds before each listing, for a silent one: an engine reports a death early
_GRACE = 120.0  # start grace, in seconds: an unknown notebook may still be starting
_MOST_KNOCKS = 8  # warm notebooks asked at a time
_MUTE = 60.0  # seconds in which a warm notebook takes connections and never answers, until another is better
_PING, _LIST = "ping", "list"  # questions to the backend: it is well if the last answers to both were good


class Finding(StrEnum):
    """The outcome of one list for a notebook that was reported dead and is silent."""

    DEAD = "dead"
    OPEN = "open"  # listed: the report may still be early
    SPARED = "spared"  # listed to the last: only its owner may end it


def finding(state: State, *, is_listed: bool, is_last: bool) -> Finding:
    """Judge a silent notebook by one list of what runs; ``is_last``: there is no further list.

    One that is listed to the last runs, although it does not answer. If it is warm, another is better.
    """
    if not is_listed:
        return Finding.DEAD
    if not is_last:
        return Finding.OPEN
    return Finding.DEAD if state is State.WARM else Finding.SPARED


class Reconciler:
    """``ended`` returns the reason for which the session of a key ended, None if it is unknown."""

    def __init__(self, pool: Pool, ended: Callable[[str], Reason | None] = lambda _key: None) -> None:
        self._pool = pool
        self._ended = ended
        self._again: set[str] = set()  # keys reported dead since the last check began
        self._settling: asyncio.Task[None] | None = None
        self._failures: dict[str, BackendError] = {}  # by question: its last answer, where that was a failure
        self._heard: set[str] = set()  # the words of all failures in the present illness
        self._lists = Questions()
        self._looking: asyncio.Task[None] | None = None  # after an illness
        self._mute_since: dict[str, float] = {}  # warm notebooks by key; in the pool's seconds
        self.name = pool.name

    def doubt(self, key: str) -> None:
        """Check a notebook that the backend has reported dead."""
        if key in {notebook.key for notebook in self._members()}:
            self._doubt(key)
            self._begin()

    async def watch(self) -> None:
        """Check each notebook that the backend reports dead, for as long as the backend is open.

        If events may have been missed, it calls ``look``, except during adoption, which lists the notebooks itself.
        """
        async for key in self._pool.backend.deaths():
            if key is not None:
                self.doubt(key)
            elif self._pool.phase is not Phase.ADOPTING:
                await self.look()

    async def look(self) -> None:
        """Compare the table with the running notebooks. Does nothing while the backend fails."""
        known = {notebook.key for notebook in self._members()}
        running = await self._running(())
        if running is None:
            return
        for key in known - running.keys():
            self._doubt(key)
        await asyncio.wait({self._begin()})
        for notebook in self._members():
            if notebook.is_live and notebook.key in running and running[notebook.key].given is Given.NO:
                self._pool.marks.set(notebook)  # its container was renamed by hand
        for key, item in running.items():
            if key not in self._pool:
                await self._handle_unknown(item)

    def pulse(self) -> None:
        """Ask the backend if it is well, in a task: a question without an answer does not delay the next one.

        Events may have been missed in an illness, so ``look`` follows at its end.
        """
        if self._pool.phase is not Phase.CLOSING:
            spawn(self._pulse(), f"pulse of {self.name}")

    async def knock(self) -> None:
        """Ask each warm notebook if it works, so that none is assigned that does not. It takes no backend.

        One that refuses is doubted at once; one that takes connections and has not answered for a minute is replaced.
        """
        asking = asyncio.Semaphore(_MOST_KNOCKS)

        async def ask(notebook: Notebook) -> None:
            async with asking:
                if self._is_given_next(notebook):
                    self._hear_knock(notebook, await notebook.jupyter.knock())

        warm = [notebook for notebook in self._pool if self._is_given_next(notebook)]
        self._mute_since = {n.key: self._mute_since[n.key] for n in warm if n.key in self._mute_since}
        await asyncio.gather(*(ask(notebook) for notebook in warm))

    # Illness

    async def _pulse(self) -> None:
        was_ill = self._pool.illness is not None
        try:
            await self._pool.backend.ping()
        except BackendError as error:
            self._hear(_PING, error)
            return
        self._hear(_PING, None)
        if was_ill and (self._looking is None or self._looking.done()):
            self._looking = self._pool.run(self.look(), "look after an illness")

    def _hear(self, question: str, failure: BackendError | None) -> None:
        """Note the backend's last answer to one question."""
        if self._pool.phase is Phase.CLOSING:
            return
        if failure is None:
            self._failures.pop(question, None)
        else:
            self._failures[question] = failure
        if not self._failures:
            self._heard.clear()
            self._pool.note_illness(None)
        elif failure is not None and self._is_news(question, failure):
            self._heard.add(str(failure))
            self._pool.note_illness(failure)

    def _is_news(self, question: str, failure: BackendError) -> bool:
        """Return True once for each failure in an illness. Who answers no ping cannot list either: that is no news."""
        return str(failure) not in self._heard and (question is _PING or _PING not in self._failures)

    # Knocking

    def _is_given_next(self, notebook: Notebook) -> bool:
        return notebook.state is State.WARM and notebook.key not in self._pool.doubted

    def _hear_knock(self, notebook: Notebook, found: Knock) -> None:
        if not self._is_given_next(notebook):
            return
        if found is Knock.REFUSED:
            self.doubt(notebook.key)
        elif found is not Knock.TAKEN:
            self._mute_since.pop(notebook.key, None)
        elif self._is_mute_too_long(notebook):
            self._pool.reap(notebook, Reason.DIED)

    def _is_mute_too_long(self, notebook: Notebook) -> bool:
        """Return True if a warm notebook, which did not answer just now, has not answered for a minute."""
        now = self._pool.clock()
        return now - self._mute_since.setdefault(notebook.key, now) >= _MUTE

    # Inside

    def _doubt(self, key: str) -> None:
        """Note a report that the notebook is dead. A check that began earlier does not settle it."""
        self._again.add(key)
        self._pool.doubt(key)

    def _begin(self) -> asyncio.Task[None]:
        """Return the one task that checks; start it if none runs."""
        if self._settling is None or self._settling.done():
            self._settling = self._pool.run(self._settle(), "check reported deaths")
        return self._settling

    def _members(self) -> Iterable[Notebook]:
        return (notebook for notebook in self._pool if notebook.state in (State.WARM, State.ASSIGNED))

    async def _running(self, known: Collection[str]) -> dict[str, Running] | None:
        """Return the running notebooks by key (``known``: see ``Backend.list``); None if the backend fails."""
        number = self._lists.ask()
        try:
            running = {item.key: item for item in await self._pool.backend.list(known)}
        except BackendError as error:
            if not self._lists.is_overtaken(number):
                self._hear(_LIST, error)
            return None
        self._lists.note_answer(number)
        self._hear(_LIST, None)
        return running

    async def _settle(self) -> None:
        """Check until there are no new reports. Those that the backend cannot answer for wait for the next ``look``."""
        is_first = True
        while is_first or self._again:
            is_first = False
            self._again.clear()
            await self._find_out([notebook for notebook in self._members() if notebook.key in self._pool.doubted])

    async def _find_out(self, doubted: list[Notebook]) -> None:
        """Probe what is doubted; what is silent is looked for in several lists."""
        lives = await asyncio.gather(*(notebook.jupyter.shows_life() for notebook in doubted))
        silent = []
        for notebook, is_alive in zip(doubted, lives, strict=True):
            if not is_alive:
                silent.append(notebook)
            elif notebook.key not in self._again:
                self._pool.report(DeathDisproved(self._pool.name, notebook.id))
                self._pool.trust(notebook.key)
        for number, pause in enumerate(_LOOKS, 1):
            if not silent:
                return
            await asyncio.sleep(pause)
            running = await self._running([notebook.key for notebook in silent])
            if running is None or self._pool.phase is Phase.CLOSING:
                return  # the next look, or the next service, checks again
            is_last = number == len(_LOOKS)
            silent = [
                notebook
                for notebook in silent
                if self._is_open(notebook, finding(notebook.state, is_listed=notebook.key in running, is_last=is_last))
            ]

    def _is_open(self, notebook: Notebook, found: Finding) -> bool:
        """Act on a finding; returns True if another list is needed."""
        if found is Finding.DEAD:
            self._pool.reap(notebook, Reason.DIED)
        elif found is Finding.SPARED and notebook.key not in self._again:
            self._pool.trust(notebook.key)
        return found is Finding.OPEN

    async def _handle_unknown(self, item: Running) -> None:
        """Handle a running notebook that the pool does not know.

        Adopt it if it may have been assigned and nobody ended it; else stop it after the start grace.
        """
        if item.given is not Given.NO and (self._ended(item.key) or Reason.DIED) in REVOCABLE:
            self._pool.report(SessionRecovered(self._pool.name))
            notebook = self._pool.adopt_session(item, visitor=None, expires_in=None)
            self._pool.run(notebook.jupyter.recognise(), f"recognise {notebook.id}")
        elif seconds_until(item.created_at + _GRACE) < 0:
            await self._pool.discard(item.key)
