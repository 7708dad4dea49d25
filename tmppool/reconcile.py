"""Compare a pool's table with the notebooks that its backend reports. One false report never ends a session.

An engine may return an incomplete list, or report a death that did not happen. A notebook that is reported dead is
first asked over HTTP, without the engine. Its session ends only if it does not respond and another listing lacks it
too; a loss of many at once, of which nobody saw the ends, is doubted for longer. Until that is decided it is not
assigned. The reason of an end is what the backend saw of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from enum import StrEnum

from tmppool.backoff import Backoff
from tmppool.clocks import seconds_until
from tmppool.errors import BackendError
from tmppool.incidents import DeathDisproved, SessionRecovered, WatchFailed
from tmppool.jupyter import Knock
from tmppool.notebook import BY_DEATH, REVOCABLE, UNDECIDED, Notebook, Reason, State, Transition
from tmppool.pool import Phase, Pool
from tmppool.questions import Questions
from tmppool.running import Death, Given, Paused, Running

_LOOKS = (0.0, 0.2, 1.0, 2.0)  # seconds before each listing, for a silent one: an engine reports a death early
_MASS_LOOKS = (0.5, 1.5, 2.0, 2.0, 2.0, 2.0)  # the same for a mass loss: ten seconds in all
_MASS = 3  # notebooks that are missing at once; fewer are no mass loss
_KNOCK_PAUSE = 0.1  # seconds between two knocks at a paused notebook, of which one mostly waits for its answer
_GRACE = 120.0  # start grace, in seconds: an unknown notebook may still be starting
_LISTEN_AGAIN = 1.0  # seconds before the backend is listened to again, after an error that ended that
_MOST_KNOCKS = 8  # warm notebooks asked at a time
_MUTE = 60.0  # seconds in which a warm notebook takes connections and never answers, until another is better
_SEARCH = 600.0  # seconds in which notebooks that a start has missed are looked for more often than everything else
_SEARCH_PAUSE = 5.0  # most seconds between two looks for them
_PING, _LIST = "ping", "list"  # questions to the backend: it is well if the last answers to both were good


class Finding(StrEnum):
    """The outcome of one list for a notebook that was reported dead and is silent."""

    DEAD = "dead"
    OPEN = "open"  # listed: the report may still be early
    SPARED = "spared"  # listed to the last, or paused: only its owner may end it
    DOUBTED = "doubted"  # one of many that are missing: they are looked for over a longer time


def finding(
    state: State, *, is_listed: bool, is_last: bool, is_paused: bool = False, is_mass_loss: bool = False
) -> Finding:
    """Judge a silent notebook by one list of what runs; ``is_last``: there is no further list.

    One that is listed to the last runs, although it does not answer. If it is warm, another is better; but not if it is
    paused, since it will go on. ``is_mass_loss``: it is among many whose ends nobody saw.
    """
    if not is_listed:
        return Finding.DOUBTED if is_mass_loss else Finding.DEAD
    if is_paused:
        return Finding.SPARED
    if not is_last:
        return Finding.OPEN
    return Finding.DEAD if state is State.WARM else Finding.SPARED


def is_mass_loss(missing: int, members: int) -> bool:
    """Return True if so many notebooks are missing at once that the backend is more likely wrong than right."""
    return missing >= _MASS and 2 * missing >= members


def is_certain(death: Death, *, is_told: bool) -> bool:
    """Return True if the end of a silent notebook was seen; ``is_told``: an event reported it.

    That something is not there is no more than a list says; that it has ended is a fact of its own.
    """
    return death is not Death.UNKNOWN and (is_told or death is not Death.REMOVED)


class Reconciler:
    """``ended`` returns the reason for which the session of a key ended, None if it is unknown.

    ``recover`` adopts a session that was called over and runs, with what is known of it; None if it was adopted.
    """

    def __init__(
        self,
        pool: Pool,
        ended: Callable[[str], Reason | None] = lambda _key: None,
        recover: Callable[[Running], Awaitable[Notebook | None]] | None = None,
    ) -> None:
        self._pool = pool
        self._ended = ended
        self._recover = recover or self._adopt
        self._again: set[str] = set()  # keys reported dead since the last check began
        self._told: set[str] = set()  # keys of members whose deaths were events
        self._missing: set[str] = set()  # keys of a mass loss, looked for by a task of its own
        self._waiting: set[str] = set()  # keys of paused members, each with a task that waits for an answer
        self._pauses = 0  # events of this kind so far
        self._settling: asyncio.Task[None] | None = None
        self._failures: dict[str, BackendError] = {}  # by question: its last answer, where that was a failure
        self._heard: set[str] = set()  # the words of all failures in the present illness
        self._lists = Questions()
        self._looking: asyncio.Task[None] | None = None  # beside the regular looks
        self._is_look_wanted = False
        self._mute_since: dict[str, float] = {}  # warm notebooks by key; in the pool's seconds
        self._search = Backoff(first=1.0, cap=_SEARCH_PAUSE)
        self._search_began = pool.clock()
        self.name = pool.name
        pool.listen(self._hear_adoption)

    def doubt(self, key: str) -> None:
        """Check a notebook that the backend has reported dead."""
        self._missing.discard(key)
        if key in {notebook.key for notebook in self._members()}:
            self._doubt(key)
            self._begin()

    @property
    def is_looking(self) -> bool:
        """True while a look is under way that a pulse or an event began."""
        return self._looking is not None and not self._looking.done()

    async def watch(self) -> None:
        """Check each notebook that the backend reports dead, and note pauses, for as long as the backend is open.

        If events may have been missed, ``look`` follows, except during adoption, which lists the notebooks itself.
        What is told meanwhile is heard. An error that nobody expects, as a lack of memory, does not end it.
        """
        while True:
            try:
                async for said in self._pool.backend.deaths():
                    self._hear_event(said)
            except Exception as error:
                self._pool.report(WatchFailed(self.name, error))
            else:
                return
            await asyncio.sleep(_LISTEN_AGAIN)
            self._hear_event(None)

    async def look(self) -> None:
        """Compare the table with the running notebooks. Does nothing while the backend fails."""
        await asyncio.wait({self._pool.run(self._look(), "look")})

    async def _look(self) -> None:
        known = {notebook.key for notebook in self._members()}
        placed = {place.key for place in self._pool.places}  # one may have ended before the list is read
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
            if key not in self._pool and key not in placed | self._pool.foreign:
                await self._handle_unknown(item)

    def pulse(self) -> None:
        """Ask the backend if it is well, in a task: a question without an answer does not delay the next one.

        Events may have been missed in an illness, so ``look`` follows at its end. It also follows while sessions are
        sought that the backend denied, or could not describe, at the start.
        """
        self._pool.run(self._pulse(), f"pulse of {self.name}")

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

    def _hear_event(self, said: str | Paused | None) -> None:
        """Act on what the backend tells, as ``Backend.deaths`` yields it."""
        if isinstance(said, Paused):
            self._pauses += 1
            self._note_pauses({said.key: said.is_paused})
        elif said is not None:
            self._told |= {said} & {notebook.key for notebook in self._members()}
            self.doubt(said)
        elif self._pool.phase is not Phase.ADOPTING:
            self._look_soon()

    # Illness

    async def _pulse(self) -> None:
        was_ill = bool(self._failures)
        try:
            await self._pool.backend.ping()
        except BackendError as error:
            self._hear(_PING, error)
            return
        self._hear(_PING, None)
        if (was_ill or self._is_search_due()) and not self.is_looking:
            self._look_soon()

    def _look_soon(self) -> None:
        """Begin a look, after the present one if that is under way: it may have missed what has happened since."""
        self._is_look_wanted = True
        if not self.is_looking:
            self._looking = self._pool.run(self._look_while_wanted(), "look early")

    async def _look_while_wanted(self) -> None:
        while self._is_look_wanted:
            self._is_look_wanted = False
            await self._look()

    def _is_search_due(self) -> bool:
        """Return True if it is time to look for notebooks that the start has missed."""
        pool, now = self._pool, self._pool.clock()
        if now - self._search_began > _SEARCH:
            pool.missed.clear()
        pool.missed -= {key for key in pool.missed if key in pool}
        if not pool.missed or not self._search.may_try(now):
            return False
        self._search.failed(now)
        return True

    def _hear(self, question: str, failure: BackendError | None) -> None:
        """Note the backend's last answer to one question."""
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
        return notebook.state is State.WARM and not notebook.is_paused and notebook.key not in self._pool.doubted

    def _hear_knock(self, notebook: Notebook, found: Knock) -> None:
        if not self._is_given_next(notebook):
            return
        if found is Knock.REFUSED:
            self.doubt(notebook.key)
        elif found is not Knock.TAKEN:
            self._mute_since.pop(notebook.key, None)
        elif self._is_mute_too_long(notebook):
            self._pool.reap(notebook, Reason.LOST)

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
        number, pauses = self._lists.ask(), self._pauses
        try:
            running = {item.key: item for item in await self._pool.backend.list(known)}
        except BackendError as error:
            if not self._lists.is_overtaken(number):
                self._hear(_LIST, error)
            return None
        self._lists.note_answer(number)
        self._hear(_LIST, None)
        if pauses == self._pauses:  # else the list may be older than the event
            self._note_pauses({key: item.is_paused for key, item in running.items()})
        return running

    def _note_pauses(self, paused: Mapping[str, bool]) -> None:
        for notebook in self._members():
            if paused.get(notebook.key, notebook.is_paused) != notebook.is_paused:
                self._note_pause(notebook, is_paused=not notebook.is_paused)
            if notebook.is_paused:
                self._wait_in_task(notebook)

    def _hear_adoption(self, fact: Transition) -> None:
        """Listener: wait for one that is adopted as paused, like for one that was paused since."""
        if fact.reason is Reason.ADOPTED and isinstance(fact.notebook, Notebook) and fact.notebook.is_paused:
            self._wait_in_task(fact.notebook)

    def _wait_in_task(self, notebook: Notebook) -> None:
        if notebook.key not in self._waiting:
            self._waiting.add(notebook.key)
            self._pool.run(self._wait_for(notebook), f"wait for {notebook.id}")

    def _note_pause(self, notebook: Notebook, *, is_paused: bool) -> None:
        notebook.note_pause(self._pool.clock(), is_paused=is_paused)
        self._pool.wake()

    async def _wait_for(self, notebook: Notebook) -> None:
        """Knock until a paused notebook answers: then it is not paused, whatever the backend says."""
        while notebook.is_paused and notebook in self._members():
            if await notebook.jupyter.answers():
                self._note_pause(notebook, is_paused=False)
            else:
                await asyncio.sleep(_KNOCK_PAUSE)
        self._waiting.discard(notebook.key)

    async def _settle(self) -> None:
        """Check until there are no new reports. Those that the backend cannot answer for wait for the next ``look``."""
        is_first = True
        while is_first or self._again:
            is_first = False
            self._again.clear()
            doubted = self._pool.doubted - self._missing
            await self._find_out([notebook for notebook in self._members() if notebook.key in doubted])
            self._told &= {notebook.key for notebook in self._members()}

    async def _silent(self, doubted: Iterable[Notebook]) -> list[Notebook]:
        """Probe what is doubted; return those that show no life, and trust those that do.

        Those that could not be asked are neither: the next ``look`` checks them again.
        """
        probed = list(doubted)
        lives = await asyncio.gather(*(notebook.jupyter.shows_life() for notebook in probed))
        for notebook, is_alive in zip(probed, lives, strict=True):
            if is_alive and notebook.key not in self._again:
                self._pool.report(DeathDisproved(self._pool.name, notebook.id))
                self._told.discard(notebook.key)
                self._pool.trust(notebook.key)
        return [notebook for notebook, is_alive in zip(probed, lives, strict=True) if is_alive is False]

    async def _find_out(self, doubted: list[Notebook]) -> None:
        """Probe what is doubted; what is silent is looked for in several lists."""
        silent = await self._silent(doubted)
        for number, pause in enumerate(_LOOKS, 1):
            if not silent:
                return
            await asyncio.sleep(pause)
            running = await self._running([notebook.key for notebook in silent])
            if running is None:
                return  # the next look checks again
            deaths = await self._deaths(notebook for notebook in silent if notebook.key not in running)
            lost = self._mass_loss(deaths)
            found = {
                notebook: finding(
                    notebook.state,
                    is_listed=notebook.key in running,
                    is_last=number == len(_LOOKS),
                    is_paused=notebook.is_paused,
                    is_mass_loss=notebook.key in lost,
                )
                for notebook in silent
            }
            silent = [notebook for notebook in silent if self._is_open(notebook, found[notebook], deaths)]
            if lost:
                self._missing |= lost
                self._pool.run(self._look_for_many([n for n in found if n.key in lost]), "look for a mass loss")

    async def _deaths(self, notebooks: Iterable[Notebook]) -> dict[str, Death]:
        """Return how each of them ended, by key, as the backend saw it."""
        keys = [notebook.key for notebook in notebooks]
        return dict(zip(keys, await asyncio.gather(*map(self._pool.backend.death, keys)), strict=True))

    def _mass_loss(self, deaths: Mapping[str, Death]) -> set[str]:
        """Return the keys of those whose ends nobody saw, if they are a mass loss."""
        unseen = {key for key, death in deaths.items() if not is_certain(death, is_told=key in self._told)}
        return unseen if is_mass_loss(len(unseen), len(list(self._members()))) else set()

    def _is_open(self, notebook: Notebook, found: Finding, deaths: Mapping[str, Death]) -> bool:
        """Act on a finding; returns True if another list is needed."""
        if found is Finding.DEAD:
            self._pool.reap(notebook, BY_DEATH[deaths.get(notebook.key, Death.UNKNOWN)])
        elif found is Finding.SPARED and notebook.key not in self._again:
            self._pool.trust(notebook.key)
        return found is Finding.OPEN

    async def _look_for_many(self, missing: list[Notebook]) -> None:
        """Probe a mass loss, and look for it, over a longer time; what is missing to the last has ended.

        If the backend fails meanwhile, or anything else does, the next ``look`` begins anew.
        """
        keys = {notebook.key for notebook in missing}
        try:
            missing = await self._never_found(missing)
            deaths = await self._deaths(missing)
            for notebook in missing:
                if notebook.key in self._missing:  # else it was reported again, and is checked for that
                    self._pool.reap(notebook, BY_DEATH[deaths[notebook.key]])
        finally:
            self._missing -= keys

    async def _never_found(self, missing: list[Notebook]) -> list[Notebook]:
        """Return those of a mass loss that neither a probe nor a list finds; none if the backend fails."""
        for pause in _MASS_LOOKS:
            await asyncio.sleep(pause)
            silent = await self._silent(notebook for notebook in missing if notebook.key in self._missing)
            running = await self._running([notebook.key for notebook in silent])
            if running is None:
                return []
            was = {notebook.key for notebook in missing}
            missing = [notebook for notebook in silent if notebook.key in self._missing - running.keys()]
            self._missing -= was - {notebook.key for notebook in missing}
            for key in was & running.keys() & self._pool.doubted:
                self._doubt(key)  # as one that is silent, and listed
                self._begin()
        return missing

    async def _handle_unknown(self, item: Running) -> None:
        """Handle a running notebook that the pool does not know.

        Adopt it if it may have been assigned and nobody ended it, or if it was warm when the start missed it; else stop
        it after the start grace.
        """
        reason = self._ended(item.key)
        if reason in UNDECIDED or (item.given is not Given.NO and (reason or Reason.LOST) in REVOCABLE):
            notebook = await self._recover(item)
            if notebook is not None:
                self._pool.report(SessionRecovered(self._pool.name))
                self._recognise(notebook)
        elif item.key in self._pool.missed:
            notebook = await self._pool.adopt_warm(item)
            if notebook is not None:
                self._recognise(notebook)
        elif abs(seconds_until(item.created_at)) > _GRACE:  # in the future: the wall clock was set back since
            self._pool.discard(item, reason or Reason.SURPLUS)

    def _recognise(self, notebook: Notebook) -> None:
        self._pool.run(notebook.jupyter.recognise(), f"recognise {notebook.id}")

    async def _adopt(self, item: Running) -> Notebook | None:
        return self._pool.adopt_session(item, visitor=None, expires_in=None)
